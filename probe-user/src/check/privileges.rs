//! What this process may do.

use std::fs;

use aya::{maps::MapType, sys::is_map_supported};

use super::{finding::Finding, kernel::is_refusal};

const SUBJECT: &str = "privileges";
/// Where the kernel tells of this process.
const STATUS: &str = "/proc/self/status";

/// A capability's bit: see `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Capability {
    name: &'static str,
    bit: u32,
}

const SYS_ADMIN: Capability = Capability { name: "CAP_SYS_ADMIN", bit: 21 };
const NET_ADMIN: Capability = Capability { name: "CAP_NET_ADMIN", bit: 12 };
const PERFMON: Capability = Capability { name: "CAP_PERFMON", bit: 38 };
const BPF: Capability = Capability { name: "CAP_BPF", bit: 39 };
const SYS_PTRACE: Capability = Capability { name: "CAP_SYS_PTRACE", bit: 19 };

/// What keeps this process from running the probe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingPrivileges {
    /// Capabilities that it does not have.
    #[error(
        "traffic-probe needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and lacks {}: run it with sudo, or give \
         it these with `setcap cap_bpf,cap_net_admin,cap_perfmon+ep`, or its container by `--cap-add \
         BPF,NET_ADMIN,PERFMON`", .0.join(", ")
    )]
    Capabilities(Vec<&'static str>),
    /// It has them, but not from the host.
    #[error(
        "this process has the capabilities only in a user namespace, where the kernel does not allow loading \
         programs: run the container as the host's root, not rootless and without `--userns` or `--uidmap`"
    )]
    Namespace,
    /// It has them, and may not call `bpf`.
    #[error(
        "this process has the capabilities, but its system call filter (seccomp) refuses bpf(): give its container a \
         profile that allows bpf() to whom has CAP_BPF, as those of newer runtimes do, or none by `--security-opt \
         seccomp=unconfined`"
    )]
    Filter,
    /// Something else refuses.
    #[error(
        "this process has the capabilities, but the kernel refuses bpf(): a security module does (AppArmor, SELinux), \
         or lockdown, which `cat /sys/kernel/security/lockdown` shows"
    )]
    Refused,
}

/// Fails, with a sentence, unless this process may load and attach the probe's programs.
pub fn demand() -> Result<(), MissingPrivileges> {
    let Ok(status) = fs::read_to_string(STATUS) else {
        // The kernel will tell.
        return Ok(());
    };
    parse(&status).map_or(Ok(()), lacking)?;
    // The smallest thing that takes the right: the probe's own maps would fail for many reasons.
    match is_map_supported(MapType::Array) {
        Err(error) if is_refusal(&error) => {
            Err(refused(&status, &fs::read_to_string("/proc/self/uid_map").unwrap_or_default()))
        }
        _ => Ok(()),
    }
}

/// Why `bpf` is refused to a process that has the capabilities for it.
fn refused(status: &str, uid_map: &str) -> MissingPrivileges {
    // The host's maps every user to itself.
    let of_host = uid_map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    let filtered = status.lines().any(|line| line.split_ascii_whitespace().eq(["Seccomp:", "2"]));
    match (of_host, filtered) {
        (false, _) => MissingPrivileges::Namespace,
        (true, true) => MissingPrivileges::Filter,
        (true, false) => MissingPrivileges::Refused,
    }
}

/// The finding about it.
pub(super) fn look() -> Finding {
    let Some(set) = fs::read_to_string(STATUS).ok().and_then(|status| parse(&status)) else {
        return Finding::lesser(SUBJECT, format!("not known: {STATUS} cannot be read; is /proc mounted?"));
    };
    if let Err(error) = demand() {
        return Finding::missing(SUBJECT, error.to_string());
    }
    if !has(set, SYS_PTRACE) && !has(set, SYS_ADMIN) {
        return Finding::lesser(
            SUBJECT,
            "enough to count, but without CAP_SYS_PTRACE the owner of a socket older than the probe may stay \
             unknown: run as root, or add cap_sys_ptrace",
        );
    }
    Finding::good(SUBJECT, "enough to load and attach")
}

fn lacking(set: u64) -> Result<(), MissingPrivileges> {
    // CAP_SYS_ADMIN was split into the others in 5.8 and still stands for two of them.
    let general = has(set, SYS_ADMIN);
    let missing: Vec<_> = [(BPF, general), (NET_ADMIN, false), (PERFMON, general)]
        .into_iter()
        .filter(|(capability, implied)| !implied && !has(set, *capability))
        .map(|(capability, _)| capability.name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingPrivileges::Capabilities(missing)) }
}

fn has(set: u64, capability: Capability) -> bool {
    set >> capability.bit & 1 == 1
}

/// The effective capabilities, after the text of a process's status.
fn parse(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(capabilities: &[Capability]) -> u64 {
        capabilities.iter().map(|capability| 1 << capability.bit).sum()
    }

    #[test]
    fn root_and_the_three_are_enough() {
        assert_eq!(lacking(parse("Name:\tx\nCapEff:\t000001ffffffffff\n").unwrap()), Ok(()));
        assert_eq!(lacking(set(&[BPF, NET_ADMIN, PERFMON])), Ok(()));
        assert_eq!(lacking(set(&[SYS_ADMIN, NET_ADMIN])), Ok(()));
    }

    #[test]
    fn what_is_lacking_is_named() {
        let error = lacking(set(&[BPF])).unwrap_err();
        assert_eq!(error, MissingPrivileges::Capabilities(vec!["CAP_NET_ADMIN", "CAP_PERFMON"]));
        let sentence = error.to_string();
        assert!(sentence.contains("lacks CAP_NET_ADMIN, CAP_PERFMON: run it with sudo"), "{sentence}");
        assert!(lacking(0).is_err());
    }

    #[test]
    fn who_refuses_is_told_from_where_the_process_is() {
        const HOST: &str = "         0          0 4294967295\n";
        let (filtered, free) = ("Seccomp:\t2\nSeccomp_filters:\t1\n", "Seccomp:\t0\n");
        assert_eq!(refused(filtered, HOST), MissingPrivileges::Filter);
        assert_eq!(refused(free, HOST), MissingPrivileges::Refused);
        assert_eq!(refused(filtered, "0 100000 65536\n"), MissingPrivileges::Namespace);
    }
}
