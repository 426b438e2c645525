//! What a change of a setting affects: the release of one environment, or the shared parts of the stack.
//!
//! Each of the two parts is a JSON value with the settings that differ from the defaults. The template records them, so
//! that a later command knows the settings of each part of a deployed stack.

use std::fmt;

use serde_json::{Map, Value};

use super::{Settings, SettingsError, rules};

/// What a change of a setting affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The resources of the environment that the release is deployed to.
    Release,
    /// The shared parts of the stack.
    Stack,
    /// Both: the resources of an environment with its next release, the others with the stack.
    Each,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Release => "release",
            Self::Stack => "stack",
            Self::Each => "release, stack",
        })
    }
}

/// The scope of every key, or of a table whose keys all have the same scope. If a table is listed by its keys, add a
/// new key of it here.
const SCOPES: [(&str, Scope); 30] = [
    ("name", Scope::Stack),
    ("region", Scope::Stack),
    ("app.cargo", Scope::Release),
    ("app.image", Scope::Release),
    ("app.first_version", Scope::Stack),
    ("app.user", Scope::Release),
    ("app.read_only", Scope::Release),
    ("app.capabilities", Scope::Release),
    ("app.port", Scope::Release),
    ("app.size", Scope::Release),
    ("app.count", Scope::Release),
    // For the tasks and for the cutover function.
    ("app.architecture", Scope::Each),
    ("app.version_header", Scope::Stack),
    ("app.deregistration_delay", Scope::Release),
    ("environment", Scope::Release),
    ("secrets", Scope::Release),
    ("health_check", Scope::Release),
    ("prod", Scope::Stack),
    ("dev", Scope::Stack),
    ("cutover", Scope::Stack),
    ("https", Scope::Stack),
    ("network", Scope::Stack),
    ("autoscaling", Scope::Release),
    ("alarms", Scope::Stack),
    ("logs.retention_days", Scope::Each),
    ("logs.access", Scope::Stack),
    ("logs.access_bucket", Scope::Stack),
    ("security", Scope::Stack),
    ("ci", Scope::Stack),
    ("tags", Scope::Each),
];

/// The scope of a key, such as `app.port`; `None` if it is not listed.
pub(super) fn scope(key: &str) -> Option<Scope> {
    let table = key.split('.').next().unwrap_or(key);
    let listed = |name: &str| SCOPES.iter().find(|(entry, _)| *entry == name).map(|(_, scope)| *scope);
    listed(key).or_else(|| listed(table))
}

impl Settings {
    /// The settings of a release that differ from the defaults.
    pub fn release_part(&self) -> Value {
        self.part(Scope::Release)
    }

    /// The settings of the rest of the stack that differ from the defaults.
    pub fn stack_part(&self) -> Value {
        self.part(Scope::Stack)
    }

    /// The settings that consist of these two parts. If a key is in both, the release has priority. An error says what
    /// cannot be read, or which rule the combination breaks.
    pub fn from_parts(stack: &Value, release: &Value) -> Result<Self, SettingsError> {
        let mut whole = serde_json::to_value(Self::default())?;
        let mut of_stack = stack.clone();
        remove_shared(&mut of_stack);
        merge(&mut whole, &of_stack);
        merge(&mut whole, release);
        let settings: Self = serde_json::from_value(whole)?;
        match rules::broken(&settings) {
            None => Ok(settings),
            Some(broken) => Err(SettingsError::invalid(&broken.shown_in(""))),
        }
    }

    fn part(&self, wanted: Scope) -> Value {
        let json = |settings: &Self| serde_json::to_value(settings).unwrap_or_default();
        let (values, defaults) = (json(self), json(&Self::default()));
        let mut part = Map::new();
        for (name, value) in values.as_object().into_iter().flatten() {
            let chosen = |key: &str| scope(key).is_none_or(|scope| scope == wanted || scope == Scope::Each);
            let default = &defaults[name];
            match value.as_object() {
                Some(keys) => {
                    let keys = keys.iter().filter(|(key, value)| default.get(*key) != Some(*value));
                    let keys: Map<String, Value> = keys
                        .filter(|(key, _)| chosen(&format!("{name}.{key}")))
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect();
                    if !keys.is_empty() {
                        part.insert(name.clone(), keys.into());
                    }
                }
                None if value != default && chosen(name) => {
                    part.insert(name.clone(), value.clone());
                }
                None => {}
            }
        }
        part.into()
    }
}

/// Removes the keys that the release determines too: if the release has no entry for one, it has the default.
fn remove_shared(part: &mut Value) {
    for (name, value) in part.as_object_mut().into_iter().flatten() {
        if let Some(keys) = value.as_object_mut() {
            keys.retain(|key, _| scope(&format!("{name}.{key}")) != Some(Scope::Each));
        }
    }
}

/// Replaces keys of `whole` by those of `part`, table by table.
fn merge(whole: &mut Value, part: &Value) {
    for (name, value) in part.as_object().into_iter().flatten() {
        match (whole.get_mut(name).and_then(Value::as_object_mut), value.as_object()) {
            (Some(table), Some(keys)) => table.extend(keys.iter().map(|(key, value)| (key.clone(), value.clone()))),
            _ => whole[name] = value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys() -> Vec<String> {
        let text = Settings::documentation();
        let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        cells.filter(|key| *key != "key").map(|key| key.replace(".NAME", "").replace(".KEY", "")).collect()
    }

    #[test]
    fn every_key_has_exactly_one_scope() {
        let keys = keys();
        assert!(keys.len() > 50, "{keys:?}");
        for key in &keys {
            let table = key.split('.').next().unwrap();
            let entries = SCOPES.iter().filter(|(entry, _)| entry == key || *entry == table).count();
            assert_eq!(entries, 1, "{key} must have exactly one entry in SCOPES");
        }
        for (entry, _) in &SCOPES {
            let known = keys.iter().any(|key| key == entry || key.split('.').next() == Some(entry));
            assert!(known, "{entry} is not a key");
        }
    }

    #[test]
    fn the_parts_are_what_differs_from_the_defaults() {
        let settings = Settings::parse(
            "[app]\nport = 9000\nversion_header = 'x-v'\n[tags]\nteam = 'web'\n[logs]\naccess = true\nretention_days = 7\n\
             [environment]\nA = '1'\n",
        )
        .unwrap();
        assert_eq!(
            settings.release_part(),
            json!({
                "app": { "port": 9000 }, "environment": { "A": "1" }, "logs": { "retention_days": 7 },
                "tags": { "team": "web" },
            })
        );
        assert_eq!(
            settings.stack_part(),
            json!({
                "app": { "version_header": "x-v" }, "logs": { "access": true, "retention_days": 7 },
                "tags": { "team": "web" },
            })
        );
        assert_eq!(Settings::default().release_part(), json!({}));
        assert_eq!(Settings::from_parts(&settings.stack_part(), &settings.release_part()).unwrap(), settings);
    }

    #[test]
    fn what_both_parts_have_is_the_release_s_even_if_it_is_a_default() {
        let stack = Settings::parse("[tags]\nteam = 'web'\n[logs]\nretention_days = 7\n").unwrap().stack_part();
        assert_eq!(Settings::from_parts(&stack, &json!({})).unwrap(), Settings::default());
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        let stack = json!({ "cutover": { "idle_sleeps_after": 60 } });
        let error = Settings::from_parts(&stack, &json!({ "autoscaling": { "max": 9 } })).unwrap_err();
        assert!(error.to_string().contains("cutover.idle_sleeps_after"), "{error}");
    }
}
