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
    assert!(requests > 20 && escaped.len() > 3, "the corpus shows next to nothing");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn conversation(operations: &[(Side, String)]) -> Script {
    let operations: Vec<_> =
        operations.iter().map(|(side, text)| Operation::Send(*side, text.clone().into_bytes())).collect();
    Script::new(Setting { before_wrap: [10, 20], ..Setting::default() }, &operations)
}

/// Requests and answers of every kind that frames itself in a way of its own, with what each is.
fn turns() -> Vec<(String, String, (&'static str, u16))> {
    let fake = "GET /fake HTTP/1.1\r\n\r\n";
    let sized =
        |line: &str, content: &str| format!("{line}\r\nContent-Length: {}\r\n\r\n{content}", content.len());
    let chunked = |line: &str, content: &str| {
        let size = content.len();
        format!("{line}\r\nTransfer-Encoding: chunked\r\n\r\n{size:x};a=b\r\n{content}\r\n0\r\nT: v\r\n\r\n")
    };
    let bare = |method: &str| format!("{method} http://a/x HTTP/1.1\r\nHost: a\r\n\r\n");
    vec![
        (bare("GET"), sized("HTTP/1.1 200 OK", fake), ("GET", 200)),
        (bare("HEAD"), "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n".into(), ("HEAD", 200)),
        (sized("POST / HTTP/1.1", fake), chunked("HTTP/1.1 201 Created", fake), ("POST", 201)),
        (chunked("PUT / HTTP/1.1", fake), "HTTP/1.1 204 No Content\r\n\r\n".into(), ("PUT", 204)),
        (bare("DELETE"), "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n".into(), ("DELETE", 304)),
        (bare("QUERY"), sized("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy", "later"), ("QUERY", 503)),
        (bare("BREW"), sized("HTTP/1.1 418 Teapot", &fake.repeat(100)), ("OTHER", 418)),
        (bare("PATCH"), format!("HTTP/1.1 404 Not Found\r\n\r\n{fake}"), ("PATCH", 404)),
        (bare("TRACE"), sized("HTTP/1.1 200 OK", ""), ("TRACE", 200)),
        (bare("CONNECT"), format!("HTTP/1.1 200 OK\r\n\r\n{fake}"), ("CONNECT", 200)),
    ]
}

/// However the segments are cut, and with each of them seen twice.
#[test]
fn every_kind_of_message_is_counted_however_it_is_cut() {
    let Some(mut trial) = Trial::new() else { return };
    for most in [1, 7, 100, 536, LARGEST] {
        let mut operations = Vec::new();
        for (request, response, _) in turns() {
            for (side, text) in [(Side::Request, request), (Side::Response, response)] {
                for piece in text.as_bytes().chunks(most) {
                    let length = u16::try_from(piece.len()).expect("a piece is short");
                    operations.push(Operation::Send(side, piece.to_vec()));
                    operations.push(Operation::Again { side, back: length, length });
                }
            }
        }
        let script = Script::new(Setting { before_wrap: [700, 3_000], ..Setting::default() }, &operations);
        let counts = agree(&mut trial, &format!("cut to {most}"), script);
        let expected: BTreeMap<_, _> = turns().into_iter().map(|(_, _, kind)| (kind, 1)).collect();
        assert_eq!((counts.requests, counts.unmeasured), (expected, BTreeMap::new()), "cut to {most}");
    }
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
