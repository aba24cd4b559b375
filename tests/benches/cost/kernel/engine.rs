//! The engine as the hooks run it, over a connection in a map: `trial_receive` and `trial_transmit` of the kernel side.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, PerCpuHashMap},
    programs::{SchedClassifier, TestRun, TestRunOptions, TestRunResult},
};
use nix::time::ClockId;
use probe_common::{
    connection::{Connection, Side, Stage},
    exchange::{LatencyCell, LatencyKey, Span},
    service::Role,
};
use probe_tests::sk_buff;
use probe_user::{
    kernel::{Features, Networks, load},
    settings::Capacities,
};

use super::packet::{Kind, Packet};

/// What is run for a received packet.
pub(crate) const RECEIVE: &str = "trial_receive";
/// What is run for one that is sent.
pub(crate) const TRANSMIT: &str = "trial_transmit";

/// A connection as it lies in the map.
type Words = [u64; size_of::<Connection>() / size_of::<u64>()];

/// The most words of a connection that the programs put back: `Undo` in `hooks/trial.rs` of the kernel side.
const MOST: usize = 60;

/// `Undo`: whether, how many, their places, their values.
type Undo = [u64; 2 + 2 * MOST];

/// What a run takes, in nanoseconds.
pub(crate) struct Took {
    /// With its packet.
    pub(crate) run: f64,
    /// Without: what is put back before it.
    pub(crate) before: f64,
}

/// The programs, loaded.
pub(crate) struct Engine {
    ebpf: Ebpf,
}

impl Engine {
    /// Loads them with the tables of the defaults.
    pub(crate) fn load() -> Result<Self> {
        // The defaults: routes are not counted.
        let capacities = Capacities {
            services: 4096,
            series: 65_536,
            series_per_service: 65_536,
            clients: 262_144,
            routes: None,
            peers: None,
        };
        let mut ebpf = load(&mut Features::of_this_host(), capacities, Networks::NONE)?;
        for name in [RECEIVE, TRANSMIT] {
            program(&mut ebpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
        }
        Ok(Self { ebpf })
    }

    /// What a run takes over a packet.
    pub(crate) fn run(&mut self, kind: Kind, repeats: u32) -> Result<Took> {
        self.begin()?;
        let conversation = kind.conversation();
        let (packet, earlier) = conversation.split_last().context("a conversation has a packet")?;
        for segment in earlier {
            self.test(hook(segment.side), &segment.frame(), 1)?;
        }
        let (hook, frame) = (hook(packet.side), packet.frame());
        let before = self.words()?;
        self.test(hook, &frame, 1)?;
        let changed = changed(&before, &self.words()?);
        self.put_back(&before, &changed)?;
        let counted = self.answers()?;
        let run = self.test(hook, &frame, repeats)?;
        let counted = self.answers()? - counted;
        let expected = kind.answers() * u64::from(repeats);
        ensure!(
            counted == expected,
            "it counted {counted} answers and not {expected}: not what was to be measured"
        );
        let beyond: Vec<_> = self::changed(&before, &self.words()?);
        ensure!(
            beyond.iter().all(|place| changed.contains(place)),
            "a repeated run changed the words {beyond:?} of the connection, the first one {changed:?}"
        );
        let before = self.test(hook, &Packet::short(), repeats)?;
        Ok(Took { run, before })
    }

    /// A connection from its first byte on, of which nothing is put back.
    fn begin(&mut self) -> Result<()> {
        let mut connection = Connection { stage: Stage::Open, introduced: true, ..Connection::default() };
        connection.role = Role::Server as u8;
        connection.request.begin_at(1);
        connection.response.begin_at(1);
        self.undo(&[0; 2 + 2 * MOST])?;
        // SAFETY: the words are written to a map and never taken for anything else here; `Connection` consists of
        // fields only, which fill whole words.
        let words = unsafe { std::mem::transmute::<Connection, Words>(connection) };
        let mut map: Array<_, Words> = self.ebpf.map_mut("TRIAL").context("no map TRIAL")?.try_into()?;
        Ok(map.set(0, words, 0)?)
    }

    /// Has some words of a connection put back before each run.
    fn put_back(&mut self, connection: &Words, places: &[usize]) -> Result<()> {
        ensure!(
            places.len() <= MOST,
            "a run changes {} words of a connection, and {MOST} can be put back",
            places.len()
        );
        let mut undo: Undo = [0; 2 + 2 * MOST];
        (undo[0], undo[1]) = (1, places.len() as u64);
        for (i, &place) in places.iter().enumerate() {
            undo[2 + i] = place as u64;
            undo[2 + MOST + i] = connection[place];
        }
        self.undo(&undo)
    }

    fn undo(&mut self, undo: &Undo) -> Result<()> {
        let mut map: Array<_, Undo> =
            self.ebpf.map_mut("TRIAL_UNDO").context("no map TRIAL_UNDO")?.try_into()?;
        Ok(map.set(0, undo, 0)?)
    }

    fn words(&self) -> Result<Words> {
        let map: Array<_, Words> = self.ebpf.map("TRIAL").context("no map TRIAL")?.try_into()?;
        Ok(map.get(&0, 0)?)
    }

    fn test(&mut self, name: &str, frame: &[u8], repeats: u32) -> Result<f64> {
        test(program(&mut self.ebpf, name)?, frame, repeats)
    }

    /// How many answers are counted.
    fn answers(&self) -> Result<u64> {
        let map = self.ebpf.map("LATENCIES").context("no map LATENCIES")?;
        let latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = map.try_into()?;
        let mut answers = 0;
        for entry in &latencies {
            let (key, cells) = entry?;
            if matches!(Span::from_key(key.span), Some(Span::Both | Span::Duration)) {
                answers += cells.iter().map(|cell| cell.count).sum::<u64>();
            }
        }
        Ok(answers)
    }
}

/// The places at which two connections differ.
fn changed(before: &Words, after: &Words) -> Vec<usize> {
    (0..before.len()).filter(|&place| before[place] != after[place]).collect()
}

/// The program that sees what a side of a server's connection says.
const fn hook(side: Side) -> &'static str {
    match side {
        Side::Request => RECEIVE,
        Side::Response => TRANSMIT,
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// What a run of a program takes, in nanoseconds, as the kernel timed all of them together. The packet bears the time, as TCP
/// has it of what it sends; the programs look for none in what is received.
pub(crate) fn test<P>(program: &mut P, frame: &[u8], repeats: u32) -> Result<f64>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let now = Duration::from(ClockId::CLOCK_MONOTONIC.now()?);
    let context = sk_buff::Context { tstamp: u64::try_from(now.as_nanos())?, gso_segs: 0 }.bytes();
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.ctx_in = Some(&context);
    options.repeat = repeats;
    // The kernel gives the mean.
    Ok(program.test_run(options)?.duration.as_nanos() as f64)
}
