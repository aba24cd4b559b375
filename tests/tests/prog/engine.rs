//! The engine in the kernel counts what the same engine counts on the host, over the corpus that the fuzzer found and over
//! conversations made for it.

use std::{collections::BTreeMap, path::Path};

use probe_common::connection::{Connection, Side, Stage};
use probe_fuzz::{
    replay,
    run::{self, Counted},
    script::{Delivery, Operation, Script, Setting},
};

use crate::trial::{Counts, Trial};

/// What a test run takes as a packet: a page, less what the kernel wants for itself.
const LARGEST: usize = 3_000;

/// The same script with segments that a test run can take, and without the end of the connection, which no packet tells.
fn for_packets(mut script: Script) -> Script {
    script.setting.closed = false;
    let deliveries = script.deliveries.into_iter().flat_map(split).collect();
    Script { deliveries, ..script }
}

fn split(delivery: Delivery) -> Vec<Delivery> {
    if delivery.bytes.len() <= LARGEST {
        return vec![delivery];
    }
    let pieces = delivery.bytes.chunks(LARGEST);
    let last = pieces.len() - 1;
    let piece = |(i, bytes): (usize, &[u8])| Delivery {
        sequence: delivery.sequence.wrapping_add(u32::try_from(i * LARGEST).expect("a script is short")),
        bytes: bytes.to_vec(),
        fin: delivery.fin && i == last,
        ..delivery.clone()
    };
    pieces.enumerate().map(piece).collect()
}

/// What the host's engine counted, as the kernel's maps would have it.
fn as_counts(counted: &Counted) -> Counts {
    let mut counts = Counts {
        phases: [counted.exchanges.len() as u64; 2],
        delivered: counted.delivered,
        fresh: counted.fresh,
        progress: [counted.began, counted.ended],
        ..Counts::default()
    };
    for kind in counted.kinds() {
        *counts.requests.entry(kind).or_default() += 1;
    }
    for reason in &counted.unmeasured {
        *counts.unmeasured.entry(*reason).or_default() += 1;
    }
    counts
}

/// Runs a script through the kernel and on the host.
fn agree(trial: &mut Trial, name: &str, script: Script) -> Counts {
    let script = for_packets(script);
    trial.begin(&run::connection(&script));
    script.deliveries.iter().for_each(|delivery| trial.deliver(delivery));
    let mut kernel = trial.counts();
    let host = as_counts(&run::run(&script));
    // The host's script does not tell what is sent again.
    kernel.again = 0;
    assert_eq!(kernel, host, "{name}: the kernel's counts, and the host's");
    host
}

#[test]
fn the_kernel_counts_the_corpus_as_the_host_does() {
    let Some(mut trial) = Trial::new() else { return };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/engine");
    let inputs = replay::inputs(&directory).expect("the corpus can be read");
    assert!(inputs.len() >= 50, "{} has {} inputs", directory.display(), inputs.len());
    let (mut requests, mut escaped) = (0, BTreeMap::new());
    for (path, input) in &inputs {
        let counts = agree(&mut trial, &path.display().to_string(), Script::decode(input));
        requests += counts.requests.values().sum::<u64>();
        for (reason, count) in counts.unmeasured {
            *escaped.entry(reason).or_insert(0) += count;
        }
    }
    println!("{} conversations, {requests} requests, unmeasured: {escaped:?}", inputs.len());
    assert!(requests > 50 && escaped.len() > 3, "the corpus shows next to nothing");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn conversation(operations: &[(Side, String)]) -> Script {
    let operations: Vec<_> =
        operations.iter().map(|(side, text)| Operation::Send(*side, text.clone().into_bytes())).collect();
    Script::new(Setting { before_wrap: [10, 20], ..Setting::default() }, &operations)
}

/// The longest packets that a test run takes, full of requests.
#[test]
fn requests_side_by_side_are_each_counted() {
    let Some(mut trial) = Trial::new() else { return };
    let script = conversation(&[
        (Side::Request, GET.repeat(32)),
        (Side::Response, OK.repeat(32)),
        (Side::Request, GET.into()),
    ]);
    let counts = agree(&mut trial, "pipelined", script);
    assert_eq!(counts.requests, [(("GET", 200), 32)].into());
    assert_eq!((counts.delivered, counts.progress), (32, [33, 32]));
}

#[test]
fn a_head_of_sixteen_kilobytes_is_read() {
    let Some(mut trial) = Trial::new() else { return };
    let long = format!(
        "POST /{} HTTP/1.1\r\nCookie: {}\r\nContent-Length: 3\r\n\r\nabc",
        "p".repeat(3_000),
        "c".repeat(13_000)
    );
    let script = conversation(&[(Side::Request, long), (Side::Response, OK.into())]);
    assert_eq!(agree(&mut trial, "long head", script).requests, [(("POST", 200), 1)].into());
}

#[test]
fn what_is_sent_again_counts_once_and_is_told() {
    let Some(mut trial) = Trial::new() else { return };
    let mut connection = Connection { stage: Stage::Open, ..Connection::default() };
    connection.request.begin_at(1);
    connection.response.begin_at(1);
    trial.begin(&connection);
    let segment = |side, text: &str, fin| Delivery {
        side,
        sequence: 1,
        bytes: text.as_bytes().to_vec(),
        acknowledged: 1,
        fin,
        time: 0,
    };
    for _ in 0..3 {
        trial.deliver(&segment(Side::Request, GET, false));
    }
    for _ in 0..3 {
        trial.deliver(&segment(Side::Response, OK, false));
    }
    let counts = trial.counts();
    assert_eq!(counts.requests, [(("GET", 200), 1)].into());
    assert_eq!(counts.fresh, [GET.len() as u64, OK.len() as u64]);
    assert_eq!(counts.again, 2, "what the server sent");
}
