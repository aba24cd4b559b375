//! The clients of services: who counts as a user now, and who can be forgotten.

use std::{collections::HashMap, time::Duration};

use aya::maps::{self, MapData, MapError};
use probe_common::user::{Client, ClientKey};

/// Users by service, and how many entries the table has.
pub(super) struct Users {
    pub(super) by_service: HashMap<u32, u64>,
    pub(super) entries: u64,
}

/// Counts the clients with a connection open, or with a request in the window, and forgets the others.
///
/// A client that comes back in the instant between the look and the deletion is not counted until it connects again.
pub(super) fn count(
    clients: &mut maps::HashMap<MapData, ClientKey, Client>,
    now: Duration,
    window: Duration,
) -> Result<Users, MapError> {
    let mut users = Users { by_service: HashMap::new(), entries: 0 };
    let since = u64::try_from(now.saturating_sub(window).as_nanos()).unwrap_or(u64::MAX);
    let mut gone = Vec::new();
    for entry in clients.iter() {
        let (key, client) = entry?;
        users.entries += 1;
        if is_user(&client, since) {
            *users.by_service.entry(key.service).or_default() += 1;
        } else {
            gone.push(key);
        }
    }
    for key in gone {
        if clients.remove(&key).is_ok() {
            users.entries -= 1;
        }
    }
    Ok(users)
}

fn is_user(client: &Client, since: u64) -> bool {
    client.open > 0 || (client.last_request > 0 && client.last_request >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

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
