//! A capture that tcpdump takes while the agent counts: the server's log, the agent and the replay know of the same
//! requests.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    capture::{self, Capture},
    client::{Client, Request},
    expect::within,
    load,
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
    pcap::{self, Format, Record},
    process, summary,
};
use serde_json::Value;

use super::latency;

/// A replay of a few packets is quick.
const LIMIT: Duration = Duration::from_secs(10);

type Answered = BTreeMap<(String, u16), u64>;

/// By method and status; those without an answer apart.
fn by_status(service: &Value) -> Result<(Answered, u64)> {
    let mut answered = Answered::new();
    let mut cancelled = 0;
    for kind in service["by_status"].as_array().context("no list by status")? {
        let count = kind["count"].as_u64().context("no count")?;
        match (kind["method"].as_str().context("no method")?, kind["status"].as_str().context("no status")?) {
            (_, "cancelled") => cancelled += count,
            (method, status) => _ = answered.insert((method.to_owned(), status.parse()?), count),
        }
    }
    Ok((answered, cancelled))
}

fn number(service: &Value, path: &str) -> Result<u64> {
    service.pointer(path).and_then(Value::as_u64).with_context(|| format!("no {path} in {service}"))
}

/// One of each way in which a request can be sent and an answer can end.
fn mix(nginx: &Nginx) -> Result<usize> {
    const ROUNDS: usize = 20;
    let unmodified = "If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT";
    let kept = [
        Request::new("GET", "/absent"),
        Request::new("HEAD", "/download"),
        Request::new("POST", "/ok").body(100),
        Request::new("PUT", "/upload").body(300_000).expecting_continue(),
        Request::new("DELETE", "/broken"),
        Request::new("GET", "/chunked"),
        Request::new("GET", "/empty"),
        Request::new("GET", "/page").header(unmodified),
        Request::new("GET", "/page"),
    ];
    let alone = [
        Request::of_http10("GET", "/chunked"),
        Request::new("OPTIONS", "/broken").header("Connection: close"),
    ];
    for address in [nginx.ipv4(), nginx.ipv4()] {
        let mut client = Client::connect(address)?;
        for _ in 0..ROUNDS {
            for request in &kept {
                client.exchange(request)?;
            }
            for request in &alone {
                Client::connect(address)?.exchange(request)?;
            }
        }
    }
    Ok(2 * ROUNDS * (kept.len() + alone.len()))
}

/// Clients that do not wait for their answers. nginx notes them with a status of its own, or not.
fn leave_early(nginx: &Nginx) -> Result<u64> {
    const TIMES: u64 = 3;
    for _ in 0..TIMES {
        let mut client = Client::connect(nginx.ipv4())?;
        client.send(&Request::new("GET", "/after-50ms"))?;
        client.reset()?;
    }
    Ok(TIMES)
}

#[test]
fn a_capture_comes_to_what_the_server_and_the_agent_count() -> Result<()> {
    const H2LOAD: u64 = 10_000;
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let capture = Capture::start(nginx.port())?;
    load::h2load(nginx.ipv4(), "/ok", H2LOAD, 20)?;
    let pipelined = load::wrk_pipelined(nginx.ipv4(), "/ok", 4, 16, 250, nginx.directory())?;
    let requests = H2LOAD + pipelined + mix(&nginx)? as u64;
    // The server's log first, while it holds nothing but answers that were given.
    let answered = nginx.answered(usize::try_from(requests)?)?;
    ensure!(answered.values().sum::<u64>() == requests, "nginx's log has other requests: {answered:?}");
    let left = leave_early(&nginx)?;
    let all = Series::requests(nginx.port(), Role::Server);
    let mut expected = vec![(all.clone().with("status", "cancelled"), left), (all.clone(), requests + left)];
    for ((method, status), count) in &answered {
        expected.push((all.clone().with("method", method).with("status", status), *count));
    }
    let scrape = mark.rises_by_exactly(&expected)?;

    let service = capture.finish()?.replayed()?;
    has_all_requests(&service, &answered, left)?;
    // Beyond requests the agent's own figures: connections, and payload to the byte.
    let server = |name| Series::at(name, nginx.port(), Role::Server);
    for (path, series) in [
        ("/connections/opened", server("traffic_connections_opened_total")),
        ("/connections/closed", server("traffic_connections_closed_total")),
        ("/bytes/received", server("traffic_bytes_total").with("direction", "receive")),
        ("/bytes/sent", server("traffic_bytes_total").with("direction", "transmit")),
    ] {
        let (figure, live) = (number(&service, path)?, mark.rise(&scrape, &series));
        ensure!((figure as f64 - live).abs() < 0.5, "{path}: replayed {figure}, live {live}");
    }
    Ok(())
}

/// Holds a replayed service to the server's log, and to how many clients did not wait.
fn has_all_requests(service: &Value, answered: &Answered, left: u64) -> Result<()> {
    let (replayed, cancelled) = by_status(service)?;
    ensure!(replayed == *answered, "replayed: {replayed:?}\nnginx's log: {answered:?}");
    ensure!(cancelled == left, "{cancelled} cancelled, {left} clients did not wait");
    ensure!(service["unmeasured"] == serde_json::json!({}), "escaped: {}", service["unmeasured"]);
    let responses = answered.values().sum::<u64>();
    for (path, expected) in [
        ("/requests", responses + left),
        ("/responses", responses),
        ("/in_flight", 0),
        // How long a client waits that leaves is its own doing.
        ("/duration/count", responses),
        ("/time_to_first_byte/count", responses),
    ] {
        let figure = number(service, path)?;
        ensure!(figure == expected, "{path} is {figure}, expected {expected}");
    }
    Ok(())
}

/// Linux's cooked link layer.
#[test]
fn a_capture_of_all_interfaces_comes_to_the_same() -> Result<()> {
    let nginx = Nginx::start()?;
    let capture = Capture::start_on("any", nginx.port())?;
    load::h2load(nginx.ipv4(), "/ok", 1_000, 10)?;
    let answered = nginx.answered(1_000)?;
    has_all_requests(&capture.finish()?.replayed()?, &answered, 0)
}

/// A capture on the uplink of a node, of pods in an overlay network that the kernel itself makes.
#[test]
fn an_overlay_comes_to_what_is_in_it() -> Result<()> {
    const PORT: u16 = 8472;
    const REQUESTS: u64 = 1_000;
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("uplink", &far, "uplink")?;
    for (netns, own, other) in [(&near, 1, 2), (&far, 2, 1)] {
        let remote = format!("192.0.2.{other}");
        let port = PORT.to_string();
        let vxlan = [
            "link", "add", "pods", "type", "vxlan", "id", "7", "dstport", &port, "remote", &remote, "dev",
            "uplink",
        ];
        netns.ip(&vxlan)?;
        netns.ip(&["link", "set", "pods", "mtu", "1400", "up"])?;
        netns.address("pods", &format!("10.77.0.{own}/24"))?;
    }
    let nginx = Nginx::start_within(&far)?;
    let capture = Capture::start_within(&near, "uplink", &format!("udp port {PORT}"), nginx.port())?;
    let server = SocketAddr::from(([10, 77, 0, 2], nginx.port()));
    load::h2load_from(&near, server, "/ok", REQUESTS, 10)?;
    let answered = nginx.answered(usize::try_from(REQUESTS)?)?;
    let captured = capture.finish_behind(|marker| {
        near.inside(|| {
            _ = UdpSocket::bind("192.0.2.1:0")?.send_to(marker, ("192.0.2.2", PORT))?;
            Ok(())
        })
    })?;
    has_all_requests(&captured.replayed()?, &answered, 0)
}

/// In the parts that tcpdump would have written, and in the wrong order.
#[test]
fn what_else_is_asked_of_a_capture() -> Result<()> {
    const QUICK: u64 = 200;
    const SLOW: u64 = 3;
    let nginx = Nginx::start()?;
    let capture = Capture::start(nginx.port())?;
    load::h2load(nginx.ipv4(), "/ok", QUICK, 5)?;
    let mut client = Client::connect(nginx.ipv4())?;
    for _ in 0..SLOW {
        client.exchange(&Request::new("GET", "/after-50ms"))?;
    }
    drop(client);
    let captured = capture.finish()?;
    let whole = captured.replayed()?;
    let records = pcap::read(&captured.file())?;
    let (first, second) = records.split_at(records.len() / 2);
    let part = |name: &str, records: &[Record]| -> Result<PathBuf> {
        let path = nginx.directory().join(name);
        fs::write(&path, pcap::write(Format::PcapNg, records)?)?;
        Ok(path)
    };
    let mut command = capture::replay(&part("second", second)?)?;
    command.arg(part("first", first)?).args(["--routes", "--top", "3", "--every", "10ms", "--peers"]);
    command.args(["--filter", &format!("host 127.0.0.1 and tcp port {}", nginx.port())]);
    let report: Value = serde_json::from_str(&process::run_well(&mut command, LIMIT)?)?;
    let service = &report["services"][0];
    for same in ["requests", "bytes", "connections", "duration"] {
        ensure!(service[same] == whole[same], "{same}: {} is not {}", service[same], whole[same]);
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let slowest = list(&report["slowest"]);
    ensure!(slowest.len() == 3, "{slowest:?}");
    for request in slowest {
        ensure!(request["route"] == "/after-50ms" && request["status"] == "200", "{request}");
        ensure!(request["duration_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.049), "{request}");
    }
    for route in list(&service["by_route"]) {
        let slow = route["route"] == "/after-50ms";
        ensure!(route["count"] == if slow { SLOW } else { QUICK }, "{route}");
        ensure!(route["duration"]["count"] == route["count"], "{route}");
    }
    let sum = |values: &[Value], path: &str| -> u64 {
        values.iter().filter_map(|value| value.pointer(path)?.as_u64()).sum()
    };
    for parts in [list(&report["intervals"]), list(&service["by_peer"])] {
        for figure in ["/requests", "/bytes/received", "/bytes/sent"] {
            let all = number(&whole, figure)?;
            ensure!(sum(&parts, figure) == all, "{figure}: not {all}: {parts:?}");
        }
    }
    ensure!(list(&service["by_peer"]).len() == 1, "{}", service["by_peer"]);
    Ok(())
}

#[test]
fn latencies_of_a_capture_are_those_of_the_agent_and_of_the_clients() -> Result<()> {
    /// Between the middles of two neighbouring buckets.
    const BUCKET: f64 = 0.0906;
    let agent = latency::agent()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let capture = Capture::start(nginx.port())?;
    let measured = latency::ask(&nginx, "/after-50ms")?;
    let count = measured.len() as u64;
    let scrape = mark.rises_by_exactly(&[(Series::requests(nginx.port(), Role::Server), count)])?;
    let service = capture.finish()?.replayed()?;
    ensure!(number(&service, "/duration/count")? == count, "not {count} requests: {service}");
    let live = Series::at("traffic_request_latency_seconds", nginx.port(), Role::Server);
    let seconds = |name: &str| service["duration"][name].as_f64().with_context(|| format!("no {name}"));
    for (label, name) in [("0.5", "p50_seconds"), ("0.95", "p95_seconds"), ("0.99", "p99_seconds")] {
        let replayed = seconds(name)?;
        let live = scrape.sum(&live.clone().with("quantile", label));
        within(BUCKET, &format!("quantile {label}, replayed for live"), replayed, live)?;
    }
    // And the one quantile of the clients that no halt of the machine touches.
    within(
        0.05,
        "median, replayed for the clients'",
        seconds("p50_seconds")?,
        summary::quantile(&measured, 0.5),
    )?;
    let average = seconds("sum_seconds")? / count as f64;
    within(0.01, "average, replayed for live", average, scrape.sum(&live.with("quantile", "avg")))?;
    within(0.05, "average, replayed for the clients'", average, summary::average(&measured))?;
    Ok(())
}

#[test]
fn a_damaged_capture_is_told_and_still_counted() -> Result<()> {
    let nginx = Nginx::start()?;
    let capture = Capture::start(nginx.port())?;
    let mut client = Client::connect(nginx.ipv4())?;
    for _ in 0..10 {
        client.exchange(&Request::new("GET", "/ok"))?;
    }
    let captured = capture.finish()?;
    drop(client);
    let whole = captured.replayed()?;
    ensure!(number(&whole, "/requests")? == 10, "not ten requests: {whole}");

    // Without its last byte: that of an acknowledgement, or of the packet that ended the capture.
    let bytes = fs::read(captured.file())?;
    fs::write(captured.file(), &bytes[..bytes.len() - 1])?;
    let output = process::run(&mut capture::replay(&captured.file())?, LIMIT)?;
    ensure!(output.status.code() == Some(1), "ended with {}", output.status);
    let report: Value = serde_json::from_str(&output.stdout)?;
    for counted in ["by_status", "duration", "bytes"] {
        ensure!(report["services"][0][counted] == whole[counted], "{report} is not {whole}");
    }
    ensure!(report["capture"]["truncated"] == true, "{report}");
    let said = output.stderr.trim_end();
    let sentence = said.lines().count() == 1 && said.starts_with("error: ") && said.contains(" at byte ");
    ensure!(sentence && said.contains("ends in the middle of a record"), "{said}");

    // No capture at all, and none to be found.
    let page = nginx.directory().join("page");
    for (file, words) in [(page.clone(), "neither pcap nor pcapng"), (page.join("absent"), "cannot open")] {
        let output = process::run(&mut capture::replay(&file)?, LIMIT)?;
        let said = output.stderr.trim_end();
        ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}: {said}", output.status);
        ensure!(said.lines().count() == 1 && said.contains(words), "`{words}` is missing in: {said}");
    }
    Ok(())
}
