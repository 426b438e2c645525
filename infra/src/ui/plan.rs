//! A plan as people read it: the first line names everything live that changes; then traffic, what opens, what changes.

use std::fmt::Write as _;

use model::color::Color;

use super::style::{Style, columns, cut};
use crate::report::text::clean;
use deploy::plan::{Action, Difference, Plan, Property, Traffic, Version};

/// Longest value shown; the rest of it is left out.
const VALUE_WIDTH: usize = 48;

/// The plan in lines, each ending with a line break.
pub fn render(plan: &Plan, style: Style) -> String {
    let mut text = String::new();
    let what = match live_names(plan) {
        _ if plan.create => " (will be created)".to_owned(),
        names if names.is_empty() => ": no live change".to_owned(),
        names => format!(": {} {}", style.warn("live changes:"), names.join(", ")),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "stack {} in {}{what}", style.strong(&plan.stack), plan.region);
    let _ = writeln!(text, "{}", traffic(&plan.traffic, plan.create, style));
    for sentence in &plan.live {
        let _ = writeln!(text, "  {} {sentence}", style.warn("!"));
    }
    if !plan.broadened.is_empty() {
        let _ = writeln!(text, "\n{}", style.bad("security-relevant changes"));
        for sentence in &plan.broadened {
            let _ = writeln!(text, "  {} {sentence}", style.bad("!"));
        }
    }
    text.push('\n');
    for difference in &plan.resources {
        text.push_str(&resource(difference, plan.create, style));
    }
    if plan.is_empty() {
        text.push_str("nothing to change\n");
    } else {
        let _ = writeln!(text, "\n{}", summary(plan));
    }
    if let Some(waiting) = &plan.waiting {
        let _ = writeln!(text, "{}", style.wrapped(&clean(&waiting.to_string()), 0));
    }
    text
}

/// One line for what happens to traffic: nothing, and to what the environments run.
fn traffic(traffic: &Traffic, create: bool, style: Style) -> String {
    let name = |color: Color| style.environment(color, color.as_str());
    let (prod, idle) = (traffic.prod, traffic.prod.other());
    if create {
        let version = &traffic.of(prod).after;
        return format!("prod will be {}, dev {}, both on v{version}", name(prod), name(idle));
    }
    let for_users = match changed(traffic.of(prod)) {
        Some(change) => format!("{}: {change} for users of prod", style.warn("in place")),
        None => format!("({})", label(&traffic.of(prod).before)),
    };
    let mut line = format!("prod stays on {} {for_users}; {} (idle) ", name(prod), name(idle));
    match changed(traffic.of(idle)) {
        Some(change) => line.push_str(&format!("goes {change}")),
        None => line.push_str(&format!("stays on {}", label(&traffic.of(idle).before))),
    }
    line
}

/// The logical ids of what changes for users at once.
fn live_names(plan: &Plan) -> Vec<&str> {
    plan.live.iter().filter_map(|sentence| sentence.split_whitespace().next()).collect()
}

fn changed(version: &Version) -> Option<String> {
    (version.before != version.after).then(|| format!("{} -> {}", label(&version.before), label(&version.after)))
}

fn label(version: &str) -> String {
    if version.is_empty() { "nothing".to_owned() } else { format!("v{version}") }
}

fn resource(difference: &Difference, create: bool, style: Style) -> String {
    let mark = match difference.action {
        _ if difference.is_revision() => style.warn("~"),
        Action::Add => style.good("+"),
        Action::Modify => style.warn("~"),
        Action::Replace => style.bad("±"),
        Action::Remove => style.bad("-"),
    };
    let what = match difference.action {
        _ if difference.is_revision() => "  a new revision".to_owned(),
        Action::Replace => format!("  {}", style.bad("is replaced")),
        Action::Remove => format!("  {}", style.bad("is removed")),
        Action::Add | Action::Modify => String::new(),
    };
    let mut text = format!("{mark} {} {}{what}\n", difference.id, style.dim(&difference.kind));
    if !create {
        for property in &difference.properties {
            let _ = writeln!(text, "    {}", line_of(property, style));
        }
    }
    text
}

fn line_of(property: &Property, style: Style) -> String {
    let path = style.dim(&property.path);
    if let Some(other) = &property.follows {
        return format!("{path}  follows {other}");
    }
    match (&property.before, &property.after) {
        (Some(before), Some(after)) => format!("{path}  {} -> {}", short(before), short(after)),
        (None, Some(after)) => format!("{path}  {} {}", style.good("+"), short(after)),
        (Some(before), None) => format!("{path}  {} {}", style.bad("-"), short(before)),
        (None, None) => path,
    }
}

/// A value short enough for a line: of an image its digest's beginning, of anything else its own.
fn short(value: &str) -> String {
    if let Some((_, digest)) = value.split_once("@sha256:") {
        return format!("sha256:{}", digest.get(..12).unwrap_or(digest));
    }
    let value = value.replace('\n', " ");
    if columns(&value) <= VALUE_WIDTH {
        return if value.is_empty() { "\"\"".to_owned() } else { value };
    }
    format!("{}…", cut(&value, VALUE_WIDTH - 1))
}

fn summary(plan: &Plan) -> String {
    let mut parts = Vec::new();
    let mut add = |count: usize, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    add(plan.count(Action::Add), "added");
    add(plan.count(Action::Modify), "changed");
    add(plan.revisions(), "new revision");
    add(plan.count(Action::Replace), "replaced");
    add(plan.count(Action::Remove), "removed");
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use deploy::plan::{Applied, Marks, Rights, Waiting};
    use stack::Both;

    fn property(path: &str, before: Option<&str>, after: Option<&str>) -> Property {
        let text = |value: Option<&str>| value.map(str::to_owned);
        Property { path: path.to_owned(), before: text(before), after: text(after), follows: None, stays: false }
    }

    fn difference(id: &str, kind: &str, action: Action, properties: Vec<Property>) -> Difference {
        Difference { id: id.to_owned(), kind: kind.to_owned(), action, properties, vague: false }
    }

    fn plan(resources: Vec<Difference>) -> Plan {
        let versions = |blue: &str| Both { blue: blue.to_owned(), green: "1".to_owned() };
        Plan {
            stack: "bluegreen".to_owned(),
            region: "us-east-1".to_owned(),
            create: false,
            traffic: Traffic::new(Color::Green, &versions("1"), &versions("2")),
            live: Vec::new(),
            broadened: BTreeSet::new(),
            resources,
            waiting: None,
            marks: Marks::default(),
            rights: Rights::default(),
        }
    }

    #[test]
    fn a_new_version_on_the_idle_environment() {
        let image =
            |digit: &str| format!("123456789012.dkr.ecr.us-east-1.amazonaws.com/app@sha256:{}", digit.repeat(64));
        let mut follows = property("TaskDefinition", None, None);
        follows.follows = Some("BlueTaskDefinition".to_owned());
        let tags = property("Tags[bluegreen:version].Value", Some("1"), Some("2"));
        let plan = plan(vec![
            difference("BlueService", "AWS::ECS::Service", Action::Modify, vec![tags, follows]),
            difference(
                "BlueTaskDefinition",
                "AWS::ECS::TaskDefinition",
                Action::Replace,
                vec![property("ContainerDefinitions[app].Image", Some(&image("1")), Some(&image("2")))],
            ),
        ]);
        insta::assert_snapshot!(render(&plan, Style::PLAIN));
    }

    #[test]
    fn what_needs_a_persons_word_stands_on_top() {
        let mut plan = plan(vec![
            difference("Bucket", "AWS::S3::Bucket", Action::Replace, vec![property("BucketName", None, Some("mine"))]),
            difference(
                "CutoverRole",
                "AWS::IAM::Role",
                Action::Modify,
                vec![property(
                    "Policies[cut-over].PolicyDocument.Statement[SeeTraffic].Action",
                    Some("[\"elasticloadbalancing:DescribeListeners\",\"elasticloadbalancing:DescribeTargetHealth\"]"),
                    Some("[\"elasticloadbalancing:*\"]"),
                )],
            ),
            difference("Old", "AWS::Logs::LogGroup", Action::Remove, Vec::new()),
            difference("New", "AWS::Logs::LogGroup", Action::Add, Vec::new()),
        ]);
        plan.broadened = BTreeSet::from(["CutoverRole may now elasticloadbalancing:* on *".to_owned()]);
        plan.live = vec!["GreenTaskDefinition gets a new revision: users of prod get it at once".to_owned()];
        plan.traffic.green.after = "3".to_owned();
        insta::assert_snapshot!(render(&plan, Style::PLAIN));
    }

    #[test]
    fn a_stack_that_is_made() {
        let mut plan = plan(vec![difference("Vpc", "AWS::EC2::VPC", Action::Add, Vec::new())]);
        plan.create = true;
        let nothing = || Both::make(|_| String::new());
        plan.traffic = Traffic::new(Color::Green, &nothing(), &Both::make(|_| "1".to_owned()));
        insta::assert_snapshot!(render(&plan, Style::PLAIN));
    }

    #[test]
    fn settings_that_wait_are_named() {
        let mut plan = plan(Vec::new());
        let settings = vec!["app.port".to_owned(), "environment.GREETING".to_owned()];
        plan.waiting = Some(Waiting { settings, by: Applied::ByARelease });
        insta::assert_snapshot!(render(&plan, Style::PLAIN));
    }

    #[test]
    fn nothing_to_change() {
        let mut plan = plan(Vec::new());
        plan.traffic.blue.after = "1".to_owned();
        insta::assert_snapshot!(render(&plan, Style::PLAIN));
    }
}
