//! What policies grant and deny, and what security groups open. Pure, and knows no templates.

use serde_json::{Map, Value};

use super::difference::text;

/// Everything of the internet's older and newer address space.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// How a list is written that names what it leaves out.
const ALL_BUT: &str = "everything but ";

/// One action on one resource for one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    principal: String,
    action: String,
    resource: String,
    condition: String,
}

impl Grant {
    pub(super) fn covers(&self, other: &Self) -> bool {
        matches(&self.principal, &other.principal)
            && matches(&self.action.to_lowercase(), &other.action.to_lowercase())
            && matches(&self.resource, &other.resource)
            && (self.condition.is_empty() || self.condition == other.condition)
    }

    pub(super) fn sentence(&self, id: &str) -> String {
        let Self { principal, action, resource, condition } = self;
        let who = if principal.is_empty() { id.to_owned() } else { format!("{id} lets {principal}: it") };
        let on = if resource.is_empty() { String::new() } else { format!(" on {resource}") };
        let only = if condition.is_empty() { String::new() } else { format!(" if {condition}") };
        format!("{who} may now {action}{on}{only}")
    }

    /// A denial that is gone.
    pub(super) fn no_longer_denied(&self, id: &str) -> String {
        format!("{id} no longer denies {} on {}", self.action, self.resource)
    }
}

/// Whether a text with `*` in it stands for another.
fn matches(pattern: &str, text: &str) -> bool {
    // A pattern after "everything but" leaves out more, the more it stands for: only the same is covered.
    if pattern.starts_with(ALL_BUT) || text.starts_with(ALL_BUT) {
        return pattern == "*" || pattern == text;
    }
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let Some(end) = parts.pop() else { return true };
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(end)
}

/// What the policies of a resource say.
#[derive(Default)]
pub(super) struct Grants {
    pub(super) allowed: Vec<Grant>,
    pub(super) denied: Vec<Grant>,
}

/// The properties that hold a policy document.
pub(super) const DOCUMENTS: [&str; 5] =
    ["AssumeRolePolicyDocument", "PolicyDocument", "ResourcePolicy", "RepositoryPolicyText", "KeyPolicy"];

impl Grants {
    pub(super) fn of(kind: &str, properties: &Map<String, Value>) -> Self {
        let mut grants = Self::default();
        for document in DOCUMENTS.iter().filter_map(|name| properties.get(*name)) {
            grants.read(document);
        }
        for policy in list(properties.get("Policies")) {
            grants.read(policy.get("PolicyDocument").unwrap_or(&Value::Null));
        }
        for policy in list(properties.get("ManagedPolicyArns")) {
            grants.allow("", &format!("everything that {} allows", text(policy)), "");
        }
        if kind == "AWS::Lambda::Permission" {
            let field = |name: &str| properties.get(name).map(text).unwrap_or_default();
            grants.allow(&field("Principal"), &field("Action"), &field("FunctionName"));
        }
        grants
    }

    fn allow(&mut self, principal: &str, action: &str, resource: &str) {
        self.allowed.push(Grant {
            principal: principal.to_owned(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            condition: String::new(),
        });
    }

    fn read(&mut self, document: &Value) {
        for statement in list(document.get("Statement")) {
            let denies = statement.get("Effect").and_then(Value::as_str) == Some("Deny");
            let texts = |name: &str, negated: &str| -> Vec<String> {
                match (statement.get(name), statement.get(negated)) {
                    (Some(value), _) => list(Some(value)).into_iter().map(text).collect(),
                    (None, Some(value)) => vec![format!("{ALL_BUT}{}", text(value))],
                    (None, None) => vec![String::new()],
                }
            };
            let condition = statement.get("Condition").map(text).unwrap_or_default();
            for principal in principals(statement) {
                for action in texts("Action", "NotAction") {
                    for resource in texts("Resource", "NotResource") {
                        let (principal, action, condition) = (principal.clone(), action.clone(), condition.clone());
                        let grant = Grant { principal, action, resource, condition };
                        if denies { self.denied.push(grant) } else { self.allowed.push(grant) }
                    }
                }
            }
        }
    }
}

fn principals(statement: &Value) -> Vec<String> {
    match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(Value::Object(kinds)), _) => kinds.values().flat_map(|names| list(Some(names))).map(text).collect(),
        (Some(other), _) => vec![text(other)],
        (None, Some(other)) => vec![format!("{ALL_BUT}{}", text(other))],
        (None, None) => vec![String::new()],
    }
}

/// The items of a list; something else counts as its only item.
fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![other],
    }
}

/// Ports that a security group opens for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    inwards: bool,
    protocol: String,
    from: i64,
    to: i64,
    peer: String,
}

impl Opening {
    fn of(inwards: bool, rule: &Value) -> Self {
        let port = |name: &str, every: i64| {
            rule.get(name).and_then(|port| port.as_i64().or_else(|| port.as_str()?.parse().ok())).unwrap_or(every)
        };
        let peers = [
            "CidrIp",
            "CidrIpv6",
            "SourceSecurityGroupId",
            "DestinationSecurityGroupId",
            "SourcePrefixListId",
            "DestinationPrefixListId",
        ];
        let peer = peers.iter().find_map(|name| rule.get(*name)).map(text).unwrap_or_default();
        let protocol = rule.get("IpProtocol").map(text).unwrap_or_default();
        Self { inwards, protocol, from: port("FromPort", 0), to: port("ToPort", 65535), peer }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        let every = self.protocol == "-1";
        self.inwards == other.inwards
            && (every || self.protocol == other.protocol)
            && (every || self.from <= other.from && self.to >= other.to)
            && (self.peer == other.peer
                || self.peer == ANYWHERE[0] && !other.peer.contains(':')
                || self.peer == ANYWHERE[1] && other.peer.contains(':'))
    }

    pub(super) fn sentence(&self, id: &str) -> String {
        let Self { inwards, protocol, from, to, peer } = self;
        let verb = if *inwards { "lets in" } else { "lets out" };
        let whom = if *inwards { "from" } else { "to" };
        let what = if protocol == "-1" {
            "everything".to_owned()
        } else if from == to {
            format!("{protocol} {from}")
        } else {
            format!("{protocol} {from}-{to}")
        };
        let peer = if ANYWHERE.contains(&peer.as_str()) { "everybody" } else { peer };
        format!("{id} now {verb} {what} {whom} {peer}")
    }
}

/// What a security group opens.
pub(super) fn openings(kind: &str, properties: &Map<String, Value>) -> Vec<Opening> {
    match kind {
        "AWS::EC2::SecurityGroup" => {
            let inwards = list(properties.get("SecurityGroupIngress")).into_iter().map(|rule| Opening::of(true, rule));
            let outwards = list(properties.get("SecurityGroupEgress")).into_iter().map(|rule| Opening::of(false, rule));
            inwards.chain(outwards).collect()
        }
        "AWS::EC2::SecurityGroupIngress" | "AWS::EC2::SecurityGroupEgress" if !properties.is_empty() => {
            vec![Opening::of(kind.ends_with("Ingress"), &Value::Object(properties.clone()))]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wildcards_match_in_the_middle_and_at_the_end() {
        assert!(matches("arn:*:role/*", "arn:aws:iam::1:role/x"));
        assert!(!matches("arn:*:role/x", "arn:aws:iam::1:role/y"));
        assert!(matches("a*", "a"));
        assert!(!matches("ab", "abc"));
    }

    #[test]
    fn leaving_out_less_is_more() {
        let grant = |action: &str| {
            let statement = json!({ "Effect": "Allow", "NotAction": action, "Resource": "*" });
            let document = json!({ "PolicyDocument": { "Statement": [statement] } });
            Grants::of("AWS::IAM::Policy", document.as_object().unwrap()).allowed.remove(0)
        };
        assert!(!grant("s3:*").covers(&grant("s3:GetObject")));
        assert!(grant("s3:*").covers(&grant("s3:*")));
    }

    #[test]
    fn everywhere_of_one_address_space_is_not_everywhere_of_the_other() {
        let opening = |peer: &str| Opening::of(true, &json!({ "IpProtocol": "tcp", "CidrIp": peer }));
        assert!(opening("0.0.0.0/0").covers(&opening("10.0.0.0/8")));
        assert!(opening("::/0").covers(&opening("fd00::/8")));
        assert!(!opening("::/0").covers(&opening("10.0.0.0/8")));
        assert!(!opening("0.0.0.0/0").covers(&opening("fd00::/8")));
    }
}
