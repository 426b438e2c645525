//! The rules that several settings must meet together, and how an error marks the place in the file.

use std::ops::Range;

use oci_image::ImageSource;
use toml::de::{DeTable, DeValue};
use unicode_width::UnicodeWidthStr as _;

use super::{Ci, Network, Settings, TaskNetwork};

/// Environment variables that the stack sets itself.
pub(crate) const OWN_VARIABLES: [&str; 1] = ["PORT"];

/// A rule that the settings break.
pub(super) struct Broken {
    /// The key to mark, from the outermost table to the key.
    path: Vec<String>,
    /// What is wrong and what is allowed.
    reason: String,
}

impl Broken {
    fn at(path: &str, reason: impl Into<String>) -> Self {
        Self { path: path.split('.').map(str::to_owned).collect(), reason: reason.into() }
    }

    /// The reason, with the line of the file and carets under the value.
    pub(super) fn shown_in(&self, text: &str) -> String {
        match span(text, &self.path) {
            Some(span) => point(text, span, &self.reason),
            // The key is not in the file: its default contradicts another setting.
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
            let reason = "autoscaling would start the tasks of the idle environment again: remove one of the two";
            both.then(|| Broken::at("cutover.idle_sleeps_after", reason))
        })
        .or_else(|| match settings.autoscaling.max {
            Some(max) if max < settings.app.count => Some(Broken::at(
                "autoscaling.max",
                format!("the maximum is less than the minimum, app.count ({})", settings.app.count),
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
        "{problem}; set an image in a registry (registry.example/team/app:1, or @sha256:...) or an archive \
         (build/app.tar, build/app.tar.gz)"
    );
    Some(Broken::at("app.image", reason))
}

fn ports(settings: &Settings) -> Option<Broken> {
    let (prod, dev) = (settings.prod_port(), settings.dev_port());
    let redirect = settings.has_https() && settings.https.redirect;
    if prod == dev {
        let key = if settings.dev.port.is_some() { "dev.port" } else { "prod.port" };
        return Some(Broken::at(key, format!("prod and dev both listen on port {prod}; set different ports")));
    }
    for (key, port) in [("prod.port", prod), ("dev.port", dev)] {
        if redirect && port.get() == 80 {
            return Some(Broken::at(key, "port 80 redirects to HTTPS; set another port, or https.redirect = false"));
        }
    }
    None
}

fn https(settings: &Settings) -> Option<Broken> {
    match (&settings.https.certificate, &settings.https.domain) {
        (Some(_), None) => Some(Broken::at(
            "https.certificate",
            "a certificate needs a domain: set https.domain to the name that users open",
        )),
        (None, Some(_)) => Some(Broken::at("https.domain", "a domain needs a certificate: set https.certificate")),
        _ => None,
    }
}

fn checks(settings: &Settings) -> Option<Broken> {
    let check = &settings.health_check;
    if check.timeout.get() >= check.interval.get() {
        return Some(Broken::at(
            "health_check.timeout",
            format!("the timeout must be less than health_check.interval ({} s)", check.interval),
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
            return Some(Broken::at(&format!("{table}.{name}"), "the stack sets this variable (see app.port)"));
        }
    }
    let both = settings.secrets.keys().find(|name| settings.environment.contains_key(*name))?;
    Some(Broken::at(&format!("secrets.{both}"), "duplicate: [environment] has a variable with the same name"))
}

fn ci(settings: &Settings) -> Option<Broken> {
    let ci = &settings.ci;
    match (&ci.github, &ci.issuer) {
        (Some(_), Some(_)) => {
            Some(Broken::at("ci.issuer", "ci.issuer and ci.github exclude each other: remove one of them"))
        }
        (Some(_), None) => github(ci),
        (None, Some(_)) => other_issuer(ci),
        (None, None) => (*ci != Ci::default()).then(|| {
            let reason = "the roles need an issuer: set ci.github to the repository (\"owner/name\"), or set ci.issuer";
            Broken::at("ci.github", reason)
        }),
    }
}

fn github(ci: &Ci) -> Option<Broken> {
    for (key, subjects) in [("deploy_subjects", &ci.deploy_subjects), ("cutover_subjects", &ci.cutover_subjects)] {
        if !subjects.is_empty() {
            let reason = "subjects require ci.issuer; for GitHub, set environments or branches";
            return Some(Broken::at(&format!("ci.{key}"), reason));
        }
    }
    if ci.deploy_environments.is_empty() && ci.branches.is_empty() {
        return Some(Broken::at("ci.deploy_environments", "set the environments or branches whose jobs may deploy"));
    }
    if ci.cutover_environments.is_empty() {
        return Some(Broken::at("ci.cutover_environments", "set the environments whose jobs may cut over"));
    }
    // In a shared environment, an approval to deploy would also be an approval to cut over.
    let both = ci.cutover_environments.iter().find(|name| ci.deploy_environments.contains(name))?;
    let reason = format!("environment {both} may deploy: set another one for the jobs that cut over");
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
            let reason = "environments and branches are for GitHub; with ci.issuer, set token subjects";
            return Some(Broken::at(&format!("ci.{key}"), reason));
        }
    }
    if ci.deploy_subjects.is_empty() {
        return Some(Broken::at("ci.deploy_subjects", "set the subjects of the jobs that may deploy"));
    }
    if ci.cutover_subjects.is_empty() {
        return Some(Broken::at("ci.cutover_subjects", "set the subjects of the jobs that may cut over"));
    }
    let both = ci.cutover_subjects.iter().find(|subject| ci.deploy_subjects.contains(subject))?;
    let reason = format!("subject {both} may deploy: set another one for the jobs that cut over");
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
                "set the load balancer's subnets too: network.public_subnets, in two or more zones",
            ));
        }
        Some(_) if network.tasks == TaskNetwork::Endpoints => {
            return Some(Broken::at(
                "network.tasks",
                "no endpoints are created in an existing VPC: with network.vpc, set \"public\" or \"nat\"",
            ));
        }
        Some(_) if network.tasks == TaskNetwork::Nat && network.task_subnets.is_empty() => {
            return Some(Broken::at("network.tasks", "set the private subnets of the tasks: network.task_subnets"));
        }
        Some(_) if network.flow_logs => {
            return Some(Broken::at(
                "network.flow_logs",
                "the stack creates no flow log in an existing VPC: remove this setting",
            ));
        }
        None if !network.public_subnets.is_empty() => {
            return Some(Broken::at(
                "network.public_subnets",
                "subnets require network.vpc; a VPC that the stack creates has its own",
            ));
        }
        None if !network.task_subnets.is_empty() => {
            return Some(Broken::at(
                "network.task_subnets",
                "subnets require network.vpc; a VPC that the stack creates has its own",
            ));
        }
        None if !network.cidr.as_str().ends_with("/16") => {
            return Some(Broken::at(
                "network.cidr",
                "the VPC that the stack creates needs a /16 range, such as 10.0.0.0/16",
            ));
        }
        _ => {}
    }
    if settings.dev_is_restricted() && network.tasks != TaskNetwork::Nat {
        return Some(Broken::at(
            "dev.cidrs",
            "the cutover function must reach dev, and it has fixed addresses only with NAT gateways: \
             set network.tasks = \"nat\"",
        ));
    }
    None
}

fn zones(network: &Network) -> Option<Broken> {
    let reason = match network.zones.as_slice() {
        [] => return None,
        _ if network.vpc.is_some() => "the subnets of an existing VPC determine its zones: remove this setting",
        [first, second] if first != second => return None,
        _ => "set two different zones; each gets half of the tasks",
    };
    Some(Broken::at("network.zones", reason))
}

/// The position of a key's value in the text; `None` if the key is not there.
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

/// The reason, below the line of the file and the carets.
fn point(text: &str, span: Range<usize>, reason: &str) -> String {
    let before = text.get(..span.start).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let number = before.matches('\n').count() + 1;
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let ahead = text.get(start..span.start).unwrap_or_default();
    let shown = text.get(span).unwrap_or_default().lines().next().unwrap_or_default().width().max(1);
    let margin = " ".repeat(number.to_string().len());
    format!(
        "line {number}, column {}\n{margin} |\n{number} | {line}\n{margin} | {}{}\n{reason}",
        ahead.chars().count() + 1,
        // The carets stand below the value on a terminal, which may show a character in two columns.
        " ".repeat(ahead.width()),
        "^".repeat(shown),
    )
}
