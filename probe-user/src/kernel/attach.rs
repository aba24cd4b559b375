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
    attachments::Attachments,
    error::{StartError, reason},
    features::{Features, Tracepoint},
    object::DATAGRAM_SOCKETS,
    pinning::{Pin, Pins},
};
use crate::{causes::with_causes, feature::Feature};

/// A link to a cgroup is one of many whatever its mode; with `AllowMultiple` the kernel refuses to make one.
const MODE: CgroupAttachMode = CgroupAttachMode::Single;

/// Where most of them are attached, in words.
const PLACE: &str = "the cgroup2 hierarchy";

/// What holds a program at a hook of sockets; dropping it detaches one that is not pinned.
pub(super) struct SocketLink {
    name: &'static str,
    hold: Hold,
}

enum Hold {
    Own(FdLink),
    Pinned(Pin),
}

impl SocketLink {
    /// The program's.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether another process detached it.
    pub(super) fn is_off(&self, attachments: &Attachments) -> bool {
        match &self.hold {
            Hold::Own(link) => link.info().is_ok_and(|info| attachments.is_off_its_cgroup(info.id())),
            Hold::Pinned(pin) => pin.is_off_its_cgroup(),
        }
    }
}

/// Attaches the programs that see sockets. States first: what they tell is asked for by the others. Those of a
/// cgroup are left out where none is named.
///
/// What cannot be attached is lost with its feature, and the others go on without; but where they were loaded for it,
/// that is the error, and all has to be loaded anew.
pub(super) fn sockets(
    ebpf: &mut Ebpf,
    features: &mut Features,
    cgroup: Option<&Path>,
    pins: Option<&Pins>,
) -> Result<Vec<SocketLink>, StartError> {
    let mut links = Vec::new();
    for Tracepoint { feature, program } in features.tracepoint_programs() {
        match tracepoint_link(ebpf, program) {
            Ok(link) => links.push(hold(link, program, pins)?),
            Err(Unlinked::Refused(reason)) => {
                let why = format!("the kernel refused to attach `{program}` to its tracepoint: {reason}");
                return Err(StartError::Without { feature, why });
            }
            Err(Unlinked::Missing) => return Err(StartError::Missing { what: "program", name: program }),
        }
    }
    let Some(cgroup) = cgroup else { return Ok(links) };
    let root = File::open(cgroup).map_err(|source| StartError::Cgroup { path: cgroup.to_owned(), source })?;
    let place = || PLACE.to_owned();
    if features.has(Feature::Datagrams) {
        match datagram_sockets_link(ebpf, &root) {
            Ok(link) => links.push(hold(link, DATAGRAM_SOCKETS, pins)?),
            Err(error) => features.lose(Feature::Datagrams, error.at(DATAGRAM_SOCKETS, place()).to_string()),
        }
    }
    let connections = features.connections_program();
    let link = connections_link(ebpf, connections, &root).map_err(|error| error.at(connections, place()))?;
    links.push(hold(link, connections, pins)?);
    let (receive, transmit) = features.socket_programs();
    for (name, way) in [(receive, CgroupSkbAttachType::Ingress), (transmit, CgroupSkbAttachType::Egress)] {
        let link = traffic_link(ebpf, name, &root, way).map_err(|error| error.at(name, place()))?;
        links.push(hold(link, name, pins)?);
    }
    Ok(links)
}

/// Takes up the links that an earlier agent made.
pub(super) fn take_up(features: &Features, pins: &Pins) -> Result<Vec<SocketLink>, StartError> {
    let (receive, transmit) = features.socket_programs();
    let mut names: Vec<_> =
        features.tracepoint_programs().iter().map(|tracepoint| tracepoint.program).collect();
    names.extend(features.has(Feature::Datagrams).then_some(DATAGRAM_SOCKETS));
    names.extend([features.connections_program(), receive, transmit]);
    let demand = |name| {
        let pin = pins.demand(name)?;
        if pin.is_off_its_cgroup() {
            let (place, reason) = (PLACE.to_owned(), "another process has detached it since".to_owned());
            return Err(StartError::Attach { program: name, place, reason });
        }
        Ok(SocketLink { name, hold: Hold::Pinned(pin) })
    };
    names.into_iter().map(demand).collect()
}

/// Attaches a program to the cgroup again from which somebody has taken it. One that an earlier agent loaded is not at hand.
pub(super) fn again(
    ebpf: &mut Ebpf,
    name: &'static str,
    root: &File,
    pins: Option<&Pins>,
) -> Result<SocketLink, StartError> {
    let link = match name {
        DATAGRAM_SOCKETS => datagram_sockets_link(ebpf, root),
        name if name.starts_with("connections") => connections_link(ebpf, name, root),
        name if name.starts_with("socket_receive") => {
            traffic_link(ebpf, name, root, CgroupSkbAttachType::Ingress)
        }
        name => traffic_link(ebpf, name, root, CgroupSkbAttachType::Egress),
    };
    let link = link.map_err(|error| error.at(name, PLACE.to_owned()))?;
    let hold = match pins {
        Some(pins) => Hold::Pinned(pins.replace(link, name)?),
        None => Hold::Own(link),
    };
    Ok(SocketLink { name, hold })
}

fn hold(link: FdLink, name: &'static str, pins: Option<&Pins>) -> Result<SocketLink, StartError> {
    let hold = match pins {
        Some(pins) => Hold::Pinned(pins.pin(link, name)?),
        None => Hold::Own(link),
    };
    Ok(SocketLink { name, hold })
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
        Self::Refused(with_causes(&error))
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

fn connections_link(ebpf: &mut Ebpf, name: &str, root: &File) -> Result<FdLink, Unlinked> {
    let program = ebpf.program_mut(name).and_then(|program| program.try_into().ok());
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
