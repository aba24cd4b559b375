//! Waiting for programs to end, on every kernel and host: the machines of `--kernel` run a CPU without a tick, where that kernel
//! can, and `membarrier(2)` refuses to wait.

use std::{
    fs,
    time::{Duration, Instant},
};

use aya::maps::Array;
use probe_user::kernel::Grace;

use crate::loaded::Loaded;

const TIMES: usize = 21;

/// The CPUs that run without a tick; none where the kernel has not been told of any.
fn without_a_tick() -> Option<String> {
    let said = fs::read_to_string("/sys/devices/system/cpu/nohz_full").ok()?;
    Some(said.trim().to_owned()).filter(|cpus| !cpus.is_empty() && cpus != "(null)")
}

/// The command of `membarrier(2)` that waits for readers of RCU.
fn membarrier() -> nix::Result<()> {
    const GLOBAL: nix::libc::c_int = 1;
    // SAFETY: no pointers are passed.
    nix::errno::Errno::result(unsafe { nix::libc::syscall(nix::libc::SYS_membarrier, GLOBAL, 0, 0) })
        .map(drop)
}

fn median(mut one: impl FnMut()) -> Duration {
    let mut took: Vec<_> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            one();
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[TIMES / 2]
}

/// A wait for readers of RCU takes a passage of all CPUs through a place where none of them is one; a mere update of a map takes a
/// system call.
#[test]
fn programs_are_waited_for_with_and_without_ticks() {
    let mut loaded = Loaded::new(0);
    let mut map: Array<_, u64> = loaded.map_mut("DIVERTED");
    let update = median(|| map.set(0, 0, 0).expect("the map has an element"));
    let grace = Grace::new().expect("the kernel has maps of maps");
    let wait = median(|| grace.wait().expect("it waits"));
    let membarrier = membarrier();
    let cpus = without_a_tick();
    eprintln!(
        "prog: waited {wait:?}, an update takes {update:?}; CPUs without a tick: {cpus:?}; membarrier: {membarrier:?}"
    );
    assert!(wait > update * 10, "it did not wait");
    assert_eq!(membarrier.is_err(), cpus.is_some(), "membarrier is not what it is taken for");
}
