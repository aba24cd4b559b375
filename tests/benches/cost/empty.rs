//! Programs that do nothing, attached where the probe attaches its own: what the hooks cost by themselves.

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

/// They, attached until dropped.
pub(crate) struct Empty {
    ebpf: Ebpf,
}

/// The loopback device: where all load is.
const INTERFACE: &str = "lo";

impl Empty {
    /// Loads and attaches them.
    pub(crate) fn attach() -> Result<Self> {
        let mut empty = Self::load()?;
        let root = cgroup2_root()?;
        let root = File::open(&root).with_context(|| format!("cannot open {}", root.display()))?;
        for (name, program) in empty.ebpf.programs_mut() {
            attach(name, program, &root).with_context(|| format!("cannot attach {name}"))?;
        }
        Ok(empty)
    }

    /// Loads them.
    pub(crate) fn load() -> Result<Self> {
        const VARIABLE: &str = "TRAFFIC_PROBE_NOTHING";
        let path = env::var_os(VARIABLE).with_context(|| {
            format!("{VARIABLE} is not set: `cargo xtask bench` builds and names the object")
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

    /// What a run of one of them takes over a packet, in nanoseconds.
    pub(crate) fn run(&mut self, frame: &[u8], repeats: u32) -> Result<f64> {
        let program = self.ebpf.program_mut("no_ingress").context("the object has no program no_ingress")?;
        let program: &mut SchedClassifier = program.try_into()?;
        engine::test(program, frame, repeats)
    }

    /// The ids of all of them.
    pub(crate) fn ids(&self) -> Result<BTreeSet<u64>> {
        let id = |program: &Program| Ok(u64::from(program.info()?.id()));
        self.ebpf.programs().map(|(_, program)| id(program)).collect()
    }
}

fn tracepoint(program: &str) -> Result<&'static str> {
    match program {
        "no_states" => Ok("inet_sock_set_state"),
        "no_reads" => Ok("tcp_rcv_space_adjust"),
        _ => bail!("{program} is at no tracepoint that the benchmark knows"),
    }
}

fn attach(name: &str, program: &mut Program, root: &File) -> Result<()> {
    // What the agent does, too: see `kernel/attach.rs`.
    let mode = CgroupAttachMode::Single;
    match program {
        Program::CgroupSkb(program) => {
            let way =
                if name == "no_receive" { CgroupSkbAttachType::Ingress } else { CgroupSkbAttachType::Egress };
            program.attach(root, way, mode).map(drop)?;
        }
        Program::SockOps(program) => program.attach(root, mode).map(drop)?,
        Program::SchedClassifier(program) => {
            let way = if name == "no_ingress" { TcAttachType::Ingress } else { TcAttachType::Egress };
            let order = TcAttachOptions::TcxOrder(LinkOrder::first());
            program.attach_with_options(INTERFACE, way, order).map(drop)?;
        }
        Program::BtfTracePoint(program) => program.attach().map(drop)?,
        _ => bail!("{name} is of a type that the benchmark does not know"),
    }
    Ok(())
}
