//! The name of a service, whatever it runs in: units, containers of every engine and driver, hosts with both versions of
//! cgroups; and whoever opened its socket, serves it, or shares its port.

use std::{collections::BTreeMap, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    agent::{Agent, Setup},
    cgroup::{Cgroup, Hierarchy},
    expect::gauges_are,
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
    pins::PinDirectory,
    ports,
    prefork::{self, Prefork},
    process, tool,
};

const LIMIT: Duration = Duration::from_secs(20);

/// The digits that engines show of an id.
const SHORT: usize = 12;

/// An id as engines make them.
fn id() -> String {
    format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..))
}

fn at(address: &str) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, ports::free()?))
}

fn requests(port: u16, role: Role, service: &str) -> Series {
    Series::requests(port, role).with("service", service)
}

/// Has a curl of its own ask once.
fn curl(address: SocketAddr, prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<()> {
    let mut command = tool::command("curl")?;
    command.args(["--silent", "--fail", "--noproxy", "*", &format!("http://{address}/")]);
    prepare(&mut command)?;
    process::run_well(&mut command, LIMIT).map(drop)
}

/// What the paths of cgroups end with, by who makes them; `ID` is the container's, `NODE` that of one around it.
const CONTAINERS: [(&str, &str); 16] = [
    ("docker, cgroupfs", "docker/ID"),
    ("docker, systemd", "system.slice/docker-ID.scope"),
    ("docker, with an init", "docker/ID/init.scope"),
    ("containerd, cgroupfs, guaranteed", "kubepods/pod0b5a6d8e-1c7e-4a52-9f43-2f8a6b7f1d10/ID"),
    ("containerd, cgroupfs, burstable", "kubepods/burstable/pod0b5a6d8e-1c7e-4a52-9f43-2f8a6b7f1d10/ID"),
    (
        "containerd, systemd, best effort",
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0b5a6d8e.slice/cri-containerd-ID.scope",
    ),
    (
        "containerd, mixed drivers",
        "system.slice/containerd.service/kubepods-pod0b5a6d8e.slice:cri-containerd:ID",
    ),
    ("CRI-O, cgroupfs", "kubepods/besteffort/pod0b5a6d8e/crio-ID"),
    ("CRI-O, systemd", "kubepods.slice/kubepods-pod0b5a6d8e.slice/crio-ID.scope"),
    ("CRI-O, systemd, with a payload", "kubepods.slice/kubepods-pod0b5a6d8e.slice/crio-ID.scope/container"),
    ("podman, cgroupfs", "libpod_parent/libpod-ID"),
    ("podman, systemd", "machine.slice/libpod-ID.scope/container"),
    (
        "podman, without root",
        "user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
    ),
    ("nerdctl, systemd", "system.slice/nerdctl-ID.scope"),
    (
        "kind, systemd",
        "docker/NODE/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod0b5a6d8e.slice/cri-containerd-ID.scope",
    ),
    ("kind, cgroupfs", "docker/NODE/kubelet/kubepods/besteffort/pod0b5a6d8e/ID"),
];

#[test]
fn a_container_of_any_engine_has_its_id_as_a_server_and_as_a_client() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let (mut expected, mut servers) = (Vec::new(), Vec::new());
    for (engine, path) in CONTAINERS {
        let id = id();
        let cgroup = Cgroup::new(&path.replace("NODE", &self::id()).replace("ID", &id))?;
        let address = at("127.0.0.1")?;
        let setup = prefork::Setup::new("a-program", address);
        let server = Prefork::start(&setup, |command| cgroup.enter(command))?;
        curl(address, |command| cgroup.enter(command))?;
        println!("{engine}: {} at port {}", &id[..SHORT], address.port());
        expected.extend(Role::BOTH.map(|role| (requests(address.port(), role, &id[..SHORT]), 1)));
        // Servers before their cgroups.
        servers.push((server, cgroup));
    }
    mark.rises_by_exactly(&expected)?;
    Ok(())
}

#[test]
fn a_unit_has_its_name_and_a_session_leaves_it_to_the_process() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let (mut expected, mut servers) = (Vec::new(), Vec::new());
    for (path, server_name, client_name) in [
        ("system.slice/web.service", "web", "web"),
        ("system.slice/system-web.slice/web@blue.service/workers", "web@blue", "web@blue"),
        ("system.slice/system-sshd.slice/sshd@7-192.0.2.1:22-192.0.2.9:40112.service", "sshd", "sshd"),
        ("user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-shop-4711.scope", "shop", "shop"),
        ("lxc.payload.box/system.slice/mail.service", "mail", "mail"),
        ("user.slice/user-1000.slice/session-3.scope", "a-program", "curl"),
        ("system.slice/run-p4711-i4712.service", "a-program", "curl"),
    ] {
        let cgroup = Cgroup::new(path)?;
        let address = at("127.0.0.1")?;
        let setup = prefork::Setup::new("a-program", address);
        let server = Prefork::start(&setup, |command| cgroup.enter(command))?;
        curl(address, |command| cgroup.enter(command))?;
        for (role, name) in [(Role::Server, server_name), (Role::Client, client_name)] {
            expected.push((requests(address.port(), role, name), 1));
        }
        servers.push((server, cgroup));
    }
    mark.rises_by_exactly(&expected)?;
    Ok(())
}

/// Engines of the time of cgroup v1 made a container's cgroups in its hierarchies alone: in that of version 2 all
/// containers are in the engine's unit. Both servers have the same program and the same port, each in its own namespace.
#[test]
fn containers_that_only_cgroup_v1_knows_are_told_apart() -> Result<()> {
    let hierarchy = Hierarchy::mount()?;
    let engine = Cgroup::new("system.slice/engine.service")?;
    for older in [true, false] {
        let address = at("127.0.0.1")?;
        let setup = prefork::Setup::new("a-program", address);
        let (namespaces, ids) = ([Netns::new()?, Netns::new()?], [id(), id()]);
        let containers = [
            hierarchy.cgroup(&format!("docker/{}", ids[0]))?,
            hierarchy.cgroup(&format!("docker/{}", ids[1]))?,
        ];
        let start = || -> Result<Vec<Prefork>> {
            let both = namespaces.iter().zip(&containers);
            both.map(|(netns, container)| {
                Prefork::start(&setup, |command| {
                    engine.enter(command)?;
                    container.enter(command)?;
                    netns.enter(command)
                })
            })
            .collect()
        };
        let before = older.then(start).transpose()?;
        let agent = Agent::start()?;
        let mark = agent.mark()?;
        let servers = before.map_or_else(start, Ok)?;
        for (number, (netns, server)) in (1..).zip(namespaces.iter().zip(&servers)) {
            (0..number).try_for_each(|_| netns.inside(|| server.ask().map(drop)))?;
        }
        let of = |id: &str| requests(address.port(), Role::Server, &id[..SHORT]);
        mark.rises_by_exactly(&[
            (of(&ids[0]), 1),
            (of(&ids[1]), 2),
            (Series::requests(address.port(), Role::Server), 3),
        ])?;
    }
    Ok(())
}

#[test]
fn workers_with_other_names_serve_for_the_master_that_opened_the_socket() -> Result<()> {
    const ASKED: u64 = 10;
    let session = Cgroup::new("user.slice/session-1.scope")?;
    let addresses = [at("127.0.0.1")?, at("127.0.0.1")?];
    let start =
        |address, name| Prefork::start(&prefork::Setup::new(name, address), |command| session.enter(command));
    let old = start(addresses[0], "old-master")?;
    let old_nginx = Nginx::start()?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let new = start(addresses[1], "new-master")?;
    let new_nginx = Nginx::start()?;
    for _ in 0..ASKED {
        ensure!(old.ask()? == "old-master" && new.ask()? == "new-master", "another server answered");
        for nginx in [&old_nginx, &new_nginx] {
            curl_ok(nginx)?;
        }
    }
    let of = |port, name| (requests(port, Role::Server, name), ASKED);
    mark.rises_by_exactly(&[
        of(addresses[0].port(), "old-master"),
        of(addresses[1].port(), "new-master"),
        of(old_nginx.port(), "nginx"),
        of(new_nginx.port(), "nginx"),
    ])?;
    Ok(())
}

fn curl_ok(nginx: &Nginx) -> Result<()> {
    let mut command = tool::command("curl")?;
    command.args(["--silent", "--fail", "--noproxy", "*", &format!("http://{}/ok", nginx.ipv4())]);
    process::run_well(&mut command, LIMIT).map(drop)
}

/// The truth is what the answers say: each program answers with its own name.
fn programs_are_told_apart(addresses: [&str; 2]) -> Result<()> {
    const ASKED: usize = 40;
    for older in [true, false] {
        let port = ports::free()?;
        let start = || -> Result<Vec<Prefork>> {
            let both = addresses.iter().zip(["alpha", "beta"]);
            both.map(|(address, name)| {
                let setup = prefork::Setup::new(name, SocketAddr::new(address.parse()?, port));
                Prefork::start(&setup, |_| Ok(()))
            })
            .collect()
        };
        let before = older.then(start).transpose()?;
        let agent = Agent::start()?;
        let mark = agent.mark()?;
        let servers = before.map_or_else(start, Ok)?;
        let mut answers: BTreeMap<String, u64> = BTreeMap::new();
        for server in servers.iter().cycle().take(ASKED) {
            *answers.entry(server.ask()?).or_default() += 1;
        }
        println!("older than the agent: {older}; by their answers: {answers:?}");
        ensure!(answers.len() == 2, "only one of the two was asked: {answers:?}");
        let mut expected = vec![(Series::requests(port, Role::Server), ASKED as u64)];
        expected.extend(answers.iter().map(|(name, times)| (requests(port, Role::Server, name), *times)));
        mark.rises_by_exactly(&expected)?;
    }
    Ok(())
}

#[test]
fn two_programs_that_share_a_port_are_told_apart() -> Result<()> {
    programs_are_told_apart(["127.0.0.1", "127.0.0.1"])
}

#[test]
fn two_programs_at_two_addresses_are_told_apart() -> Result<()> {
    programs_are_told_apart(["127.0.0.1", "127.0.0.2"])
}

/// The next tick comes long after all of them have ended.
#[test]
fn a_client_that_has_gone_before_the_tick_has_its_name() -> Result<()> {
    let unit = Cgroup::new("system.slice/backup.service")?;
    let gone = Cgroup::new("user.slice/session-9.scope")?;
    let address = at("127.0.0.1")?;
    let server = Prefork::start(&prefork::Setup::new("a-program", address), |_| Ok(()))?;
    let agent = Setup::default().ticking_every("3s").start()?;
    let mark = agent.mark()?;
    curl(address, |command| unit.enter(command))?;
    (0..2).try_for_each(|_| curl(address, |command| gone.enter(command)))?;
    drop(gone);
    (0..3).try_for_each(|_| curl(address, |_| Ok(())))?;
    let of = |name| requests(address.port(), Role::Client, name);
    mark.rises_by_exactly(&[
        (of("backup"), 1),
        (of("curl"), 5),
        (requests(address.port(), Role::Server, "a-program"), 6),
    ])?;
    drop(server);
    Ok(())
}

/// As systemd does it: it opens the socket, and who is started for it has a unit.
#[test]
fn a_socket_that_systemd_opened_is_its_services() -> Result<()> {
    let (init, unit) = (Cgroup::new("init.scope")?, Cgroup::new("system.slice/printing.service")?);
    let addresses = [at("127.0.0.1")?, at("127.0.0.1")?];
    let start = |address| {
        let setup = prefork::Setup { door: Some(unit.door()), ..prefork::Setup::new("systemd", address) };
        Prefork::start(&setup, |command| init.enter(command))
    };
    let old = start(addresses[0])?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let new = start(addresses[1])?;
    for server in [&old, &new] {
        server.ask()?;
    }
    let expected = addresses.map(|address| (requests(address.port(), Role::Server, "printing"), 1));
    mark.rises_by_exactly(&expected)?;
    Ok(())
}

/// A process may call itself anything, without any right: what it says is its name, and no other label, also of an agent that was
/// told by the one before it.
#[test]
fn no_name_forges_a_label_before_or_after_a_restart() -> Result<()> {
    let session = Cgroup::new("user.slice/session-4.scope")?;
    let unit = Cgroup::new("system.slice/shop\\x0aprod\\x0aweb\\x00.service")?;
    let nameless = Cgroup::new("system.slice/.service")?;
    let pins = PinDirectory::new()?;
    let agent = Setup::default().pinned(&pins).start()?;
    let (mut expected, mut servers) = (Vec::new(), Vec::new());
    for (cgroup, process, name) in [
        (&session, "shop\nprod\nweb\nx", "shop\nprod\nweb\nx"),
        (&session, "a\",b=\"c", "a\",b=\"c"),
        (&session, "back\\slash\\n", "back\\slash\\n"),
        (&session, "\u{202e}txt.exe", "\u{202e}txt.exe"),
        (&unit, "a-program", "shop\\x0aprod\\x0aweb\\x00"),
        (&nameless, "a-program", "a-program"),
    ] {
        let address = at("127.0.0.1")?;
        let server = Prefork::start(&prefork::Setup::new(process, address), |command| cgroup.enter(command))?;
        curl(address, |_| Ok(()))?;
        let series = requests(address.port(), Role::Server, name);
        let series = ["namespace", "workload", "pod", "container"]
            .into_iter()
            .fold(series, |series, label| series.with(label, ""));
        expected.extend([(series, 1), (Series::requests(address.port(), Role::Server), 1)]);
        servers.push(server);
    }
    gauges_are(&agent, &expected)?;
    agent.end(Signal::SIGKILL)?;
    drop(servers);
    let agent = Setup::default().pinned(&pins).start()?;
    gauges_are(&agent, &expected)?;
    // What is shown to people does not turn their terminals about.
    let mut report = Command::new(tool::agent()?);
    report.args(["report", "--url", &format!("http://{}", agent.address())]);
    let shown = process::run_well(&mut report, LIMIT)?;
    ensure!(shown.contains("\u{fffd}txt.exe") && !shown.contains('\u{202e}'), "{shown}");
    Ok(())
}
