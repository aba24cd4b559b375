//! System calls that the agent never makes, and that are therefore refused to it: a filter (seccomp) that whoever got the
//! better of it would have to live with.
//!
//! What is refused is listed, not what is allowed: which harmless calls a C library makes changes with its version, and the
//! agent must go on counting under the next one. A refused call fails with EPERM, and ends nothing.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Starting programs.
const PROGRAMS: &[i64] = &[libc::SYS_execve, libc::SYS_execveat];

/// What no part of the agent does, at any time.
const NEVER: &[i64] = &[
    // Other processes: their memory, their end. Of descriptors, those of listeners are borrowed: see `kernel/older`.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_quotactl,
    libc::SYS_vhangup,
    // What is mounted where.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    // New namespaces; those that are there are entered, for their older connections.
    libc::SYS_unshare,
    // Who one is, and what the machine is called, and when.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    // Parts of the kernel that are large and not used here.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_personality,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mknodat,
];

#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[i64] = &[
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[i64] = &[];

/// What the threads that speak with the network do not do either: BPF, other namespaces, other processes' descriptors, changes
/// to files, new listeners.
const NOT_TO_SERVE: &[i64] = &[
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_setns,
    libc::SYS_listen,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
];

#[cfg(target_arch = "x86_64")]
const NOT_TO_SERVE_HERE: &[i64] = &[
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
];
#[cfg(not(target_arch = "x86_64"))]
const NOT_TO_SERVE_HERE: &[i64] = &[];

/// The sockets that those threads make: to the API server, and what a C library asks to find its address.
const DOMAINS: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Whether programs may be started: a kubeconfig can name one that gives credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// They may.
    Started,
    /// They may not.
    Refused,
}

/// Refuses this thread, and those that it starts from now on, what the agent never does. Gives the number of calls.
pub(super) fn refuse_never(programs: Programs) -> Result<usize, seccompiler::Error> {
    let programs = if programs == Programs::Refused { PROGRAMS } else { &[] };
    refuse(&[NEVER, NEVER_HERE, programs], BTreeMap::new())
}

/// Refuses this thread, and those that it starts from now on, what takes no part in serving.
pub(super) fn refuse_to_serve() -> Result<usize, seccompiler::Error> {
    let domain = |domain: i32| {
        let domain = u64::from(domain.unsigned_abs());
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, domain)
    };
    let others = SeccompRule::new(DOMAINS.into_iter().map(domain).collect::<Result<_, _>>()?)?;
    refuse(&[NOT_TO_SERVE, NOT_TO_SERVE_HERE], [(libc::SYS_socket, vec![others])].into())
}

fn refuse(calls: &[&[i64]], mut rules: BTreeMap<i64, Vec<SeccompRule>>) -> Result<usize, seccompiler::Error> {
    rules.extend(calls.iter().copied().flatten().map(|call| (*call, Vec::new())));
    let number = rules.len();
    let refusal = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refusal, std::env::consts::ARCH.try_into()?)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use std::{fs, io, net::TcpListener, process::Command};

    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;

    /// What happens on a thread that gave something up.
    fn after<T: Send + 'static>(give_up: fn(), act: fn() -> T) -> T {
        let thread = std::thread::spawn(move || {
            give_up();
            act()
        });
        thread.join().unwrap()
    }

    fn never() {
        refuse_never(Programs::Refused).unwrap();
    }

    fn serving() {
        refuse_to_serve().unwrap();
    }

    fn refused<T>(tried: io::Result<T>) -> bool {
        tried.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
    }

    #[test]
    fn no_program_is_started() {
        assert!(refused(after(never, || Command::new("true").status())));
        let allowed = || {
            refuse_never(Programs::Started).unwrap();
        };
        assert!(after(allowed, || Command::new("true").status()).unwrap().success());
    }

    #[test]
    fn who_serves_makes_no_listener_and_no_odd_socket_and_changes_no_file() {
        assert!(refused(after(serving, || TcpListener::bind("127.0.0.1:0"))));
        assert!(refused(after(serving, || fs::remove_file("/nowhere"))));
        let family = |family| move || socket(family, SocketType::STREAM, None).map_err(io::Error::from);
        let thread = std::thread::spawn(move || {
            serving();
            (family(AddressFamily::INET)(), family(AddressFamily::VSOCK)())
        });
        let (inet, vsock) = thread.join().unwrap();
        assert!(inet.is_ok() && refused(vsock));
    }

    #[test]
    fn the_filter_is_seen_from_outside() {
        let status = after(never, || fs::read_to_string("/proc/thread-self/status").unwrap());
        assert!(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    }
}
