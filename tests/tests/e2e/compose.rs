//! The compose file: taken by docker-compose, and the command lines in it by the programs themselves, which are started here
//! without containers. There is no daemon for containers where the tests run.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    alertmanager::Alertmanager, poll, ports, process, prometheus::Prometheus, rules::of_repository, tool,
};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// What docker-compose makes of the file: every path and variable replaced.
fn resolved() -> Result<Value> {
    let mut command = tool::command("docker-compose")?;
    command.args(["-f", "compose.yml", "config"]).current_dir(of_repository("deploy/compose"));
    Ok(serde_saphyr::from_str(&process::run_well(&mut command, LIMIT)?)?)
}

fn texts(list: &Value) -> Result<Vec<String>> {
    let list = list.as_array().context("a list")?.iter();
    list.map(|one| Ok(one.as_str().context("a text")?.to_owned())).collect()
}

/// The pairs of a path outside and a path within a container.
fn mounts(service: &Value) -> Result<Vec<(String, String)>> {
    let pair = |mount: String| {
        let mut parts = mount.split(':').map(str::to_owned);
        Some((parts.next()?, parts.next()?))
    };
    texts(&service["volumes"])?.into_iter().map(|mount| pair(mount).context("a mount")).collect()
}

/// A service's command line as it is outside of its container: files are where they are mounted from, volumes in a directory
/// of the test's own, and the port is one that is free.
fn outside(compose: &Value, service: &str, own: &Path) -> Result<(Vec<String>, SocketAddr)> {
    let service = &compose["services"][service];
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let mounts = mounts(service)?;
    let arguments = texts(&service["command"])?.into_iter().map(|argument| {
        let (name, value) = argument.split_once('=').context("a flag with a value")?;
        if name == "--web.listen-address" {
            return Ok(format!("{name}={address}"));
        }
        let from = mounts.iter().find_map(|(from, to)| Some((from, value.strip_prefix(to.as_str())?)));
        Ok(match from {
            Some((from, rest)) if from.starts_with('/') => format!("{name}={from}{rest}"),
            Some((volume, rest)) => format!("{name}={}{rest}", own.join(volume).display()),
            None => argument,
        })
    });
    Ok((arguments.collect::<Result<_>>()?, address))
}

#[test]
fn what_is_mounted_is_there() -> Result<()> {
    let compose = resolved()?;
    let services = compose["services"].as_object().context("services")?;
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    ensure!(names == ["alertmanager", "grafana", "prometheus", "traffic-probe"], "{names:?}");
    let repository = of_repository("").canonicalize()?;
    for (name, service) in services {
        ensure!(service["network_mode"] == "host", "{name} would not find the others");
        for (from, _) in mounts(service)? {
            let ours = Path::new(&from).starts_with(&repository) && !from.ends_with("/secrets/slack-url");
            ensure!(!ours || Path::new(&from).exists(), "{name} mounts {from}, which is not there");
        }
    }
    // Of the agent its own parser.
    let mut command = std::process::Command::new(tool::agent()?);
    command.arg("config").args(texts(&compose["services"]["traffic-probe"]["command"])?.iter().skip(1));
    process::run_well(&mut command, LIMIT)?;
    Ok(())
}

#[test]
fn prometheus_and_alertmanager_start_as_the_file_says() -> Result<()> {
    let compose = resolved()?;
    let directory = TempDir::with_prefix("traffic-probe-compose-")?;
    let (arguments, address) = outside(&compose, "prometheus", directory.path())?;
    let prometheus = Prometheus::run(&arguments, address, directory)?;
    let targets = poll::until("Prometheus to know whom to scrape", || {
        Ok(Some(prometheus.targets()?).filter(|targets| !targets.is_empty()))
    })?;
    ensure!(targets == ["http://127.0.0.1:9464/metrics"], "{targets:?}");
    let log = prometheus.log()?;
    ensure!(!log.contains("level=error") && log.contains("/static.yml"), "{log}");
    let directory = TempDir::with_prefix("traffic-probe-compose-")?;
    let (arguments, address) = outside(&compose, "alertmanager", directory.path())?;
    let alertmanager = Alertmanager::run(&arguments, address, directory)?;
    let log = alertmanager.log()?;
    ensure!(!log.contains("level=error") && log.contains("/alertmanager.yml"), "{log}");
    // Where the rules of one send is where the other listens in its container.
    let config = fs::read_to_string(of_repository("deploy/prometheus/static.yml"))?;
    let listens = texts(&compose["services"]["alertmanager"]["command"])?;
    ensure!(config.contains("targets: [127.0.0.1:9093]"), "{config}");
    ensure!(listens.contains(&"--web.listen-address=127.0.0.1:9093".to_owned()), "{listens:?}");
    Ok(())
}
