//! What a service is to the kernel: who owns the socket, and the server's port.

use crate::interface::Transport;

/// On which end of a connection a socket is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The socket accepted the connection, or listens.
    #[default]
    Server = 0,
    /// The socket connected.
    Client = 1,
}

impl Role {
    /// Both roles, indexed by their value.
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// The value of the label `role`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// The role that a map's key names.
    #[must_use]
    pub fn from_key(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value)).copied()
    }
}

/// Key of the table that gives each service its index in the others.
///
/// Several keys may turn out to be one service once user space has found their names: the threads of a process,
/// or a listener that is older than the probe and the one that a restart made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The socket's cgroup2 id: the inode number of its directory.
    pub cgroup: u64,
    /// Name of the task that listened or connected (`TASK_COMM_LEN`); empty if the socket is older than the probe.
    pub command: [u8; 16],
    /// The process, if the task is not its main thread and so has a name of its own, and of a server wherever there are
    /// hierarchies of cgroup v1 too: containers may have one cgroup of v2 in common there. Else 0.
    pub process: u32,
    /// The server's port, in both roles.
    pub port: u16,
    /// [`Role`]
    pub role: u8,
    /// [`crate::interface::Transport`]: of services on the same port, UDP's is another than TCP's.
    pub transport: u8,
}

impl ServiceKey {
    /// What its sockets speak: TCP or UDP.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        if self.transport == Transport::Udp as u8 { Transport::Udp } else { Transport::Tcp }
    }
}

/// What the kernel knows of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Index in the tables of counters; 0 is the service `other`, to which what finds no room is counted.
    pub index: u32,
    /// The process that was seen first; 0 if the sockets are older than the probe.
    pub process: u32,
    /// [`IndexState::generation`] of the index when the service was given it.
    pub generation: u64,
}

/// Index of the service `other`, which never leaves.
pub const OTHER: u32 = 0;

/// Who may use an index of a service.
///
/// A socket keeps its service's index with the generation that it was given. The agent raises the generation when it takes a
/// service's key from the table. From then on a socket whose generation is an older one finds its service anew before it uses
/// the index: one that listens or connects, or a UDP socket. A connection that is open need not look: it is among those that
/// its service's counters say are open, and a service with such connections stays.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexState {
    /// How many services have had the index taken away.
    pub generation: u64,
    /// 1 when the service's counts have been added to another's, until the index has been given back: what is still under the
    /// index counts no more.
    pub moved: u64,
}

/// A service that is no longer to be found by its key, but whose index has not been given back yet. Programs do not know
/// of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParkedService {
    /// Its key.
    pub key: ServiceKey,
    /// [`ServiceEntry::process`]
    pub process: u32,
    /// 1 from when what was counted of it is cleared away, until its index has been given back.
    pub going: u32,
}
