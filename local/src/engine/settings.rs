//! The settings of a container in its task definition that decide how it runs. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html>

use aws_sdk_ecs::types::{ContainerDefinition, TaskDefinition};
use std::time::Duration;

/// The settings of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The user, in place of the user of the image.
    pub(crate) user: Option<String>,
    pub(crate) working_directory: Option<String>,
    /// Whether its root file system is read-only.
    pub(crate) read_only: bool,
    /// The capabilities to add to and to drop from the default set; `ALL` is all of them.
    pub(crate) add: Vec<String>,
    pub(crate) drop: Vec<String>,
    /// Whether process 1 is an init process.
    pub(crate) init: bool,
    /// The time from the stop signal to the end by force.
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) limits: Vec<Limit>,
    /// The memory limit of the container in bytes.
    pub(crate) memory: Option<u64>,
    /// The share of the container in the CPU of its task, if that is busy.
    pub(crate) cpu: Option<u64>,
    pub(crate) task: TaskLimits,
    pub(crate) volumes: Vec<Volume>,
    /// The ports that it declares.
    pub(crate) ports: Vec<u16>,
}

/// The limits of a task, for all its containers together:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TaskLimits {
    /// In bytes.
    pub(crate) memory: Option<u64>,
    /// In CPU units: 1024 are one vCPU.
    pub(crate) cpu: Option<u64>,
}

/// A resource limit (`ulimits`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// A volume of the task in this container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) read_only: bool,
}

const MEBIBYTE: u64 = 1024 * 1024;

impl Settings {
    /// The settings of a container; none if the definition has no such container.
    pub(crate) fn of(definition: &TaskDefinition, container: &str) -> Self {
        let found = definition.container_definitions().iter().find(|found| found.name() == Some(container));
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let memory = number(definition.memory()).map(|mebibytes| mebibytes * MEBIBYTE);
        let task = TaskLimits { memory, cpu: number(definition.cpu()) };
        found.map(|found| Self { task, ..Self::read(found) }).unwrap_or_default()
    }

    fn read(container: &ContainerDefinition) -> Self {
        let linux = container.linux_parameters();
        let capabilities = linux.and_then(|linux| linux.capabilities());
        let own_memory = container.memory().and_then(|memory| u64::try_from(memory).ok()).filter(|memory| *memory > 0);
        let volume = |mount: &aws_sdk_ecs::types::MountPoint| {
            Some(Volume {
                name: mount.source_volume()?.to_owned(),
                path: mount.container_path()?.to_owned(),
                read_only: mount.read_only() == Some(true),
            })
        };
        let limit = |limit: &aws_sdk_ecs::types::Ulimit| Limit {
            name: limit.name().as_str().to_owned(),
            soft: u64::try_from(limit.soft_limit()).unwrap_or(u64::MAX),
            hard: u64::try_from(limit.hard_limit()).unwrap_or(u64::MAX),
        };
        let timeout = container.stop_timeout().and_then(|seconds| u64::try_from(seconds).ok());
        let ports = container.port_mappings().iter().filter_map(|port| port.container_port());
        Self {
            user: container.user().filter(|user| !user.is_empty()).map(str::to_owned),
            working_directory: container.working_directory().filter(|dir| !dir.is_empty()).map(str::to_owned),
            read_only: container.readonly_root_filesystem() == Some(true),
            add: capabilities.map(|all| all.add().to_vec()).unwrap_or_default(),
            drop: capabilities.map(|all| all.drop().to_vec()).unwrap_or_default(),
            init: linux.and_then(|linux| linux.init_process_enabled()) == Some(true),
            stop_timeout: timeout.map(Duration::from_secs),
            limits: container.ulimits().iter().map(limit).collect(),
            memory: own_memory.map(|mebibytes| mebibytes * MEBIBYTE),
            cpu: u64::try_from(container.cpu()).ok().filter(|units| *units > 0),
            task: TaskLimits::default(),
            volumes: container.mount_points().iter().filter_map(volume).collect(),
            ports: ports.filter_map(|port| u16::try_from(port).ok()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::{KernelCapabilities as Capabilities, LinuxParameters, MountPoint, Ulimit, UlimitName};

    #[test]
    fn the_settings_of_a_container_are_read_from_its_task_definition() {
        let linux = LinuxParameters::builder()
            .capabilities(Capabilities::builder().drop("ALL").build())
            .init_process_enabled(true)
            .build();
        let limit = Ulimit::builder().name(UlimitName::Nofile).soft_limit(1024).hard_limit(2048).build().unwrap();
        let container = ContainerDefinition::builder()
            .name("web")
            .user("65532:65532")
            .readonly_root_filesystem(true)
            .linux_parameters(linux)
            .stop_timeout(5)
            .memory(64)
            .cpu(128)
            .ulimits(limit)
            .mount_points(MountPoint::builder().source_volume("tmp").container_path("/tmp").build())
            .build();
        let definition = TaskDefinition::builder().memory("512").cpu("256").container_definitions(container).build();
        let expected = Settings {
            user: Some("65532:65532".into()),
            read_only: true,
            drop: vec!["ALL".into()],
            init: true,
            stop_timeout: Some(Duration::from_secs(5)),
            limits: vec![Limit { name: "nofile".into(), soft: 1024, hard: 2048 }],
            memory: Some(64 * MEBIBYTE),
            cpu: Some(128),
            task: TaskLimits { memory: Some(512 * MEBIBYTE), cpu: Some(256) },
            volumes: vec![Volume { name: "tmp".into(), path: "/tmp".into(), read_only: false }],
            ..Settings::default()
        };
        assert_eq!(Settings::of(&definition, "web"), expected);
        assert_eq!(Settings::of(&definition, "other"), Settings::default());
    }
}
