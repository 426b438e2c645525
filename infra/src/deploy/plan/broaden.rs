//! What a change lets somebody do that they could not do before: new grants in policies, new openings in security
//! groups. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::difference::text;
use super::evaluate::Described;

/// Addresses that mean everybody.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Everything that `after` opens and `before` did not, one sentence each.
pub fn broadened(before: &BTreeMap<String, Described>, after: &BTreeMap<String, Described>) -> BTreeSet<String> {
    let empty = Map::new();
    let mut found = BTreeSet::new();
    for (id, new) in after {
        let old = before.get(id).map_or(&empty, |old| &old.properties);
        let had = Grants::of(&new.kind, old);
        let has = Grants::of(&new.kind, &new.properties);
        for grant in has.allowed.iter().filter(|grant| !had.allowed.iter().any(|other| other.covers(grant))) {
            found.insert(grant.sentence(id));
        }
        // A denial that goes away allows what it denied.
        for denial in had.denied.iter().filter(|denial| !has.denied.iter().any(|other| other.covers(denial))) {
            found.insert(format!("{id} no longer denies {} on {}", denial.action, denial.resource));
        }
        let had = openings(&new.kind, old);
        for opening in openings(&new.kind, &new.properties) {
            if !had.iter().any(|other| other.covers(&opening)) {
                found.insert(opening.sentence(id));
            }
        }
    }
    for (id, old) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        for denial in Grants::of(&old.kind, &old.properties).denied {
            found.insert(format!("{id} no longer denies {} on {}", denial.action, denial.resource));
        }
    }
    found
}

/// One action on one resource for one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    principal: String,
    action: String,
    resource: String,
    condition: String,
}

impl Grant {
    fn covers(&self, other: &Self) -> bool {
        matches(&self.principal, &other.principal)
            && matches(&self.action.to_lowercase(), &other.action.to_lowercase())
            && matches(&self.resource, &other.resource)
            && (self.condition.is_empty() || self.condition == other.condition)
    }

    fn sentence(&self, id: &str) -> String {
        let Self { principal, action, resource, condition } = self;
        let who = if principal.is_empty() { id.to_owned() } else { format!("{id} lets {principal}: it") };
        let on = if resource.is_empty() { String::new() } else { format!(" on {resource}") };
        let only = if condition.is_empty() { String::new() } else { format!(" where {condition}") };
        format!("{who} may now {action}{on}{only}")
    }
}

/// Whether a text with `*` in it stands for another.
fn matches(pattern: &str, text: &str) -> bool {
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
struct Grants {
    allowed: Vec<Grant>,
    denied: Vec<Grant>,
}

impl Grants {
    fn of(kind: &str, properties: &Map<String, Value>) -> Self {
        let mut grants = Self::default();
        let documents =
            ["AssumeRolePolicyDocument", "PolicyDocument", "ResourcePolicy", "RepositoryPolicyText", "KeyPolicy"];
        for document in documents.iter().filter_map(|name| properties.get(*name)) {
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
                    (None, Some(value)) => vec![format!("everything but {}", text(value))],
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
        (None, Some(other)) => vec![format!("everybody but {}", text(other))],
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
struct Opening {
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

    fn covers(&self, other: &Self) -> bool {
        let every = self.protocol == "-1";
        self.inwards == other.inwards
            && (every || self.protocol == other.protocol)
            && (every || self.from <= other.from && self.to >= other.to)
            && (self.peer == other.peer || ANYWHERE.contains(&self.peer.as_str()) && !other.peer.contains(':'))
    }

    fn sentence(&self, id: &str) -> String {
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

fn openings(kind: &str, properties: &Map<String, Value>) -> Vec<Opening> {
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

    fn one(kind: &str, properties: Value) -> BTreeMap<String, Described> {
        let Value::Object(properties) = properties else { return BTreeMap::new() };
        BTreeMap::from([("It".to_owned(), Described { kind: kind.to_owned(), properties })])
    }

    fn role(statements: &Value) -> BTreeMap<String, Described> {
        one("AWS::IAM::Role", json!({ "Policies": [{ "PolicyDocument": { "Statement": statements } }] }))
    }

    fn ingress(rules: &Value) -> BTreeMap<String, Described> {
        one("AWS::EC2::SecurityGroup", json!({ "SecurityGroupIngress": rules }))
    }

    fn told(before: &BTreeMap<String, Described>, after: &BTreeMap<String, Described>) -> Vec<String> {
        broadened(before, after).into_iter().collect()
    }

    #[test]
    fn another_action_is_broader() {
        let before = role(&json!([{ "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "b/*" }]));
        let after =
            role(&json!([{ "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "b/*" }]));
        assert_eq!(told(&before, &after), ["It may now s3:PutObject on b/*"]);
        assert!(told(&after, &before).is_empty(), "less is not broader");
    }

    #[test]
    fn what_a_wildcard_allowed_before_is_not_broader() {
        let before = role(&json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]));
        let after = role(&json!([{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "b/x" }]));
        assert!(told(&before, &after).is_empty());
        assert_eq!(told(&after, &before), ["It may now s3:* on *"]);
    }

    #[test]
    fn losing_a_condition_or_a_denial_is_broader() {
        let statement = |extra: Value| {
            let mut statement = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "b" });
            if let (Some(fields), Value::Object(extra)) = (statement.as_object_mut(), extra) {
                fields.extend(extra);
            }
            role(&json!([statement]))
        };
        let narrow = statement(json!({ "Condition": { "Bool": { "x": "y" } } }));
        assert_eq!(told(&narrow, &statement(json!({}))), ["It may now s3:GetObject on b"]);
        assert_eq!(
            told(&statement(json!({ "Effect": "Deny" })), &role(&json!([]))),
            ["It no longer denies s3:GetObject on b"]
        );
    }

    #[test]
    fn somebody_else_who_may_assume_a_role_is_broader() {
        let trust = |service: &str| {
            let statement =
                json!([{ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": service } }]);
            one("AWS::IAM::Role", json!({ "AssumeRolePolicyDocument": { "Statement": statement } }))
        };
        assert_eq!(told(&trust("a"), &trust("b")), ["It lets b: it may now sts:AssumeRole"]);
    }

    #[test]
    fn another_port_or_peer_of_a_security_group_is_broader() {
        let rule =
            |port: u16, peer: &str| json!({ "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIp": peer });
        let before = ingress(&json!([rule(80, "0.0.0.0/0")]));
        assert!(told(&before, &ingress(&json!([rule(80, "10.0.0.0/8")]))).is_empty());
        let after = ingress(&json!([rule(80, "0.0.0.0/0"), rule(22, "0.0.0.0/0")]));
        assert_eq!(told(&before, &after), ["It now lets in tcp 22 from everybody"]);
    }

    #[test]
    fn wildcards_match_in_the_middle_and_at_the_end() {
        assert!(matches("arn:*:role/*", "arn:aws:iam::1:role/x"));
        assert!(!matches("arn:*:role/x", "arn:aws:iam::1:role/y"));
        assert!(matches("a*", "a"));
        assert!(!matches("ab", "abc"));
    }
}
