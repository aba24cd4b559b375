//! Counting depends on nothing else: not on a log that can be written, on descriptors that are left, on interfaces that can be
//! attached to.

use std::{
    io::{self, PipeWriter, Read},
    os::fd::AsRawFd,
    process::{self, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::Signal,
};
use probe_tests::{
    agent::{Agent, Setup},
    bpf,
    client::Client,
    load,
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
    poll,
    process::run_well,
    stream, tool,
};

const LIMIT: Duration = Duration::from_secs(20);

/// What a shell does before it becomes the agent.
fn behind(script: &str) -> [String; 4] {
    ["sh".into(), "-c".into(), format!("{script} exec \"$@\""), "sh".into()]
}

/// Starts an agent whose standard error is a file of this process, or a device.
fn logging_to(target: &str) -> Result<Agent<'static>> {
    // The shell opens it behind the redirection of the test.
    let script = ["sh", "-c", &format!("exec \"$@\" 2>{target}"), "sh"];
    Setup::default().behind(&script).unheard().flags(&["--log-level", "debug"]).start()
}

fn of_pipe(writer: &PipeWriter) -> String {
    format!("/proc/{}/fd/{}", process::id(), writer.as_raw_fd())
}

fn counts(agent: &Agent<'_>, nginx: &Nginx) -> Result<()> {
    let mark = agent.mark()?;
    load::h2load(nginx.ipv4(), "/ok", 500, 5)?;
    mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 500))).map(drop)
}

/// Has the agent log something, at the level `debug`.
fn provoke_a_line(agent: &Agent<'_>) -> Result<()> {
    use io::Write;
    let mut client = stream::connect(agent.address())?;
    client.write_all(b"this is no HTTP\r\n\r\n")?;
    client.read_to_end(&mut Vec::new()).map(drop).context("its answer")
}

fn ends_well(agent: Agent<'_>) -> Result<()> {
    let output = agent.end(Signal::SIGTERM)?;
    ensure!(output.status.code() == Some(0), "it ended with {}", output.status);
    Ok(())
}

#[test]
fn a_log_on_a_full_disk_costs_its_lines_and_nothing_else() -> Result<()> {
    let (agent, nginx) = (logging_to("/dev/full")?, Nginx::start()?);
    counts(&agent, &nginx)?;
    ends_well(agent)
}

#[test]
fn a_log_whose_reader_has_gone_costs_its_lines_and_nothing_else() -> Result<()> {
    let (reader, writer) = io::pipe()?;
    let (agent, nginx) = (logging_to(&of_pipe(&writer))?, Nginx::start()?);
    drop((reader, writer));
    provoke_a_line(&agent)?;
    counts(&agent, &nginx)?;
    ends_well(agent)
}

#[test]
fn a_log_that_nobody_empties_holds_nobody_up_and_what_is_lost_is_told() -> Result<()> {
    const PAGE: i32 = 4096;
    let (mut reader, writer) = io::pipe()?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PAGE)).context("F_SETPIPE_SZ")?;
    let (agent, nginx) = (logging_to(&of_pipe(&writer))?, Nginx::start()?);
    drop(writer);
    for _ in 0..100 {
        provoke_a_line(&agent)?;
    }
    counts(&agent, &nginx)?;
    // From here on somebody reads.
    let reading = std::thread::spawn(move || {
        let mut said = String::new();
        reader.read_to_string(&mut said).map(|_| said)
    });
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        provoke_a_line(&agent)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    counts(&agent, &nginx)?;
    ends_well(agent)?;
    let said = reading.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let told = said.lines().filter(|line| line.contains("the log could not be written for a while")).count();
    ensure!(told == 1, "told {told} times that lines were lost: {said}");
    Ok(())
}

/// A network namespace with so many interfaces beside its loopback device, both ends of half as many cables.
fn crowded(interfaces: usize) -> Result<Netns> {
    let netns = Netns::new()?;
    let cable = |number| format!("link add near{number} type veth peer name far{number}\n");
    netns.ip_batch(&(0..interfaces / 2).map(cable).collect::<Vec<_>>().concat())?;
    Ok(netns)
}

/// Interfaces that it is attached to, both ways.
fn counted(agent: &Agent<'_>) -> Result<usize> {
    let attached = bpf::tcx_links(agent.id())?;
    let ways = ["ingress", "egress"].map(|way| attached.get(way).copied().unwrap_or_default());
    Ok(ways[0].min(ways[1]))
}

const CROWD: usize = 100;

#[test]
fn a_soft_limit_of_open_files_is_raised() -> Result<()> {
    let (netns, behind) = (crowded(CROWD)?, behind("ulimit -S -n 128 || exit 9;"));
    let behind: Vec<_> = behind.iter().map(String::as_str).collect();
    let agent = Setup::default().within(&netns).behind(&behind).start()?;
    poll::until("all interfaces to be counted", || Ok((counted(&agent)? == CROWD + 1).then_some(())))?;
    ends_well(agent)
}

#[test]
fn interfaces_for_which_no_descriptors_are_left_are_told_and_all_else_is_counted() -> Result<()> {
    let (netns, behind) = (crowded(CROWD)?, behind("ulimit -n 256 || exit 9;"));
    let behind: Vec<_> = behind.iter().map(String::as_str).collect();
    let agent = Setup::default().within(&netns).behind(&behind).start()?;
    let log = agent.log()?;
    let told: Vec<_> = log.lines().filter(|line| line.contains("interfaces are not counted")).collect();
    ensure!(told.len() == 1 && told[0].contains("limit of 256 open files"), "told {told:?} in: {log}");
    let counted = counted(&agent)?;
    let left_out = told[0].split_once(" interfaces are not").context("a number")?.0;
    let left_out: usize = left_out.rsplit(' ').next().context("a number")?.parse()?;
    ensure!(counted > 10 && counted + left_out == CROWD + 1, "{counted} counted, {left_out} left out");
    // Sockets of every namespace are counted.
    let nginx = Nginx::start()?;
    counts(&agent, &nginx)?;
    // As many clients as there may be leave room for that.
    let _idle: Vec<_> =
        netns.inside(|| (0..300).map(|_| Client::connect(agent.address())).collect::<Result<Vec<_>>>())?;
    counts(&agent, &nginx)?;
    ends_well(agent)
}

#[test]
fn while_no_connection_can_be_accepted_one_line_says_so_and_counting_goes_on() -> Result<()> {
    let (agent, nginx) = (Agent::start()?, Nginx::start()?);
    counts(&agent, &nginx)?;
    let mark = agent.mark()?;
    let limit = |files: &str| {
        let mut prlimit = tool::command("prlimit")?;
        prlimit.args(["--pid", &agent.id().to_string(), &format!("--nofile={files}:")]);
        run_well(&mut prlimit, LIMIT)
    };
    // Below what it has open: none can be added.
    limit("16")?;
    let _waiting: Vec<_> = (0..5).map(|_| stream::connect(agent.address())).collect::<io::Result<_>>()?;
    load::h2load(nginx.ipv4(), "/ok", 500, 5)?;
    std::thread::sleep(Duration::from_secs(3));
    limit("4096")?;
    mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 500)))?;
    let log = agent.log()?;
    let told: Vec<_> = log.lines().filter(|line| line.contains("cannot accept")).collect();
    ensure!(told.len() == 1 && told[0].contains("ulimit -n"), "told {} times: {log}", told.len());
    ends_well(agent)
}

/// What has no name in UTF-8 is told once, and costs nobody else anything.
#[test]
fn an_interface_without_a_name_that_can_be_read_is_told_once() -> Result<()> {
    let (netns, other) = (Netns::new()?, Netns::new()?);
    netns.connect("near0", &other, "far0")?;
    let mut add = Command::new("sh");
    add.args(["-c", "ip link add \"$(printf 'odd\\377')\" type veth peer name even"]);
    netns.enter(&mut add)?;
    run_well(&mut add, LIMIT)?;
    let agent = Setup::default().within(&netns).start()?;
    for number in 0..5 {
        netns.ip(&[
            "link",
            "add",
            &format!("near{number}x"),
            "type",
            "veth",
            "peer",
            "name",
            &format!("far{number}x"),
        ])?;
        let mut flap = Command::new("sh");
        flap.args([
            "-c",
            "ip link set \"$(printf 'odd\\377')\" up; ip link set \"$(printf 'odd\\377')\" down",
        ]);
        netns.enter(&mut flap)?;
        run_well(&mut flap, LIMIT)?;
    }
    poll::until("the others to be counted", || Ok((counted(&agent)? == 13).then_some(())))?;
    let log = agent.log()?;
    let told = log.lines().filter(|line| line.contains("cannot read the kernel's description")).count();
    ensure!(told == 1, "told {told} times: {log}");
    ends_well(agent)
}

#[test]
fn a_glob_that_matches_no_interface_is_told_at_the_start_and_by_check() -> Result<()> {
    let netns = Netns::new()?;
    let flags = ["--interfaces", "lo", "--interfaces", "ehto0"];
    let agent = Setup::default().within(&netns).flags(&flags).start()?;
    let words = "--interfaces `ehto0` matches no interface, of which there are lo";
    let log = agent.log()?;
    ensure!(log.lines().filter(|line| line.contains(words) && line.contains("WARN")).count() == 1, "{log}");
    let mut check = Command::new(tool::agent()?);
    let lock = tempfile::tempdir()?;
    check.args(["check", "--listen", "127.0.0.1:0", "--lock"]).arg(lock.path()).args(flags);
    netns.enter(&mut check)?;
    let found = probe_tests::process::run(&mut check, Duration::from_mins(1))?;
    ensure!(found.stdout.contains(words), "check says {}", found.stdout);
    // One that comes later is counted.
    netns.ip(&["link", "add", "ehto0", "type", "veth", "peer", "name", "other"])?;
    poll::until("the one that came", || Ok((counted(&agent)? == 2).then_some(())))?;
    ends_well(agent)
}
