//! The JSON API: it is what it is described to be, and its figures are those of `/metrics`, under a real load.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    api::{self, Description, Figure},
    burner::Burner,
    cgroup::Cgroup,
    client::{Client, Request},
    echo::{self, Echo},
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    poll,
};
use serde_json::Value;

/// What the API is asked for in a test, with the path that describes it.
fn questions(nginx: &Nginx) -> [(&'static str, String, u16); 14] {
    let port = nginx.port();
    [
        ("/api/v1/services", "/api/v1/services".into(), 200),
        ("/api/v1/services", format!("/api/v1/services?role=server&port={port}"), 200),
        ("/api/v1/services", "/api/v1/services?port=1".into(), 200),
        ("/api/v1/services", "/api/v1/services?prot=1".into(), 400),
        ("/api/v1/services/{name}", "/api/v1/services/nginx".into(), 200),
        ("/api/v1/services/{name}", "/api/v1/services/nginx?role=both".into(), 400),
        ("/api/v1/services/{name}", "/api/v1/services/nobody".into(), 404),
        ("/api/v1/interfaces", "/api/v1/interfaces".into(), 200),
        ("/api/v1/node", "/api/v1/node".into(), 200),
        ("/api/v1/features", "/api/v1/features".into(), 200),
        ("/api/v1/tiers", "/api/v1/tiers".into(), 200),
        ("/api/v1/tiers", format!("/api/v1/tiers?port={port}"), 200),
        ("/api/v1/tiers", "/api/v1/tiers?role=server".into(), 400),
        ("/api/v1/openapi.json", "/api/v1/openapi.json".into(), 200),
    ]
}

/// An agent, and servers over TCP and UDP that were asked for all kinds of things, one of which they still owe.
struct Busy {
    agent: Agent<'static>,
    nginx: Nginx,
    _echo: Echo,
    _waiting: Client,
    // Before its cgroup.
    _burner: Burner,
    _cgroup: Cgroup,
}

impl Busy {
    fn start() -> Result<Self> {
        let agent = Setup::default().flags(&["--routes", "--peers", "--window", "2s"]).start()?;
        let (nginx, echo) = (Nginx::start()?, Echo::start(Ipv4Addr::LOCALHOST)?);
        let mark = agent.mark()?;
        let mut client = Client::connect(nginx.ipv4())?;
        for path in ["/ok", "/absent", "/broken", "/chunked", "/download", "/users/4711"] {
            client.exchange(&Request::new("GET", path))?;
        }
        client.exchange(&Request::new("POST", "/upload").body(100_000))?;
        echo::ask(&echo::client(Ipv4Addr::LOCALHOST)?, echo.address(), b"a datagram")?;
        let cgroup = Cgroup::new(&format!("system.slice/unit-{}.service", nginx.port()))?;
        let burner = Burner::start(|command| cgroup.enter(command))?;
        burner.burn(Duration::from_millis(10))?;
        let mut waiting = Client::connect(nginx.ipv4())?;
        waiting.send(&Request::new("GET", "/after/15s"))?;
        mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 7)))?;
        let cpu = Series::named("traffic_service_cpu_seconds_total");
        poll::until("what the unit uses to be known", || Ok(agent.scrape()?.get(&cpu)))?;
        Ok(Self { agent, nginx, _echo: echo, _waiting: waiting, _burner: burner, _cgroup: cgroup })
    }
}

#[test]
fn every_answer_is_as_described_and_everything_described_is_there() -> Result<()> {
    let Busy { agent, nginx, .. } = &Busy::start()?;
    let description = Description::of(agent)?;
    let questions = questions(nginx);
    for (path, question, status) in &questions {
        let response = agent.get(question)?;
        ensure!(response.status == *status, "{question} answers {}, not {status}", response.status);
        let answer: Value = serde_json::from_slice(&response.body).with_context(|| question.clone())?;
        description.describes(path, *status, &answer).with_context(|| question.clone())?;
    }
    for path in description.paths()? {
        let asked = questions.iter().any(|(described, ..)| *described == path);
        ensure!(asked || path == "/api/v1/stream", "{path} is described, and no test asks for it");
    }
    let index = String::from_utf8(agent.get("/")?.body)?;
    for link in index.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        ensure!(agent.get(link)?.status == 200, "the index leads to {link}");
    }
    Ok(())
}

/// Fails unless each figure is the series' value, to the last bit, and every series with a label is one of the figures; a
/// histogram's buckets are at `/metrics` alone.
#[expect(clippy::float_cmp, reason = "the same number, written twice")]
fn compare(figures: &[Figure], scrape: &Scrape, label: &str) -> Result<()> {
    let mut compared = BTreeSet::new();
    for Figure { place, value, series } in figures {
        let metric = scrape.get(series).with_context(|| format!("{place}: there is no {series}"))?;
        ensure!(metric == *value, "{place} is {value}, and {series} is {metric}");
        compared.extend(scrape.places(series));
    }
    for (place, name) in scrape.with_label(label).filter(|(_, name)| !name.ends_with("_bucket")) {
        ensure!(compared.contains(&place), "no figure is one of the series of {name}");
    }
    println!("{} figures are {} series with the label {label}", figures.len(), compared.len());
    ensure!(!compared.is_empty(), "nothing was compared");
    Ok(())
}

#[test]
fn figures_are_those_of_the_metrics() -> Result<()> {
    let Busy { agent, nginx, .. } = &Busy::start()?;
    let (services, scrape) = api::with_metrics(agent, "/api/v1/services")?;
    let mut figures = Vec::new();
    for service in services["services"].as_array().context("services")? {
        figures.extend(api::figures_of_service(service)?);
    }
    compare(&figures, &scrape, "service")?;
    let waiting = Series::at("traffic_requests_in_flight", nginx.port(), Role::Server);
    ensure!(scrape.sum(&waiting) > 0.0, "nothing was in flight");

    let (interfaces, scrape) = api::with_metrics(agent, "/api/v1/interfaces")?;
    let mut figures =
        api::fields_of("node", &interfaces["node"], &|metric| Series::of(format!("traffic_node_{metric}")))?;
    for interface in interfaces["interfaces"].as_array().context("interfaces")? {
        figures.extend(api::figures_of_interface(interface)?);
    }
    compare(&figures, &scrape, "interface")?;

    let (mut node, scrape) = api::with_metrics(agent, "/api/v1/node")?;
    node.as_object_mut().context("node")?.remove("tick");
    let figures = api::figures_of_resources(&node, &|metric| Series::of(format!("traffic_node_{metric}")))?;
    for label in ["mode", "state", "period"] {
        compare(&figures, &scrape, label)?;
    }
    Ok(())
}

#[test]
fn tiers_are_those_of_the_services() -> Result<()> {
    let Busy { agent, .. } = &Busy::start()?;
    let (tiers, services) = poll::until("two documents of one tick", || {
        let tiers = api::document(agent, "/api/v1/tiers")?;
        let services = api::document(agent, "/api/v1/services?role=server")?;
        Ok((tiers["tick"] == services["tick"]).then_some((tiers, services)))
    })?;
    let identity = |value: &Value| ["service", "port", "transport", "tier"].map(|field| value[field].clone());
    let list = |of: &Value| of.as_array().map(|all| all.iter().map(identity).collect::<Vec<_>>());
    let (of_tiers, of_services) = (list(&tiers["tiers"]), list(&services["services"]));
    ensure!(of_tiers.as_ref().is_some_and(|tiers| !tiers.is_empty()), "no tiers");
    ensure!(of_tiers == of_services, "{of_tiers:#?} are not {of_services:#?}");
    Ok(())
}

/// The next event of a stream.
fn next(stream: &mut impl BufRead) -> Result<Value> {
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line)? > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return Ok(serde_json::from_str(data)?);
        }
    }
}

#[test]
fn each_tick_is_an_event() -> Result<()> {
    let Busy { agent, nginx, .. } = &Busy::start()?;
    let description = Description::of(agent)?;
    let stream = TcpStream::connect(agent.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    (&stream).write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: probe\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let (mut last, mut gaps) = (None, Vec::new());
    for _ in 0..10 {
        let event = next(&mut reader)?;
        description.describes("/api/v1/stream", 200, &event)?;
        let collected = event["tick"]["collected_timestamp_seconds"].as_f64().context("when")?;
        gaps.extend(last.map(|last: f64| collected - last));
        last = Some(collected);
        let active = event["active"].as_array().context("active")?;
        let server = active.iter().find(|one| one["port"] == nginx.port() && one["role"] == "server");
        ensure!(server.is_some_and(|one| one["requests_in_flight"] == 1), "nginx is busy: {active:#?}");
    }
    println!("between events: {gaps:.3?} s");
    ensure!(gaps.iter().all(|gap| *gap > 0.1), "an event came twice: {gaps:?}");
    Ok(())
}
