//! The hooks of sockets: at the root cgroup, and at the tracepoint of their states.

use std::{fs::File, path::Path};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Program, SockOps},
};

use super::{
    error::{StartError, reason},
    object::{CONNECTIONS, Features},
};

/// A link to a cgroup is one of many whatever its mode; with `AllowMultiple` the kernel refuses to make one.
const MODE: CgroupAttachMode = CgroupAttachMode::Single;

/// Attaches the programs that see sockets. States first: what they tell is asked for by the others.
pub(super) fn sockets(ebpf: &mut Ebpf, features: Features, cgroup: &Path) -> Result<(), StartError> {
    let root = File::open(cgroup).map_err(|source| StartError::Cgroup { path: cgroup.to_owned(), source })?;
    let place = || format!("the cgroup2 root {}", cgroup.display());
    for (name, tracepoint) in features.tracepoint_programs() {
        let Some(Program::BtfTracePoint(program)) = ebpf.program_mut(name) else {
            return Err(StartError::Missing { what: "program", name });
        };
        program.attach().map_err(|error| StartError::Attach {
            program: name,
            place: format!("the tracepoint {tracepoint}"),
            reason: reason(&error),
        })?;
    }
    let program: &mut SockOps = ebpf
        .program_mut(CONNECTIONS)
        .and_then(|program| program.try_into().ok())
        .ok_or(StartError::Missing { what: "program", name: CONNECTIONS })?;
    program.attach(&root, MODE).map_err(|error| StartError::Attach {
        program: CONNECTIONS,
        place: place(),
        reason: reason(&error),
    })?;
    let (receive, transmit) = features.socket_programs();
    for (name, way) in [(receive, CgroupSkbAttachType::Ingress), (transmit, CgroupSkbAttachType::Egress)] {
        let program: &mut CgroupSkb = ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or(StartError::Missing { what: "program", name })?;
        program.attach(&root, way, MODE).map_err(|error| StartError::Attach {
            program: name,
            place: place(),
            reason: reason(&error),
        })?;
    }
    Ok(())
}
