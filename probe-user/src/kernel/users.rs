//! The clients of services: who counts as a user now, and who can be forgotten.

use std::{collections::HashMap, time::Duration};

use aya::{
    Ebpf,
    maps::{self, Array, MapData, MapError},
};
use probe_common::{
    sketch::{Sketch, SketchKey},
    user::{Client, ClientKey},
};

use super::{batch::Batched, collector::take, error::StartError, estimate};

/// Parts of the users' window that have sketches of their own: who is in a sketch counts for a window, and for a part of
/// it more at most.
const PARTS: u32 = 4;

/// Users by service, and how full their table is.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) by_service: HashMap<u32, u64>,
    /// Entries of the table.
    pub(super) entries: u64,
    /// Sketches of those that the table had no room for.
    pub(super) sketches: u64,
}

/// The maps that tell of users.
pub(super) struct UserMaps {
    clients: maps::HashMap<MapData, ClientKey, Client>,
    all_clients: Batched<ClientKey, Client>,
    sketches: maps::HashMap<MapData, SketchKey, Sketch>,
    epoch: Array<MapData, u32>,
}

impl UserMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, StartError> {
        Ok(Self {
            all_clients: Batched::of(ebpf, "CLIENTS")?,
            clients: take(ebpf, "CLIENTS")?,
            sketches: take(ebpf, "SKETCHES")?,
            epoch: take(ebpf, "EPOCH")?,
        })
    }

    /// Counts the clients with a connection open, or with a request in the window, and forgets the others.
    ///
    /// A client that comes back in the instant between the look and the deletion is not counted until it connects again.
    pub(super) fn count(&mut self, now: Duration, window: Duration) -> Result<Users, MapError> {
        let mut users = Users::default();
        self.count_known(&mut users, now, window)?;
        self.estimate_others(&mut users, now, window)?;
        Ok(users)
    }

    fn count_known(&mut self, users: &mut Users, now: Duration, window: Duration) -> Result<(), MapError> {
        let since = u64::try_from(now.saturating_sub(window).as_nanos()).unwrap_or(u64::MAX);
        let mut gone = Vec::new();
        let read = self.all_clients.for_each(|key, clients| {
            users.entries += 1;
            if clients.iter().any(|client| is_user(client, since)) {
                *users.by_service.entry(key.service).or_default() += 1;
            } else {
                gone.push(*key);
            }
        });
        read.map_err(MapError::IoError)?;
        for key in gone {
            if self.clients.remove(&key).is_ok() {
                users.entries -= 1;
            }
        }
        Ok(())
    }

    /// Adds those that found no room, and throws sketches away that no user of now can be in.
    fn estimate_others(
        &mut self,
        users: &mut Users,
        now: Duration,
        window: Duration,
    ) -> Result<(), MapError> {
        let epoch = epoch(now, window);
        self.epoch.set(0, epoch, 0)?;
        let mut old = Vec::new();
        let mut by_service: HashMap<u32, Sketch> = HashMap::new();
        for entry in &self.sketches {
            let (key, sketch) = entry?;
            if epoch.wrapping_sub(key.epoch) > PARTS {
                old.push(key);
                continue;
            }
            users.sketches += 1;
            by_service.entry(key.service).or_default().merge(&sketch);
        }
        for key in old {
            // Gone is as good.
            let _ = self.sketches.remove(&key);
        }
        for (service, sketch) in by_service {
            *users.by_service.entry(service).or_default() += estimate::distinct(&sketch);
        }
        Ok(())
    }
}

/// Which part of the window it is.
fn epoch(now: Duration, window: Duration) -> u32 {
    let part = (window / PARTS).as_nanos().max(1);
    // It wraps, in years.
    u32::try_from(now.as_nanos() / part % (1 << 32)).unwrap_or_default()
}

fn is_user(client: &Client, since: u64) -> bool {
    client.open > 0 || (client.last_request > 0 && client.last_request >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_four_parts() {
        let at = |seconds| epoch(Duration::from_secs(seconds), Duration::from_mins(1));
        assert_eq!((at(0), at(14), at(15), at(61)), (0, 0, 1, 4));
        assert_eq!(epoch(Duration::from_secs(1), Duration::ZERO), 1_000_000_000, "no window is a short one");
    }

    #[test]
    fn a_user_is_connected_or_was_lately_heard() {
        let client = |open, last_request| Client { open, last_request };
        assert!(is_user(&client(1, 0), 100), "connected, silent");
        assert!(is_user(&client(0, 100), 100), "heard within the window");
        assert!(!is_user(&client(0, 99), 100), "heard before it");
        assert!(!is_user(&client(0, 0), 0), "never heard, gone");
        assert!(!is_user(&client(-1, 0), 0), "a close that met a forgotten entry");
    }
}
