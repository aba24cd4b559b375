//! What the kernel tells of itself. What it allows is tried: see [`crate::kernel::Trial`].

use std::{io::ErrorKind, path::Path};

use aya::util::KernelVersion;
use rustix::process::{Resource, getrlimit};

use super::finding::Finding;

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
                "{BTF} is not there: the kernel must be built with CONFIG_DEBUG_INFO_BTF=y, and a container needs \
                 /sys/kernel/btf"
            ),
        )
    }
}

/// Before 5.11 maps counted against the limit on locked memory.
pub(super) fn memory_lock() -> Option<Finding> {
    const ACCOUNTED_TO_CGROUP: KernelVersion = KernelVersion::new(5, 11, 0);
    if KernelVersion::current().is_ok_and(|version| version >= ACCOUNTED_TO_CGROUP) {
        return None;
    }
    Some(match getrlimit(Resource::Memlock).current {
        None => Finding::good("locked memory", "no limit"),
        Some(bytes) => Finding::lesser(
            "locked memory",
            format!(
                "limited to {bytes} bytes, and before 5.11 maps count against it: set `ulimit -l unlimited`"
            ),
        ),
    })
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
