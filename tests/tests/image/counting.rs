//! What the image does with the rights that it asks for, and what it is made of.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use probe_tests::{
    container::Engine,
    load,
    metrics::{Role, Series},
    nginx::Nginx,
    poll,
};

const REQUESTS: u64 = 2_000;

#[test]
fn with_exactly_the_charts_capabilities_every_request_is_counted() -> Result<()> {
    let engine = Engine::new()?;
    let probe = engine.probe()?;
    ensure!(
        probe.capabilities() == ["BPF", "NET_ADMIN", "PERFMON"],
        "the chart has {:?}",
        probe.capabilities()
    );
    let nginx = Nginx::start()?;
    let container = probe.start(&[])?;
    load::h2load(nginx.ipv4(), "/ok", REQUESTS, 8)?;
    let server = Series::requests(nginx.port(), Role::Server).with("status", "200");
    let counted = poll::until("the requests to be counted", || {
        let counted = container.scrape()?.sum(&server);
        Ok((counted >= REQUESTS as f64).then_some(counted))
    })?;
    let later = container.scrape()?;
    let client = later.sum(&Series::requests(nginx.port(), Role::Client));
    println!("{REQUESTS} requests sent, {counted} counted at the server, {client} at the client");
    for is in [counted, later.sum(&server), client] {
        ensure!((is - REQUESTS as f64).abs() < f64::EPSILON, "{is} counted of {REQUESTS}");
    }
    let ended = container.end()?;
    ensure!(
        ended.status.success() && ended.stderr.contains("detached"),
        "{}: {}",
        ended.status,
        ended.stderr
    );
    Ok(())
}

#[test]
fn its_entry_is_the_agent_and_check_says_that_it_would_run() -> Result<()> {
    let engine = Engine::new()?;
    let image = engine.inspect()?;
    let image = &image[0];
    ensure!(image["Config"]["Entrypoint"] == serde_json::json!(["/traffic-probe"]), "{image:#}");
    let size = image["Size"].as_u64().context("no size")?;
    println!("{size} bytes");
    ensure!(
        size < 20_000_000,
        "docs/operations/kubernetes.md promises less than 20 MB, and it has {size} bytes"
    );
    let checked = engine.probe()?.run(&["check"])?;
    ensure!(checked.status.success() && !checked.stdout.contains("could not be tried"), "{}", checked.stdout);
    Ok(())
}

#[test]
fn nothing_in_it_names_the_folder_that_it_was_built_in() -> Result<()> {
    let binary = Engine::new()?.file("traffic-probe")?;
    let names = |text: &str| binary.windows(text.len()).any(|window| window == text.as_bytes());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no root")?;
    let root = root.to_str().context("the root is no text")?;
    ensure!(!names(root), "the binary names {root}");
    // What stands for such folders is there, so that the search can find something.
    ensure!(names("/cargo/registry/src/"), "no source is named");
    Ok(())
}
