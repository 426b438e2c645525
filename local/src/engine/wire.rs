//! The types of the Docker Engine API that the client of MiniStack (docker-py) sends and reads. Pure.

use super::Wish;
use super::container::{Container, Phase};
use super::lifecycle::with_output;
use crate::image::Image;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The API version of docker-py 7.
pub(super) const API_VERSION: &str = "1.44";
/// The container name and the network of MiniStack, so that it gives tasks its loopback address.
pub(super) const SELF_NAME: &str = "local-cloud";

/// The body of `POST /containers/create`: the fields that a process can support.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateBody {
    image: String,
    #[serde(default)]
    cmd: Option<Vec<String>>,
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl CreateBody {
    pub(super) fn wish(self, name: String) -> Wish {
        Wish {
            name,
            image: self.image,
            labels: self.labels.unwrap_or_default(),
            env: self.env.unwrap_or_default(),
            entrypoint: self.entrypoint,
            cmd: self.cmd,
        }
    }
}

/// The name of Docker for the state of a container.
pub(super) fn status(phase: Phase) -> &'static str {
    match phase {
        // MiniStack reads the state only after `start` has returned, so a starting container is not started yet for it.
        Phase::Created | Phase::Starting => "created",
        Phase::Healthy | Phase::Unhealthy | Phase::Draining => "running",
        Phase::Exited => "exited",
    }
}

/// `GET /containers/{id}/json`
pub(super) fn inspect(container: &Container) -> Value {
    let state = container.state.borrow().clone();
    let status = status(state.phase);
    let time =
        |time: Option<jiff::Timestamp>| time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string());
    json!({
        "Id": container.id,
        "Created": container.created.to_string(),
        "Name": format!("/{}", container.name),
        "Image": container.image.id,
        "RestartCount": 0,
        "State": {
            "Status": status,
            "Running": status == "running",
            "Paused": false, "Restarting": false, "Dead": false,
            "OOMKilled": state.reason.as_deref().is_some_and(|reason| reason.starts_with("OutOfMemoryError")),
            "Pid": state.process.map_or(0, |process| process.pid),
            "ExitCode": state.exit_code.unwrap_or(0),
            "Error": state.reason.map(|reason| with_output(&reason, container)).unwrap_or_default(),
            "StartedAt": time(state.started),
            "FinishedAt": time(state.finished),
        },
        "Config": {
            "Image": container.image.name,
            "Labels": container.labels,
            "Env": container.env,
            "Cmd": container.cmd,
            "Tty": false,
        },
        "HostConfig": { "LogConfig": { "Type": "json-file", "Config": {} } },
        "Mounts": [],
        "NetworkSettings": networks(&container.address.to_string()),
    })
}

/// One entry of `GET /containers/json`
pub(super) fn listed(container: &Container) -> Value {
    let status = status(container.phase());
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.name)],
        "Image": container.image.name,
        "ImageID": container.image.id,
        "Command": container.cmd.clone().unwrap_or_default().join(" "),
        "Created": container.created.as_second(),
        "State": status,
        "Status": status,
        "Labels": container.labels,
        "Ports": [],
        "Mounts": [],
        "HostConfig": { "NetworkMode": SELF_NAME },
        "NetworkSettings": networks(&container.address.to_string()),
    })
}

/// The answer when MiniStack inspects itself: it runs on the loopback, where tasks reach its endpoint.
pub(super) fn inspect_self() -> Value {
    json!({
        "Id": SELF_NAME,
        "Name": format!("/{SELF_NAME}"),
        "Image": SELF_NAME,
        "State": { "Status": "running", "Running": true, "ExitCode": 0 },
        "Config": { "Labels": {}, "Tty": false },
        "Mounts": [],
        "NetworkSettings": networks("127.0.0.1"),
    })
}

fn networks(address: &str) -> Value {
    json!({ "IPAddress": address, "Networks": { SELF_NAME: { "IPAddress": address, "NetworkID": SELF_NAME } } })
}

/// `GET /images/{name}/json`
pub(super) fn image(image: &Image) -> Value {
    json!({
        "Id": image.id,
        "RepoTags": if image.name.contains('@') { json!([]) } else { json!([image.name]) },
        "RepoDigests": [image.digest],
        "Os": "linux",
        "Architecture": std::env::consts::ARCH,
        "Config": { "Labels": {} },
    })
}

/// `GET /version`
pub(super) fn version() -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": API_VERSION,
        "MinAPIVersion": "1.24",
        "Os": "linux",
        "Arch": std::env::consts::ARCH,
        "Platform": { "Name": "local-cloud" },
        "Components": [],
    })
}

/// The filters of `GET /containers/json`: docker-py sends an object of lists, older clients send an object of objects.
#[derive(Debug, Default)]
pub(super) struct Filters {
    labels: Vec<String>,
}

impl Filters {
    pub(super) fn parse(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let labels = match value.get("label") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::Object(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        };
        Self { labels }
    }

    /// Whether the labels of a container match every filter, each `name` or `name=value`.
    pub(super) fn match_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        })
    }
}

/// The parameters of a query.
pub(super) fn parameters(query: &str) -> BTreeMap<String, String> {
    crate::form::pairs(query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_filters_are_names_or_pairs_and_all_must_match() {
        let labels = BTreeMap::from([("ministack".to_owned(), "ecs".to_owned())]);
        assert!(Filters::parse(r#"{"label":["ministack=ecs"]}"#).match_labels(&labels));
        assert!(Filters::parse(r#"{"label":{"ministack":true}}"#).match_labels(&labels));
        assert!(!Filters::parse(r#"{"label":["ministack=ecs","other"]}"#).match_labels(&labels));
        assert!(Filters::parse("").match_labels(&labels));
    }
}
