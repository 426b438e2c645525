//! User namespaces with one user, which the kernel allows without root rights:
//! <https://man7.org/linux/man-pages/man7/user_namespaces.7.html>.

use crate::error::{Context, Result};
use nix::sched::{CloneFlags, unshare};

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
