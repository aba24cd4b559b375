//! What this process may do.

use std::fs;

use super::finding::Finding;

const SUBJECT: &str = "privileges";

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

/// What this process lacks to run the probe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "traffic-probe needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and lacks {}: run it with sudo, or give \
     it these with `setcap cap_bpf,cap_net_admin,cap_perfmon+ep`", .0.join(", ")
)]
pub struct MissingPrivileges(Vec<&'static str>);

/// Fails, with a sentence, unless this process may load and attach the probe's programs.
pub fn demand() -> Result<(), MissingPrivileges> {
    // Where procfs does not tell, the kernel will.
    effective().map_or(Ok(()), lacking)
}

/// The finding about it.
pub(super) fn look() -> Finding {
    let Some(set) = effective() else {
        return Finding::lesser(SUBJECT, "not known: /proc/self/status cannot be read; is /proc mounted?");
    };
    if let Err(error) = lacking(set) {
        return Finding::missing(SUBJECT, error.to_string());
    }
    if !has(set, SYS_PTRACE) && !has(set, SYS_ADMIN) {
        return Finding::lesser(
            SUBJECT,
            "enough to count, but without CAP_SYS_PTRACE the owner of a socket that is older than the probe may stay \
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
    if missing.is_empty() { Ok(()) } else { Err(MissingPrivileges(missing)) }
}

fn has(set: u64, capability: Capability) -> bool {
    set >> capability.bit & 1 == 1
}

/// The effective capabilities of this process.
fn effective() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)
}

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
        assert_eq!(error, MissingPrivileges(vec!["CAP_NET_ADMIN", "CAP_PERFMON"]));
        let sentence = error.to_string();
        assert!(sentence.contains("lacks CAP_NET_ADMIN, CAP_PERFMON: run it with sudo"), "{sentence}");
        assert!(lacking(0).is_err());
    }
}
