//! What a container of a task is in the engine. Pure.

use super::super::container::Container;
use super::super::settings::Settings;
use super::{NETWORK, host_entry, labels};
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Mount, MountType, MountVolumeOptions,
    NetworkingConfig, ResourcesUlimits,
};
use std::collections::HashMap;

/// The CPU units of one vCPU, and what the engine counts in.
const UNITS: u64 = 1024;
const NANO_CPUS: u64 = 1_000_000_000;

/// The network of a container: its own, with the address of its task, or that of another container of the task.
#[derive(Debug)]
pub(super) enum Network {
    Own,
    Of(String),
}

/// The name of a container in the engine.
pub(super) fn name(container: &Container) -> String {
    format!("local-cloud-{}", container.short_id())
}

/// The name of a volume of a task in the engine.
pub(super) fn volume_name(container: &Container, volume: &str) -> String {
    let task = container.task.as_ref().map_or(container.short_id(), |task| task.task_id());
    format!("local-cloud-{task}-{volume}")
}

/// The container of a task. The endpoint of the local cloud has another address inside than outside.
pub(super) fn container(
    container: &Container,
    settings: &Settings,
    (image, owner): (String, &str),
    network: &Network,
    hostname: String,
    (inside, outside): (&str, &str),
) -> ContainerCreateBody {
    let given = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let environment = container.env.iter().map(|pair| replaced(pair, inside, outside));
    let own = matches!(network, Network::Own);
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(container.address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        image: Some(image),
        entrypoint: given(&container.entrypoint),
        cmd: given(&container.cmd),
        env: Some(std::iter::once("AWS_EXECUTION_ENV=AWS_ECS_FARGATE".to_owned()).chain(environment).collect()),
        user: settings.user.clone(),
        working_dir: settings.working_directory.clone(),
        labels: Some(labels(owner)),
        hostname: own.then_some(hostname),
        networking_config: own
            .then(|| NetworkingConfig { endpoints_config: Some(HashMap::from([(NETWORK.to_owned(), endpoint)])) }),
        host_config: Some(host_config(container, settings, owner, network)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(container: &Container, settings: &Settings, owner: &str, network: &Network) -> HostConfig {
    let bytes = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let limit = |limit: &super::super::settings::Limit| ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(bytes(limit.soft)),
        hard: Some(bytes(limit.hard)),
    };
    // The engine copies what the image has at this place to a new volume, with its owner.
    let mount = |volume: &super::super::settings::Volume| Mount {
        target: Some(volume.path.clone()),
        source: Some(volume_name(container, &volume.name)),
        typ: Some(MountType::VOLUME),
        read_only: Some(volume.read_only),
        volume_options: Some(MountVolumeOptions { labels: Some(labels(owner)), ..MountVolumeOptions::default() }),
        ..Mount::default()
    };
    let (mode, hosts) = match network {
        Network::Own => (NETWORK.to_owned(), Some(vec![host_entry()])),
        Network::Of(other) => (format!("container:{other}"), None),
    };
    // The engine has no limit of a task, so each container has it.
    let memory = settings.memory.or(settings.task.memory);
    HostConfig {
        network_mode: Some(mode),
        extra_hosts: hosts,
        readonly_rootfs: Some(settings.read_only),
        cap_add: Some(settings.add.clone()),
        cap_drop: Some(settings.drop.clone()),
        init: Some(settings.init),
        memory: memory.map(bytes),
        memory_swap: memory.map(bytes),
        cpu_shares: settings.cpu.and_then(|units| i64::try_from(units).ok()),
        nano_cpus: settings.task.cpu.and_then(|units| i64::try_from(units * NANO_CPUS / UNITS).ok()),
        ulimits: Some(settings.limits.iter().map(limit).collect()),
        mounts: Some(settings.volumes.iter().map(mount).collect()),
        ..HostConfig::default()
    }
}

/// A variable whose value is a URL of the endpoint, with the address that it has inside.
fn replaced(pair: &str, inside: &str, outside: &str) -> String {
    let Some((name, value)) = pair.split_once('=') else { return pair.to_owned() };
    match value.strip_prefix(outside) {
        Some(path) if path.is_empty() || path.starts_with('/') => format!("{name}={inside}{path}"),
        _ => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_endpoint_get_its_address_inside() {
        let replaced = |pair: &str| replaced(pair, "http://inside:1", "http://outside:1");
        assert_eq!(replaced("A=http://outside:1"), "A=http://inside:1");
        assert_eq!(replaced("A=http://outside:1/v4/x"), "A=http://inside:1/v4/x");
        for other in ["A=http://outside:12", "A=see http://outside:1", "http://outside:1", "A="] {
            assert_eq!(replaced(other), other);
        }
    }
}
