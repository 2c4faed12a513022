//! What a worker may ask of the kernel: memory, threads, time, and its line; nothing that opens, connects, starts or
//! looks at anything (seccomp(2)).

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Always allowed.
const ALLOWED: &[i64] = &[
    // Memory, also for machine code.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    // Threads.
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals of its own: wasmtime makes traps of some.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and randomness.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // What is open already, and what a runtime waits on.
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
];

/// Allowed, and only on this architecture there.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Has every thread of this process, also of those to come, do nothing but what is allowed. What is not, fails with
/// EPERM.
///
/// # Errors
/// Why not, for people.
pub(crate) fn confine() -> Result<(), String> {
    let programs = programs().map_err(|error| format!("seccomp: {error}"))?;
    for program in programs {
        seccompiler::apply_filter(&program).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(())
}

fn programs() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    // A new thread's flags lie in memory that a filter cannot see: so the C library is sent to the older call, whose
    // flags are its first argument. Of two errors that of the filter that came last counts; of an error and what is
    // allowed, the error.
    let newer = [(libc::SYS_clone3, Vec::new())].into_iter().collect();
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    let no_clone3 = SeccompFilter::new(newer, SeccompAction::Allow, unknown, architecture)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let rules = SeccompFilter::new(rules()?, refused, SeccompAction::Allow, architecture)?;
    Ok([no_clone3.try_into()?, rules.try_into()?])
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let is = |argument: u8, mask: u64, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)
    };
    let thread = libc::CLONE_THREAD as u64;
    let itself = u64::from(std::process::id());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())).collect();
    // Refused by the other filter.
    rules.insert(libc::SYS_clone3, Vec::new());
    // A thread, and no process.
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is(0, thread, thread)?])?]);
    // Ending itself, as by abort.
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![is(0, u64::MAX, itself)?])?]);
    // Naming a thread or a mapping.
    let named = |option: i32| SeccompRule::new(vec![is(0, u64::MAX, option as u64)?]);
    rules.insert(libc::SYS_prctl, vec![named(libc::PR_SET_NAME)?, named(libc::PR_SET_VMA)?]);
    // Reading limits, and setting none.
    rules
        .insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![is(0, u64::MAX, 0)?, is(2, u64::MAX, 0)?])?]);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_that_opens_connects_starts_or_looks() {
        let rules = rules().expect("rules");
        for forbidden in [
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_accept4,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_unlinkat,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_setuid,
            libc::SYS_ioctl,
            libc::SYS_io_uring_setup,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_keyctl,
        ] {
            assert!(!rules.contains_key(&forbidden), "{forbidden}");
        }
        assert!(programs().is_ok(), "the rules are those of a filter");
    }
}
