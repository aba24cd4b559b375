//! What the kernel has. Features are tried where that is possible, and told by the version where it is not.

use std::{io::ErrorKind, path::Path};

use aya::{
    maps::MapType,
    programs::{ProgramError, ProgramType, SchedClassifier, TcAttachType},
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
    util::KernelVersion,
};
use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use crate::causes::with_causes;

const BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) fn version() -> Finding {
    const OLDEST: KernelVersion = KernelVersion::new(5, 10, 0);
    match KernelVersion::current() {
        Ok(version) if version >= OLDEST => Finding::good("kernel", show(version)),
        Ok(version) => {
            Finding::missing("kernel", format!("{} is too old: 5.10 or later is needed", show(version)))
        }
        Err(error) => Finding::lesser("kernel", format!("version not known: {error}")),
    }
}

pub(super) fn btf() -> Finding {
    if Path::new(BTF).exists() {
        Finding::good("BTF", BTF)
    } else {
        Finding::missing(
            "BTF",
            format!(
                "{BTF} is not there: a kernel with CONFIG_DEBUG_INFO_BTF=y is needed, and a container must be shown \
                 /sys/kernel/btf"
            ),
        )
    }
}

pub(super) fn features() -> Vec<Finding> {
    let mut findings = vec![
        program("cgroup_skb", ProgramType::CgroupSkb, "CONFIG_CGROUP_BPF=y"),
        program("sock_ops", ProgramType::SockOps, "CONFIG_CGROUP_BPF=y"),
        program("TC", ProgramType::SchedClassifier, "CONFIG_NET_CLS_BPF"),
        socket_storage(),
        tcx(),
        state_tracepoint(),
        loops(),
        ring_buffer(),
    ];
    findings.extend(memory_lock());
    findings
}

fn program(subject: &'static str, kind: ProgramType, setting: &str) -> Finding {
    match is_program_supported(kind) {
        Ok(true) => Finding::good(subject, "programs load"),
        Ok(false) => Finding::missing(
            subject,
            format!("this kernel has no programs of this type: one with {setting} is needed"),
        ),
        Err(error) => untried(subject, &error),
    }
}

fn socket_storage() -> Finding {
    match is_map_supported(MapType::SkStorage) {
        Ok(true) => Finding::good("socket storage", "maps of this type can be made"),
        Ok(false) => Finding::missing("socket storage", "this kernel lacks it: 5.10 or later is needed"),
        Err(error) => untried("socket storage", &error.into()),
    }
}

fn tcx() -> Finding {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Ok(_) => Finding::good("TCX", "used for interfaces"),
        Err(error) if is_refusal(&error) => untried("TCX", &error),
        Err(_) => {
            Finding::lesser("TCX", "not here (since 6.6): interfaces are counted through clsact instead")
        }
    }
}

/// Whether a `tp_btf` program may reach a socket's storage cannot be tried without a program that does (nor does aya
/// offer to), so the version tells.
fn state_tracepoint() -> Finding {
    const SUBJECT: &str = "tp_btf";
    const STORAGE_IN_TRACING: KernelVersion = KernelVersion::new(5, 11, 0);
    let recent = KernelVersion::current().is_ok_and(|version| version >= STORAGE_IN_TRACING);
    if recent && Path::new(BTF).exists() {
        return Finding::good(SUBJECT, "inet_sock_set_state tells of closed connections");
    }
    Finding::lesser(
        SUBJECT,
        "no socket storage in tracing programs (since 5.11, with BTF): a sock_ops callback tells of closed \
         connections instead",
    )
}

fn loops() -> Finding {
    match is_helper_supported(ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_loop) {
        Ok(true) => Finding::good("bpf_loop", "used"),
        Ok(false) => Finding::lesser(
            "bpf_loop",
            "not here (since 5.17): bytes, connections and users are counted; requests, their phases and those in \
             flight are not",
        ),
        Err(error) => untried("bpf_loop", &error),
    }
}

fn ring_buffer() -> Finding {
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => Finding::good("ring buffer", "the kernel side can log"),
        Ok(false) => Finding::missing("ring buffer", "this kernel lacks it: 5.10 or later is needed"),
        Err(error) => untried("ring buffer", &error.into()),
    }
}

/// Before 5.11 maps counted against the limit on locked memory.
fn memory_lock() -> Option<Finding> {
    const ACCOUNTED_TO_CGROUP: KernelVersion = KernelVersion::new(5, 11, 0);
    if KernelVersion::current().is_ok_and(|version| version >= ACCOUNTED_TO_CGROUP) {
        return None;
    }
    Some(match getrlimit(Resource::Memlock).current {
        None => Finding::good("locked memory", "no limit"),
        Some(bytes) => Finding::lesser(
            "locked memory",
            format!("limited to {bytes} bytes, and before 5.11 maps count against it: `ulimit -l unlimited`"),
        ),
    })
}

/// Without privileges nothing can be tried, which is a finding of its own.
fn untried(subject: &'static str, error: &ProgramError) -> Finding {
    Finding::lesser(subject, format!("could not be tried: {}", with_causes(error)))
}

/// Whether the kernel answered that we may not, rather than that it cannot.
pub(super) fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn show(version: KernelVersion) -> String {
    let code = version.code();
    format!("{}.{}.{}", code >> 16, code >> 8 & 0xff, code & 0xff)
}
