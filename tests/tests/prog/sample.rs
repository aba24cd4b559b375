//! The sample of clients for whom there is no room, as the programs keep it: see `hooks/trial_client.rs` of the kernel side.

use aya::{
    maps::{Array, HashMap},
    programs::{Program, TestRun, TestRunOptions},
};
use probe_common::{
    proxied::Counting,
    sample::{ROOM, SampledClient},
    user::{Client, ClientKey, mapped},
};

use crate::loaded::Loaded;

const PROGRAM: &str = "trial_client";
const COMES: u8 = 255;
const SERVICE: u32 = 1;

/// Four times the standard error that `docs/reference/metrics.md` states, by the largest number of clients that there were: each run
/// chooses other members, and with three times it one in a thousand would fail.
const BOUND: f64 = 0.08;

/// Clients that come.
const CLIENTS: u32 = 60_000;

struct Trial {
    loaded: Loaded,
}

impl Trial {
    fn new() -> Self {
        let mut loaded = Loaded::new(0);
        let Program::SchedClassifier(program) = loaded.program_mut(PROGRAM) else {
            panic!("{PROGRAM} is of TC")
        };
        program.load().unwrap_or_else(|error| panic!("{PROGRAM}: {error}"));
        Self { loaded }
    }

    fn run(&mut self, client: u32, last_request: u64, action: u8) -> u8 {
        let Program::SchedClassifier(program) = self.loaded.program_mut(PROGRAM) else {
            panic!("{PROGRAM} is of TC")
        };
        let word = u64::to_ne_bytes;
        let address = mapped((0x0a00_0000 + client).to_be_bytes());
        let packet =
            [&[0; 14][..], &address, &word(SERVICE.into()), &word(last_request), &word(action.into())]
                .concat();
        let mut options = TestRunOptions::new();
        options.data_in = Some(&packet);
        options.repeat = 1;
        let told = program.test_run(options).expect("it runs").return_value;
        u8::try_from(told).expect("it tells how the client is counted")
    }

    fn comes(&mut self, client: u32) -> u8 {
        self.run(client, 0, COMES)
    }

    fn goes(&mut self, client: u32, counted: u8) {
        assert_eq!(self.run(client, 1, counted), counted);
    }

    fn members(&mut self) -> Vec<SampledClient> {
        let map: HashMap<_, ClientKey, SampledClient> = self.loaded.map_mut("SAMPLED");
        map.iter().map(|entry| entry.expect("it can be read").1).collect()
    }

    /// Who is connected, and how many members the programs count.
    fn connected(&mut self) -> u64 {
        let members = self.members();
        let known: HashMap<_, ClientKey, Client> = self.loaded.map_mut("CLIENTS");
        let known = known.iter().filter(|entry| entry.as_ref().is_ok_and(|(_, client)| client.open > 0));
        let known = known.count() as u64;
        let estimated: u64 =
            members.iter().filter(|member| member.client.open > 0).map(SampledClient::weight).sum();
        for (map, index) in [("SAMPLED_ENTRIES", SERVICE), ("SAMPLED_TOTAL", 0)] {
            let counted: Array<_, u64> = self.loaded.map_mut(map);
            assert_eq!(counted.get(&index, 0).expect("it can be read"), members.len() as u64, "{map}");
        }
        known + estimated
    }
}

#[track_caller]
fn is_close(what: &str, estimate: u64, truth: u32) {
    eprintln!("prog: {what}: {estimate} connected of {truth}");
    let off = (estimate as f64 - f64::from(truth)) / f64::from(CLIENTS);
    assert!(off.abs() <= BOUND, "{what}: {estimate} connected of {truth}");
}

#[test]
fn clients_without_room_are_estimated_and_leave_by_themselves() {
    let mut trial = Trial::new();
    let counted: Vec<u8> = (0..CLIENTS).map(|client| trial.comes(client)).collect();
    let members = trial.members().len();
    eprintln!("prog: {CLIENTS} clients, {members} members");
    assert!(members < ROOM as usize / 2, "{members} members");
    is_close("all have come", trial.connected(), CLIENTS);
    for client in (0..CLIENTS).filter(|client| client % 4 != 0) {
        trial.goes(client, counted[client as usize]);
    }
    is_close("three quarters have gone", trial.connected(), CLIENTS / 4);
    for client in (0..CLIENTS).step_by(4) {
        trial.goes(client, counted[client as usize]);
    }
    assert_eq!(trial.connected(), 0, "none is left");
    assert!(trial.members().iter().all(|member| member.client.open == 0), "all ends met");
    // The last request is told by the end of a connection, as in the table.
    assert!(trial.members().iter().all(|member| member.client.last_request == 1));
}

/// A connection that was left out says nothing of another of the same client that was not.
#[test]
fn who_was_left_out_takes_nothing_from_a_member() {
    let mut trial = Trial::new();
    let counted: Vec<u8> = (0..5_000).map(|client| trial.comes(client)).collect();
    let out = counted.iter().position(|how| *how == Counting::LeftOut as u8).expect("some are left out");
    let out = u32::try_from(out).expect("a client");
    // The agent has seen many of them leave: the level is low.
    for (map, index) in [("SAMPLED_ENTRIES", SERVICE), ("SAMPLED_TOTAL", 0)] {
        let mut counted: Array<_, u64> = trial.loaded.map_mut(map);
        counted.set(index, 0, 0).expect("it can be written");
    }
    assert_eq!(trial.comes(out), Counting::Sampled as u8);
    trial.goes(out, Counting::LeftOut as u8);
    let key = ClientKey { address: mapped((0x0a00_0000 + out).to_be_bytes()), service: SERVICE };
    let map: HashMap<_, ClientKey, SampledClient> = trial.loaded.map_mut("SAMPLED");
    let member = map.get(&key, 0).expect("it is a member");
    assert_eq!((member.client.open, member.level), (1, 0));
}
