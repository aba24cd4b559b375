//! The engine as the hooks run it, over a connection in a map: `trial_receive` and `trial_transmit` of the kernel side.

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, PerCpuHashMap},
    programs::{SchedClassifier, TestRun, TestRunOptions, TestRunResult},
};
use probe_common::{
    connection::{Connection, Side, Stage},
    exchange::{LatencyCell, LatencyKey, Span},
    service::Role,
};
use probe_user::{
    kernel::{Features, load},
    settings::Capacities,
};

use super::packet::{Kind, Packet};

const RECEIVE: &str = "trial_receive";
const TRANSMIT: &str = "trial_transmit";

/// A connection as it lies in the map.
type Words = [u64; size_of::<Connection>() / size_of::<u64>()];

/// Entries of the map `TRIAL`.
const WORKED_ON: u32 = 0;
const BEGINNING: u32 = 1;

/// The programs, loaded.
pub(crate) struct Engine {
    ebpf: Ebpf,
}

impl Engine {
    /// Loads them with the tables of the defaults.
    pub(crate) fn load() -> Result<Self> {
        let capacities = Capacities { services: 4096, series: 65_536, clients: 262_144 };
        let mut ebpf = load(Features::of_this_kernel(), capacities)?;
        for name in [RECEIVE, TRANSMIT] {
            program(&mut ebpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
        }
        Ok(Self { ebpf })
    }

    /// What a run takes that has no segment to look at, in nanoseconds.
    pub(crate) fn run_nothing(&mut self, repeats: u32) -> Result<f64> {
        self.begin()?;
        let beginning = self.words()?;
        self.put(BEGINNING, &beginning)?;
        self.test(RECEIVE, &Packet::datagram(), repeats)
    }

    /// What a run takes over a packet, in nanoseconds.
    pub(crate) fn run(&mut self, kind: Kind, repeats: u32) -> Result<f64> {
        self.begin()?;
        let conversation = kind.conversation();
        let (packet, before) = conversation.split_last().context("a conversation has a packet")?;
        for earlier in before {
            self.test(hook(earlier.side), &earlier.frame(), 1)?;
        }
        let beginning = self.words()?;
        self.put(BEGINNING, &beginning)?;
        let counted = self.answers()?;
        let took = self.test(hook(packet.side), &packet.frame(), repeats)?;
        let counted = self.answers()? - counted;
        let expected = kind.answers() * u64::from(repeats);
        ensure!(
            counted == expected,
            "it counted {counted} answers and not {expected}: not what was to be measured"
        );
        Ok(took)
    }

    /// A connection from its first byte on, and no other for runs to begin with.
    fn begin(&mut self) -> Result<()> {
        let mut connection = Connection { stage: Stage::Open, introduced: true, ..Connection::default() };
        connection.role = Role::Server as u8;
        connection.request.begin_at(1);
        connection.response.begin_at(1);
        self.put(BEGINNING, &[0; size_of::<Words>() / size_of::<u64>()])?;
        // SAFETY: the words are written to a map and never taken for anything else here; `Connection` consists of
        // fields only, which fill whole words.
        let words = unsafe { std::mem::transmute::<Connection, Words>(connection) };
        self.put(WORKED_ON, &words)
    }

    fn put(&mut self, entry: u32, words: &Words) -> Result<()> {
        let mut map: Array<_, Words> = self.ebpf.map_mut("TRIAL").context("no map TRIAL")?.try_into()?;
        Ok(map.set(entry, words, 0)?)
    }

    fn words(&self) -> Result<Words> {
        let map: Array<_, Words> = self.ebpf.map("TRIAL").context("no map TRIAL")?.try_into()?;
        Ok(map.get(&WORKED_ON, 0)?)
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

/// What a run of a program takes, in nanoseconds, as the kernel timed all of them together.
pub(crate) fn test<P>(program: &mut P, frame: &[u8], repeats: u32) -> Result<f64>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeats;
    // The kernel gives the mean.
    Ok(program.test_run(options)?.duration.as_nanos() as f64)
}
