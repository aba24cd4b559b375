//! The estimate over a sample that is kept as the kernel side keeps it, without a kernel. `tests/tests/prog/sample.rs` does the
//! same to the programs themselves.

use probe_common::{
    sample::{self, ROOM},
    user::mapped,
};

use super::*;

/// Three times the standard error that `docs/reference/metrics.md` states, by the largest number of clients that there were.
const BOUND: f64 = 0.06;

/// How often each case is run, each time with another choice of members.
const ROUNDS: u64 = 8;

/// The kernel's two tables and what its programs do to them.
#[derive(Default)]
struct Kernel {
    seed: u64,
    known: HashMap<ClientKey, Client>,
    room: usize,
    sampled: HashMap<ClientKey, SampledClient>,
    members: BTreeMap<u32, u64>,
}

/// How an arrival is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Known,
    Sampled,
    LeftOut,
}

impl Kernel {
    fn new(seed: u64, room: usize) -> Self {
        Self { seed, room, ..Self::default() }
    }

    /// A client connects, or says something.
    fn enter(&mut self, key: ClientKey, connections: i64, last_request: u64) -> Counted {
        if self.known.len() < self.room || self.known.contains_key(&key) {
            add(self.known.entry(key).or_default(), connections, last_request);
            return Counted::Known;
        }
        let of_service = self.members.get(&key.service).copied().unwrap_or_default();
        let level = sample::level(of_service, self.members.values().sum());
        if let Some(member) = self.sampled.get_mut(&key) {
            add(&mut member.client, connections, last_request);
            member.level = member.level.min(level);
            return Counted::Sampled;
        }
        if !sample::is_member(&key.address, self.seed, level) {
            return Counted::LeftOut;
        }
        assert!(self.sampled.len() < ROOM as usize, "the sample is full");
        self.sampled.insert(key, SampledClient { client: Client { open: connections, last_request }, level });
        *self.members.entry(key.service).or_default() += 1;
        Counted::Sampled
    }

    fn leave(&mut self, key: ClientKey, counted: Counted, last_request: u64) {
        let client = match counted {
            Counted::Known => self.known.get_mut(&key),
            Counted::Sampled => self.sampled.get_mut(&key).map(|member| &mut member.client),
            Counted::LeftOut => return,
        };
        add(client.expect("who was entered is there until it leaves"), -1, last_request);
    }

    /// The agent's pass.
    fn users(&mut self, since: u64) -> HashMap<u32, u64> {
        let mut sample = Sample::default();
        self.sampled.iter().for_each(|(key, member)| sample.note(key, member, since));
        self.sampled.retain(|_, member| is_user(&member.client, since));
        self.members.clone_from(&sample.members);
        self.known.retain(|_, client| is_user(client, since));
        let mut users = HashMap::new();
        for key in self.known.keys() {
            *users.entry(key.service).or_default() += 1;
            sample.is_known(key);
        }
        sample.add_to(&mut users);
        users
    }

    fn users_of_all(&mut self, since: u64) -> u64 {
        self.users(since).values().sum()
    }
}

fn add(client: &mut Client, connections: i64, last_request: u64) {
    client.open += connections;
    client.last_request = client.last_request.max(last_request);
}

fn client(number: u32) -> ClientKey {
    ClientKey { address: mapped((0x0a00_0000 + number).to_be_bytes()), service: 1 }
}

/// Runs a case with several choices of members, each of which must be within the bound, and their average the nearer the more
/// there are: a biased estimate would not be.
#[track_caller]
fn is_close(what: &str, rounds: u64, truth: u32, bound: f64, estimate: impl Fn(u64) -> u64) {
    let mut sum = 0.0;
    for seed in 1..=rounds {
        let off = estimate(seed) as f64 / f64::from(truth) - 1.0;
        assert!(off.abs() <= bound, "{what}: {:.2} % off, by seed {seed}", off * 100.0);
        sum += off;
    }
    let average = sum / rounds as f64;
    println!("{what}: {:+.2} % off on average of {rounds}", average * 100.0);
    assert!(
        average.abs() <= bound / (rounds as f64).sqrt(),
        "{what}: {:.2} % off on average",
        average * 100.0
    );
}

#[test]
fn any_number_of_clients_is_estimated_within_the_bound() {
    for count in [1_u32, 10, 100, 1_000, 2_000, 5_000, 10_000, 30_000, 100_000, 1_000_000] {
        let rounds = if count > 100_000 { 1 } else { ROUNDS };
        is_close(&format!("{count} clients"), rounds, count, BOUND, |seed| {
            let mut kernel = Kernel::new(seed, 0);
            (0..count).for_each(|number| _ = kernel.enter(client(number), 1, 0));
            kernel.users_of_all(0)
        });
    }
}

#[test]
fn those_whose_addresses_differ_in_the_prefix_are_as_well() {
    is_close("IPv6 prefixes", ROUNDS, 50_000, BOUND, |seed| {
        let mut kernel = Kernel::new(seed, 0);
        for number in 0..50_000_u64 {
            let mut address = [0; 16];
            address[..8].copy_from_slice(&(0x2001_0db8_0000_0000 + number).to_be_bytes());
            kernel.enter(ClientKey { address, service: 1 }, 1, 0);
        }
        kernel.users_of_all(0)
    });
}

#[test]
fn up_to_two_thousand_without_room_are_exact() {
    for count in [0, 1, 500, 2_048] {
        let mut kernel = Kernel::new(9, 100);
        (0..100 + count).for_each(|number| _ = kernel.enter(client(number), 1, 0));
        assert_eq!(kernel.users_of_all(0), u64::from(100 + count));
    }
}

/// No time has to pass, and no socket to be looked at: those that are left are estimated as before, and none is left at last.
#[test]
fn who_leaves_is_no_user_and_who_stays_is() {
    const ALL: u32 = 100_000;
    for (what, left, stays) in [
        ("the early ones leave", 40_000, (|number| number >= 60_000) as fn(u32) -> bool),
        ("the late ones leave", 60_000, |number| number < 60_000),
        ("every other one leaves", 50_000, |number| number % 2 == 0),
    ] {
        is_close(what, ROUNDS, left, BOUND * f64::from(ALL) / f64::from(left), |seed| {
            let mut kernel = Kernel::new(seed, 0);
            let counted: Vec<_> = (0..ALL).map(|number| kernel.enter(client(number), 1, 0)).collect();
            let leave = |kernel: &mut Kernel, going: &dyn Fn(u32) -> bool| {
                for number in (0..ALL).filter(|number| going(*number)) {
                    kernel.leave(client(number), counted[number as usize], 0);
                }
            };
            leave(&mut kernel, &|number| !stays(number));
            let users = kernel.users_of_all(0);
            leave(&mut kernel, &stays);
            assert_eq!(kernel.users_of_all(0), 0);
            assert!(kernel.sampled.is_empty(), "members stay that nobody needs");
            users
        });
    }
}

/// The level rises by a crowd, falls when that has gone, and rises again; those who stay, and those who come again at any
/// of these levels, are counted once.
#[test]
fn levels_rise_and_fall_and_everybody_is_counted_once() {
    const STAY: u32 = 20_000;
    // Who comes again finds the sample fuller than those did who came first.
    is_close("after a crowd of 200,000", ROUNDS, 3 * STAY, 2.0 * BOUND, |seed| {
        let mut kernel = Kernel::new(seed, 0);
        // Heard, as over UDP: they are users until the window has passed.
        (0..STAY).for_each(|number| _ = kernel.enter(client(number), 1, 1));
        (100_000..300_000).for_each(|number| _ = kernel.enter(client(number), 0, 2));
        let risen = sample::level(kernel.members[&1], kernel.members[&1]);
        (STAY..2 * STAY).for_each(|number| _ = kernel.enter(client(number), 1, 3));
        let _ = kernel.users(3);
        let fallen = sample::level(kernel.members[&1], kernel.members[&1]);
        assert!(fallen + 2 < risen, "level {fallen} after {risen}");
        // All of them come again, on another connection, and others do for the first time.
        (0..3 * STAY).for_each(|number| _ = kernel.enter(client(number), 1, 4));
        kernel.users_of_all(4)
    });
}

/// Those that find room in the table when they come again are counted there alone.
#[test]
fn who_is_in_the_table_is_not_estimated_as_well() {
    const ALL: u32 = 50_000;
    is_close("half of them in the table by now", ROUNDS, ALL, BOUND, |seed| {
        let mut kernel = Kernel::new(seed, 0);
        (0..ALL).for_each(|number| _ = kernel.enter(client(number), 1, 0));
        kernel.room = ALL as usize / 2;
        (0..ALL).for_each(|number| _ = kernel.enter(client(number), 1, 0));
        assert_eq!(kernel.known.len(), kernel.room);
        kernel.users_of_all(0)
    });
}

/// Many services at once raise each other's levels, so that the sample has room; a small one is exact all the same.
#[test]
fn a_crowded_sample_has_room_for_all_and_a_small_service_is_exact() {
    const LARGE: u32 = 12;
    const EACH: u32 = 40_000;
    const SMALL: u32 = 60;
    let mut kernel = Kernel::new(5, 0);
    for number in 0..EACH {
        (1..=LARGE).for_each(|service| _ = kernel.enter(ClientKey { service, ..client(number) }, 1, 0));
    }
    (0..SMALL).for_each(|number| _ = kernel.enter(ClientKey { service: 99, ..client(number) }, 1, 0));
    println!("{} members of {} clients", kernel.sampled.len(), LARGE * EACH);
    let users = kernel.users(0);
    assert_eq!(users[&99], u64::from(SMALL));
    for service in 1..=LARGE {
        let off = users[&service] as f64 / f64::from(EACH) - 1.0;
        println!("service {service}: {:+.2} % off", off * 100.0);
        // One standard error is 9 % here.
        assert!(off.abs() < 0.27, "service {service}: {:.2} % off", off * 100.0);
    }
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
