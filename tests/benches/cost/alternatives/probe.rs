//! The probe, as in the part that measures what servers pay.

use anyhow::Result;

use super::condition::Running;
use crate::application::{self, Attached, Load};

/// It, attached until dropped.
pub(crate) struct Probe {
    attached: Attached,
    port: u16,
    load: Load,
}

impl Probe {
    /// Starts it beside the server at a port.
    pub(crate) fn start(port: u16, load: Load) -> Result<Self> {
        Ok(Self { attached: Attached::attach(application::Condition::Probe)?, port, load })
    }
}

impl Running for Probe {
    fn process(&self) -> Option<u32> {
        if let Attached::Probe(agent) = &self.attached { Some(agent.id()) } else { None }
    }

    fn catch_up(&mut self, _requests: u64) -> Result<()> {
        // What it has counted is in the kernel, and asked for with the next scrape.
        Ok(())
    }

    fn requests(&mut self) -> Result<Option<u64>> {
        self.attached.requests(self.port, self.load)
    }
}
