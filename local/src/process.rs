//! Processes by pid and start time, so that a reused pid is never signaled.

use crate::error::{Context, Result};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, set_child_subreaper, waitpid};
use serde::{Deserialize, Serialize};
use std::fs;

/// Identifies a process: the system reuses a pid, but not a pid with its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The process id.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub(crate) started: u64,
}

impl ProcessId {
    /// The process that has this pid now, if any.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let stat = Stat::read(pid)?;
        Some(Self { pid, started: stat.started })
    }

    /// This process.
    pub(crate) fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether this process still runs; a zombie does not.
    pub(crate) fn alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Signals this process, if it is still this process.
    pub(crate) fn signal(self, signal: Signal) {
        if Stat::read(self.pid).is_some_and(|stat| stat.started == self.started)
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // It fails only if the process no longer exists, which is the purpose of the signal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Signals the process group that this process leads, if it is still this process.
    pub(crate) fn signal_group(self, signal: Signal) {
        if Stat::read(self.pid).is_some_and(|stat| stat.started == self.started)
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // It fails only if the group no longer exists, which is the purpose of the signal.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// Kills the rest of a group whose leader has ended. Call it directly after reaping the leader.
pub(crate) fn end_stragglers(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Makes this process the parent of those of its descendants whose parent has ended. A program that starts a session of its
/// own leaves its process group, but not this family.
pub(crate) fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(rustix::process::getpid())).context(|| "cannot adopt orphaned processes".into())
}

/// The children of this process that have ended and whose end nobody has read.
pub(crate) fn ended_children() -> Vec<i32> {
    children().into_iter().filter(|(_, state)| *state == 'Z').map(|(pid, _)| pid).collect()
}

/// Reads the end of a child that has ended.
pub(crate) fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It fails only if the end was read meanwhile.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Kills the children of this process, and their children as they become its own. Returns whether none is left.
pub(crate) fn end_children() -> bool {
    let children = children();
    for (pid, state) in &children {
        if *state == 'Z' {
            reap(*pid);
        } else if let Some(pid) = Pid::from_raw(*pid) {
            // It fails only if the child has ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    children.is_empty()
}

/// The children of this process, with their states.
fn children() -> Vec<(i32, char)> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let child = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = Stat::read(pid)?;
        (stat.parent == own).then_some((pid, stat.state))
    };
    all.flatten().filter_map(child).collect()
}

/// The id of this boot: start times of different boots cannot be compared.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The process that listens on a TCP port of 127.0.0.1 or of every address, if `/proc` shows it: `python3 (pid 4711)`.
pub(crate) fn port_owner(port: u16) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The table has addresses in the byte order of the processor.
        let (address, local_port) = fields.get(1)?.split_once(':')?;
        let ours =
            u32::from_str_radix(address, 16).is_ok_and(|bits| [[127, 0, 0, 1], [0; 4]].contains(&bits.to_ne_bytes()));
        let local_port = u16::from_str_radix(local_port, 16).ok()?;
        (ours && local_port == port && *fields.get(3)? == "0A").then(|| fields.get(9).map(ToString::to_string))?
    })?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let owns =
            descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.to_string_lossy() == wanted));
        if owns {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let state = state_directory(pid).map(|dir| format!(", state directory {dir}")).unwrap_or_default();
            return Some(format!("{} (pid {pid}{state})", name.trim()));
        }
    }
    None
}

/// The state directory of the daemon of another local cloud, from its command line.
fn state_directory(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let mut arguments = line.split('\0');
    arguments.find(|argument| *argument == "--state")?;
    let state = arguments.next()?.to_owned();
    (arguments.next() == Some("serve")).then_some(state)
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command in the second field can contain spaces and parentheses, so fields count from the last `)`.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 987654 0 0";
        let parsed = Stat::parse(stat).unwrap();
        assert_eq!((parsed.state, parsed.parent, parsed.started), ('S', 1, 987_654));
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_time_is_not() {
        let me = ProcessId::current().unwrap();
        assert!(me.alive());
        assert!(!ProcessId { started: me.started + 1, ..me }.alive());
    }

    #[test]
    fn the_owner_of_a_port_is_named() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = port_owner(socket.local_addr().unwrap().port()).unwrap();
        assert!(owner.contains(&format!("pid {}", std::process::id())), "{owner}");
    }

    #[test]
    fn a_task_on_an_address_of_its_own_does_not_own_the_port() {
        let task = std::net::TcpListener::bind("127.64.7.7:0").unwrap();
        let port = task.local_addr().unwrap().port();
        let mine = format!("pid {}", std::process::id());
        assert!(port_owner(port).is_none_or(|owner| !owner.contains(&mine)));
    }
}
