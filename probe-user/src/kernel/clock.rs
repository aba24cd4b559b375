//! The clock that the kernel side reads.

use std::time::Duration;

/// The kernel's monotonic clock, which `bpf_ktime_get_ns` reads.
pub(super) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
