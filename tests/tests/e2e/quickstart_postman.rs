//! docs/operations/quickstart-postman.md, word for word, in a network namespace and a directory of its own; and the examples that start a
//! monitor.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    machine::{self, Use},
    netns::Netns,
    newman,
    process::{self, Output},
    tool,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// newman starts five times and more, and alerts come and go.
const LIMIT: Duration = Duration::from_mins(3);

/// The document's commands, in their order.
fn commands() -> Result<String> {
    let text = fs::read_to_string(format!("{ROOT}/docs/operations/quickstart-postman.md"))?;
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split_once("```").map(|(block, _)| block));
    blocks.collect::<Option<Vec<_>>>().context("a block that does not end").map(|blocks| blocks.join("\n"))
}

/// The directory of a program.
fn home(program: &Path) -> Result<&str> {
    program.parent().and_then(Path::to_str).context("a path of text")
}

#[test]
fn the_quick_start_works_word_for_word() -> Result<()> {
    let _turn = machine::take(Use::Alone)?;
    let commands = commands()?;
    // There is no registry in the namespace: the one line that needs it installs just what set-up has installed.
    let package = fs::read_to_string(format!("{ROOT}/xtask/newman/package.json"))?;
    let version =
        package.split("\"newman\": \"").nth(1).and_then(|rest| rest.split('"').next()).context("newman")?;
    let install = format!("npm install --prefix /tmp/quickstart-postman newman@{version}\n");
    ensure!(commands.matches(&install).count() == 1, "the document does not install newman {version}");
    let directory = tempfile::tempdir()?;
    let own = directory.path().join("quickstart");
    fs::create_dir(&own)?;
    let (newman, agent) = (newman::program()?, tool::agent()?);
    let script = commands.replace(&install, "").replace("/tmp/quickstart-postman", &own.to_string_lossy());
    // The document ends what it has started; a command that fails before that must not leave it behind.
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let netns = Netns::new()?;
    netns.ip(&["link", "set", "lo", "up"])?;
    // In a group of its own, which ends as a whole when time is up.
    let mut command = netns.command("timeout")?;
    command.args(["150", "bash", "-e", "-o", "pipefail", "-c", &script]).current_dir(ROOT);
    let path = std::env::var("PATH")?;
    command.env("PATH", format!("{}:{}:{path}", home(&agent)?, home(&newman)?));
    command.env("TRAFFIC_PROBE_LOCK", directory.path().join("lock")).env_remove("TRAFFIC_PROBE_NEWMAN");
    let Output { status, stdout, stderr, time } = process::run(&mut command, LIMIT)?;
    println!("{stdout}\n{stderr}\nin {time:?}");
    ensure!(status.success(), "it ended with {status}");
    for words in [
        "6.2.2\n",
        "FAILED  orders  404",
        "ended with 1",
        "\"alertname\":\"MonitorTestFailing\"",
        "traffic_probe_monitor_requests_total{collection=\"shop\",request=\"orders\",status_class=\"4xx\"}",
        "method=\"GET\",status=\"404\"",
        "shop: 2 requests passed",
    ] {
        ensure!(stdout.contains(words), "`{words}` is missing");
    }
    ensure!(!own.exists(), "it has not cleaned up");
    Ok(())
}

#[test]
fn systemd_takes_the_units() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let agent = tool::agent()?;
    let mut command = tool::command("systemd-analyze")?;
    command.arg("verify");
    for unit in ["traffic-probe-monitor.service", "traffic-probe-monitor.timer"] {
        let text = fs::read_to_string(format!("{ROOT}/deploy/systemd/{unit}"))?;
        let replaced = text.replace("/usr/bin/traffic-probe ", &format!("{} ", agent.display()));
        ensure!(
            (replaced == text) == unit.contains("timer"),
            "the service starts the agent's program: {text}"
        );
        let file = directory.path().join(unit);
        fs::write(&file, replaced)?;
        command.arg(file);
    }
    let Output { status, stderr, .. } = process::run(&mut command, LIMIT)?;
    ensure!(status.success() && !stderr.contains("traffic-probe-monitor"), "{status}: {stderr}");
    Ok(())
}

#[test]
fn the_commands_of_the_examples_are_understood() -> Result<()> {
    // Each fails for want of the collection, and not of a flag.
    let understood = |flags: &[&str]| -> Result<()> {
        let mut command = Command::new(tool::agent()?);
        let Output { status, stderr, .. } = process::run(command.arg("monitor").args(flags), LIMIT)?;
        ensure!(stderr.contains("is not a usable collection: No such file"), "{flags:?}: {status}, {stderr}");
        Ok(())
    };
    let unit = fs::read_to_string(format!("{ROOT}/deploy/systemd/traffic-probe-monitor.service"))?;
    let line =
        unit.split("ExecStart=/usr/bin/traffic-probe monitor ").nth(1).and_then(|rest| rest.lines().next());
    let flags: Vec<_> = line.context("ExecStart")?.split(' ').collect();
    let flags = flags.iter().take_while(|flag| **flag != "--textfile").copied().collect::<Vec<_>>();
    understood(&flags)?;
    for example in ["deployment", "cronjob"] {
        let text = fs::read_to_string(format!("{ROOT}/deploy/kubernetes-monitor/{example}.yaml"))?;
        let list = text.split("args:\n").nth(1).context("args")?;
        let flags: Vec<_> = list.lines().map_while(|line| line.trim().strip_prefix("- ")).collect();
        ensure!(flags.len() > 2, "{flags:?}");
        let loopback: Vec<_> = flags
            .iter()
            .map(|flag| if flag.starts_with("--listen") { "--listen=127.0.0.1:0" } else { flag })
            .collect();
        understood(&loopback)?;
    }
    Ok(())
}
