//! `replay` of captures that are damaged, or of hostile packets.

use std::{
    env, fs,
    io::Write,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::Output,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use nix::sys::resource::{Resource, setrlimit};
use probe_tests::{
    capture::{self, Capture},
    forger::{Forger, Target},
    load,
    nginx::Nginx,
    pcap::{self, Format, Record},
};
use serde_json::Value;
use tempfile::NamedTempFile;

/// Requests of the real conversation.
const REQUESTS: u64 = 40;

/// Captures that are made from the real one by chance.
const MUTATIONS: u64 = 3_000;

/// Changes [`MUTATIONS`] for a longer run.
const VARIABLE: &str = "TRAFFIC_PROBE_MUTATIONS";

/// What a replay may take: seconds of a CPU, and bytes of addresses. One that hangs, or takes more memory the more there
/// is in the file, is ended by the kernel, and so fails the test.
const SECONDS: u64 = 10;
const MEMORY: u64 = 320 << 20;

/// Whom nobody's packets go to.
const TARGET: Target = Target {
    mac: [2, 0, 0, 0, 0, 1],
    ipv4: Ipv4Addr::new(192, 0, 2, 1),
    ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    port: 80,
};

/// A real conversation on keep-alive connections, as tcpdump has captured it, and its server's port.
fn conversation() -> Result<(Vec<Record>, u16)> {
    let nginx = Nginx::start()?;
    let capture = Capture::start(nginx.port())?;
    load::h2load(nginx.ipv4(), "/ok", REQUESTS, 4)?;
    nginx.answered(usize::try_from(REQUESTS)?)?;
    let captured = capture.finish()?;
    Ok((pcap::read(&captured.file())?, nginx.port()))
}

/// Replays a file within limits.
fn replay(file: &Path) -> Result<Output> {
    let mut command = capture::replay(file)?;
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            setrlimit(Resource::RLIMIT_CPU, SECONDS, SECONDS)?;
            Ok(setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?)
        });
    }
    command.output().context("cannot start the replay")
}

/// What a replay of some bytes comes to, and what it says beside that.
fn replayed(file: &[u8]) -> Result<(Output, Option<Value>)> {
    let mut kept = NamedTempFile::with_prefix("traffic-probe-hostile-")?;
    kept.write_all(file)?;
    let output = replay(kept.path())?;
    Ok((output.clone(), judged(&output).inspect_err(|_| _ = kept.keep())?))
}

/// Holds a replay to what holds for any file: it ends by itself, with a report, with a sentence, or with both.
fn judged(output: &Output) -> Result<Option<Value>> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.signal().is_none(), "it was ended by {}: {said}", output.status);
    let is_a_sentence = said.starts_with("error: ") && said.trim_end().lines().count() == 1;
    match output.status.code() {
        Some(0) => ensure!(said.is_empty(), "it says beside its report: {said}"),
        Some(1) => ensure!(is_a_sentence, "no sentence: {said}"),
        code => bail!("it ended with {code:?}: {said}"),
    }
    if output.stdout.is_empty() {
        ensure!(!said.is_empty(), "neither a report nor a sentence");
        return Ok(None);
    }
    let report = serde_json::from_slice(&output.stdout).context("the report is no document")?;
    Ok(Some(report))
}

/// The service at a port, which must be told.
fn at_port(report: &Value, port: u16) -> Result<&Value> {
    let services = report["services"].as_array().context("no services")?;
    let name = format!("127.0.0.1:{port}");
    services.iter().find(|service| service["service"] == name.as_str()).context("the real service is missing")
}

/// Holds the real service to its truth.
fn is_whole(report: &Value, port: u16) -> Result<()> {
    let service = at_port(report, port)?;
    let answered = &service["by_status"][0];
    ensure!(
        service["requests"] == REQUESTS && answered["status"] == "200" && answered["count"] == REQUESTS,
        "the real service has not {REQUESTS} requests: {service}"
    );
    ensure!(
        service["connections"]["closed"] == 4 && service["unmeasured"] == serde_json::json!({}),
        "{service}"
    );
    Ok(())
}

/// Hostile packets at the times of a real conversation, of which each may be said to have been longer or shorter than what
/// was captured of it.
fn forged(count: usize, among: &[Record], seed: u64) -> Vec<Record> {
    let mut chance = Rng::with_seed(seed);
    let mut forger = Forger::new(TARGET, seed);
    let record = |_| {
        let bytes = forger.frame();
        let captured = u32::try_from(bytes.len()).unwrap_or_default();
        let length = match chance.u8(..10) {
            0 => captured + chance.u32(..2_000),
            1 => chance.u32(..),
            2 => 0,
            _ => captured,
        };
        Record { time: among[chance.usize(..among.len())].time, bytes, length }
    };
    (0..count).map(record).collect()
}

#[test]
fn a_conversation_is_counted_exactly_beside_hostile_packets() -> Result<()> {
    const HOSTILE: usize = 20_000;
    let (real, port) = conversation()?;
    let mut all = [forged(HOSTILE, &real, 1), real.clone()].concat();
    // The real ones keep their order, which equal times would not say.
    all.sort_by_key(|record| record.time);
    for format in Format::BOTH {
        let (output, report) = replayed(&pcap::write(format, &all)?)?;
        let report = report.context("no report")?;
        ensure!(output.status.success(), "{format:?}: {}", String::from_utf8_lossy(&output.stderr));
        is_whole(&report, port).with_context(|| format!("{format:?}"))?;
        ensure!(report["capture"]["packets"] == HOSTILE + real.len(), "{}", report["capture"]);
        println!("{format:?}: {}", report["capture"]["skipped"]);
        for reason in ["bad_header", "cut_header", "cut_fragment", "lost_fragment", "not_ip", "not_tcp"] {
            let told = report["capture"]["skipped"][reason].as_u64().unwrap_or_default();
            ensure!(told > 20, "{format:?}: `{reason}` is told {told} times");
        }
    }
    Ok(())
}

#[test]
fn packets_that_were_not_captured_whole_are_counted_all_the_same() -> Result<()> {
    let (real, port) = conversation()?;
    // Ethernet, IPv4, and TCP with a timestamp; then what a first line takes, and no head.
    let snap = 14 + 20 + 32 + 20;
    let cut = |record: &Record| Record {
        bytes: record.bytes[..record.bytes.len().min(snap)].to_vec(),
        ..record.clone()
    };
    let cut: Vec<_> = real.iter().map(cut).collect();
    for format in Format::BOTH {
        let (output, report) = replayed(&pcap::write(format, &cut)?)?;
        let report = report.context("no report")?;
        ensure!(output.status.success(), "{format:?}: {}", String::from_utf8_lossy(&output.stderr));
        let service = at_port(&report, port)?;
        ensure!(service["requests"] == REQUESTS, "{format:?}: {service}");
        let unreadable = service["unmeasured"]["unreadable"].as_u64().unwrap_or_default();
        ensure!(unreadable >= REQUESTS, "{format:?}: the cut heads are not told: {service}");
        ensure!(report["capture"]["cut_packets"].as_u64() > Some(2 * REQUESTS), "{}", report["capture"]);
    }
    Ok(())
}

/// Lengths that reach beyond the record, the file, and all reason, in the last of the records.
#[test]
fn a_length_beyond_the_file_is_told_behind_all_that_could_be_read() -> Result<()> {
    let (real, port) = conversation()?;
    for (format, at) in [(Format::Pcap, 8), (Format::PcapNg, 4), (Format::PcapNg, 20)] {
        let whole = pcap::write(format, &real)?;
        for length in [1 << 12, 1 << 20, (16 << 20) + 4, 1 << 30, u32::MAX - 3, u32::MAX] {
            let mut record = forged(1, &real, 2)[0].encoded(format)?;
            record[at..at + 4].copy_from_slice(&length.to_ne_bytes());
            let (output, report) = replayed(&[whole.clone(), record].concat())?;
            let case = format!("{format:?}, {length} at {at}");
            is_whole(&report.context("no report")?, port).with_context(|| case.clone())?;
            let said = String::from_utf8_lossy(&output.stderr);
            let place = format!("at byte {}, behind {} packets: ", whole.len(), real.len());
            ensure!(output.status.code() == Some(1) && said.contains(&place), "{case}: {said}");
        }
    }
    Ok(())
}

/// A file of the same packets to which something was done.
fn mutated(file: &[u8], records: &[Record], format: Format, seed: u64) -> Result<Vec<u8>> {
    const ABSURD: [u32; 8] = [0, 1, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff0, 0x0100_0000];
    let mut chance = Rng::with_seed(seed);
    let mut records = records.to_vec();
    let mut file = file.to_vec();
    if chance.bool() {
        // Packets that are lost, doubled, overtaken, or have a field changed.
        for _ in 0..chance.usize(1..20) {
            let (one, other) = (chance.usize(..records.len()), chance.usize(..records.len()));
            match chance.u8(..6) {
                0 if records.len() > 1 => _ = records.remove(one),
                1 => records.insert(one, records[other].clone()),
                2 => records.swap(one, other),
                3 => records[one].length = chance.choice(ABSURD).unwrap_or_default(),
                4 => records[one].time = u64::from(chance.u32(..)) * 1_000_000_000,
                _ => {
                    // A word of the headers.
                    let bytes = &mut records[one].bytes;
                    let at = 12 + 2 * chance.usize(..30);
                    let absurd = chance.choice(ABSURD).unwrap_or_default().to_be_bytes();
                    if let Some(word) = bytes.get_mut(at..at + 4) {
                        word.copy_from_slice(&absurd);
                    }
                }
            }
        }
        file = pcap::write(format, &records)?;
    }
    for _ in 0..chance.usize(..6) {
        let at = chance.usize(..file.len());
        match chance.u8(..5) {
            0 => file[at] = chance.u8(..),
            1 => file[at] ^= 1 << chance.u8(..8),
            2 => file.truncate(at.max(1)),
            3 => _ = file.splice(at..at, (0..chance.usize(..40)).map(|byte| u8::try_from(byte).unwrap_or(0))),
            _ => {
                let absurd = chance.choice(ABSURD).unwrap_or_default().to_ne_bytes();
                let at = at & !3;
                if let Some(word) = file.get_mut(at..at + 4) {
                    word.copy_from_slice(&absurd);
                }
            }
        }
    }
    Ok(file)
}

#[test]
fn a_capture_to_which_anything_was_done_is_survived() -> Result<()> {
    let mutations = env::var(VARIABLE).map_or(Ok(MUTATIONS), |said| said.parse())?;
    let (real, port) = conversation()?;
    let files = Format::BOTH.map(|format| pcap::write(format, &real));
    let [pcap, pcapng] = files;
    let files = [pcap?, pcapng?];
    let range = |from: u64| {
        let (files, real) = (&files, &real);
        move || -> Result<[u64; 3]> {
            let mut ends = [0; 3];
            for seed in (from..mutations).step_by(2) {
                let number = usize::from(seed / 2 % 2 == 1);
                let file = mutated(&files[number], real, Format::BOTH[number], seed)?;
                let (output, report) = replayed(&file).with_context(|| format!("mutation {seed}"))?;
                // No request may be made up: there is none without a packet that bears its head.
                let made =
                    report.iter().flat_map(|report| report["services"].as_array().into_iter().flatten());
                let requests: u64 = made.filter_map(|service| service["requests"].as_u64()).sum();
                ensure!(requests <= 2 * REQUESTS, "mutation {seed}: {requests} requests");
                let exact = report.as_ref().is_some_and(|report| is_whole(report, port).is_ok());
                ends[if exact { 0 } else { usize::from(!output.status.success()) + 1 }] += 1;
            }
            Ok(ends)
        }
    };
    let [even, odd] = thread::scope(|scope| {
        let threads = [scope.spawn(range(0)), scope.spawn(range(1))];
        threads.map(|thread| thread.join().expect("a thread panicked"))
    });
    let [even, odd] = [even?, odd?];
    let [exact, whole, damaged] = [even[0] + odd[0], even[1] + odd[1], even[2] + odd[2]];
    println!("of {mutations}: {exact} exact, {whole} read to their end, {damaged} told to be damaged");
    ensure!(
        exact > 0 && whole > mutations / 10 && damaged > mutations / 10,
        "the mutations are too much alike"
    );
    Ok(())
}

#[test]
fn a_long_capture_of_nothing_but_hostile_packets_takes_no_more_memory() -> Result<()> {
    const RECORDS: usize = 400_000;
    let time = 1_700_000_000_000_000_000;
    let at = [Record { time, bytes: Vec::new(), length: 0 }];
    let mut file = NamedTempFile::with_prefix("traffic-probe-hostile-")?;
    // All at one time: nothing is forgotten for its age.
    file.write_all(&pcap::write(Format::Pcap, &forged(RECORDS, &at, 3))?)?;
    let output = replay(file.path())?;
    let report = judged(&output)?.context("no report")?;
    ensure!(report["capture"]["packets"] == RECORDS, "{}", report["capture"]);
    println!("{} MB: {}", fs::metadata(file.path())?.len() / 1_000_000, report["capture"]["skipped"]);
    Ok(())
}
