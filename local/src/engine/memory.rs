//! The memory of the processes of a container that no control group limits.

use std::fs::{read_dir, read_to_string};

/// The memory of a process and its descendants, in bytes: the proportional set size, which counts shared pages once.
pub(super) fn of(pid: i32) -> u64 {
    let own = read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    let children = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = children.filter_map(|thread| read_to_string(thread.path().join("children")).ok());
    let children: Vec<i32> = children
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    own.unwrap_or(0_u64) * 1024 + children.into_iter().map(of).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_memory_of_a_process_has_that_of_its_children() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(of(own) > 100 * 1024);
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let alone = of(child.id().try_into().unwrap());
        assert!(alone > 0 && of(own) > alone);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of(child.id().try_into().unwrap()), 0);
    }
}
