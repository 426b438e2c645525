//! What the shared part of the stack must know about environments that are carried over unchanged, so that it stays
//! valid for them until they are replaced.

use std::collections::BTreeSet;

use model::color::Color;
use serde_json::Value;

use super::part::Serves;
use cfn_kit::Resource as _;
use cfn_kit::resources::ecs::TaskDefinition;
use cfn_kit::resources::values::{Port, SecretReference};

/// What the environments that stay need from the rest of the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    ports: BTreeSet<Port>,
    secrets: Vec<SecretReference>,
}

impl Kept {
    /// No environment stays, as in a new stack.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Both environments of a deployed template.
    pub fn of(deployed: &Value) -> Self {
        let mut kept = Self::nothing();
        for color in Color::ALL {
            kept.add(deployed, color);
        }
        kept
    }

    /// One environment of a deployed template.
    pub fn half(deployed: &Value, color: Color) -> Self {
        let mut kept = Self::nothing();
        kept.add(deployed, color);
        kept
    }

    fn add(&mut self, deployed: &Value, color: Color) {
        for (id, resource) in deployed["Resources"].as_object().into_iter().flatten() {
            if resource["Type"] != TaskDefinition::TYPE || Serves::of(deployed, id) != Some(Serves::Environment(color))
            {
                continue;
            }
            for container in items(&resource["Properties"]["ContainerDefinitions"]) {
                self.ports.extend(items(&container["PortMappings"]).filter_map(port));
                let references = items(&container["Secrets"]).filter_map(|secret| secret["ValueFrom"].as_str());
                self.secrets.extend(references.filter_map(|reference| SecretReference::try_from(reference).ok()));
            }
        }
    }

    /// The ports that tasks listen on: the current one and those of environments that stay, in order.
    pub(super) fn ports_with(&self, today: Port) -> BTreeSet<Port> {
        self.ports.iter().copied().chain([today]).collect()
    }

    /// The references to secrets of environments that stay.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretReference> {
        self.secrets.iter()
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn port(mapping: &Value) -> Option<Port> {
    serde_json::from_value(mapping["ContainerPort"].clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_of_both_halves_are_kept_beside_today_s() {
        let half = |port: u16| {
            json!({
                "Type": "AWS::ECS::TaskDefinition",
                "Properties": { "ContainerDefinitions": [{ "PortMappings": [{ "ContainerPort": port }] }] },
            })
        };
        let deployed = json!({ "Resources": { "BlueTaskDefinition": half(8080), "GreenTaskDefinition": half(9090) } });
        let ports: Vec<u16> = Kept::of(&deployed).ports_with(Port::of(80)).into_iter().map(Port::get).collect();
        assert_eq!(ports, [80, 8080, 9090]);
    }
}
