//! Programs attached where the probe attaches its own, in its stead: what the hooks cost by themselves, and with the calls
//! that measuring takes.

use std::{collections::BTreeSet, env, fs::File};

use anyhow::{Context, Result, bail};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{
        CgroupAttachMode, CgroupSkbAttachType, LinkOrder, Program, SchedClassifier, TcAttachType,
        tc::TcAttachOptions,
    },
};
use probe_user::attribution::cgroup2_root;

use crate::kernel::engine;

/// Which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They do nothing: `probe-ebpf/src/bin/nothing.rs`.
    Empty,
    /// They call what the probe's call, and decide nothing: `probe-ebpf/src/bin/floor.rs`.
    Floor,
}

impl Kind {
    /// The environment variable that says where their object is.
    const fn variable(self) -> &'static str {
        match self {
            Self::Empty => "TRAFFIC_PROBE_NOTHING",
            Self::Floor => "TRAFFIC_PROBE_FLOOR",
        }
    }
}

/// They, attached until dropped.
pub(crate) struct StandIns {
    ebpf: Ebpf,
}

/// The loopback device: where all load is.
const INTERFACE: &str = "lo";

impl StandIns {
    /// Loads and attaches them.
    pub(crate) fn attach(kind: Kind) -> Result<Self> {
        let mut programs = Self::load(kind)?;
        let root = cgroup2_root()?;
        let root = File::open(&root).with_context(|| format!("cannot open {}", root.display()))?;
        for (name, program) in programs.ebpf.programs_mut().filter(|(name, _)| !is_trial(name)) {
            attach(name, program, &root).with_context(|| format!("cannot attach {name}"))?;
        }
        Ok(programs)
    }

    /// Loads them.
    pub(crate) fn load(kind: Kind) -> Result<Self> {
        let variable = kind.variable();
        let path = env::var_os(variable).with_context(|| {
            format!("{variable} is not set: `cargo xtask bench` builds and names the object")
        })?;
        let btf = Btf::from_sys_fs()?;
        let mut ebpf = EbpfLoader::new().btf(Some(&btf)).load_file(&path)?;
        for (name, program) in ebpf.programs_mut() {
            let loaded = match program {
                Program::CgroupSkb(program) => program.load(),
                Program::SockOps(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                Program::BtfTracePoint(program) => program.load(tracepoint(name)?, &btf),
                _ => bail!("{name} is of a type that the benchmark does not know"),
            };
            loaded.with_context(|| format!("cannot load {name}"))?;
        }
        Ok(Self { ebpf })
    }

    /// What a run of a program takes over a packet, in nanoseconds.
    pub(crate) fn run(&mut self, program: &str, frame: &[u8], repeats: u32) -> Result<f64> {
        let found = self.ebpf.program_mut(program);
        let found: &mut SchedClassifier =
            found.with_context(|| format!("the object has no program {program}"))?.try_into()?;
        engine::test(found, frame, repeats)
    }

    /// The ids of all of them.
    pub(crate) fn ids(&self) -> Result<BTreeSet<u64>> {
        let id = |program: &Program| Ok(u64::from(program.info()?.id()));
        self.ebpf.programs().map(|(_, program)| id(program)).collect()
    }
}

/// Whether a program is there to be run by the kernel on demand, and not to be attached.
fn is_trial(program: &str) -> bool {
    program.starts_with("trial_")
}

fn tracepoint(program: &str) -> Result<&'static str> {
    match program {
        "no_states" | "floor_states" => Ok("inet_sock_set_state"),
        "no_reads" | "floor_reads" => Ok("tcp_rcv_space_adjust"),
        _ => bail!("{program} is at no tracepoint that the benchmark knows"),
    }
}

fn attach(name: &str, program: &mut Program, root: &File) -> Result<()> {
    // What the agent does, too: see `kernel/attach.rs`.
    let mode = CgroupAttachMode::Single;
    match program {
        Program::CgroupSkb(program) => {
            let receives = name.ends_with("_receive");
            let way = if receives { CgroupSkbAttachType::Ingress } else { CgroupSkbAttachType::Egress };
            program.attach(root, way, mode).map(drop)?;
        }
        Program::SockOps(program) => program.attach(root, mode).map(drop)?,
        Program::SchedClassifier(program) => {
            let way = if name.ends_with("_ingress") { TcAttachType::Ingress } else { TcAttachType::Egress };
            let order = TcAttachOptions::TcxOrder(LinkOrder::first());
            program.attach_with_options(INTERFACE, way, order).map(drop)?;
        }
        Program::BtfTracePoint(program) => program.attach().map(drop)?,
        _ => bail!("{name} is of a type that the benchmark does not know"),
    }
    Ok(())
}
