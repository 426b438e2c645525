//! The process of a command that holds a lease, so that another command on the same machine can check whether it still
//! runs. Must not know what a lease is.

use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;

/// The unique identity of a process. Only on systems with `/proc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The scope of its number: the boot of the machine, the PID namespace, and the user, who sees all of the user's
    /// own processes.
    pub place: String,
    /// Its number.
    pub pid: u32,
    /// Its start time in kernel ticks since the boot, because numbers are reused.
    pub began: u64,
}

/// The state of a process, as the kernel reports it.
struct Stat {
    state: char,
    began: u64,
}

impl Process {
    /// This process; `None` if its identity cannot be determined for certain.
    pub fn current() -> Option<Self> {
        let pid = std::process::id();
        // A /proc of another namespace numbers processes differently.
        let numbered = std::fs::read_link("/proc/self").ok()?.to_str()?.parse::<u32>().ok()?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let user = std::fs::metadata("/proc/self").ok()?.uid();
        let place = format!("{} {} {user}", boot.trim(), namespace.to_str()?);
        let began = stat(&std::fs::read_to_string("/proc/self/stat").ok()?)?.began;
        (numbered == pid).then_some(Self { place, pid, began })
    }

    /// Whether it has certainly ended: false for a process of another machine, and if that cannot be determined.
    pub fn is_gone(&self) -> bool {
        if Self::current().is_none_or(|here| here.place != self.place) {
            return false;
        }
        match std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            // A process that has ended, but whose parent has not waited for it yet, is listed as Z or X.
            Ok(text) => stat(&text).is_some_and(|stat| stat.began != self.began || matches!(stat.state, 'Z' | 'X')),
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }
}

/// Reads `/proc/PID/stat` (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>): the third field is the state,
/// the 22nd the start time. The second is a name in parentheses, which may contain any character.
fn stat(text: &str) -> Option<Stat> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let began = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, began })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_one_that_was_or_is_elsewhere_is_reported_from_it() {
        let me = Process::current().unwrap();
        assert!(!me.is_gone());
        assert!(Process { began: me.began + 1, ..me.clone() }.is_gone(), "its number was reused");
        assert!(Process { pid: u32::MAX, ..me.clone() }.is_gone());
        let elsewhere = Process { place: "elsewhere".to_owned(), pid: u32::MAX, ..me };
        assert!(!elsewhere.is_gone(), "nothing is known of another machine");
    }

    #[test]
    fn one_that_has_ended_and_is_not_waited_for_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let text = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let process = Process { pid: child.id(), began: stat(&text()).unwrap().began, ..Process::current().unwrap() };
        while stat(&text()).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        assert!(process.is_gone());
        child.wait().unwrap();
        assert!(process.is_gone());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = "7 (a) S 9) R 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 2 3";
        let stat = stat(text).unwrap();
        assert_eq!((stat.state, stat.began), ('R', 4711));
    }
}
