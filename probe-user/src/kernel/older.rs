//! Connections that are older than the probe: found in the kernel's socket tables, in every network namespace, and taken
//! up by the kernel side before the first pass.

mod listeners;
mod sockets;

use std::{collections::HashMap, io, net::IpAddr};

use aya::{
    Ebpf,
    programs::{CgroupSkb, Program, TestRun, TestRunOptions},
};
use probe_common::{older::Older, user::mapped};

use self::sockets::Connected;
use super::object::ADOPT;
use crate::{
    attribution::holders::{self, Holder},
    causes::with_causes,
    netns,
};

/// The kernel takes the first bytes of a test run's packet for an Ethernet header, and hands the rest on.
const ETHERNET_HEADER: usize = 14;

/// Has the kernel side take up what there is. A connection that is not found in this way is known from its next packet
/// on: the error says why there may be some.
pub(super) fn take_up(ebpf: &mut Ebpf) -> Result<(), String> {
    let (mut connections, mut failed) = (0, None);
    let mut found = Vec::new();
    for namespace in netns::all() {
        match namespace.inside(sockets::all).flatten() {
            Ok(sockets) => found.push((namespace, sockets)),
            Err(error) => failed = Some(error),
        }
    }
    // Once for all namespaces: it is a look at every descriptor of every process.
    let connected = found.iter().flat_map(|(_, sockets)| &sockets.connected).map(|socket| socket.inode);
    let listening: Vec<u64> = found.iter().flat_map(|(_, sockets)| sockets.listening.clone()).collect();
    let inodes = connected.chain(listening.iter().copied()).filter(|inode| *inode != 0);
    let holders = holders::of_sockets(inodes);
    listeners::name_owners(ebpf, &listening, &holders);
    let Some(Program::CgroupSkb(program)) = ebpf.program(ADOPT) else { return Ok(()) };
    for (namespace, sockets) in &found {
        match namespace.inside(|| adopt(program, &sockets.connected, &holders)).flatten() {
            Ok(()) => connections += sockets.connected.len(),
            Err(error) => failed = Some(error),
        }
    }
    tracing::debug!("{connections} connection ends are older than the probe");
    failed.map_or(Ok(()), |error| {
        Err(format!("some connections older than the probe were not found: {}", in_words(&error)))
    })
}

fn in_words(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "the kernel lists no TCP sockets: load its module tcp_diag",
        io::ErrorKind::PermissionDenied => {
            "other network namespaces may not be entered: that takes CAP_SYS_ADMIN and CAP_SYS_PTRACE"
        }
        _ => return with_causes(error),
    };
    format!("{advice} ({error})")
}

/// Takes up connections of the namespace that this thread is in.
fn adopt(program: &CgroupSkb, connected: &[Connected], holders: &HashMap<u64, Holder>) -> io::Result<()> {
    for socket in connected {
        let older = named(socket, holders.get(&socket.inode));
        let packet = [&[0; ETHERNET_HEADER][..], &older.to_bytes()].concat();
        let options = TestRunOptions { data_in: Some(&packet), ..TestRunOptions::new() };
        program.test_run(options).map_err(io::Error::other)?;
    }
    Ok(())
}

/// A connection as the kernel side is told of it.
fn named(socket: &Connected, holder: Option<&Holder>) -> Older {
    let command = holder.map_or([0; 16], |holder| command(&holder.name));
    Older {
        local: words(socket.local.0),
        remote: words(socket.remote.0),
        local_port: socket.local.1.to_be(),
        remote_port: socket.remote.1.to_be(),
        family: if socket.remote.0.to_canonical().is_ipv4() { 4 } else { 6 },
        command,
        process: holder.map_or(0, |holder| holder.process),
    }
}

/// A name as the kernel has it.
fn command(name: &str) -> [u8; 16] {
    let mut command = [0; 16];
    // The last byte stays zero, as in the kernel's own names of tasks.
    for (to, from) in command[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    command
}

fn words(address: IpAddr) -> [u32; 4] {
    let bytes = match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    };
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_socket_that_speaks_to_ipv4_is_looked_up_as_ipv4() {
        let end = |text: &str, port| (text.parse::<IpAddr>().unwrap(), port);
        let socket = |local, remote| Connected { local: end(local, 80), remote: end(remote, 5000), inode: 7 };
        let older = named(&socket("::ffff:192.0.2.1", "::ffff:192.0.2.2"), None);
        assert_eq!(older, named(&socket("192.0.2.1", "192.0.2.2"), None));
        assert!(older.is_ipv4() && older.local[3] == u32::from_ne_bytes([192, 0, 2, 1]));
        assert!(!named(&socket("::1", "::1"), None).is_ipv4());
        assert_eq!(older.to_bytes()[32..36], [0, 80, 0x13, 0x88], "ports are in network order");
    }

    #[test]
    fn a_long_name_is_cut_as_the_kernel_cuts_it() {
        let socket =
            Connected { local: ([127, 0, 0, 1].into(), 1), remote: ([127, 0, 0, 1].into(), 2), inode: 7 };
        let holder = Holder { process: 4711, name: "a-name-of-many-letters".into() };
        let older = named(&socket, Some(&holder));
        assert_eq!((older.process, &older.command), (4711, b"a-name-of-many-\0"));
        assert_eq!(older.to_bytes()[40..56], older.command);
    }
}
