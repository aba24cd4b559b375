//! The agent's listener among clients that ask for too much, or for nothing and stay.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    load,
    metrics::Series,
    nginx::Nginx,
    poll, process, tool,
};

const LIMIT: Duration = Duration::from_secs(20);

const FOLLOW: &str = "GET /api/v1/stream HTTP/1.1\r\nHost: probe\r\n\r\n";

/// What the agent takes of memory, in MiB.
fn resident(agent: &Agent<'_>) -> Result<f64> {
    Ok(agent.scrape()?.sum(&Series::named("process_resident_memory_bytes")) / 1_048_576.0)
}

/// A connection on which something was said.
fn saying(agent: &Agent<'_>, words: &str) -> Result<TcpStream> {
    let mut stream = probe_tests::stream::connect(agent.address())?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(words.as_bytes())?;
    Ok(stream)
}

/// All that comes until the agent closes, which it does in order.
fn rest(mut stream: TcpStream) -> Result<String> {
    let mut said = String::new();
    stream.read_to_string(&mut said).context("the agent did not close in order")?;
    Ok(said)
}

/// How many streams were told what, by the first line and the sentence.
fn farewells(streams: Vec<TcpStream>) -> Result<BTreeMap<String, usize>> {
    let mut told = BTreeMap::new();
    for stream in streams {
        let said = rest(stream)?;
        let status = said.lines().next().unwrap_or("nothing").to_owned();
        *told.entry(format!("{status}: {}", said.lines().last().unwrap_or_default())).or_default() += 1;
    }
    println!("{told:#?}");
    Ok(told)
}

#[test]
fn slow_clients_keep_nobody_out() -> Result<()> {
    const PLACES: usize = 32;
    const SLOW: usize = 100;
    let flags = ["--max-connections", "32", "--request-timeout", "3s"];
    let agent = Setup::default().flags(&flags).start()?;
    let mut following = BufReader::new(saying(&agent, FOLLOW)?);
    // From here on a request is worked on at its place.
    following.read_line(&mut String::new())?;
    let mut events = following.lines();
    let began = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(saying(&agent, "GET /metrics HTTP/1.1\r\nHost: probe\r\nX-Slow: ")?);
    }
    let mut scrapes = 0;
    while began.elapsed() < Duration::from_secs(2) {
        agent.scrape()?;
        scrapes += 1;
        for stream in &mut slow {
            // Some were told to leave already.
            let _ = stream.write(b"s");
        }
    }
    ensure!(scrapes >= 10, "{scrapes} scrapes in 2 s");
    let told = farewells(slow)?;
    println!("{scrapes} scrapes beside them; the last was told after {:.1?}", began.elapsed());
    let count = |words: &str| {
        told.iter().filter(|(said, _)| said.contains(words)).map(|(_, count)| count).sum::<usize>()
    };
    let (evicted, late) = (count("503 Service Unavailable: 32 connections"), count("408 Request Timeout: "));
    ensure!(evicted + late == SLOW, "{evicted} gave way and {late} were too slow, of {SLOW}");
    ensure!(late > 0 && late < PLACES, "{late} were too slow, in {PLACES} places");
    // Events come every 200 ms: one of now is behind those of the last seconds.
    let mut seen = 0;
    for line in events.by_ref() {
        seen += usize::from(line?.starts_with("data: "));
        if seen > 12 {
            return Ok(());
        }
    }
    anyhow::bail!("the stream of events ended after {seen}")
}

#[test]
fn where_all_work_a_newcomer_is_told_when_to_come_back() -> Result<()> {
    let agent = Setup::default().flags(&["--max-connections", "16"]).start()?;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = BufReader::new(saying(&agent, FOLLOW)?);
        let mut status = String::new();
        stream.read_line(&mut status)?;
        ensure!(status.starts_with("HTTP/1.1 200 "), "{status}");
        streams.push(stream);
    }
    let said = rest(saying(&agent, "GET /metrics HTTP/1.1\r\nHost: probe\r\n\r\n")?)?;
    let head = said.to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: 1\r\n"), "{said}");
    ensure!(said.ends_with("16 connections are open, which is the limit: try again in a moment\n"), "{said}");
    drop(streams);
    // What it wrote to them meanwhile tells it that they have left.
    poll::until("a place", || {
        let said =
            rest(saying(&agent, "GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")?)?;
        Ok(said.starts_with("HTTP/1.1 200 ").then_some(()))
    })
}

/// The status that curl got, and what it was told, with headers of so many bytes.
fn with_header(agent: &Agent<'_>, bytes: usize) -> Result<(String, String)> {
    const LINE: usize = 64 << 10;
    let directory = tempfile::tempdir()?;
    let (header, body) = (directory.path().join("header"), directory.path().join("body"));
    // Of lines that curl takes: it has limits, too, and sends less than 1 MiB.
    let line = |length: usize| format!("X-Long: {}\n", "x".repeat(length));
    fs::write(&header, line(LINE).repeat(bytes / LINE) + &line(bytes % LINE))?;
    let mut curl: Command = tool::command("curl")?;
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--write-out", "%{http_code}", "--header"]);
    curl.arg(format!("@{}", header.display())).arg("--output").arg(&body);
    let status = process::run_well(curl.arg(format!("http://{}/metrics", agent.address())), LIMIT)?;
    Ok((status, fs::read_to_string(body)?))
}

#[test]
fn a_head_that_is_too_long_is_refused_in_words() -> Result<()> {
    let agent = Agent::start()?;
    let (status, _) = with_header(&agent, 15 << 10)?;
    ensure!(status == "200", "15 KiB: {status}");
    let (status, said) = with_header(&agent, 17 << 10)?;
    ensure!(status == "431" && said.contains("16384 bytes"), "17 KiB: {status}, {said}");
    let before = resident(&agent)?;
    for _ in 0..20 {
        let (status, said) = with_header(&agent, 1000 << 10)?;
        ensure!(status == "431" && said.contains("16384 bytes"), "1 MB: {status}, {said}");
    }
    let after = resident(&agent)?;
    println!("memory before and after 20 heads of 1 MB: {before:.1} and {after:.1} MiB");
    ensure!(after - before < 4.0, "the agent has grown from {before:.1} to {after:.1} MiB");
    Ok(())
}

#[test]
fn content_is_refused_and_its_rest_not_taken_for_a_request() -> Result<()> {
    let agent = Agent::start()?;
    let inner = "GET /metrics HTTP/1.1\r\nHost: inner\r\n\r\n";
    let said = rest(saying(
        &agent,
        &format!("GET / HTTP/1.1\r\nHost: probe\r\nContent-Length: {}\r\n\r\n{inner}", inner.len()),
    )?)?;
    ensure!(said.starts_with("HTTP/1.1 413 ") && said.matches("HTTP/1.1 ").count() == 1, "{said}");
    Ok(())
}

#[test]
fn two_hundred_clients_at_once_are_all_served_in_bounded_memory() -> Result<()> {
    const CLIENTS: u32 = 200;
    // Measures memory, which others' series would be part of.
    let agent = Setup::default().alone().start()?;
    let round = || {
        load::h2load(agent.address(), "/metrics", 2000, CLIENTS)?;
        resident(&agent)
    };
    let before = resident(&agent)?;
    let rounds = (0..5).map(|_| round()).collect::<Result<Vec<_>>>()?;
    println!(
        "memory before {before:.1}, after rounds of 2,000 scrapes by {CLIENTS} clients {rounds:.1?} MiB"
    );
    // What each takes while it is served, and the allocator keeps: half a megabyte, however often it asks. Ten thousand
    // pages are gigabytes.
    let most = rounds.iter().copied().fold(before, f64::max);
    ensure!(most - before < f64::from(CLIENTS) / 2.0, "the agent has grown by {:.1} MiB", most - before);
    Ok(())
}

#[test]
fn who_takes_nothing_of_an_answer_is_left() -> Result<()> {
    let agent = Setup::default().flags(&["--request-timeout", "500ms"]).start()?;
    let mut client = Client::connect_with_buffer(4096, agent.address())?;
    // More answers than the sockets' buffers hold: 4 MiB and some, where the kernel lets them grow, of 6 KiB and more each.
    for _ in 0..3000 {
        if client.send(&Request::new("GET", "/metrics")).is_err() {
            // It has given up by now.
            break;
        }
    }
    let agents = format!(":{:04X}", agent.address().port());
    poll::until("the agent to give up on it", || {
        let table = fs::read_to_string("/proc/net/tcp")?;
        let established = table.lines().filter(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words[1].ends_with(&agents) && words[3] == "01"
        });
        Ok((established.count() == 0).then_some(()))
    })?;
    drop(client);
    Ok(())
}

/// A page of megabytes: many kinds of requests.
fn many_series(agent: &Agent<'_>) -> Result<Nginx> {
    let nginx = Nginx::start()?;
    let mut client = Client::connect(nginx.ipv4())?;
    for letter in b'g'..=b'z' {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            for page in ["page", "list"] {
                client.exchange(&Request::new(method, &format!("/{page}-{}", char::from(letter))))?;
            }
        }
    }
    poll::until("a page of 1.5 MiB", || Ok((agent.scrape()?.text.len() > 3 << 19).then_some(())))?;
    Ok(nginx)
}

#[test]
fn clients_that_ask_and_do_not_read_keep_no_scraper_waiting() -> Result<()> {
    those_who_do_not_read("identity")
}

#[test]
fn nor_do_those_that_ask_for_it_compressed() -> Result<()> {
    those_who_do_not_read("zstd")
}

fn those_who_do_not_read(coding: &str) -> Result<()> {
    const SLOW: usize = 300;
    let agent = Setup::default().flags(&["--routes"]).start()?;
    let _nginx = many_series(&agent)?;
    let before = resident(&agent)?;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut client = Client::connect_with_buffer(4096, agent.address())?;
        client.send(&Request::new("GET", "/metrics").header(&format!("Accept-Encoding: {coding}")))?;
        slow.push(client);
    }
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    for scrape in 0..8 {
        let asked = Instant::now();
        // An error is told as such: a 503, say.
        agent
            .scrape()
            .with_context(|| format!("scrape {scrape}, {:?} after the slow ones", began.elapsed()))?;
        longest = longest.max(asked.elapsed());
    }
    let after = resident(&agent)?;
    println!(
        "8 scrapes beside {SLOW} that do not read: {longest:?} at most; memory {before:.1}, then {after:.1} MiB"
    );
    ensure!(longest < Duration::from_secs(5), "a scrape took {longest:?}");
    // 32 MiB of answers, and a stack and a connection's buffers for each.
    ensure!(after - before < 96.0, "the agent has grown from {before:.1} to {after:.1} MiB");
    Ok(())
}

#[test]
fn thousands_of_small_requests_in_a_row_are_not_one_long_head() -> Result<()> {
    const REQUESTS: usize = 2000;
    let agent = Agent::start()?;
    let one = "GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
    let mut stream = saying(&agent, "")?;
    let mut writer = stream.try_clone()?;
    let all = one.repeat(REQUESTS - 1) + last;
    let writing = std::thread::spawn(move || writer.write_all(all.as_bytes()));
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let (good, all) = (said.matches("HTTP/1.1 200 OK").count(), said.matches("HTTP/1.1 ").count());
    ensure!((good, all) == (REQUESTS, REQUESTS), "{good} of {all} answers are good, of {REQUESTS}");
    Ok(())
}
