//! What is attached while a load runs.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use probe_tests::{
    agent::{Agent, Setup},
    metrics::{Role, Series},
};

use super::load::Load;
use crate::{
    cpu,
    stand_ins::{Kind, StandIns},
};

/// What is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing at all.
    Nothing,
    /// Programs that do nothing, at the probe's hooks.
    Empty,
    /// Programs there that only call what the probe's call.
    Floor,
    /// The probe: the agent's release build with its defaults.
    Probe,
}

impl Condition {
    /// All of them, in the order of the tables' columns.
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Empty, Self::Floor, Self::Probe];

    /// The column's heading.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "empty programs",
            Self::Floor => "calls alone",
            Self::Probe => "probe",
        }
    }
}

/// What is attached, until dropped.
pub(crate) enum Attached {
    Nothing,
    StandIns(StandIns),
    Probe(Agent<'static>),
}

impl Attached {
    /// Attaches it.
    pub(crate) fn attach(condition: Condition) -> Result<Self> {
        Ok(match condition {
            Condition::Nothing => Self::Nothing,
            Condition::Empty => Self::StandIns(StandIns::attach(Kind::Empty)?),
            Condition::Floor => Self::StandIns(StandIns::attach(Kind::Floor)?),
            Condition::Probe => Self::Probe(Setup::default().ticking_every("1s").in_our_turn().start()?),
        })
    }

    /// CPU time of the agent, if there is one.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        if let Self::Probe(agent) = self { cpu::of_process(agent.id()) } else { Ok(Duration::ZERO) }
    }

    /// The ids of the programs that are attached.
    pub(crate) fn programs(&self) -> Result<BTreeSet<u64>> {
        match self {
            Self::Nothing => Ok(BTreeSet::new()),
            Self::StandIns(programs) => programs.ids(),
            Self::Probe(agent) => Ok(agent.footprint().programs.clone()),
        }
    }

    /// How many answers the agent saw a server give, if there is an agent and it measures the protocol.
    pub(crate) fn requests(&self, port: u16, load: Load) -> Result<Option<u64>> {
        let (Self::Probe(agent), true) = (self, load.is_measured()) else { return Ok(None) };
        let scrape = agent.collected()?;
        let answered = Series::requests(port, Role::Server).with("status", 200);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
        Ok(Some(scrape.sum(&answered) as u64))
    }
}
