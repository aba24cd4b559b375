//! Requests by route: a template of their path, made in the kernel, held against nginx's log of what was asked for.

use std::{collections::BTreeMap, fs, net::SocketAddr, thread};

use anyhow::{Context, Result, ensure};
use probe_fuzz::routes;
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    load,
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    process, tool,
};

const DURATIONS: &str = "traffic_request_duration_seconds_count";

/// What the reference makes of a target.
fn route(target: &str) -> String {
    routes::of_line(format!("GET {target} HTTP/1.1").as_bytes()).unwrap_or_else(|| "other".to_owned())
}

/// The truth: how many requests of each method and route nginx has logged.
fn logged(nginx: &Nginx, requests: usize) -> Result<BTreeMap<(String, String), u64>> {
    let mut counts = BTreeMap::new();
    for (method, target) in nginx.targets(requests)? {
        *counts.entry((method, route(&target))).or_default() += 1;
    }
    let all: u64 = counts.values().sum();
    ensure!(all == requests as u64, "nginx's log has {all} requests, there were {requests}");
    Ok(counts)
}

/// The series that these counts are to be in, at both ends, in requests and in durations.
fn series(port: u16, counts: &BTreeMap<(String, String), u64>) -> Vec<(Series, u64)> {
    let mut expected = Vec::new();
    for role in Role::BOTH {
        for name in ["traffic_requests_total", DURATIONS] {
            for ((method, route), count) in counts {
                let series = Series::at(name, port, role).with("method", method).with("route", route);
                expected.push((series, *count));
            }
            expected.push((Series::at(name, port, role), counts.values().sum()));
        }
    }
    expected
}

/// Paths as applications have them, with identifiers that come once.
fn paths(chance: &mut fastrand::Rng) -> Vec<String> {
    let token: String = (0..43).map(|_| chance.alphanumeric()).collect();
    let mut hex = |length: usize| -> String { (0..length).map(|_| chance.digit(16)).collect() };
    let uuid = [8, 4, 4, 4, 12].map(&mut hex).join("-");
    let (long, digest, number) = (hex(23) + "7", hex(63) + "1", u64::from_str_radix(&hex(9), 16));
    let number = number.unwrap_or_default();
    vec![
        "/ok".to_owned(),
        format!("/ok?session={long}&page={number}"),
        format!("/users/{number}"),
        format!("/users/{number}/orders/{uuid}?expand=items"),
        format!("/objects/{long}"),
        format!("/blobs/{digest}/raw"),
        format!("/api/v1/things/{}", uuid.to_uppercase()),
        format!("/a/{number}/c/{number}/e/{number}/g/{number}/i/{number}"),
        format!("/articles/{}", "a-title-of-some-length-".repeat(8)),
        "/caf%C3%A9/menu;v=1".to_owned(),
        format!("/carts;jsessionid={long}/items;page={number}"),
        format!("/reset/{token}/confirm"),
    ]
}

/// All methods over all paths, on connections that are kept.
fn ask(server: SocketAddr, seed: u64, rounds: usize) -> Result<usize> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut client = Client::connect(server)?;
    let mut asked = 0;
    for _ in 0..rounds {
        for path in paths(&mut chance) {
            for method in ["GET", "POST", "DELETE"] {
                let body = if method == "POST" { 10 } else { 0 };
                client.exchange(&Request::new(method, &path).body(body))?;
                asked += 1;
            }
        }
    }
    Ok(asked)
}

fn of_port(scrape: &Scrape, port: u16) -> Vec<&str> {
    scrape.values(&Series::requests(port, Role::Server), "route")
}

#[test]
fn requests_are_counted_by_route_as_nginx_logs_them() -> Result<()> {
    const H2LOAD: u64 = 4_000;
    let agent = Setup::default().flags(&["--routes"]).start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let asked = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|i| {
                let address = if i % 2 == 0 { nginx.ipv4() } else { nginx.ipv6() };
                scope.spawn(move || ask(address, i, 20))
            })
            .collect();
        load::h2load(nginx.ipv4(), "/ok?load=1", H2LOAD, 10)?;
        clients.into_iter().map(|client| client.join().expect("a client panicked")).sum::<Result<usize>>()
    })?;
    let pipelined = load::wrk_pipelined(nginx.ipv4(), "/ok", 4, 16, 50, nginx.directory())?;
    let curl = ask_by_curl(&nginx)?;
    let all = asked + usize::try_from(H2LOAD + pipelined)? + curl;
    let counts = logged(&nginx, all)?;
    let scrape = mark.rises_by_exactly(&series(nginx.port(), &counts))?;
    println!(
        "{all} requests, {} routes: {:?}",
        of_port(&scrape, nginx.port()).len(),
        of_port(&scrape, nginx.port())
    );
    let mut expected: Vec<_> = counts.keys().map(|(_, route)| route.as_str()).collect();
    expected.sort_unstable();
    expected.dedup();
    ensure!(of_port(&scrape, nginx.port()) == expected, "routes: {:?}", of_port(&scrape, nginx.port()));
    ensure!(expected.contains(&"/users/*/orders/*") && expected.contains(&"/objects/*"), "{expected:?}");
    Ok(())
}

/// A client of another make, and targets that ours does not send: in absolute form, with a fragment.
fn ask_by_curl(nginx: &Nginx) -> Result<usize> {
    let server = nginx.ipv4();
    let mut asked = 0;
    for (flags, target) in [
        (vec![], "/users/4711?x=y#z"),
        (vec!["--head"], "/ok"),
        (vec!["--request-target", "/ok#fragment?no-query"], "/"),
        (vec!["--request-target", "http://elsewhere/users/12/orders/7?x"], "/"),
        (vec!["--request-target", "http://elsewhere/ok"], "/"),
    ] {
        let mut command = tool::command("curl")?;
        command.args(["--silent", "--show-error", "--output", "/dev/null"]).args(flags);
        process::run_well(
            command.arg(format!("http://{server}{target}")),
            std::time::Duration::from_secs(10),
        )?;
        asked += 1;
    }
    Ok(asked)
}

#[test]
fn without_the_flag_there_is_no_such_label() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    load::h2load(nginx.ipv4(), "/ok", 100, 2)?;
    let scrape = mark.rises_by_exactly(&[(Series::requests(nginx.port(), Role::Server), 100)])?;
    ensure!(scrape.values(&Series::named("traffic_requests_total"), "route").is_empty(), "there is a route");
    ensure!(
        scrape
            .values(&Series::named("traffic_probe_table_entries").with("table", "routes"), "table")
            .is_empty()
    );
    Ok(())
}

/// Bytes that no path has, and a line that comes in pieces.
#[test]
fn what_cannot_be_a_route_is_other() -> Result<()> {
    use std::io::{Read, Write};
    let agent = Setup::default().flags(&["--routes"]).start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let lines: [(&[&[u8]], &str); 6] = [
        (&[b"GET /caf\xc3\xa9 HTTP/1.1\r\n"], "other"),
        (&[b"GET /users/", b"17/orders HTTP/1.1\r\n"], "/users/*/orders"),
        (&[b"GET /a-path-that-is-longer-than-what-is-kept/", b"17 HTTP/1.1\r\n"], "other"),
        (&[b"GET /ok?a-query-that-is-longer-than-what-is-kept", b"-of-a-line HTTP/1.1\r\n"], "/ok"),
        (&[b"GE", b"T", b" ", b"/o", b"k HTTP/1.1", b"\r\n"], "/ok"),
        (&[b"\r\nGET /7 HTTP/1.1\r\n"], "/*"),
    ];
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (pieces, route) in lines {
        let mut stream = probe_tests::stream::connect(nginx.ipv4())?;
        stream.set_nodelay(true)?;
        for piece in pieces {
            stream.write_all(piece)?;
            // Each piece in a segment of its own: the next one once the server has it.
            acknowledged(&stream)?;
        }
        stream.write_all(b"Host: test\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        *counts.entry(("GET".to_owned(), route.to_owned())).or_default() += 1;
    }
    mark.rises_by_exactly(&series(nginx.port(), &counts))?;
    Ok(())
}

/// Waits until nothing that was written is unsent (`SIOCOUTQ`): then a segment has gone.
fn acknowledged(stream: &std::net::TcpStream) -> Result<()> {
    let local = stream.local_addr()?.port();
    probe_tests::poll::until("a segment to be acknowledged", || {
        // `tx_queue` of the client's end; the address is 127.0.0.1.
        let table = fs::read_to_string("/proc/net/tcp")?;
        let own = table.lines().find(|line| {
            line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&format!(":{local:04X}")))
        });
        let queues =
            own.and_then(|line| line.split_whitespace().nth(4)).context("the connection is not listed")?;
        Ok(queues.starts_with("00000000:").then_some(()))
    })
}

#[test]
fn a_flood_of_paths_leaves_the_routes_of_others_alone() -> Result<()> {
    const INVENTED: usize = 5_000;
    const ROOM: usize = 100;
    let agent = Setup::default().alone().flags(&["--routes"]).start()?;
    let (flooded, calm) = (Nginx::start()?, Nginx::start()?);
    let mark = agent.mark()?;
    let asked = thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let mut chance = fastrand::Rng::with_seed(3);
            let mut client = Client::connect(flooded.ipv4())?;
            for _ in 0..INVENTED {
                let path: String = (0..12).map(|_| chance.alphabetic()).collect();
                client.exchange(&Request::new("GET", &format!("/{path}")))?;
            }
            Ok::<_, anyhow::Error>(())
        });
        let asked = ask(calm.ipv4(), 1, 60)?;
        flooding.join().expect("the flood panicked")?;
        Ok::<_, anyhow::Error>(asked)
    })?;
    let mut expected = series(calm.port(), &logged(&calm, asked)?);
    for role in Role::BOTH {
        let all = Series::requests(flooded.port(), role);
        expected.push((all.clone(), INVENTED as u64));
        // The first ones have the room there is, each of them once.
        expected.push((all.with("route", "other"), (INVENTED - ROOM) as u64));
    }
    let full = Series::named("traffic_probe_unmeasured_total").with("reason", "routes_full");
    expected.push((full, 2 * (INVENTED - ROOM) as u64));
    let scrape = mark.rises_by_exactly(&expected)?;
    ensure!(of_port(&scrape, flooded.port()).len() == ROOM + 1, "not {ROOM} routes and `other`");
    let targets = flooded.targets(INVENTED)?;
    for (_, first) in &targets[..ROOM] {
        let own = Series::requests(flooded.port(), Role::Server).with("route", first);
        ensure!((mark.rise(&scrape, &own) - 1.0).abs() < f64::EPSILON, "{first} has no series of its own");
    }
    Ok(())
}
