//! Each feature refused in turn, and some together: the agent starts, counts exactly what it still counts, has no series of what
//! it does not, and says what is missing with the same words in its log, its API and `traffic-probe check`.
//!
//! What is refused is refused by name, by a process beside the agent: see `tests/src/bin/refuse.rs`.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    api, load,
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    process, tool,
};
use serde_json::Value;

const REFUSE: &str = env!("CARGO_BIN_EXE_refuse");

/// How long `check` may take: it loads all programs, perhaps several times.
const LIMIT: Duration = Duration::from_mins(1);

/// How many features are wanted whatever is typed.
const ALWAYS: usize = 11;

const CONNECTIONS: u64 = 5;
const REQUESTS: u64 = 10;

/// What is missing, with why, what is lost, and how to mend it.
type Missing = BTreeMap<String, (String, String, String)>;

/// Starts an agent that is refused these, and holds it to everything.
fn without(missing: &[&str], rules: &[&str]) -> Result<()> {
    with_flags(missing, rules, &[])
}

fn with_flags(expected: &[&str], rules: &[&str], flags: &[&str]) -> Result<()> {
    let behind: Vec<&str> = [REFUSE].into_iter().chain(rules.iter().copied()).chain(["--"]).collect();
    // A connection that is older than any agent.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _older = (TcpStream::connect(listener.local_addr()?)?, listener.accept()?);
    let agent = Setup::default().flags(flags).behind(&behind).start()?;
    let missing = told_by_api(&agent)?;
    let names: Vec<_> = missing.keys().map(String::as_str).collect();
    println!("refused {rules:?}: {missing:#?}");
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    ensure!(names == expected, "missing are {names:?}, not {expected:?}: {}", agent.log()?);
    told_in_log(&agent, &missing)?;
    told_as_metric(&agent.scrape()?, &missing)?;
    told_by_check(&behind, flags, &missing)?;
    counts(&agent, &missing)
}

fn told_by_api(agent: &Agent<'_>) -> Result<Missing> {
    missing_in(&api::document(agent, "/api/v1/features")?["features"])
}

fn missing_in(features: &Value) -> Result<Missing> {
    let text =
        |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"));
    let features = features.as_array().context("a list of features")?;
    let missing = features.iter().filter(|feature| feature["in_force"] == false);
    missing
        .map(|feature| {
            let why = &feature["missing"];
            Ok((text(&feature["feature"])?, (text(&why["why"])?, text(&why["lost"])?, text(&why["mend"])?)))
        })
        .collect()
}

/// Once each, and none that is there.
fn told_in_log(agent: &Agent<'_>, missing: &Missing) -> Result<()> {
    let log = agent.log()?;
    for (name, (why, lost, mend)) in missing {
        let told = format!("the feature `{name}` is missing: {why}; without it {lost}; to have it, {mend}");
        ensure!(log.matches(&told).count() == 1, "not once `{told}` in: {log}");
        // An error number and nothing else helps nobody.
        ensure!(!why.starts_with("Operation") && !why.starts_with("os error"), "{name}: {why}");
    }
    let told = log.matches("is missing: ").count();
    ensure!(told == missing.len(), "{told} features are missing in: {log}");
    Ok(())
}

fn told_as_metric(scrape: &Scrape, missing: &Missing) -> Result<()> {
    let feature = Series::named("traffic_probe_feature");
    // Those that are not zero.
    let in_force = scrape.values(&feature, "feature");
    ensure!(in_force.len() + missing.len() >= ALWAYS, "in force: {in_force:?}");
    for name in in_force {
        ensure!(!missing.contains_key(name), "{name} is in force and missing");
    }
    for name in missing.keys() {
        let is = scrape.get(&feature.clone().with("feature", name));
        ensure!(is == Some(0.0), "traffic_probe_feature of {name} is {is:?}");
    }
    Ok(())
}

fn told_by_check(behind: &[&str], flags: &[&str], missing: &Missing) -> Result<()> {
    let lock = tempfile::tempdir()?;
    let mut command = Command::new(behind[0]);
    command.args(&behind[1..]).arg(tool::agent()?).args(["check", "--format", "json"]);
    command.args(["--listen", "127.0.0.1:0", "--lock"]).arg(lock.path()).args(flags);
    let output = process::run(&mut command, LIMIT)?;
    let found: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("check says {} {}", output.stdout, output.stderr))?;
    ensure!(found["would_run"] == true && output.status.success(), "check says no: {found:#}");
    let by_check = missing_in(&found["features"])?;
    ensure!(by_check == *missing, "check says {by_check:#?}, and run {missing:#?}");
    Ok(())
}

/// Ten requests on each of five connections: bytes, connections and requests are what this test knows.
fn counts(agent: &Agent<'_>, missing: &Missing) -> Result<()> {
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let (mut sent, mut received) = (0, 0);
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(nginx.ipv4())?;
        for number in 1..=REQUESTS {
            let last = if number == REQUESTS { "Connection: close\r\n" } else { "" };
            let request = format!("GET /ok HTTP/1.1\r\nHost: test\r\n{last}\r\n");
            stream.write_all(request.as_bytes())?;
            sent += request.len() as u64;
        }
        received += stream.read_to_end(&mut Vec::new())? as u64;
    }
    let port = nginx.port();
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let (to, from) = if role == Role::Server { (sent, received) } else { (received, sent) };
        let bytes = |direction| Series::at("traffic_bytes_total", port, role).with("direction", direction);
        expected.push((bytes("receive"), to));
        expected.push((bytes("transmit"), from));
        expected.push((Series::at("traffic_connections_opened_total", port, role), CONNECTIONS));
        expected.push((Series::at("traffic_connections_closed_total", port, role), CONNECTIONS));
        if !missing.contains_key("requests") {
            expected.push((Series::requests(port, role).with("status", 200), CONNECTIONS * REQUESTS));
            expected.push((Series::requests(port, role), CONNECTIONS * REQUESTS));
        }
    }
    let scrape = mark.rises_by_exactly(&expected)?;
    let of_requests = [
        "traffic_requests_total",
        "traffic_request_duration_seconds_count",
        "traffic_requests_in_flight",
        "traffic_requests_per_second",
    ];
    let of_interfaces = ["traffic_interface_bytes_total", "traffic_node_bytes_total"];
    let present = [
        ("requests", &of_requests[..]),
        ("oldest", &["traffic_oldest_request_age_seconds"]),
        ("interfaces", &of_interfaces),
    ];
    for (feature, metrics) in present {
        for metric in metrics {
            let series = scrape.text.matches(&format!("\n{metric}{{")).count();
            let is_missing = missing.contains_key(feature);
            ensure!((series == 0) == is_missing, "{series} series of {metric}, missing: {is_missing}");
        }
    }
    let phases = |phase| {
        scrape
            .sum(&Series::at("traffic_request_phase_seconds_count", port, Role::Server).with("phase", phase))
    };
    let reads = missing.contains_key("reads");
    ensure!(
        (phases("queue") == 0.0) == reads && (phases("service") == 0.0) == reads,
        "phases: {}",
        scrape.text
    );
    // Under load, too: no error comes of what is not there.
    if !missing.contains_key("requests") {
        let mark = agent.mark()?;
        load::h2load(nginx.ipv4(), "/ok", 2000, 10)?;
        mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(port, role), 2000)))?;
    }
    Ok(())
}

#[test]
fn nothing() -> Result<()> {
    without(&[], &[])
}

#[test]
fn requests() -> Result<()> {
    without(&["requests", "reads", "oldest"], &["program:socket_receive"])
}

#[test]
fn requests_by_the_program_of_connections() -> Result<()> {
    without(&["requests", "reads", "oldest"], &["program:connections"])
}

#[test]
fn states() -> Result<()> {
    without(&["states"], &["program:socket_states"])
}

#[test]
fn states_when_attached() -> Result<()> {
    without(&["states"], &["attach:socket_states"])
}

#[test]
fn reads() -> Result<()> {
    without(&["reads"], &["program:application_reads"])
}

#[test]
fn reads_when_attached() -> Result<()> {
    without(&["reads"], &["attach:application_reads"])
}

#[test]
fn oldest() -> Result<()> {
    without(&["oldest"], &["table:AGES"])
}

#[test]
fn oldest_by_the_table_of_all_cpus() -> Result<()> {
    without(&["oldest"], &["table:OLD_AGES"])
}

/// Where a driver refuses it, generic XDP takes its place: see `drivers`.
#[test]
fn xdp() -> Result<()> {
    with_flags(&["xdp"], &["program:interface_driver"], &["--xdp", "lo"])
}

#[test]
fn datagrams() -> Result<()> {
    without(&["datagrams"], &["program:datagram_sockets"])
}

#[test]
fn datagrams_when_attached() -> Result<()> {
    without(&["datagrams"], &["attach:datagram_sockets"])
}

#[test]
fn older() -> Result<()> {
    without(&["older"], &["program:adopt"])
}

#[test]
fn older_when_run() -> Result<()> {
    without(&["older"], &["run:adopt"])
}

#[test]
fn older_where_namespaces_may_not_be_entered() -> Result<()> {
    without(&["older"], &["setns"])
}

#[test]
fn expiry() -> Result<()> {
    without(&["expiry"], &["program:carry_out_orders"])
}

#[test]
fn routes() -> Result<()> {
    with_flags(&["routes"], &["table:ROUTES"], &["--routes"])
}

#[test]
fn peers() -> Result<()> {
    with_flags(&["peers"], &["table:PEERS"], &["--peers"])
}

#[test]
fn interfaces() -> Result<()> {
    without(&["interfaces", "tcx"], &["program:interface_transmit"])
}

#[test]
fn tcx() -> Result<()> {
    without(&["tcx"], &["attach:interface_transmit", "attach:interface_receive"])
}

#[test]
fn news_of_interfaces() -> Result<()> {
    without(&["news"], &["link-news"])
}

#[test]
fn news_of_cgroups() -> Result<()> {
    without(&["news"], &["inotify_init1"])
}

#[test]
fn log() -> Result<()> {
    without(&["log"], &["shared-memory"])
}

#[test]
fn pin() -> Result<()> {
    with_flags(&["pin"], &["pin"], &["--pin", "/sys/fs/bpf/traffic-probe-refused"])
}

#[test]
fn states_and_reads() -> Result<()> {
    without(&["states", "reads"], &["program:socket_states", "program:application_reads"])
}

#[test]
fn oldest_and_expiry() -> Result<()> {
    without(&["oldest", "expiry"], &["table:AGES", "program:carry_out_orders"])
}

/// What is left is what nothing can be counted without.
#[test]
fn everything() -> Result<()> {
    without(
        &[
            "requests",
            "states",
            "reads",
            "oldest",
            "datagrams",
            "older",
            "expiry",
            "interfaces",
            "tcx",
            "news",
            "log",
        ],
        &[
            "program:socket_receive",
            "program:socket_states_plain",
            "program:datagram_sockets",
            "program:adopt",
            "program:carry_out_orders",
            "program:interface_receive",
            "link-news",
            "inotify_init1",
            "shared-memory",
        ],
    )
}

/// Without these there is nothing to count: a sentence, and the same by `check`.
#[test]
fn what_nothing_is_counted_without_is_a_sentence_of_run_and_of_check() -> Result<()> {
    tool::demand_root()?;
    for (rules, words) in [
        (&["program:socket_receive", "program:socket_receive_plain"][..], "`socket_receive_plain`"),
        (&["map:COUNTERS"], "the map `COUNTERS`"),
        (&["map:CLIENTS"], "lower --max-clients"),
    ] {
        let lock = tempfile::tempdir()?;
        let run = |subcommand: &str| -> Result<_> {
            let mut command = Command::new(REFUSE);
            command.args(rules).arg("--").arg(tool::agent()?).arg(subcommand);
            command.args(["--listen", "127.0.0.1:0", "--lock"]).arg(lock.path());
            process::run(&mut command, LIMIT)
        };
        let (ended, checked) = (run("run")?, run("check")?);
        let (said, found) = (ended.stderr.trim_end(), &checked.stdout);
        println!("{said}");
        ensure!(ended.status.code() == Some(1) && checked.status.code() == Some(1), "{said} {found}");
        ensure!(said.lines().count() == 1 && said.contains(words), "run says: {said}");
        let sentence = said.trim_start_matches("error: ");
        ensure!(found.contains(sentence), "check does not say `{sentence}`: {found}");
    }
    Ok(())
}
