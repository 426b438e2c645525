//! The availability zones of the stack's own VPC: chosen once, before the stack is made, and kept after that. Subnets
//! cannot be moved, and the zones that EC2 lists first can change.

mod ec2;

use crate::cloud::Cloud;
use crate::deployed::DeployedStack;
use crate::error::{Error, Result};
use ec2::Zone;
use serde_json::Value;
use stack::{Settings, parameter};

/// Logical ids of the subnets whose zones are those of the stack.
const SUBNETS: [&str; 2] = ["PublicSubnetA", "PublicSubnetB"];

/// Regions in which not every zone has Fargate, and the ids of those that do:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/AWS_Fargate-Regions.html>.
const FARGATE: [(&str, &[&str]); 3] = [
    ("us-west-1", &["usw1-az1", "usw1-az3"]),
    ("ap-northeast-1", &["apne1-az1", "apne1-az2", "apne1-az4"]),
    ("cn-north-1", &["cnn1-az1", "cnn1-az2"]),
];

/// The zones of a stack that is about to be made: what the settings say, or else the first two, by their ids, that are
/// available and have Fargate. The ids mean the same zones in every account, the names do not
/// (<https://docs.aws.amazon.com/ram/latest/userguide/working-with-az-ids.html>).
pub async fn choose(cloud: &Cloud, settings: &Settings) -> Result<[String; 2]> {
    if let [first, second] = settings.network.zones.as_slice() {
        return Ok([first.to_string(), second.to_string()]);
    }
    let zones = ec2::zones(cloud).await?;
    first_two(zones, cloud.region()).ok_or_else(|| Error::TooFewZones { region: cloud.region().to_owned() })
}

/// The zones of an existing stack: its parameters, or, if it was created without them, the zones of its subnets.
pub async fn of_stack(cloud: &Cloud, stack: &DeployedStack) -> Result<[String; 2]> {
    let given = parameter::ZONES.map(|name| stack.parameter(name).to_owned());
    if given.iter().all(|zone| !zone.is_empty()) {
        return Ok(given);
    }
    let resources = stack.resources(cloud).await?;
    let physical = |id: &str| {
        let resource = resources.iter().find(|resource| resource.logical_resource_id() == Some(id));
        resource.and_then(|resource| resource.physical_resource_id()).filter(|id| !id.is_empty())
    };
    let [Some(first), Some(second)] = SUBNETS.map(physical) else {
        return Err(Error::NoSubnets { stack: stack.name.clone(), state: stack.state.clone() });
    };
    let mut zones = ec2::zones_of_subnets(cloud, &[first, second]).await?;
    match (zones.remove(first), zones.remove(second)) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(Error::SubnetsWithoutZone { stack: stack.name.clone() }),
    }
}

/// The value with the zones that it asks AWS for, the first or the second of the region, put in.
pub fn put_in(value: &Value, zones: &[String; 2]) -> Value {
    let asked = value.pointer("/Fn::Select/1/Fn::GetAZs").and_then(|_| value.pointer("/Fn::Select/0"));
    // CloudFormation takes a number as text, too.
    let number = asked.and_then(|number| number.as_u64().or_else(|| number.as_str()?.parse().ok()));
    if let Some(zone) = number.and_then(|number| zones.get(usize::try_from(number).ok()?)) {
        return Value::String(zone.clone());
    }
    match value {
        Value::Array(items) => items.iter().map(|item| put_in(item, zones)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), put_in(value, zones))).collect(),
        other => other.clone(),
    }
}

/// Keeps every subnet in its zone: a zone that the deployed template looks up or names is set by name. `zones` are
/// those that were asked for.
pub fn keep(template: &mut Value, deployed: &Value, zones: Option<&[String; 2]>) {
    let Some(resources) = template["Resources"].as_object_mut() else { return };
    for (id, resource) in resources.iter_mut().filter(|(_, resource)| resource["Type"] == "AWS::EC2::Subnet") {
        let zone = &deployed["Resources"][id]["Properties"]["AvailabilityZone"];
        let zone = zones.map_or_else(|| zone.clone(), |zones| put_in(zone, zones));
        if zone.is_string() {
            resource["Properties"]["AvailabilityZone"] = zone;
        }
    }
}

/// The names of the first two that can have tasks, by their ids.
fn first_two(mut zones: Vec<Zone>, region: &str) -> Option<[String; 2]> {
    let with_fargate = FARGATE.iter().find(|(name, _)| *name == region).map(|(_, ids)| *ids);
    zones.retain(|zone| {
        zone.state == "available"
            && zone.kind == "availability-zone"
            && with_fargate.is_none_or(|ids| ids.contains(&zone.id.as_str()))
    });
    zones.sort_by(|one, other| one.id.cmp(&other.id));
    let mut names = zones.into_iter().map(|zone| zone.name);
    Some([names.next()?, names.next()?])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zones_that_a_template_asks_for_are_put_in() {
        let zones = ["eu-1b".to_owned(), "eu-1c".to_owned()];
        let asks = |number: Value| json!({ "Fn::Select": [number, { "Fn::GetAZs": "" }] });
        let other = json!({ "Fn::Select": [0, ["x"]] });
        let before = json!({ "A": [asks(json!(0)), asks(json!("1"))], "C": asks(json!(2)), "S": other });
        let after = json!({ "A": ["eu-1b", "eu-1c"], "C": asks(json!(2)), "S": other });
        assert_eq!(put_in(&before, &zones), after);
    }

    #[test]
    fn subnets_stay_where_they_are() {
        let subnet = |zone: Value| json!({ "Type": "AWS::EC2::Subnet", "Properties": { "AvailabilityZone": zone } });
        let of = |first: Value, second: Value| json!({ "Resources": { "A": subnet(first), "B": subnet(second) } });
        let asks = json!({ "Fn::Select": [1, { "Fn::GetAZs": "" }] });
        let parameter = json!({ "Ref": "ZoneA" });
        let mut template = of(parameter.clone(), parameter.clone());
        keep(&mut template, &of(asks, parameter.clone()), Some(&["eu-1b".to_owned(), "eu-1c".to_owned()]));
        assert_eq!(template, of(json!("eu-1c"), parameter.clone()));
        let kept = template.clone();
        let mut template = of(parameter.clone(), parameter);
        keep(&mut template, &kept, None);
        assert_eq!(template, kept);
    }

    fn zone(name: &str, id: &str) -> Zone {
        let [name, id, state, kind] = [name, id, "available", "availability-zone"].map(str::to_owned);
        Zone { name, id, state, kind }
    }

    fn names(zones: Vec<Zone>, region: &str) -> Option<[String; 2]> {
        first_two(zones, region)
    }

    #[test]
    fn the_first_two_are_taken_by_their_ids_in_whatever_order_they_come() {
        let zones = || vec![zone("x-1c", "x1-az1"), zone("x-1a", "x1-az3"), zone("x-1b", "x1-az2")];
        let expected = Some(["x-1c".to_owned(), "x-1b".to_owned()]);
        assert_eq!(names(zones(), "x-1"), expected);
        assert_eq!(names(zones().into_iter().rev().collect(), "x-1"), expected);
    }

    #[test]
    fn a_zone_without_fargate_is_not_taken() {
        let tokyo = vec![
            zone("ap-northeast-1a", "apne1-az4"),
            zone("ap-northeast-1b", "apne1-az3"),
            zone("ap-northeast-1c", "apne1-az1"),
        ];
        let expected = ["ap-northeast-1c".to_owned(), "ap-northeast-1a".to_owned()];
        assert_eq!(names(tokyo, "ap-northeast-1"), Some(expected));
        let california = vec![zone("us-west-1a", "usw1-az2"), zone("us-west-1b", "usw1-az3")];
        assert_eq!(names(california, "us-west-1"), None);
    }

    #[test]
    fn local_zones_and_zones_that_are_impaired_are_not_taken() {
        let local = Zone { kind: "local-zone".to_owned(), ..zone("x-1-lax-1a", "x1-az0") };
        let impaired = Zone { state: "impaired".to_owned(), ..zone("x-1a", "x1-az1") };
        let zones = vec![local, impaired, zone("x-1b", "x1-az2"), zone("x-1c", "x1-az3")];
        assert_eq!(names(zones, "x-1"), Some(["x-1b".to_owned(), "x-1c".to_owned()]));
    }
}
