//! The clients of services: who counts as a user now, and who can be forgotten.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{self, Array, MapData, MapError},
};
use probe_common::{
    sample::SampledClient,
    user::{Client, ClientKey},
};

use super::{batch::Batched, collector::take, error::StartError, expiry::deleted};

/// Users by service, and how full their tables are.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) by_service: HashMap<u32, u64>,
    /// Entries of the table.
    pub(super) entries: u64,
    /// Members of the sample of those that the table had no room for.
    pub(super) sampled: u64,
}

/// The maps that tell of users.
pub(super) struct UserMaps {
    clients: maps::HashMap<MapData, ClientKey, Client>,
    all_clients: Batched<ClientKey, Client>,
    sampled: maps::HashMap<MapData, ClientKey, SampledClient>,
    all_sampled: Batched<ClientKey, SampledClient>,
    sampled_entries: Array<MapData, u64>,
    sampled_total: Array<MapData, u64>,
}

impl UserMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, StartError> {
        Ok(Self {
            all_clients: Batched::of(ebpf, "CLIENTS")?,
            clients: take(ebpf, "CLIENTS")?,
            all_sampled: Batched::of(ebpf, "SAMPLED")?,
            sampled: take(ebpf, "SAMPLED")?,
            sampled_entries: take(ebpf, "SAMPLED_ENTRIES")?,
            sampled_total: take(ebpf, "SAMPLED_TOTAL")?,
        })
    }

    /// Counts the clients with a connection open, or with a request in the window, and forgets the others.
    ///
    /// A client that comes back in the instant between the look and the deletion is not counted until it connects again.
    pub(super) fn count(&mut self, now: Duration, window: Duration) -> Result<Users, MapError> {
        let since = u64::try_from(now.saturating_sub(window).as_nanos()).unwrap_or(u64::MAX);
        let mut sample = self.read_sample(since)?;
        let mut users = Users { sampled: sample.members.values().sum(), ..Users::default() };
        self.count_known(&mut users, &mut sample, since)?;
        sample.add_to(&mut users.by_service);
        Ok(users)
    }

    /// Counts those in the table, each of which is one.
    fn count_known(&mut self, users: &mut Users, sample: &mut Sample, since: u64) -> Result<(), MapError> {
        let mut gone = Vec::new();
        let read = self.all_clients.for_each(|key, clients| {
            users.entries += 1;
            if clients.iter().any(|client| is_user(client, since)) {
                *users.by_service.entry(key.service).or_default() += 1;
                sample.is_known(key);
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

    /// Reads the sample, forgets the members that are no users, and tells the programs how many there are.
    fn read_sample(&mut self, since: u64) -> Result<Sample, MapError> {
        let mut sample = Sample::default();
        let read = self.all_sampled.for_each(|key, members| {
            let [member] = members else { return };
            sample.note(key, member, since);
        });
        read.map_err(MapError::IoError)?;
        for key in sample.gone.drain(..) {
            deleted(self.sampled.remove(&key))?;
        }
        // A service that has members has its number written in each pass, in that which sees the last of them go too.
        for (&service, &members) in &sample.members {
            self.sampled_entries.set(service, members, 0)?;
        }
        if !sample.members.is_empty() {
            self.sampled_total.set(0, sample.members.values().sum::<u64>(), 0)?;
        }
        Ok(sample)
    }
}

/// What a pass sees of the sample.
#[derive(Debug, Default)]
struct Sample {
    /// How many clients each member counts for that is a user.
    weights: HashMap<ClientKey, u64>,
    /// How many members each service has that stay: none, if all that it had are gone.
    members: BTreeMap<u32, u64>,
    /// Members that are no users.
    gone: Vec<ClientKey>,
}

impl Sample {
    fn note(&mut self, key: &ClientKey, member: &SampledClient, since: u64) {
        let members = self.members.entry(key.service).or_default();
        if is_user(&member.client, since) {
            *members += 1;
            self.weights.insert(*key, member.weight());
        } else {
            self.gone.push(*key);
        }
    }

    /// A client that came again, and found room in the table by then, is counted there. So are those that it stood for and
    /// that did the same: what is left stands for those that did not.
    fn is_known(&mut self, client: &ClientKey) {
        if !self.weights.is_empty() {
            self.weights.remove(client);
        }
    }

    fn add_to(&self, users: &mut HashMap<u32, u64>) {
        for (key, weight) in &self.weights {
            *users.entry(key.service).or_default() += weight;
        }
    }
}

fn is_user(client: &Client, since: u64) -> bool {
    client.open > 0 || (client.last_request > 0 && client.last_request >= since)
}

#[cfg(test)]
mod tests;
