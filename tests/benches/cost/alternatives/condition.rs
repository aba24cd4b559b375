//! The conditions, and what each of them is asked for.

use anyhow::Result;

use super::{
    capture::Capture,
    log::Log,
    probe::Probe,
    proxy::Proxy,
    script::{Script, What},
};
use crate::application::{Load, Server};

/// What a user may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing at all.
    Nothing,
    /// The probe.
    Probe,
    /// A proxy in front that counts what passes.
    Proxy,
    /// The server's log, and a reader that counts its lines.
    Log,
    /// All packets into a file.
    Capture,
    /// A script that writes a line per reply.
    Stream,
    /// A script that counts them in the kernel.
    Map,
}

impl Condition {
    /// All of them, in the order of the tables' rows.
    pub(crate) const ALL: [Self; 7] =
        [Self::Nothing, Self::Probe, Self::Proxy, Self::Log, Self::Capture, Self::Stream, Self::Map];

    /// Its name in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Probe => "probe",
            Self::Proxy => "haproxy in front",
            Self::Log => "access log, read by mtail",
            Self::Capture => "tcpdump to a file",
            Self::Stream => "bpftrace, a line a reply",
            Self::Map => "bpftrace, counts in a map",
        }
    }

    /// Starts it, and waits until it counts.
    pub(crate) fn start(self, server: &Server, load: Load) -> Result<Started> {
        let beside = |running: Box<dyn Running>| Started { running, server: None, port: None };
        Ok(match self {
            Self::Nothing => beside(Box::new(Nothing)),
            Self::Probe => beside(Box::new(Probe::start(server.port(), load)?)),
            Self::Proxy => {
                let proxy = Proxy::start(server.port())?;
                let port = Some(proxy.port());
                Started { running: Box::new(proxy), server: None, port }
            }
            Self::Log => {
                let (log, server) = Log::start()?;
                Started { running: Box::new(log), server: Some(server), port: None }
            }
            Self::Capture => beside(Box::new(Capture::start(server.port())?)),
            Self::Stream => beside(Box::new(Script::start(What::Stream, server.id())?)),
            Self::Map => beside(Box::new(Script::start(What::Map, server.id())?)),
        })
    }
}

/// What was started for a condition.
pub(crate) struct Started {
    // Ends before the server that it observes.
    pub(crate) running: Box<dyn Running>,
    /// The server for the load, where it takes one that is started otherwise.
    pub(crate) server: Option<Server>,
    /// Where the load goes instead of to the server.
    pub(crate) port: Option<u16>,
}

/// What runs beside a load, until dropped.
pub(crate) trait Running {
    /// Its process, if it has one; all of them have one at most.
    fn process(&self) -> Option<u32>;

    /// Waits until it has done all that the load gave it to do. `requests` have been answered.
    fn catch_up(&mut self, requests: u64) -> Result<()>;

    /// How many requests it tells of; none if it tells of nothing. This may end it.
    fn requests(&mut self) -> Result<Option<u64>>;
}

/// Nothing at all.
struct Nothing;

impl Running for Nothing {
    fn process(&self) -> Option<u32> {
        None
    }

    fn catch_up(&mut self, _requests: u64) -> Result<()> {
        Ok(())
    }

    fn requests(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}
