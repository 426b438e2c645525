//! The system calls that the programs of a task may not use: those that Docker denies by default. They fail with `EPERM`, as
//! there. AWS publishes no list for Fargate.
//!
//! <https://docs.docker.com/engine/security/seccomp/>,
//! <https://github.com/moby/profiles/blob/main/seccomp/default.json>

use crate::error::{Context, Result};
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Compare, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// Denied, whatever the arguments are. The comments name what they are for.
const DENIED: &[c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_fanotify_init,
    // Namespaces and names of the machine.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Keys of the kernel, which no namespace separates.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The kernel itself: modules, programs in it, its log, its restart.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    // The clock of the machine.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    // Memory of other processes, and its place in the machine.
    libc::SYS_userfaultfd,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // A second way to many system calls, which this filter does not see.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_nfsservctl,
];
/// Denied, and only there on this architecture.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[c_long] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS__sysctl,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[c_long] = &[];
/// Denied to programs without the capability `SYS_PTRACE`.
const TRACING: &[c_long] = &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise];
/// The flags of `clone` that create namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// The personalities that a program may have: of Linux, of other word sizes, and the question for it.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// System calls from this number on are those of the x32 interface, in which the numbers above mean something else.
const X32: u32 = 0x4000_0000;

/// Filters the system calls of this process and of the programs that it executes. A program for another architecture, such
/// as one of 32 bits, is killed at its first system call.
pub(super) fn apply(may_trace: bool) -> Result<()> {
    let what = || "cannot filter system calls".to_owned();
    for filter in filters(may_trace).context(what)? {
        seccompiler::apply_filter(&filter).context(what)?;
    }
    Ok(())
}

fn filters(may_trace: bool) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let program = |rules: BTreeMap<i64, Vec<Rule>>, errno: i32| {
        let denied = SeccompAction::Errno(errno.unsigned_abs());
        SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture)?.try_into()
    };
    // C libraries try `clone3` first, whose flags are not in its arguments, and use `clone` if the kernel has none.
    let no_clone3 = program(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
    let mut all = vec![program(denied(may_trace)?, libc::EPERM)?, no_clone3];
    if cfg!(target_arch = "x86_64") {
        all.push(no_x32());
    }
    Ok(all)
}

fn denied(may_trace: bool) -> Result<BTreeMap<i64, Vec<Rule>>, seccompiler::BackendError> {
    let tracing = if may_trace { &[] } else { TRACING };
    let always = DENIED.iter().chain(DENIED_HERE).chain(tracing);
    let mut rules: BTreeMap<i64, Vec<Rule>> = always.map(|call| (*call, Vec::new())).collect();
    let namespaces = NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        Rule::new(vec![Condition::new(0, Width::Qword, Compare::MaskedEq(flag), flag)?])
    });
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let others = PERSONALITIES.iter().map(|known| Condition::new(0, Width::Dword, Compare::Ne, *known));
    rules.insert(libc::SYS_personality, vec![Rule::new(others.collect::<Result<_, _>>()?)?]);
    // Sockets to the machine below a virtual machine.
    let vsock = Condition::new(0, Width::Dword, Compare::Eq, u64::from(libc::AF_VSOCK.unsigned_abs()))?;
    rules.insert(libc::SYS_socket, vec![Rule::new(vec![vsock])?]);
    Ok(rules)
}

/// Four instructions of the classic Berkeley packet filter: the number of the call, and an answer from the first of x32 on.
fn no_x32() -> BpfProgram {
    let instruction = |code: u32, yes: u8, no: u8, value: u32| sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: yes,
        jf: no,
        k: value,
    };
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, enosys),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_tracing_follow_the_capability_and_the_others_do_not() {
        let (with, without) = (denied(true).unwrap(), denied(false).unwrap());
        assert_eq!(without.len(), with.len() + TRACING.len());
        assert!(with.contains_key(&libc::SYS_unshare) && without.contains_key(&libc::SYS_kcmp));
        assert!(!without.contains_key(&libc::SYS_ptrace), "ptrace of own processes is allowed, as in Docker");
    }

    #[test]
    fn the_filters_fit_into_the_kernel() {
        let filters = filters(false).unwrap();
        assert_eq!(filters.len(), if cfg!(target_arch = "x86_64") { 3 } else { 2 });
        // BPF_MAXINSNS
        assert!(filters.iter().all(|filter| filter.len() < 4096), "{:?}", filters.iter().map(Vec::len));
    }
}
