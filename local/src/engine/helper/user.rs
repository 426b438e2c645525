//! User namespaces with one user, which the kernel allows without root rights:
//! <https://man7.org/linux/man-pages/man7/user_namespaces.7.html>. And the end of all capabilities.

use crate::error::{Context, Result};
use libcontainer::capabilities::drop_privileges;
use libcontainer::oci_spec::runtime::LinuxCapabilitiesBuilder;
use libcontainer::syscall::syscall::create_syscall;
use nix::sched::{CloneFlags, unshare};
use std::collections::HashSet;

/// Enters a new user namespace in which the current user and group have these ids.
pub(super) fn enter_new(uid: u32, gid: u32) -> Result<()> {
    let outside = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER).context(|| "cannot create a user namespace".into())?;
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{uid} {} 1\n", outside.0))?;
    write("/proc/self/gid_map", &format!("{gid} {} 1\n", outside.1))
}

fn write(path: &str, text: &str) -> Result<()> {
    std::fs::write(path, text).context(|| format!("cannot create a user namespace: cannot write {path}"))
}

/// Drops all capabilities of this process and of the programs that it executes.
pub(super) fn drop_capabilities() -> Result<()> {
    let none = LinuxCapabilitiesBuilder::default()
        .bounding(HashSet::new())
        .effective(HashSet::new())
        .permitted(HashSet::new())
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build();
    let none = none.context(|| "cannot drop capabilities".into())?;
    drop_privileges(&none, create_syscall().as_ref()).context(|| "cannot drop capabilities".into())
}
