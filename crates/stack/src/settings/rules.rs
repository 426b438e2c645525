//! What must hold between settings, and how an error points at the place in the file.

use std::ops::Range;

use oci_image::ImageSource;
use toml::de::{DeTable, DeValue};

use super::{Ci, Network, Settings, TaskNetwork};

/// Environment variables that the stack sets itself.
pub(crate) const OWN_VARIABLES: [&str; 2] = ["HOST", "PORT"];

/// A rule that settings break.
pub(super) struct Broken {
    /// The key that shows it, from the outside to the inside.
    path: Vec<String>,
    /// What is wrong and what is allowed.
    reason: String,
}

impl Broken {
    fn at(path: &str, reason: impl Into<String>) -> Self {
        Self { path: path.split('.').map(str::to_owned).collect(), reason: reason.into() }
    }

    /// The reason, with the line of the file that it is about and a caret under the value.
    pub(super) fn shown_in(&self, text: &str) -> String {
        match span(text, &self.path) {
            Some(span) => point(text, span, &self.reason),
            // What is wrong is a default that something else in the file does not go with.
            None => format!("{}: {}", self.path.join("."), self.reason),
        }
    }
}

/// The first rule that the settings break.
pub(super) fn broken(settings: &Settings) -> Option<Broken> {
    image(settings)
        .or_else(|| ports(settings))
        .or_else(|| https(settings))
        .or_else(|| checks(settings))
        .or_else(|| variables(settings))
        .or_else(|| network(settings))
        .or_else(|| ci(settings))
        .or_else(|| {
            let both = settings.idle_sleeps() && settings.autoscaling.max.is_some();
            let reason = "autoscaling would wake the idle environment again: choose one of both";
            both.then(|| Broken::at("cutover.idle_sleeps_after", reason))
        })
        .or_else(|| match settings.autoscaling.max {
            Some(max) if max < settings.app.count => Some(Broken::at(
                "autoscaling.max",
                format!("the most tasks are fewer than app.count ({}), which is the fewest", settings.app.count),
            )),
            _ => None,
        })
}

fn image(settings: &Settings) -> Option<Broken> {
    let image = settings.app.image.as_ref()?;
    let error = image.as_str().replace("{version}", "1").parse::<ImageSource>().err()?;
    let mut problem = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        problem.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    let reason = format!(
        "{problem}; name one in a registry (registry.example/team/app:1, or by @sha256:...), or an archive (build/app.tar, \
         .tar.gz)"
    );
    Some(Broken::at("app.image", reason))
}

fn ports(settings: &Settings) -> Option<Broken> {
    let (prod, dev) = (settings.prod_port(), settings.dev_port());
    let redirect = settings.has_https() && settings.https.redirect;
    if prod == dev {
        let key = if settings.dev.port.is_some() { "dev.port" } else { "prod.port" };
        return Some(Broken::at(
            key,
            format!("prod and dev would both listen on {prod}; each needs a port of its own"),
        ));
    }
    for (key, port) in [("prod.port", prod), ("dev.port", dev)] {
        if redirect && port.get() == 80 {
            return Some(Broken::at(key, "port 80 redirects to HTTPS; choose another one, or https.redirect = false"));
        }
    }
    None
}

fn https(settings: &Settings) -> Option<Broken> {
    match (&settings.https.certificate, &settings.https.domain) {
        (Some(_), None) => Some(Broken::at(
            "https.certificate",
            "name what the certificate is for too: https.domain, the name that users open",
        )),
        (None, Some(_)) => Some(Broken::at("https.domain", "there is no certificate for it: add https.certificate")),
        _ => None,
    }
}

fn checks(settings: &Settings) -> Option<Broken> {
    let check = &settings.health_check;
    if check.timeout.get() >= check.interval.get() {
        return Some(Broken::at(
            "health_check.timeout",
            format!(
                "a check must be answered before the next one begins: less than the interval of {} s",
                check.interval
            ),
        ));
    }
    None
}

fn variables(settings: &Settings) -> Option<Broken> {
    for (table, names) in [
        ("environment", settings.environment.keys().collect::<Vec<_>>()),
        ("secrets", settings.secrets.keys().collect::<Vec<_>>()),
    ] {
        if let Some(name) = names.iter().find(|name| OWN_VARIABLES.contains(&name.as_str())) {
            return Some(Broken::at(&format!("{table}.{name}"), "the stack sets this variable itself (see app.port)"));
        }
    }
    let both = settings.secrets.keys().find(|name| settings.environment.contains_key(*name))?;
    Some(Broken::at(&format!("secrets.{both}"), "environment has a variable of this name too"))
}

fn ci(settings: &Settings) -> Option<Broken> {
    let ci = &settings.ci;
    match (&ci.github, &ci.issuer) {
        (Some(_), Some(_)) => Some(Broken::at("ci.issuer", "the roles have one issuer: remove this or ci.github")),
        (Some(_), None) => github(ci),
        (None, Some(_)) => other_issuer(ci),
        (None, None) => (*ci != Ci::default()).then(|| {
            let reason = "name the repository whose workflows may assume the roles, \"owner/name\", or ci.issuer";
            Broken::at("ci.github", reason)
        }),
    }
}

fn github(ci: &Ci) -> Option<Broken> {
    for (key, subjects) in [("deploy_subjects", &ci.deploy_subjects), ("cutover_subjects", &ci.cutover_subjects)] {
        if !subjects.is_empty() {
            let reason = "subjects are for another issuer; on GitHub, name environments and branches";
            return Some(Broken::at(&format!("ci.{key}"), reason));
        }
    }
    if ci.deploy_environments.is_empty() && ci.branches.is_empty() {
        return Some(Broken::at("ci.deploy_environments", "name the environments or branches whose jobs may deploy"));
    }
    if ci.cutover_environments.is_empty() {
        return Some(Broken::at("ci.cutover_environments", "name the environments whose jobs may cut over"));
    }
    // Otherwise the approval of one role would be the approval of both.
    let both = ci.cutover_environments.iter().find(|name| ci.deploy_environments.contains(name))?;
    let reason = format!("{both} may deploy: name another environment for the jobs that cut over");
    Some(Broken::at("ci.cutover_environments", reason))
}

fn other_issuer(ci: &Ci) -> Option<Broken> {
    let default = Ci::default();
    for (key, set) in [
        ("deploy_environments", ci.deploy_environments != default.deploy_environments),
        ("cutover_environments", ci.cutover_environments != default.cutover_environments),
        ("branches", ci.branches != default.branches),
    ] {
        if set {
            let reason = "environments and branches are GitHub's; of another issuer, name the subjects of the tokens";
            return Some(Broken::at(&format!("ci.{key}"), reason));
        }
    }
    if ci.deploy_subjects.is_empty() {
        return Some(Broken::at("ci.deploy_subjects", "name the subjects of the jobs that may deploy"));
    }
    if ci.cutover_subjects.is_empty() {
        return Some(Broken::at("ci.cutover_subjects", "name the subjects of the jobs that may cut over"));
    }
    let both = ci.cutover_subjects.iter().find(|subject| ci.deploy_subjects.contains(subject))?;
    let reason = format!("{both} may deploy: the jobs that cut over need a subject of their own");
    Some(Broken::at("ci.cutover_subjects", reason))
}

fn network(settings: &Settings) -> Option<Broken> {
    let network = &settings.network;
    if let Some(broken) = zones(network) {
        return Some(broken);
    }
    match network.vpc {
        Some(_) if network.public_subnets.len() < 2 => {
            return Some(Broken::at(
                "network.vpc",
                "name the load balancer's subnets too: network.public_subnets, in two zones or more",
            ));
        }
        Some(_) if network.tasks == TaskNetwork::Endpoints => {
            return Some(Broken::at(
                "network.tasks",
                "the endpoints of an existing VPC are its owner's; with network.vpc this is \"public\" or \"nat\"",
            ));
        }
        Some(_) if network.tasks == TaskNetwork::Nat && network.task_subnets.is_empty() => {
            return Some(Broken::at("network.tasks", "name the private subnets: network.task_subnets"));
        }
        Some(_) if network.flow_logs => {
            return Some(Broken::at("network.flow_logs", "the flow log of an existing VPC is its owner's"));
        }
        None if !network.public_subnets.is_empty() => {
            return Some(Broken::at(
                "network.public_subnets",
                "subnets are named for an existing VPC (network.vpc); the stack's own VPC has its own",
            ));
        }
        None if !network.task_subnets.is_empty() => {
            return Some(Broken::at(
                "network.task_subnets",
                "subnets are named for an existing VPC (network.vpc); the stack's own VPC has its own",
            ));
        }
        None if !network.cidr.as_str().ends_with("/16") => {
            return Some(Broken::at("network.cidr", "the stack's own VPC is a /16, such as 10.0.0.0/16"));
        }
        _ => {}
    }
    if settings.dev_is_restricted() && network.tasks != TaskNetwork::Nat {
        return Some(Broken::at(
            "dev.cidrs",
            "the cutover function probes dev too, and only from private subnets with NAT has it an address that can be let in: add network.tasks = \"nat\"",
        ));
    }
    None
}

fn zones(network: &Network) -> Option<Broken> {
    let reason = match network.zones.as_slice() {
        [] => return None,
        _ if network.vpc.is_some() => "the zones of an existing VPC are those of its subnets",
        [first, second] if first != second => return None,
        _ => "name two different zones, each of which gets one half of the tasks",
    };
    Some(Broken::at("network.zones", reason))
}

/// Where the value of a key is in the text; of a key that is not there, nothing.
fn span(text: &str, path: &[String]) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let (last, tables) = path.split_last()?;
    let mut table = root.get_ref();
    for name in tables {
        let DeValue::Table(inner) = table.get(name.as_str())?.get_ref() else { return None };
        table = inner;
    }
    Some(table.get(last.as_str())?.span())
}

/// The reason, under the line that it is about.
fn point(text: &str, span: Range<usize>, reason: &str) -> String {
    let before = text.get(..span.start).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let number = before.matches('\n').count() + 1;
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let column = text.get(start..span.start).unwrap_or_default().chars().count();
    let shown = text.get(span).unwrap_or_default().lines().next().unwrap_or_default().chars().count().max(1);
    let margin = " ".repeat(number.to_string().len());
    format!(
        "line {number}, column {}\n{margin} |\n{number} | {line}\n{margin} | {}{}\n{reason}",
        column + 1,
        " ".repeat(column),
        "^".repeat(shown),
    )
}
