//! Reads what services use, tick by tick, and keeps totals that only grow while their cgroups come and go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use probe_common::service::ServiceKey;

use super::{
    Resources, ServiceUse, Stalls,
    cgroup::{self, Usage},
    node,
};
use crate::{
    attribution::{Attribution, OwnCgroups},
    identity::Identity,
    snapshot::Snapshot,
};

/// So many cgroups are read in a tick, some 10 µs for each of up to five files: with ticks of a second below a hundredth of
/// a core. Where there are more, they take turns.
const READ_A_TICK: usize = 128;

/// So many services are looked up in a tick.
const LOOKED_UP_A_TICK: usize = 64;

/// Reads what services and the node use.
#[derive(Debug, Default)]
pub struct Meter {
    /// The services whose cgroups were looked for.
    looked_up: HashMap<ServiceKey, Identity>,
    services: BTreeMap<Identity, Account>,
    /// Whose turn it is.
    next: Option<(Identity, OwnCgroups)>,
}

/// What a service used until now.
#[derive(Debug, Default)]
struct Account {
    cpu: Option<Duration>,
    stalls: Stalls,
    /// What was last read of each of its cgroups.
    cgroups: BTreeMap<OwnCgroups, Option<Usage>>,
}

impl Meter {
    /// One reading.
    pub fn read(&mut self, snapshot: &Snapshot, attribution: &mut Attribution) -> Resources {
        self.follow(snapshot, attribution);
        for (identity, own) in self.turn() {
            let usage = cgroup::read(&own);
            if let Some(account) = self.services.get_mut(&identity) {
                account.add(own, usage);
            }
        }
        let node = node::read()
            .inspect_err(|error| tracing::debug!("cannot read the node's resource usage: {error}"))
            .ok();
        let used = self.services.iter().filter(|(_, account)| account.cpu.is_some());
        let services = used.map(|(identity, account)| (identity.clone(), account.used())).collect();
        Resources { services, node }
    }

    /// Takes in services that are new, and drops those that have gone.
    fn follow(&mut self, snapshot: &Snapshot, attribution: &mut Attribution) {
        let now = Instant::now();
        let new: Vec<_> = attribution
            .identified()
            .filter(|(key, _)| !self.looked_up.contains_key(key))
            .map(|(key, identity)| (*key, identity.clone()))
            .take(LOOKED_UP_A_TICK)
            .collect();
        for (key, identity) in new {
            let Some(own) = attribution.own_cgroups(&key, now) else { continue };
            if let Some(own) = own {
                self.services.entry(identity.clone()).or_default().cgroups.entry(own).or_default();
            }
            self.looked_up.insert(key, identity);
        }
        self.forget(snapshot, attribution);
    }

    /// Drops services that have gone. Should they come again, they are looked up again.
    fn forget(&mut self, snapshot: &Snapshot, attribution: &Attribution) {
        let there: BTreeSet<&Identity> = snapshot.services.keys().map(|id| &id.identity).collect();
        let is_there = |who: &Identity| there.contains(who);
        let before = self.services.len();
        self.services.retain(|identity, _| is_there(identity));
        if self.services.len() < before {
            self.looked_up.retain(|_, identity| is_there(identity));
        }
        if self.looked_up.len() > attribution.identified_count() {
            let named: BTreeSet<_> = attribution.identified().map(|(key, _)| *key).collect();
            self.looked_up.retain(|key, _| named.contains(key));
        }
    }

    /// The cgroups whose turn it is to be read.
    fn turn(&mut self) -> Vec<(Identity, OwnCgroups)> {
        let all = || {
            self.services.iter().flat_map(|(identity, account)| {
                account.cgroups.keys().map(move |own| (identity.clone(), own.clone()))
            })
        };
        let from = self.next.take();
        let is_due = |one: &(Identity, OwnCgroups)| from.as_ref().is_none_or(|from| one >= from);
        let due = all().filter(is_due).chain(all().filter(|one| !is_due(one)));
        let mut due: Vec<_> = due.take(READ_A_TICK + 1).collect();
        self.next = if due.len() > READ_A_TICK { due.pop() } else { None };
        due
    }
}

impl Account {
    fn add(&mut self, own: OwnCgroups, usage: Usage) {
        // It has gone; what it used stays in the totals.
        if usage == Usage::default() {
            self.cgroups.remove(&own);
            return;
        }
        let is_first = self.cpu.is_none();
        let last = self.cgroups.insert(own, Some(usage)).flatten();
        // What a further cgroup used before it was known would look like a burst.
        let before = last.unwrap_or(if is_first { Usage::default() } else { usage });
        self.cpu = sum(self.cpu, usage.cpu, before.cpu);
        for (stalls, (now, before)) in self.stalls.iter_mut().zip(usage.stalls.iter().zip(before.stalls)) {
            for (stalled, (now, before)) in stalls.iter_mut().zip(now.iter().zip(before)) {
                *stalled = sum(*stalled, *now, before);
            }
        }
    }

    fn used(&self) -> ServiceUse {
        let memory = self.cgroups.values().flatten().filter_map(|usage| usage.memory);
        ServiceUse { cpu: self.cpu, memory: memory.reduce(|sum, one| sum + one), stalls: self.stalls }
    }
}

/// A total with what came since the reading before. A counter that went back is another cgroup's at the same place, and
/// counts from zero.
fn sum(total: Option<Duration>, now: Option<Duration>, before: Option<Duration>) -> Option<Duration> {
    let Some(now) = now else { return total };
    let since = now.checked_sub(before.unwrap_or_default()).unwrap_or(now);
    Some(total.unwrap_or_default() + since)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use probe_common::{interface::Transport, service::Role};

    use super::*;
    use crate::{
        identity::Kept,
        snapshot::{Service, ServiceId},
    };

    fn own(name: &str) -> OwnCgroups {
        OwnCgroups { unified: Some(name.into()), ..OwnCgroups::default() }
    }

    fn usage(seconds: u64) -> Usage {
        Usage { cpu: Some(Duration::from_secs(seconds)), memory: Some(seconds), ..Usage::default() }
    }

    #[test]
    fn totals_only_grow_while_cgroups_come_and_go() {
        let mut account = Account::default();
        let mut after = |name: &str, usage: Usage| {
            account.add(own(name), usage);
            (account.used().cpu.unwrap().as_secs(), account.used().memory)
        };
        assert_eq!(after("a", usage(100)), (100, Some(100)), "all that the first one used");
        assert_eq!(after("a", usage(103)), (103, Some(103)));
        assert_eq!(after("b", usage(50)), (103, Some(153)), "of another one what it uses from now on");
        assert_eq!(after("b", usage(51)), (104, Some(154)));
        assert_eq!(after("a", Usage::default()), (104, Some(51)), "what has gone was used all the same");
        assert_eq!(after("b", usage(2)), (106, Some(2)), "made anew at the same place");
    }

    /// A snapshot with servers of these names.
    fn snapshot(names: &[&str]) -> Snapshot {
        let id = |name: &&str| ServiceId {
            identity: Identity::named(name),
            port: 80,
            role: Role::Server,
            transport: Transport::Tcp,
        };
        let services = names.iter().map(|name| (id(name), Service::default())).collect();
        Snapshot {
            taken: Instant::now(),
            collection: Duration::ZERO,
            services,
            interfaces: BTreeMap::new(),
            node: Some([0, 0]),
            unmeasured: Vec::new(),
            tables: Vec::new(),
            features: Vec::new(),
        }
    }

    #[test]
    fn a_service_that_goes_and_comes_again_is_looked_up_again() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = root.path().join("system.slice/web.service");
        fs::create_dir_all(&cgroup).unwrap();
        fs::write(cgroup.join("cpu.stat"), "usage_usec 5000000\n").unwrap();
        let mut attribution = Attribution::new(root.path().into());
        let key = ServiceKey { cgroup: fs::metadata(&cgroup).unwrap().ino(), ..ServiceKey::default() };
        attribution.recall(key, Kept { identity: Identity::named("web"), pod: None });
        let mut meter = Meter::default();
        let mut cpu = |names: &[&str]| {
            let resources = meter.read(&snapshot(names), &mut attribution);
            resources.services.get(&Identity::named("web")).and_then(|used| used.cpu)
        };
        let five = Some(Duration::from_secs(5));
        assert_eq!([cpu(&["web"]), cpu(&["web", "b"]), cpu(&["b"]), cpu(&["web"])], [five, five, None, five]);
    }

    #[test]
    fn many_take_turns() {
        let mut meter = Meter::default();
        let account = meter.services.entry(Identity::named("many")).or_default();
        for number in 0..READ_A_TICK * 2 + 10 {
            account.cgroups.insert(own(&format!("{number:04}")), None);
        }
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let turn = meter.turn();
            assert!(turn.len() <= READ_A_TICK);
            seen.extend(turn.into_iter().map(|(_, own)| own));
        }
        assert_eq!(seen.len(), READ_A_TICK * 2 + 10);
        assert!(meter.turn().len() == READ_A_TICK);
    }
}
