//! The hooks of sockets: at the root cgroup, and at the tracepoint of their states.

use std::{fs::File, path::Path};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, Program, ProgramError, SockOps,
        links::FdLink,
    },
};

use super::{
    error::{StartError, reason},
    object::{CONNECTIONS, DATAGRAM_SOCKETS, Features},
    pinning::{Pin, Pins},
};

/// A link to a cgroup is one of many whatever its mode; with `AllowMultiple` the kernel refuses to make one.
const MODE: CgroupAttachMode = CgroupAttachMode::Single;

/// What holds the programs at the hooks of sockets; dropping it detaches those that are not pinned.
#[expect(dead_code, reason = "held for what their drop does")]
pub(super) enum SocketLink {
    Own(FdLink),
    Pinned(Pin),
}

/// Attaches the programs that see sockets. States first: what they tell is asked for by the others.
pub(super) fn sockets(
    ebpf: &mut Ebpf,
    features: Features,
    cgroup: &Path,
    pins: Option<&Pins>,
) -> Result<Vec<SocketLink>, StartError> {
    let root = File::open(cgroup).map_err(|source| StartError::Cgroup { path: cgroup.to_owned(), source })?;
    let place = || format!("the cgroup2 root {}", cgroup.display());
    let mut links = Vec::new();
    for (name, tracepoint) in features.tracepoint_programs() {
        let link = tracepoint_link(ebpf, name);
        let link = link.map_err(|error| error.at(name, format!("the tracepoint {tracepoint}")))?;
        links.push(hold(link, name, pins)?);
    }
    let link = datagram_sockets_link(ebpf, &root).map_err(|error| error.at(DATAGRAM_SOCKETS, place()))?;
    links.push(hold(link, DATAGRAM_SOCKETS, pins)?);
    let link = connections_link(ebpf, &root).map_err(|error| error.at(CONNECTIONS, place()))?;
    links.push(hold(link, CONNECTIONS, pins)?);
    let (receive, transmit) = features.socket_programs();
    for (name, way) in [(receive, CgroupSkbAttachType::Ingress), (transmit, CgroupSkbAttachType::Egress)] {
        let link = traffic_link(ebpf, name, &root, way).map_err(|error| error.at(name, place()))?;
        links.push(hold(link, name, pins)?);
    }
    Ok(links)
}

/// Takes up the links that an earlier agent made.
pub(super) fn take_up(features: Features, pins: &Pins) -> Result<Vec<SocketLink>, StartError> {
    let (receive, transmit) = features.socket_programs();
    let tracepoints = features.tracepoint_programs().iter().map(|(name, _)| *name);
    let names = tracepoints.chain([DATAGRAM_SOCKETS, CONNECTIONS, receive, transmit]);
    names.map(|name| Ok(SocketLink::Pinned(pins.demand(name)?))).collect()
}

fn hold(link: FdLink, name: &str, pins: Option<&Pins>) -> Result<SocketLink, StartError> {
    Ok(match pins {
        Some(pins) => SocketLink::Pinned(pins.pin(link, name)?),
        None => SocketLink::Own(link),
    })
}

/// Why there is no link.
enum Unlinked {
    Missing,
    Refused(String),
}

impl Unlinked {
    fn at(self, program: &'static str, place: String) -> StartError {
        match self {
            Self::Missing => StartError::Missing { what: "program", name: program },
            Self::Refused(reason) => StartError::Attach { program, place, reason },
        }
    }
}

impl From<ProgramError> for Unlinked {
    fn from(error: ProgramError) -> Self {
        Self::Refused(reason(&error))
    }
}

impl From<aya::programs::links::LinkError> for Unlinked {
    fn from(error: aya::programs::links::LinkError) -> Self {
        Self::Refused(error.to_string())
    }
}

fn tracepoint_link(ebpf: &mut Ebpf, name: &str) -> Result<FdLink, Unlinked> {
    let Some(Program::BtfTracePoint(program)) = ebpf.program_mut(name) else {
        return Err(Unlinked::Missing);
    };
    let link = program.attach()?;
    Ok(program.take_link(link)?.into())
}

fn datagram_sockets_link(ebpf: &mut Ebpf, root: &File) -> Result<FdLink, Unlinked> {
    let program = ebpf.program_mut(DATAGRAM_SOCKETS).and_then(|program| program.try_into().ok());
    let program: &mut CgroupSock = program.ok_or(Unlinked::Missing)?;
    let link = program.attach(root, MODE)?;
    Ok(program.take_link(link)?.try_into()?)
}

fn connections_link(ebpf: &mut Ebpf, root: &File) -> Result<FdLink, Unlinked> {
    let program = ebpf.program_mut(CONNECTIONS).and_then(|program| program.try_into().ok());
    let program: &mut SockOps = program.ok_or(Unlinked::Missing)?;
    let link = program.attach(root, MODE)?;
    Ok(program.take_link(link)?.try_into()?)
}

fn traffic_link(
    ebpf: &mut Ebpf,
    name: &str,
    root: &File,
    way: CgroupSkbAttachType,
) -> Result<FdLink, Unlinked> {
    let program = ebpf.program_mut(name).and_then(|program| program.try_into().ok());
    let program: &mut CgroupSkb = program.ok_or(Unlinked::Missing)?;
    let link = program.attach(root, way, MODE)?;
    Ok(program.take_link(link)?.try_into()?)
}
