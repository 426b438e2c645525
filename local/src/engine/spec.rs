//! The specification of a container for the OCI runtime. Pure.
//!
//! The defaults are those of Docker, which Fargate has too:
//! <https://github.com/moby/moby/blob/master/daemon/pkg/oci/defaults.go>.

use super::settings::{Limit, Settings};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The capabilities of a container that drops none: those of Docker except `CAP_MKNOD`, because control groups of version 2
/// do not keep a container from the devices of this machine.
const CAPABILITIES: [&str; 13] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// The capability to map root of a user namespace.
const MAP_ROOT: &str = "CAP_SETFCAP";
/// Paths of the kernel that a container cannot read.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
/// Paths of the kernel that a container cannot change.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// The limit of open files on Fargate, soft and hard:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>.
const OPEN_FILES: u64 = 65_535;

/// The least share of a container in the CPU of its task, as Linux has it.
const LEAST_SHARES: u64 = 2;

/// The user that a program runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The other groups that it belongs to.
    pub(super) groups: Vec<u32>,
    pub(super) home: Option<String>,
}

/// A directory or a file of this machine in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) source: PathBuf,
    pub(super) path: String,
    pub(super) read_only: bool,
}

/// What a specification is made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) root: &'a Path,
    pub(super) arguments: &'a [String],
    /// `NAME=value`
    pub(super) environment: &'a [String],
    pub(super) directory: &'a str,
    pub(super) hostname: &'a str,
    pub(super) user: &'a User,
    pub(super) settings: &'a Settings,
    pub(super) binds: &'a [Bind],
    /// The process that holds the network namespace.
    pub(super) network_of: i32,
    /// Whether the container is in a user namespace with one user.
    pub(super) only_user: bool,
    /// Its control group.
    pub(super) group: &'a str,
    /// Whether the kernel limits its memory and its CPU.
    pub(super) limited: bool,
    /// The hard limit of this process for open files, which its children cannot exceed.
    pub(super) most_files: u64,
}

/// The specification.
pub(super) fn specification(parts: &Parts<'_>) -> Value {
    let Parts { settings, user, .. } = parts;
    let kept = capabilities(&settings.add, &settings.drop);
    // A program that does not run as root has no capability, but the programs that it starts can get them.
    let (own, bounding) = match (user.uid, parts.only_user) {
        (0, _) => (kept.clone(), kept),
        (_, false) => (Vec::new(), kept),
        // The kernel asks for it to map root of a namespace to another user; the program does not have it.
        (_, true) => (vec![MAP_ROOT.to_owned()], vec![MAP_ROOT.to_owned()]),
    };
    // Inside a user namespace with one user, the program becomes its user at the end.
    let (uid, gid, groups) = if parts.only_user { (0, 0, &[][..]) } else { (user.uid, user.gid, &user.groups[..]) };
    let resources = if parts.limited {
        json!({
            "memory": settings.memory.map(|limit| json!({ "limit": limit, "swap": limit })),
            "cpu": settings.cpu.map(|units| json!({ "shares": units.max(LEAST_SHARES) })),
            "pids": null,
        })
    } else {
        Value::Null
    };
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": false,
            "user": { "uid": uid, "gid": gid, "additionalGids": groups },
            "args": parts.arguments,
            "env": parts.environment,
            "cwd": parts.directory,
            "capabilities": {
                "bounding": bounding, "effective": own, "permitted": own, "inheritable": [], "ambient": [],
            },
            "rlimits": limits(&settings.limits, parts.most_files),
            // The filter of system calls needs it, and images have no programs that change the user.
            "noNewPrivileges": true,
        },
        "root": { "path": parts.root, "readonly": settings.read_only },
        "hostname": parts.hostname,
        "mounts": mounts(parts),
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
                { "type": "network", "path": format!("/proc/{}/ns/net", parts.network_of) },
            ],
            "cgroupsPath": parts.group,
            "resources": resources,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

fn mounts(parts: &Parts<'_>) -> Vec<Value> {
    // The group `tty` is not in a user namespace with one user.
    let terminals = if parts.only_user {
        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"])
    } else {
        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])
    };
    let mount = |path: &str, kind: &str, options: Value| json!({ "destination": path, "type": kind, "source": kind, "options": options });
    let mut mounts = vec![
        mount("/proc", "proc", json!(["nosuid", "noexec", "nodev"])),
        mount("/dev", "tmpfs", json!(["nosuid", "strictatime", "mode=755", "size=65536k"])),
        mount("/dev/pts", "devpts", terminals),
        mount("/dev/shm", "tmpfs", json!(["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])),
        mount("/dev/mqueue", "mqueue", json!(["nosuid", "noexec", "nodev"])),
        mount("/sys", "sysfs", json!(["nosuid", "noexec", "nodev", "ro"])),
    ];
    let access = |read_only| if read_only { "ro" } else { "rw" };
    mounts.extend(parts.binds.iter().map(|bind| {
        json!({
            "destination": bind.path, "type": "bind", "source": bind.source,
            "options": ["rbind", "rprivate", "nosuid", "nodev", access(bind.read_only)],
        })
    }));
    mounts
}

/// The default capabilities with those added and without those dropped, in order.
fn capabilities(add: &[String], drop: &[String]) -> Vec<String> {
    let named = |list: &[String]| -> Vec<String> {
        let prefixed = |name: &String| format!("CAP_{}", name.to_uppercase().trim_start_matches("CAP_"));
        list.iter().map(prefixed).collect()
    };
    let (add, drop) = (named(add), named(drop));
    let all = drop.iter().any(|name| name == "CAP_ALL");
    let mut kept: Vec<String> = if all { Vec::new() } else { CAPABILITIES.map(str::to_owned).to_vec() };
    kept.retain(|name| !drop.contains(name));
    kept.extend(add);
    kept.sort_unstable();
    kept.dedup();
    kept
}

fn limits(given: &[Limit], most_files: u64) -> Vec<Value> {
    let limit = |name: &str, soft: u64, hard: u64| json!({ "type": format!("RLIMIT_{}", name.to_uppercase()), "soft": soft, "hard": hard });
    let mut limits = Vec::new();
    if !given.iter().any(|given| given.name == "nofile") {
        limits.push(limit("nofile", OPEN_FILES.min(most_files), OPEN_FILES.min(most_files)));
    }
    limits.extend(given.iter().map(|given| {
        let most = if given.name == "nofile" { most_files } else { u64::MAX };
        limit(&given.name, given.soft.min(most), given.hard.min(most))
    }));
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn capabilities_are_the_default_set_without_those_dropped() {
        assert_eq!(capabilities(&[], &[]), names(&CAPABILITIES));
        assert_eq!(capabilities(&[], &names(&["ALL"])), names(&[]));
        assert_eq!(capabilities(&names(&["SYS_PTRACE"]), &names(&["ALL"])), names(&["CAP_SYS_PTRACE"]));
        assert!(!capabilities(&[], &names(&["NET_RAW"])).contains(&"CAP_NET_RAW".to_owned()));
    }

    #[test]
    fn the_limit_of_open_files_is_that_of_fargate_unless_this_machine_has_less() {
        let expected = |files: u64| vec![json!({ "type": "RLIMIT_NOFILE", "soft": files, "hard": files })];
        assert_eq!(limits(&[], 1_000_000), expected(65_535));
        assert_eq!(limits(&[], 4_096), expected(4_096));
        let given = [Limit { name: "nofile".into(), soft: 10, hard: 20 }];
        assert_eq!(limits(&given, 4_096), vec![json!({ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 20 })]);
    }

    #[test]
    fn a_program_that_does_not_run_as_root_has_no_capability_at_first() {
        let (settings, user) = (Settings::default(), User { uid: 65532, gid: 65532, ..User::default() });
        let parts = Parts {
            root: Path::new("/r"),
            arguments: &[],
            environment: &[],
            directory: "/",
            hostname: "h",
            user: &user,
            settings: &settings,
            binds: &[],
            network_of: 1,
            only_user: false,
            group: "/local-cloud/1-2/task/1",
            limited: true,
            most_files: 1024,
        };
        let spec = specification(&parts);
        assert_eq!(spec["process"]["capabilities"]["effective"], json!([]));
        assert_eq!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len(), CAPABILITIES.len());
        assert_eq!(spec["process"]["user"]["uid"], 65532);
        assert_eq!(spec["linux"]["resources"]["memory"], Value::Null, "no limit is given");
        assert_eq!(spec["linux"]["resources"]["cpu"], Value::Null, "no share is given");
        let settings = Settings { memory: Some(1 << 26), cpu: Some(128), ..Settings::default() };
        let spec = specification(&Parts { settings: &settings, ..parts });
        assert_eq!(spec["linux"]["resources"]["memory"]["limit"], 1 << 26);
        assert_eq!(spec["linux"]["resources"]["cpu"]["shares"], 128);
    }
}
