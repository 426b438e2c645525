//! The control group of a task: its limits of memory and CPU, for all its containers together. Each container has
//! another group inside. Only with root rights.
//!
//! A machine has the hierarchies of version 1, one for each kind of limit, or the one hierarchy of version 2:
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>.

use super::settings::TaskLimits;
use crate::error::{Context, Result};
use crate::process::ProcessId;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";
/// The group of all local clouds of this machine.
const ALL: &str = "local-cloud";
/// The period of a CPU limit, in microseconds.
const PERIOD: u64 = 100_000;
/// One vCPU in the units of a task definition:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size>.
const UNITS_OF_A_CPU: u64 = 1024;
/// The least quota that the kernel accepts, in microseconds.
const LEAST_QUOTA: u64 = 1_000;

/// The group of a task. It is removed when this is dropped, if its containers have ended.
#[derive(Debug)]
pub(super) struct TaskGroup {
    /// Its path, from the root of each hierarchy.
    path: String,
}

impl TaskGroup {
    /// Creates the group with its limits.
    pub(super) fn create(task: &str, limits: TaskLimits) -> Result<Self> {
        let group = Self { path: format!("/{}/{task}", own()) };
        group.limit(Path::new(MOUNT), limits).context(|| format!("cannot create the control group {}", group.path))?;
        Ok(group)
    }

    /// The path of the group of a container.
    pub(super) fn of_container(&self, id: &str) -> String {
        format!("{}/{id}", self.path)
    }

    fn limit(&self, mount: &Path, limits: TaskLimits) -> io::Result<()> {
        let quota = limits.cpu.map(|units| (units * PERIOD / UNITS_OF_A_CPU).max(LEAST_QUOTA));
        if mount.join("cgroup.controllers").exists() {
            let group = self.create_with_controllers(mount)?;
            if let Some(bytes) = limits.memory {
                fs::write(group.join("memory.max"), bytes.to_string())?;
                // Absent if the kernel does not count swap.
                write_if_there(&group.join("memory.swap.max"), "0")?;
            }
            return match quota {
                Some(quota) => fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}")),
                None => Ok(()),
            };
        }
        if let Some(bytes) = limits.memory {
            let group = self.create_in(&mount.join("memory"))?;
            fs::write(group.join("memory.limit_in_bytes"), bytes.to_string())?;
            write_if_there(&group.join("memory.memsw.limit_in_bytes"), &bytes.to_string())?;
        }
        if let Some(quota) = quota {
            let group = self.create_in(&mount.join("cpu"))?;
            fs::write(group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
        }
        Ok(())
    }

    fn create_in(&self, hierarchy: &Path) -> io::Result<PathBuf> {
        let group = hierarchy.join(self.path.trim_start_matches('/'));
        fs::create_dir_all(&group)?;
        Ok(group)
    }

    /// Creates the group in version 2, where each group must allow the limits of those inside.
    fn create_with_controllers(&self, mount: &Path) -> io::Result<PathBuf> {
        let mut group = mount.to_owned();
        for part in self.path.split('/').filter(|part| !part.is_empty()) {
            fs::write(group.join("cgroup.subtree_control"), "+cpu +memory")?;
            group.push(part);
            match fs::create_dir(&group) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(group)
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        for hierarchy in hierarchies() {
            remove(&hierarchy.join(self.path.trim_start_matches('/')));
        }
    }
}

/// The path of a group that does not exist, for a container that has none: the runtime kills what is in its group.
pub(super) fn unused(id: &str) -> String {
    format!("/{}/none/{id}", own())
}

/// Whether a path is that of a group below those of local clouds, and not one that other processes are in.
pub(super) fn is_own(path: &str) -> bool {
    let inside = path.strip_prefix('/').and_then(|path| path.strip_prefix(ALL)).and_then(|rest| rest.strip_prefix('/'));
    inside.is_some_and(|inside| inside.split('/').filter(|part| !part.is_empty()).count() == 3)
}

/// Removes the groups of this process and of local clouds that have ended. Groups with processes stay.
pub(super) fn clean() {
    for hierarchy in hierarchies() {
        let Ok(groups) = fs::read_dir(hierarchy.join(ALL)) else { continue };
        for group in groups.flatten() {
            let name = group.file_name();
            let owner = name.to_str().and_then(owner);
            if owner.is_some_and(|owner| owner.alive() && Some(owner) != ProcessId::current()) {
                continue;
            }
            remove_with_groups(&group.path());
        }
    }
}

/// The group of all tasks of this process.
fn own() -> String {
    let process = ProcessId::current();
    let (pid, started) = process.map_or((0, 0), |process| (process.pid, process.started));
    format!("{ALL}/{pid}-{started}")
}

/// The process whose group has this name.
fn owner(name: &str) -> Option<ProcessId> {
    let (pid, started) = name.split_once('-')?;
    Some(ProcessId { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

/// The roots of all hierarchies, of both versions.
fn hierarchies() -> Vec<PathBuf> {
    let inside = fs::read_dir(MOUNT).into_iter().flatten().flatten().map(|entry| entry.path());
    [PathBuf::from(MOUNT)].into_iter().chain(inside.filter(|path| path.join("cgroup.procs").exists())).collect()
}

fn remove_with_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_with_groups(&entry.path());
        }
    }
    remove(group);
}

fn remove(group: &Path) {
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!("cannot remove the control group {}: {error}", group.display());
        }
        _ => {}
    }
}

fn write_if_there(path: &Path, text: &str) -> io::Result<()> {
    match fs::File::options().write(true).open(path) {
        Ok(mut file) => io::Write::write_all(&mut file, text.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TaskLimits = TaskLimits { memory: Some(512 << 20), cpu: Some(256) };

    fn group() -> TaskGroup {
        TaskGroup { path: "/local-cloud/test/task".to_owned() }
    }

    #[test]
    fn limits_of_version_1_are_in_the_hierarchy_of_each_kind() {
        let mount = tempfile::tempdir().unwrap();
        let memory = mount.path().join("memory/local-cloud/test/task");
        fs::create_dir_all(&memory).unwrap();
        fs::write(memory.join("memory.memsw.limit_in_bytes"), "").unwrap();
        group().limit(mount.path(), LIMITS).unwrap();
        let read = |path: &str| fs::read_to_string(mount.path().join(path)).unwrap();
        assert_eq!(read("memory/local-cloud/test/task/memory.limit_in_bytes"), "536870912");
        assert_eq!(read("memory/local-cloud/test/task/memory.memsw.limit_in_bytes"), "536870912");
        assert_eq!(read("cpu/local-cloud/test/task/cpu.cfs_quota_us"), "25000");
        assert_eq!(read("cpu/local-cloud/test/task/cpu.cfs_period_us"), "100000");
    }

    #[test]
    fn limits_of_version_2_are_in_one_group_whose_parents_allow_them() {
        let mount = tempfile::tempdir().unwrap();
        fs::write(mount.path().join("cgroup.controllers"), "cpu memory").unwrap();
        group().limit(mount.path(), LIMITS).unwrap();
        let read = |path: &str| fs::read_to_string(mount.path().join(path)).unwrap();
        assert_eq!(read("local-cloud/test/task/memory.max"), "536870912");
        assert_eq!(read("local-cloud/test/task/cpu.max"), "25000 100000");
        for parent in ["", "local-cloud", "local-cloud/test"] {
            let path = Path::new(parent).join("cgroup.subtree_control");
            assert_eq!(read(path.to_str().unwrap()), "+cpu +memory", "{parent}");
        }
    }

    #[test]
    fn a_group_names_the_process_that_it_is_of() {
        let name = own();
        assert_eq!(owner(name.rsplit('/').next().unwrap()), ProcessId::current());
        assert_eq!(owner("test"), None);
    }

    #[test]
    fn only_groups_of_containers_are_given_to_the_runtime() {
        assert!(is_own(&unused("1")) && is_own(&group().of_container("1")));
        for foreign in ["", "/", "/local-cloud", "/local-cloud/1-2", "/user.slice/1/2/3", "/local-clouds/1/2/3"] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
