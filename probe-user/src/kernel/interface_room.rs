//! For how many interfaces there are descriptors. Each takes two, one a direction, as long as it is counted; what is left is for
//! clients of the listener and for the files that a pass reads.

use super::interface_hooks::Queue;
use crate::descriptors;

/// Links at an interface.
const OF_EACH: u64 = 2;

/// How many names a log line shows.
const SHOWN: usize = 8;

/// How many interfaces can be attached to.
pub(super) struct InterfaceRoom {
    /// None where they take no descriptors.
    most: Option<usize>,
    limit: u64,
    /// How many found no room when that was told last.
    told: usize,
}

impl InterfaceRoom {
    /// Finds out, when all else has its descriptors but for the clients of the listener.
    pub(super) fn find(queue: Queue, connections: usize) -> Self {
        let limit = descriptors::limit();
        let (in_use, clients) = (descriptors::in_use(), u64::try_from(connections).unwrap_or(u64::MAX));
        let most = (queue == Queue::Tcx).then(|| most(limit, in_use, clients));
        Self { most, limit, told: 0 }
    }

    pub(super) fn has_room(&self, attached: usize) -> bool {
        self.most.is_none_or(|most| attached < most)
    }

    /// Tells once which interfaces are left out, and again only when it is another number.
    pub(super) fn tell(&mut self, left_out: &[String]) {
        let (before, now) = (std::mem::replace(&mut self.told, left_out.len()), left_out.len());
        if now == before {
            return;
        }
        if now == 0 {
            tracing::info!("file descriptors suffice again: all interfaces are counted");
            return;
        }
        let shown = left_out.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = now.saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        tracing::warn!(
            "{now} interfaces are not counted, since the limit of {} open files is too low: {shown}{more}; raise it \
             (`ulimit -n`, LimitNOFILE= in the unit, the runtime's limit of a container), or exclude interfaces with \
             --interfaces",
            self.limit
        );
    }
}

/// The most that a limit allows. However many clients may come, half of what is free is the interfaces'.
fn most(limit: u64, in_use: u64, clients: u64) -> usize {
    let free = descriptors::free(limit, in_use);
    let left = free.saturating_sub(clients).max(free / 2);
    usize::try_from(left / OF_EACH).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_files_keep_their_descriptors() {
        assert_eq!(most(1024, 60, 256), (1024 - 60 - 64 - 256) / 2);
        assert_eq!(most(1024, 60, 10_000), (1024 - 60 - 64) / 4, "clients take no more than half");
        assert_eq!(most(100, 60, 256), 0);
        assert!(most(u64::MAX, 60, 256) > 1_000_000, "no limit");
    }
}
