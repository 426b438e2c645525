//! The texts of a resource in a picture: its name, its type, and its most important properties.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Line, Node, Place};
use super::roles::{
    ACL, ALARM, BALANCER, BUCKET, CAPACITY, ENDPOINT, FUNCTION, LISTENER, NAT, REGISTRY, SECURITY_GROUP, SERVICE,
    TARGET_GROUP, TASK, VPC,
};
use crate::FIRST_PROD;
use crate::part::Serves;

/// A name such as `AccessLogBucket` as separate words: `Access log bucket`.
pub(super) fn words(name: &str) -> String {
    let mut text = String::new();
    for (index, character) in name.char_indices() {
        if character.is_uppercase() && index > 0 {
            text.push(' ');
        }
        text.extend(character.to_lowercase());
    }
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// The title of the box of a resource.
pub(super) fn title(id: &str) -> String {
    words(id)
}

/// A type such as `AWS::S3::Bucket` as text: `S3 bucket`.
pub(super) fn kind(resource_type: &str) -> String {
    let mut parts = resource_type.split("::").skip(1);
    let service = parts.next().unwrap_or(resource_type);
    let name = parts.last().unwrap_or_default();
    // Some names are abbreviations as a whole.
    let name = if name.chars().all(char::is_uppercase) { name.to_owned() } else { words(name).to_lowercase() };
    let service = if service == "ElasticLoadBalancingV2" { "Application" } else { service };
    format!("{service} {name}").trim_end().to_owned()
}

/// The most important properties of a resource and of those that belong to it, one line each.
pub(super) fn details(template: &Value, head: &str, members: &[&str]) -> Vec<String> {
    let resource = |id: &str| &template["Resources"][id];
    let properties = &resource(head)["Properties"];
    let of_type = |kind: &str| {
        let ids: Vec<&str> = members.iter().copied().filter(|id| resource(id)["Type"] == kind).collect();
        ids
    };
    let first = |kind: &str| of_type(kind).first().map_or(&Value::Null, |id| &resource(id)["Properties"]);
    let found: Vec<Option<String>> = match resource(head)["Type"].as_str().unwrap_or_default() {
        VPC => vec![text(&properties["CidrBlock"])],
        BALANCER => {
            let firewall = members.iter().any(|id| resource(id)["Type"] == ACL);
            vec![text(&properties["Scheme"]), firewall.then(|| "behind a web ACL".to_owned())]
        }
        LISTENER => {
            let redirects = properties["DefaultActions"][0]["Type"] == "redirect";
            vec![
                joined([&properties["Protocol"], &properties["Port"]], " :"),
                redirects.then(|| "redirects to HTTPS".to_owned()),
            ]
        }
        SERVICE => environment(properties, first(TASK), first(TARGET_GROUP), first(CAPACITY)),
        FUNCTION => vec![
            text(&properties["Runtime"]),
            joined([&properties["MemorySize"], &properties["Timeout"]], " MiB, ").map(|text| text + " s at most"),
        ],
        NAT => vec![Some(format!("{}, one in each zone", of_type(NAT).len()))],
        ENDPOINT => {
            let services = of_type(ENDPOINT).into_iter().filter_map(|id| {
                let name = &resource(id)["Properties"]["ServiceName"];
                let name = name["Fn::Sub"].as_str().or_else(|| name.as_str())?;
                name.split("${AWS::Region}.").last().map(str::to_owned)
            });
            services.map(Some).collect()
        }
        BUCKET => {
            let how = &properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
            let how = text(&how["ServerSideEncryptionByDefault"]["SSEAlgorithm"]);
            vec![how.map(|how| format!("versions, encrypted ({how})"))]
        }
        REGISTRY => vec![Some("immutable tags, scanned on push".to_owned())],
        _ if of_type(ALARM).len() > 1 => counts(template, members),
        _ => Vec::new(),
    };
    found.into_iter().flatten().collect()
}

/// The targets of the listeners' rules, which are not in the template: each listener to each service. At first, prod
/// sends requests to the first service; after a cutover, to the other one.
pub(super) fn carried_by_rules(template: &Value) -> Vec<(&str, &str, bool)> {
    let all = || template["Resources"].as_object().into_iter().flatten();
    let of = |kind: &'static str| all().filter(move |(_, resource)| resource["Type"] == kind);
    let without_target =
        of(LISTENER).filter(|(_, it)| it["Properties"]["DefaultActions"][0]["Type"] == "fixed-response");
    without_target
        .flat_map(|(listener, _)| of(SERVICE).map(move |(service, _)| (listener.as_str(), service.as_str())))
        .map(|(listener, service)| {
            let later = Serves::of(template, service) != Some(Serves::Environment(FIRST_PROD));
            (listener, service, later)
        })
        .collect()
}

fn environment(service: &Value, task: &Value, group: &Value, capacity: &Value) -> Vec<Option<String>> {
    let count =
        joined([&capacity["MinCapacity"], &capacity["MaxCapacity"]], " to ").or_else(|| text(&service["DesiredCount"]));
    let port = &task["ContainerDefinitions"][0]["PortMappings"][0]["ContainerPort"];
    let public = service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "ENABLED";
    vec![
        count.map(|count| format!("{count} tasks on Fargate")),
        joined([&task["Cpu"], &task["Memory"]], " CPU units, ").map(|text| text + " MiB"),
        joined([port, &group["HealthCheckPath"]], ", checked at ").map(|text| format!("port {text}")),
        Some(if public { "public addresses, closed" } else { "no public addresses" }.to_owned()),
    ]
}

/// How many of each type are in a box.
fn counts(template: &Value, members: &[&str]) -> Vec<Option<String>> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in members {
        let kind = template["Resources"][id]["Type"].as_str().unwrap_or_default();
        let name = kind.rsplit("::").next().unwrap_or_default();
        *counts.entry(words(name).to_lowercase()).or_default() += 1;
    }
    let line = |(name, count): (String, usize)| Some(format!("{count} {name}{}", if count > 1 { "s" } else { "" }));
    counts.into_iter().map(line).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn joined([one, other]: [&Value; 2], between: &str) -> Option<String> {
    Some(format!("{}{between}{}", text(one)?, text(other)?))
}

/// The existing network of a stack that does not create one.
pub(super) fn existing_network(template: &Value) -> Option<Node> {
    let groups = template["Resources"].as_object()?.values().filter(|resource| resource["Type"] == TARGET_GROUP);
    let id = groups.filter_map(|group| group["Properties"]["VpcId"].as_str()).min()?;
    Some(Node {
        id: "ExistingVpc".to_owned(),
        title: "Vpc".to_owned(),
        kind: kind(VPC),
        details: vec![id.to_owned()],
        color: None,
        place: Place::Network,
        members: Vec::new(),
    })
}

/// The address ranges that may connect to the load balancer, by listener.
pub(super) fn visitors(template: &Value) -> Vec<(Node, Line)> {
    let resources = || template["Resources"].as_object().into_iter().flatten();
    let Some((balancer, load_balancer)) = resources().find(|(_, resource)| resource["Type"] == BALANCER) else {
        return Vec::new();
    };
    let groups = load_balancer["Properties"]["SecurityGroups"].as_array().into_iter().flatten();
    let groups = groups.filter_map(|group| group["Fn::GetAtt"][0].as_str().or_else(|| group["Ref"].as_str()));
    let rules = groups
        .map(|id| &template["Resources"][id])
        .filter(|group| group["Type"] == SECURITY_GROUP)
        .flat_map(|group| group["Properties"]["SecurityGroupIngress"].as_array().into_iter().flatten());
    // By port: several ranges may connect to one port.
    let mut ports: BTreeMap<u64, (String, Vec<String>)> = BTreeMap::new();
    for rule in rules {
        if let (Some(port), Some(range)) = (rule["FromPort"].as_u64(), rule["CidrIp"].as_str()) {
            let what = rule["Description"].as_str().unwrap_or_default().split(',').next().unwrap_or_default();
            let from = if range == "0.0.0.0/0" { "anywhere" } else { range };
            ports.entry(port).or_insert_with(|| (what.to_owned(), Vec::new())).1.push(from.to_owned());
        }
    }
    let listener_on = |port: u64| {
        let found =
            resources().find(|(_, it)| it["Type"] == LISTENER && it["Properties"]["Port"].as_u64() == Some(port));
        found.map_or(balancer, |(id, _)| id)
    };
    ports
        .into_iter()
        .map(|(port, (title, ranges))| {
            let to = listener_on(port).clone();
            let node = Node {
                id: format!("Visitors{port}"),
                title,
                kind: format!("from {}", ranges.join(", ")),
                details: Vec::new(),
                color: None,
                place: Place::Internet,
                members: Vec::new(),
            };
            let line = Line { from: node.id.clone(), to, label: format!(":{port}"), later: false };
            (node, line)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        assert_eq!(words("AccessLogBucket"), "Access log bucket");
        assert_eq!(kind("AWS::S3::Bucket"), "S3 bucket");
        assert_eq!(kind("AWS::EC2::VPC"), "EC2 VPC");
        assert_eq!(kind("AWS::ElasticLoadBalancingV2::LoadBalancer"), "Application load balancer");
        assert_eq!(kind("Custom::Thing"), "Thing");
    }
}
