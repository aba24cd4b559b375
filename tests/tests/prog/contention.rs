//! Many at once make entries of one table: whatever refuses one, it is counted under its reason, and what was counted and what was
//! refused are together what was sent.

use std::{collections::BTreeMap, thread};

use aya::{
    maps::{PerCpuArray, PerCpuHashMap},
    programs::{
        Program, SchedClassifier, TestRun, TestRunOptions,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    util::online_cpus,
};
use probe_common::{
    exchange::{LatencyCell, LatencyKey, Span},
    reason::Reason,
};

use crate::loaded::Loaded;

const THREADS: u16 = 4;

/// How often a test sends.
const REQUESTS: u32 = 40_000;

/// More than the threads can go through without being interrupted.
const INTERRUPTS_PER_SECOND: u64 = 20_000;

const RUN: &str = "trial_request";
const INTERRUPT: &str = "trial_interrupt";

fn load(loaded: &mut Loaded) {
    let Program::SchedClassifier(program) = loaded.program_mut(RUN) else { panic!("{RUN} is of TC") };
    program.load().unwrap_or_else(|error| panic!("{RUN}: {error}"));
}

/// Counts a request: a status and a duration.
fn send(program: &SchedClassifier, status: u16, nanoseconds: u64) {
    let packet = [&[0; 14][..], &status.to_ne_bytes(), &nanoseconds.to_ne_bytes(), &[0; 8]].concat();
    let mut options = TestRunOptions::new();
    options.data_in = Some(&packet);
    options.repeat = 1;
    program.test_run(options).expect("it runs");
}

/// Has all threads send at once, each what `request` says of its number and of the request's.
fn send_from_all(loaded: &mut Loaded, request: impl Fn(u16, u32) -> (u16, u64) + Sync) -> u64 {
    let Program::SchedClassifier(program) = loaded.program_mut(RUN) else { panic!("{RUN} is of TC") };
    let (program, request) = (&*program, &request);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..REQUESTS {
                    let (status, nanoseconds) = request(thread, number);
                    send(program, status, nanoseconds);
                }
            });
        }
    });
    u64::from(THREADS) * u64::from(REQUESTS)
}

/// One of 9,000 series and durations that a thread has for itself.
fn one_of_many(thread: u16, number: u32) -> (u16, u64) {
    let status = u16::try_from(100 + number % 900).expect("a status");
    (status, 1 << (u32::from(thread) * 10 + 1 + number / 900 % 10))
}

/// What is in the table: requests, and entries of them.
fn counted(loaded: &mut Loaded) -> (u64, usize) {
    let latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = loaded.map_mut("LATENCIES");
    let (mut requests, mut entries) = (0, 0);
    for entry in &latencies {
        let (key, cells) = entry.expect("it can be read");
        if key.span == Span::Both as u8 {
            requests += cells.iter().map(|cell| cell.count).sum::<u64>();
            entries += 1;
        }
    }
    (requests, entries)
}

/// What was refused, by reason.
fn refused(loaded: &mut Loaded) -> BTreeMap<Reason, u64> {
    let unmeasured: PerCpuArray<_, u64> = loaded.map_mut("UNMEASURED");
    let of = |reason: Reason| unmeasured.get(&(reason as u32), 0).expect("it can be read").iter().sum();
    Reason::ALL.into_iter().map(|reason| (reason, of(reason))).filter(|(_, count)| *count > 0).collect()
}

/// All of them make the same new entries, side by side: who loses a race adds to what the winner has made.
#[test]
fn who_loses_a_race_for_an_entry_counts_in_the_winners() {
    let mut loaded = Loaded::new(0);
    load(&mut loaded);
    // 1,500 entries, each of them new to all threads at about the same time.
    let sent = send_from_all(&mut loaded, |_, number| {
        let entry = number % 1500;
        (u16::try_from(100 + entry % 100).expect("a status"), 1 << (10 + entry / 100))
    });
    let (requests, entries) = counted(&mut loaded);
    let refused = refused(&mut loaded);
    eprintln!(
        "prog: {sent} requests in {entries} entries by {THREADS} threads: {requests} counted, {refused:?}"
    );
    assert_eq!(entries, 1500);
    assert_eq!((requests, refused), (sent, BTreeMap::new()));
}

/// All of them make entries of their own, far more than there is room for.
#[test]
fn what_finds_the_table_full_is_counted_as_that() {
    let mut loaded = Loaded::new(0);
    load(&mut loaded);
    let sent = send_from_all(&mut loaded, one_of_many);
    let (requests, entries) = counted(&mut loaded);
    let refused = refused(&mut loaded);
    eprintln!(
        "prog: {sent} requests by {THREADS} threads: {requests} counted in {entries} entries, {refused:?}"
    );
    assert_eq!(refused.keys().collect::<Vec<_>>(), [&Reason::LatencyFull]);
    assert_eq!(requests + refused[&Reason::LatencyFull], sent);
}

/// Interrupts make entries in the midst of what the threads do to the same table. The kernels that this was run on (6.1, 6.18) keep
/// interrupts away from a bucket's lock, so that none is refused as contended; one that does not would tell so.
#[test]
fn interrupts_in_the_midst_of_it_are_counted_or_told() {
    let mut loaded = Loaded::new(0);
    load(&mut loaded);
    let Program::PerfEvent(program) = loaded.program_mut(INTERRUPT) else { panic!("{INTERRUPT} is of perf") };
    program.load().unwrap_or_else(|error| panic!("{INTERRUPT}: {error}"));
    let links: Vec<_> = online_cpus()
        .expect("the CPUs can be counted")
        .into_iter()
        .map(|cpu| {
            let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
            let scope = PerfEventScope::AllProcessesOneCpu { cpu };
            let policy = SamplePolicy::Frequency(INTERRUPTS_PER_SECOND);
            program.attach(clock, scope, policy, false).expect("the kernel has a clock for each CPU")
        })
        .collect();
    let sent = send_from_all(&mut loaded, one_of_many);
    let Program::PerfEvent(program) = loaded.program_mut(INTERRUPT) else { panic!("{INTERRUPT} is of perf") };
    for link in links {
        program.detach(link).expect("it is attached");
    }
    let told: PerCpuArray<_, u64> = loaded.map_mut("TRIAL_COUNTED");
    let interrupts: u64 = told.get(&0, 0).expect("it can be read").iter().sum();
    let (requests, entries) = counted(&mut loaded);
    let refused = refused(&mut loaded);
    let of = |reason| refused.get(&reason).copied().unwrap_or_default();
    let contended = of(Reason::Contended);
    eprintln!(
        "prog: {sent} requests by {THREADS} threads, {interrupts} by interrupts: {requests} counted in {entries} entries, \
         {refused:?}"
    );
    assert!(interrupts > 0, "nothing was interrupted");
    assert_eq!(requests + of(Reason::LatencyFull) + contended, sent + interrupts);
}
