//! Other software on the same hooks: the agent counts beside it, and it goes on as if there were no agent.
//!
//! ```text
//!  far: far0 ── near0 :near: out0 ── out1 :out
//! ```

use std::{net::UdpSocket, os::fd::OwnedFd, time::Duration};

use anyhow::{Result, ensure};
use nix::{net::if_::if_nametoindex, sys::signal::Signal};
use probe_tests::{
    agent::{Agent, Setup},
    bpf::{self, Footprint},
    metrics::{Scrape, Series},
    neighbour::{Action, Neighbour, Way},
    netns::Netns,
    poll, process,
};

const LIMIT: Duration = Duration::from_secs(5);
const DATAGRAMS: u64 = 40;
/// Bytes of a datagram's frame: Ethernet, IPv4, UDP, payload.
const FRAME: u64 = 14 + 20 + 8 + 10;

struct Network {
    near: Netns,
    far: Netns,
    out: Netns,
}

impl Network {
    fn new() -> Result<Self> {
        let (near, far, out) = (Netns::new()?, Netns::new()?, Netns::new()?);
        // No interface is to say anything by itself.
        for netns in [&near, &far, &out] {
            netns.set("ipv6/conf/all/disable_ipv6", "1")?;
            netns.set("ipv6/conf/default/disable_ipv6", "1")?;
        }
        near.cable("near0", &far, "far0")?;
        near.address("near0", "192.0.2.1/24")?;
        far.address("far0", "192.0.2.2/24")?;
        near.cable("out0", &out, "out1")?;
        // Neighbours that drop everything drop ARP too.
        let hardware = near.ip(&["-br", "link", "show", "dev", "near0"])?;
        let address = hardware.split_whitespace().nth(2).unwrap_or_default();
        far.ip(&["neigh", "replace", "192.0.2.1", "lladdr", address, "dev", "far0", "nud", "permanent"])?;
        Ok(Self { near, far, out })
    }

    fn index(&self, interface: &str) -> Result<u32> {
        self.near.inside(|| Ok(if_nametoindex(interface)?))
    }

    /// Sends datagrams to `near0`, and gives how many of them arrived at a socket there, and how many frames left
    /// by `out0`.
    fn send(&self, expected: Seen) -> Result<Seen> {
        let receiver = self.near.inside(|| {
            let socket = UdpSocket::bind("192.0.2.1:0")?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let to = receiver.local_addr()?;
        let left = || Ok::<_, anyhow::Error>(self.out.statistics("out1")?[0].packets);
        let handed_over = || Ok::<_, anyhow::Error>(self.near.statistics("near0")?[0].packets);
        let (left_before, handed_over_before) = (left()?, handed_over()?);
        self.far.inside(|| {
            let socket = UdpSocket::bind("192.0.2.2:0")?;
            (0..DATAGRAMS).try_for_each(|_| Ok(socket.send_to(b"a datagram", to).map(drop)?))
        })?;
        // A cable is crossed within the call that sends, but for what a busy CPU puts off.
        let mut seen = Seen { arrived: 0, left: 0 };
        let mut buffer = [0; 64];
        poll::until("the datagrams to arrive, or to leave", || {
            while receiver.recv(&mut buffer).is_ok() {
                seen.arrived += 1;
            }
            seen.left = left()? - left_before;
            let is_all_there = handed_over()? - handed_over_before >= DATAGRAMS;
            let is_settled = seen.arrived + seen.left == DATAGRAMS || expected == DROPPED;
            Ok((is_all_there && is_settled).then_some(()))
        })?;
        Ok(seen)
    }

    /// What `tc` says of the filters of `near0`, without what they have counted.
    fn filters(&self) -> Result<String> {
        let mut text = String::new();
        for way in ["ingress", "egress"] {
            text += &process::run_well(
                self.near.command("tc")?.args(["filter", "show", "dev", "near0", way]),
                LIMIT,
            )?;
        }
        Ok(text)
    }

    fn tc(&self, arguments: &[&str]) -> Result<()> {
        process::run_well(self.near.command("tc")?.args(arguments), LIMIT).map(drop)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    arrived: u64,
    left: u64,
}

fn datagrams(scrape: &Scrape, name: &'static str) -> f64 {
    let series = Series::named(name).with("interface", "near0").with("direction", "receive");
    scrape.sum(&series.with("transport", "udp").with("family", "ipv4"))
}

/// Sends, and makes sure that the agent counts all of it.
fn is_counted(network: &Network, agent: &Agent<'_>, expected: Seen) -> Result<()> {
    let before = agent.collected()?;
    let seen = network.send(expected)?;
    let after = agent.collected()?;
    let rise = |name| datagrams(&after, name) - datagrams(&before, name);
    let counted = (rise("traffic_interface_packets_total"), rise("traffic_interface_bytes_total"));
    println!("{seen:?}, counted {counted:?}");
    ensure!(
        counted == (DATAGRAMS as f64, (DATAGRAMS * FRAME) as f64),
        "sent {DATAGRAMS}, counted {counted:?}"
    );
    ensure!(seen == expected, "beside the agent: {seen:?} instead of {expected:?}");
    Ok(())
}

/// With a neighbour that has this effect: before there is an agent, beside it, after it ended, and after one was killed.
fn goes_on(network: &Network, flags: &[&str], expected: Seen) -> Result<()> {
    let filters = network.filters()?;
    let queues = bpf::queues(&network.near)?;
    let is_as_before = |what: &str| {
        let seen = network.send(expected)?;
        ensure!(seen == expected, "{what}: {seen:?} instead of {expected:?}");
        Ok(())
    };
    is_as_before("without an agent")?;
    let mut left = Footprint::default();
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM] {
        let agent = Setup::default().within(&network.near).flags(flags).start()?;
        is_counted(network, &agent, expected)?;
        if signal == Signal::SIGKILL {
            left = agent.kill()?;
            is_as_before("after a SIGKILL")?;
            continue;
        }
        agent.end(signal)?;
        is_as_before(&format!("after {signal}"))?;
        let (now, queues_now) = (network.filters()?, bpf::queues(&network.near)?);
        ensure!(now == filters, "{signal} changes the filters from\n{filters}\nto\n{now}");
        ensure!(queues_now == queues, "{signal} changes the queues from\n{queues}\nto\n{queues_now}");
    }
    // What the killed one left in the kernel went with its successor.
    left.is_gone()
}

const PASSES: Seen = Seen { arrived: DATAGRAMS, left: 0 };
const DROPPED: Seen = Seen { arrived: 0, left: 0 };
const REDIRECTED: Seen = Seen { arrived: 0, left: DATAGRAMS };

fn by_tcx(network: &Network, action: Action) -> Result<(Neighbour, OwnedFd)> {
    let neighbour = Neighbour::load(action)?;
    let link = neighbour.attach(&network.near, "near0", Way::Ingress)?;
    Ok((neighbour, link))
}

#[test]
fn a_tcx_neighbour_that_drops() -> Result<()> {
    let network = Network::new()?;
    let _neighbour = by_tcx(&network, Action::Drop)?;
    goes_on(&network, &[], DROPPED)
}

#[test]
fn a_tcx_neighbour_that_redirects() -> Result<()> {
    let network = Network::new()?;
    let _neighbour = by_tcx(&network, Action::Redirect(network.index("out0")?))?;
    goes_on(&network, &[], REDIRECTED)
}

/// By order of the operator the agent sees only what the neighbour leaves.
#[test]
fn behind_a_tcx_neighbour_that_redirects() -> Result<()> {
    let network = Network::new()?;
    let _neighbour = by_tcx(&network, Action::Redirect(network.index("out0")?))?;
    let agent = Setup::default().within(&network.near).flags(&["--tcx-order", "tail"]).start()?;
    ensure!(network.send(REDIRECTED)? == REDIRECTED, "the neighbour does not redirect");
    let counted = datagrams(&agent.collected()?, "traffic_interface_packets_total");
    ensure!(counted == 0.0, "at the tail {counted} datagrams are counted, which never came that far");
    Ok(())
}

/// Filters at several priorities, of several kinds, in a `clsact` that was there.
fn filters_of_others(network: &Network, last: Action) -> Result<(Neighbour, probe_tests::neighbour::Pin)> {
    network.tc(&["qdisc", "add", "dev", "near0", "clsact"])?;
    let neighbour = Neighbour::load(last)?;
    let pin = neighbour.pin(network.near.name())?;
    let add = |way: &str, rest: &[&str]| {
        network.tc(&[&["filter", "add", "dev", "near0", way, "protocol"], rest].concat())
    };
    // One that matches nothing, before ours; what they do, behind it.
    add("ingress", &["ip", "pref", "1", "u32", "match", "ip", "dst", "203.0.113.9/32", "flowid", "1:1"])?;
    add("ingress", &["all", "pref", "100", "bpf", "direct-action", "object-pinned", &pin.path()])?;
    add("egress", &["ip", "pref", "7", "u32", "match", "ip", "dst", "203.0.113.9/32", "flowid", "1:1"])?;
    Ok((neighbour, pin))
}

#[test]
fn netlink_filters_in_a_clsact_that_was_there_beside_tcx() -> Result<()> {
    let network = Network::new()?;
    let _neighbour = filters_of_others(&network, Action::Drop)?;
    goes_on(&network, &[], DROPPED)
}

#[test]
fn netlink_filters_in_a_clsact_that_was_there_beside_ours() -> Result<()> {
    let network = Network::new()?;
    let _neighbour = filters_of_others(&network, Action::Redirect(network.index("out0")?))?;
    goes_on(&network, &["--tc-hook", "clsact"], REDIRECTED)
}

#[test]
fn a_clsact_of_our_own_goes_with_us_and_with_our_successor() -> Result<()> {
    let network = Network::new()?;
    goes_on(&network, &["--tc-hook", "clsact"], PASSES)
}

/// Whoever finds our `clsact` may use it; then it stays, whatever becomes of us.
#[test]
fn a_clsact_of_our_own_that_others_use_stays() -> Result<()> {
    let network = Network::new()?;
    let neighbour = Neighbour::load(Action::Drop)?;
    let pin = neighbour.pin(network.near.name())?;
    let agent = Setup::default().within(&network.near).flags(&["--tc-hook", "clsact"]).start()?;
    network.tc(&[
        "filter",
        "add",
        "dev",
        "near0",
        "ingress",
        "pref",
        "9",
        "bpf",
        "direct-action",
        "object-pinned",
        &pin.path(),
    ])?;
    is_counted(&network, &agent, DROPPED)?;
    agent.end(Signal::SIGTERM)?;
    ensure!(network.send(DROPPED)? == DROPPED, "the neighbour does not drop any more");
    let left = bpf::on_interfaces(&network.near)?;
    ensure!(left.len() == 1, "left are {left:?}");
    Ok(())
}

/// An agent that uses TCX removes what one without it has left.
#[test]
fn what_a_killed_agent_left_is_removed_by_the_next() -> Result<()> {
    let network = Network::new()?;
    let queues = bpf::queues(&network.near)?;
    let agent = Setup::default().within(&network.near).flags(&["--tc-hook", "clsact"]).start()?;
    let left_in_kernel = agent.kill()?;
    ensure!(bpf::on_interfaces(&network.near)?.len() == 6, "three interfaces had two filters each");
    let agent = Setup::default().within(&network.near).start()?;
    let left = bpf::on_interfaces(&network.near)?;
    ensure!(left.is_empty(), "left are {left:?}");
    ensure!(bpf::queues(&network.near)? == queues, "the clsact of the killed agent is left");
    left_in_kernel.is_gone()?;
    is_counted(&network, &agent, PASSES)?;
    agent.end(Signal::SIGTERM).map(drop)
}
