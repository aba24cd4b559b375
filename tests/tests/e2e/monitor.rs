//! `traffic-probe monitor`: newman asks a real server, and what the monitor tells of that is what the kernel counted.

mod alerts;

use std::{
    fs,
    io::BufReader,
    net::Ipv4Addr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Setup,
    http1,
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    poll,
    postman::{Collection, Monitor},
    process::{self, Output},
    server::Server,
    tool,
};
use serde_json::Value;

const OK: &str = "pm.test('status is 200', () => pm.response.to.have.status(200));";
const ABSENT: &str = "pm.test('status is 404', () => pm.response.to.have.status(404));";
const FAST: &str =
    "pm.test('answers within 100 ms', () => pm.expect(pm.response.responseTime).to.be.below(100));";

/// How long the slow answer takes.
const SLOW: Duration = Duration::from_millis(300);

/// Requests that succeed, one that is absent as it should be, one that fails, and one that is slow.
fn shop() -> Result<Collection> {
    Ok(Collection::new("shop")?
        .request("Orders/list", "GET", "/ok", &[OK])
        .request("Orders/absent", "GET", "/absent", &[ABSENT])
        .request("pay", "POST", "/broken", &[OK])
        .request("search", "GET", "/after/0.3s", &[OK, FAST]))
}

fn of_monitor(name: &'static str) -> Series {
    Series::named(name).with("collection", "shop")
}

/// Requests by the class of their status, as the monitor and as the kernel has them.
fn compare_classes(monitor: &Scrape, agent: &dyn Fn(&Series) -> f64, port: u16, runs: f64) -> Result<()> {
    let requests = of_monitor("traffic_probe_monitor_requests_total");
    for (class, status, each) in [("2xx", "200", 2.0), ("4xx", "404", 1.0), ("5xx", "500", 1.0)] {
        let told = monitor.sum(&requests.clone().with("status_class", class));
        let counted = agent(&Series::requests(port, Role::Server).with("status", status));
        println!("{class}: the monitor made {told}, the kernel counted {counted}");
        ensure!((told - counted).abs() < 0.5 && (told - each * runs).abs() < 0.5, "{told} are not {counted}");
    }
    Ok(())
}

#[test]
fn requests_and_times_are_those_that_the_kernel_has() -> Result<()> {
    const RUNS: u64 = 2;
    let agent = Setup::default().alone().start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let shop = shop()?;
    // A monitor each, since one that goes on might be in the middle of its next run when it is asked. The first run comes at
    // once.
    let mut told = Vec::new();
    for _ in 0..RUNS {
        let monitor = Monitor::start(&shop, nginx.ipv4(), &["--every", "10m"])?;
        let runs = Series::named("traffic_probe_monitor_runs_total").with("result", "failed");
        told.push(monitor.when("a run", |scrape| scrape.sum(&runs) > 0.0)?);
        let Output { status, stderr, .. } = monitor.end()?;
        ensure!(status.success(), "SIGTERM ended it with {status}: {stderr}");
    }
    let expected = [(Series::requests(nginx.port(), Role::Server), 4 * RUNS)];
    let scrape = mark.rises_by_exactly(&expected)?;
    for monitor in &told {
        compare_classes(monitor, &|series| mark.rise(&scrape, series) / RUNS as f64, nginx.port(), 1.0)?;
    }
    ensure!(nginx.answered(4 * usize::try_from(RUNS)?)?.values().sum::<u64>() == 4 * RUNS, "nginx's log");

    // What newman waited for is what the kernel saw, and then some; newman rounds to milliseconds.
    let kernel = Series::at("traffic_request_duration_seconds", nginx.port(), Role::Server).suffixed("_sum");
    let kernel = mark.rise(&scrape, &kernel);
    let durations = of_monitor("traffic_probe_monitor_request_duration_seconds").suffixed("_sum");
    let monitor: f64 = told.iter().map(|scrape| scrape.sum(&durations)).sum();
    println!("{RUNS} runs: {kernel:.4} s in the kernel, {monitor:.4} s for newman");
    let rounding = 0.001 * (4 * RUNS) as f64;
    ensure!(monitor + rounding >= kernel, "newman waited for less than there was");
    ensure!(kernel >= SLOW.as_secs_f64() * RUNS as f64, "the slow answers are in it");

    let last = &told[0];
    let failures = of_monitor("traffic_probe_monitor_failures_total");
    for (request, assertion, times) in [
        ("pay", "status is 200", 1.0),
        ("search", "answers within 100 ms", 1.0),
        ("Orders/list", "status is 200", 0.0),
    ] {
        let series = failures.clone().with("request", request).with("assertion", assertion);
        ensure!((last.sum(&series) - times).abs() < 0.5, "{series} is {}", last.sum(&series));
    }
    let slow = of_monitor("traffic_probe_monitor_last_request_duration_seconds").with("request", "search");
    ensure!(last.sum(&slow) >= SLOW.as_secs_f64() - 0.001, "the slow answer took {}", last.sum(&slow));
    Ok(())
}

/// A server that answers each request after a time, and notes how many it had at once and in all.
fn counting(wait: Duration) -> Result<(Server, Arc<[AtomicUsize; 3]>)> {
    let noted: Arc<[AtomicUsize; 3]> = Arc::default();
    let theirs = Arc::clone(&noted);
    let server = Server::start(Ipv4Addr::LOCALHOST, move |stream| {
        let [now, most, all] = &*theirs;
        let mut reader = BufReader::new(&stream);
        while let Ok(Some(_)) = http1::head(&mut reader) {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(wait);
            now.fetch_sub(1, Ordering::SeqCst);
            all.fetch_add(1, Ordering::SeqCst);
            // Who was killed meanwhile does not read it.
            let _ = std::io::Write::write_all(&mut &stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        Ok(())
    })?;
    Ok((server, noted))
}

#[test]
fn runs_follow_each_other_and_never_overlap() -> Result<()> {
    let (server, noted) = counting(Duration::from_millis(300))?;
    let collection = Collection::new("shop")?.request("one", "GET", "/", &[OK]);
    let monitor = Monitor::start(&collection, server.address(), &["--every", "200ms"])?;
    let runs = Series::named("traffic_probe_monitor_runs_total").with("result", "passed");
    monitor.when("three runs", |scrape| scrape.sum(&runs) >= 3.0)?;
    let results: Value = serde_json::from_str(&monitor.get("/results")?)?;
    ensure!(results["run"]["passed"] == true && results["undone"].is_null(), "{results:#}");
    ensure!(
        monitor.get("/healthz")? == "ok\n" && monitor.get("/")?.contains("href=\"/metrics\""),
        "what it serves"
    );
    let Output { status, stderr, .. } = monitor.end()?;
    ensure!(status.success() && stderr.contains("one is due every 0.2 s"), "{status}: {stderr}");
    let [_, most, all] = &*noted;
    let (most, all) = (most.load(Ordering::SeqCst), all.load(Ordering::SeqCst));
    ensure!(most == 1 && all >= 3, "{all} requests, {most} at once");
    server.finish()
}

/// The processes whose command line has a file's name.
fn users_of(file: &Path) -> Result<Vec<String>> {
    let name = file.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let line = fs::read_to_string(entry?.path().join("cmdline")).unwrap_or_default();
        if line.contains(&*name) {
            found.push(line.replace('\0', " "));
        }
    }
    Ok(found)
}

/// A server that reads and never answers.
fn silent() -> Result<Server> {
    Server::start(Ipv4Addr::LOCALHOST, |mut stream| {
        // Until who asks is gone, however.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        Ok(())
    })
}

#[test]
fn a_run_that_hangs_is_killed_and_so_is_one_under_way() -> Result<()> {
    let server = silent()?;
    let collection = Collection::new("shop")?.request("hangs", "GET", "/", &[OK]);
    let file = collection.write()?;
    let Output { status, stderr, time, .. } = collection.once(server.address(), &["--timeout", "4s"])?;
    ensure!(status.code() == Some(2), "ended with {status}");
    ensure!(stderr.contains("was killed after 4s") && stderr.lines().count() == 1, "{stderr}");
    ensure!(time < Duration::from_secs(20), "it took {time:?}");
    let left = users_of(&file)?;
    ensure!(left.is_empty(), "left behind: {left:?}");

    let monitor = Monitor::start(&collection, server.address(), &[])?;
    poll::until("newman to be at work", || Ok((users_of(&file)?.len() > 1).then_some(())))?;
    let Output { status, stderr, time: _, .. } = monitor.end()?;
    ensure!(status.success(), "SIGTERM in the middle of a run ended it with {status}: {stderr}");
    let left = users_of(&file)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    server.finish()
}

/// Runs it where it cannot, with a sentence that has these words.
fn fails(command: &mut Command, words: &[&str]) -> Result<()> {
    let Output { status, stderr, stdout, .. } = process::run(command, Duration::from_mins(1))?;
    println!("{stderr}");
    ensure!(status.code() == Some(2) && stdout.is_empty(), "ended with {status}: {stderr}{stdout}");
    ensure!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "no single line: {stderr}");
    for word in words {
        ensure!(stderr.contains(word), "`{word}` is missing in: {stderr}");
    }
    Ok(())
}

#[test]
fn what_is_missing_or_wrong_is_told_by_a_sentence() -> Result<()> {
    let nowhere = (Ipv4Addr::LOCALHOST, 9).into();
    let collection = Collection::new("shop")?.request("one", "GET", "/", &[OK]);
    let once = |flags: &[&str]| -> Result<Command> {
        let mut command = Command::new(tool::agent()?);
        command.arg("monitor").arg(collection.write()?).arg("--once").args(flags);
        Ok(command)
    };
    fails(
        &mut once(&["--newman", "/nowhere/newman"])?,
        &["/nowhere/newman", "npm install --global newman@6", "--newman"],
    )?;
    fails(&mut once(&["--newman", "/bin/true"])?, &["`/bin/true` is not a working newman"])?;
    let empty = Collection::new("shop")?;
    fails(empty.monitor(nowhere)?.arg("--once"), &["is not a usable collection", "no request in it"])?;
    let wrong = tempfile::NamedTempFile::new()?;
    fs::write(wrong.path(), "{not json")?;
    let environment = wrong.path().to_string_lossy().into_owned();
    fails(
        collection.monitor(nowhere)?.args(["--once", "--environment", &environment]),
        &["newman did not run the collection", "could not load environment"],
    )
}

#[test]
fn once_tells_by_text_by_json_by_metrics_and_by_its_exit_code() -> Result<()> {
    let nginx = Nginx::start()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("shop.prom");
    let file = file.to_str().context("a path of text")?;
    let good = Collection::new("shop")?.request("Orders/list", "GET", "/ok", &[OK]);
    let passed = good.once(nginx.ipv4(), &["--textfile", file])?;
    ensure!(passed.status.success(), "{}: {}", passed.status, passed.stderr);
    ensure!(passed.stdout.starts_with("shop: 1 requests passed in "), "{}", passed.stdout);
    let scrape = Scrape::parse(fs::read_to_string(file)?)?;
    let success = of_monitor("traffic_probe_monitor_last_run_success");
    let when = of_monitor("traffic_probe_monitor_last_success_timestamp_seconds");
    let first = scrape.get(&when).context("when it succeeded")?;
    ensure!(scrape.get(&success) == Some(1.0), "{}", scrape.text);

    let failed = shop()?.once(nginx.ipv4(), &["--textfile", file, "--format", "json"])?;
    ensure!(failed.status.code() == Some(1), "{}: {}", failed.status, failed.stderr);
    let run: Value = serde_json::from_str(&failed.stdout)?;
    let names = |request: usize| run["requests"][request]["failures"][0]["name"].as_str();
    ensure!(run["passed"] == false && run["requests"][2]["status"] == 500, "{run:#}");
    ensure!(names(2) == Some("status is 200") && names(3) == Some("answers within 100 ms"), "{run:#}");
    let text = fs::read_to_string(file)?;
    let scrape = Scrape::parse(text.clone())?;
    ensure!(scrape.get(&success) == Some(0.0) && scrape.get(&when) == Some(first), "{text}");
    let file = fs::File::open(file)?;
    let judged = tool::command("promtool")?.args(["check", "metrics"]).stdin(file).output()?;
    ensure!(judged.status.success(), "promtool: {}", String::from_utf8_lossy(&judged.stderr));
    Ok(())
}
