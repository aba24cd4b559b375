//! Who listens on a port: for sockets that are older than the probe.
//!
//! A table of each network namespace tells the listening sockets, the descriptors of processes who holds them.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use probe_common::interface::Transport;

use super::{
    holders,
    pace::{Known, Leave, Pace},
    process::{self, Procfs},
};

/// How long a service may take to start that systemd starts when somebody connects.
const START: Duration = Duration::from_secs(10);

/// A port of TCP or of UDP.
type Port = (Transport, u16);

/// The owners of listening ports, as of the last look.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    owners: HashMap<Port, Vec<Owner>>,
    pace: Pace,
}

#[derive(Debug)]
struct Owner {
    name: String,
    cgroup: Option<String>,
    /// Those that hold the socket too, having opened it for this one: systemd, or a user's.
    openers: Vec<u32>,
}

/// Whose socket a service's is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    /// Its port.
    pub(super) port: Port,
    /// Its cgroup.
    pub(super) cgroup: Option<&'a str>,
    /// The systemd that opened it for another.
    pub(super) by_init: Option<u32>,
}

/// A socket that listens.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    port: u16,
    inode: u64,
}

impl Listeners {
    /// The name of the service that listens on a port: in several network namespaces there may be several, of which
    /// the one that systemd opened the socket for is meant, or the one in its cgroup, if it is among them.
    pub(super) fn owner(
        &mut self,
        procfs: &Procfs,
        Opened { port, cgroup, by_init }: Opened<'_>,
        now: Instant,
        since: Instant,
    ) -> Known<Option<String>> {
        if let Some(init) = by_init {
            return self.started_by(procfs, port, init, now, since);
        }
        if !self.owners.contains_key(&port) {
            match self.pace.ask(now, since) {
                Leave::Look => self.owners = look(procfs),
                Leave::Conclude => {}
                Leave::Wait => return Known::NotYet,
            }
        }
        let owners = self.owners.get(&port).map_or(&[][..], Vec::as_slice);
        let near = owners.iter().find(|owner| cgroup.is_some() && owner.cgroup.as_deref() == cgroup);
        Known::Yes(near.or(owners.first()).map(|owner| owner.name.clone()))
    }

    /// The name of whom systemd opened the socket for; none if it has started nobody in a while, as where it accepts the
    /// connections itself.
    fn started_by(
        &mut self,
        procfs: &Procfs,
        port: Port,
        init: u32,
        now: Instant,
        since: Instant,
    ) -> Known<Option<String>> {
        let mut found = self.opened_by(port, init);
        if found.is_none() && self.pace.ask(now, now) == Leave::Look {
            self.owners = look(procfs);
            found = self.opened_by(port, init);
        }
        if found.is_none() && now.saturating_duration_since(since) < START {
            return Known::NotYet;
        }
        Known::Yes(found)
    }

    fn opened_by(&self, port: Port, init: u32) -> Option<String> {
        let mut owners = self.owners.get(&port)?.iter();
        owners.find(|owner| owner.openers.contains(&init)).map(|owner| owner.name.clone())
    }
}

fn look(procfs: &Procfs) -> HashMap<Port, Vec<Owner>> {
    let wanted = listening(procfs, &procfs.processes());
    let openers = openers(procfs);
    let mut holders: Vec<_> = holders::of_sockets_in(procfs, wanted.keys().copied()).into_iter().collect();
    holders.sort_by_cached_key(|(_, holder)| holders::precedence(procfs, holder.process));
    let mut owners: HashMap<Port, Vec<Owner>> = HashMap::new();
    for (inode, holder) in holders {
        let name = procfs.service(holder.process).unwrap_or(holder.name);
        let of_this =
            openers.iter().filter(|(opener, held)| *opener != holder.process && held.contains(&inode));
        let openers = of_this.map(|(opener, _)| *opener).collect();
        let owner = Owner { name, cgroup: procfs.cgroup(holder.process), openers };
        owners.entry(wanted[&inode]).or_default().push(owner);
    }
    owners
}

/// Each systemd, with the sockets that it holds.
fn openers(procfs: &Procfs) -> Vec<(u32, HashSet<u64>)> {
    let mut processes = procfs.processes();
    processes.retain(|process| process::is_init(*process, &procfs.name(*process).unwrap_or_default()));
    processes
        .into_iter()
        .map(|process| (process, holders::sockets(&procfs.directory(process)).collect()))
        .collect()
}

/// The sockets of all network namespaces to which others speak first, port by inode. One process of each namespace is asked.
fn listening(procfs: &Procfs, processes: &[u32]) -> HashMap<u64, Port> {
    let mut namespaces = HashSet::new();
    let mut listeners = HashMap::new();
    for process in processes {
        let directory = procfs.directory(*process);
        let Ok(namespace) = fs::read_link(directory.join("ns/net")) else {
            continue;
        };
        if namespaces.insert(namespace) {
            let read = |table| File::open(directory.join(table)).map(BufReader::new);
            for file in ["net/tcp", "net/tcp6"].into_iter().flat_map(read) {
                let found = parse_table(file);
                listeners.extend(found.map(|found| (found.inode, (Transport::Tcp, found.port))));
            }
            for file in ["net/udp", "net/udp6"].into_iter().flat_map(read) {
                let found = parse_datagram_table(file);
                listeners.extend(found.map(|found| (found.inode, (Transport::Udp, found.port))));
            }
        }
    }
    listeners
}

/// The listeners in the text of `/proc/net/tcp`: see `proc_net_tcp` in the kernel's documentation. The kernel lists
/// them before all connections, of which there may be many: reading ends with the first of those.
fn parse_table(table: impl BufRead) -> impl Iterator<Item = Listener> {
    table.lines().map_while(Result::ok).skip(1).map_while(|line| parse_line(&line))
}

/// The sockets in the text of `/proc/net/udp`, which has the same shape. Any may be a server's, also one that is
/// connected; the caller asks for servers' ports.
fn parse_datagram_table(table: impl BufRead) -> impl Iterator<Item = Listener> {
    table.lines().map_while(Result::ok).skip(1).filter_map(|line| Some(parse_fields(&line)?.1))
}

fn parse_line(line: &str) -> Option<Listener> {
    const LISTEN: &str = "0A";
    parse_fields(line).and_then(|(state, listener)| (state == LISTEN).then_some(listener))
}

/// The state of a socket, and the rest.
fn parse_fields(line: &str) -> Option<(&str, Listener)> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    Some((state, Listener { port: u16::from_str_radix(port, 16).ok()?, inode: inode.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:A0B2 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 20 4 30 10 -1
   3: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0000000000000000 100 0 0 10 0
";

    #[test]
    fn listeners_are_read_up_to_the_first_connection() {
        let listeners: Vec<_> = parse_table(TABLE.as_bytes()).collect();
        assert_eq!(listeners, [Listener { port: 8080, inode: 4711 }, Listener { port: 22, inode: 4712 }]);
    }

    #[test]
    fn ipv6_has_the_same_shape() {
        let line = "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A \
                    00000000:00000000 00:00000000 00000000     0        0 99 1 0000000000000000 100 0 0 10 0";
        assert_eq!(parse_line(line), Some(Listener { port: 80, inode: 99 }));
    }

    #[test]
    fn our_own_datagram_socket_is_found_and_is_none_of_tcp() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let procfs = Procfs::default();
        let now = Instant::now();
        let opened = |transport| Opened { port: (transport, port), cgroup: None, by_init: None };
        let owner = |transport| Listeners::default().owner(&procfs, opened(transport), now, now);
        assert_eq!(owner(Transport::Udp), Known::Yes(procfs.service(std::process::id())));
        assert_eq!(owner(Transport::Tcp), Known::Yes(None));
    }

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let procfs = Procfs::default();
        let now = Instant::now();
        let cgroup = procfs.cgroup(std::process::id());
        let opened = Opened { port: (Transport::Tcp, port), cgroup: cgroup.as_deref(), by_init: None };
        let owner = Listeners::default().owner(&procfs, opened, now, now);
        assert_eq!(owner, Known::Yes(procfs.service(std::process::id())));
    }
}
