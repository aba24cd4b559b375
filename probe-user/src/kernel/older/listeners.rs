//! Sockets that listen since before the probe. Each is told who holds it, so that of several on one port (at two addresses,
//! or sharing it by `SO_REUSEPORT`) each has the name of its own program.
//!
//! A socket's state can be written by whoever has a descriptor of it, so the agent borrows one for a moment (kernel 5.6,
//! with `CAP_SYS_PTRACE`). What has a state already, by a packet that was faster, keeps it. A socket that cannot be told is
//! named by its port and cgroup.

use std::{
    collections::HashMap,
    fs::File,
    io,
    mem::offset_of,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
};

use aya::{Ebpf, maps::SkStorage};
use probe_common::connection::{Connection, Owner, Stage};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::command;
use crate::attribution::holders::{self, Holder};

const MAP: &str = "SOCKETS";

/// `BPF_NOEXIST`: the state that is there stays.
const IF_NEW: u64 = 1;

/// A state, as bytes.
type State = [u8; size_of::<Connection>()];

/// Writes to each listening socket who holds it.
pub(super) fn name_owners(ebpf: &mut Ebpf, listening: &[u64], holders: &HashMap<u64, Holder>) {
    let Some(mut sockets) = ebpf.map_mut(MAP).and_then(|map| SkStorage::<_, State>::try_from(map).ok())
    else {
        return;
    };
    let mut named = 0;
    for (inode, holder) in listening.iter().filter_map(|inode| Some((*inode, holders.get(inode)?))) {
        let written = borrow(holder.process, inode)
            .and_then(|socket| sockets.insert(&socket, state(holder), IF_NEW).map_err(io::Error::other));
        match written {
            Ok(()) => named += 1,
            Err(error) => {
                tracing::debug!(
                    "{}: cannot write the owner of a socket older than the probe: {error}",
                    holder.name
                );
            }
        }
    }
    tracing::debug!("named {named} of {} listening sockets older than the probe", listening.len());
}

/// The state of a socket that listens and has had no packet. All else is zero: nothing is known of it.
fn state(holder: &Holder) -> State {
    let mut state = [0; size_of::<Connection>()];
    let mut write = |place: usize, bytes: &[u8]| state[place..place + bytes.len()].copy_from_slice(bytes);
    let owner = offset_of!(Connection, owner);
    let process = holder.process.to_ne_bytes();
    write(owner + offset_of!(Owner, command), &command(&holder.name));
    write(owner + offset_of!(Owner, process), &process);
    write(owner + offset_of!(Owner, thread), &process);
    write(offset_of!(Connection, stage), &[Stage::Listening as u8]);
    state
}

/// A descriptor of a process's socket.
fn borrow(process: u32, inode: u64) -> io::Result<OwnedFd> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let number = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    let holder = pidfd_open(number, PidfdFlags::empty())?;
    let descriptor = holders::descriptor(process, inode).ok_or_else(gone)?;
    let socket = File::from(pidfd_getfd(holder, descriptor, PidfdGetfdFlags::empty())?);
    // The descriptor, or the process's number, may be another's by now.
    if socket.metadata()?.ino() == inode { Ok(socket.into()) } else { Err(gone()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_socket_can_be_borrowed_from_its_holder() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino();
        let borrowed = std::net::TcpListener::from(borrow(std::process::id(), inode).unwrap());
        assert_eq!(borrowed.local_addr().unwrap(), socket.local_addr().unwrap());
        assert!(borrow(std::process::id(), u64::MAX).is_err());
    }

    #[test]
    fn a_state_tells_who_listens_and_nothing_else() {
        let state = state(&Holder { process: 4711, name: "nginx".into() });
        let place = offset_of!(Connection, owner);
        assert_eq!(&state[place..place + 6], b"nginx\0");
        assert_eq!(state[offset_of!(Connection, stage)], Stage::Listening as u8);
        assert_eq!(state.iter().filter(|byte| **byte != 0).count(), 5 + 2 + 2 + 1);
    }
}
