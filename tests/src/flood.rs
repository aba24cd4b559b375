//! Packets from a great many addresses that nobody has: made by a program, into a network namespace of the test's own.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::Ipv4Addr,
};

use anyhow::{Context, Result};
use etherparse::PacketBuilder;

use crate::{netns::Netns, tun};

/// Where the packets come in.
const INTERFACE: &str = "flood0";
/// The namespace's address there.
pub const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// 198.18.0.0/15, which is for such purposes (RFC 2544): what is answered goes where it came from, and no further.
const SOURCES: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const SOURCE_BITS: u32 = 17;

/// A source of packets, gone when dropped.
#[derive(Debug)]
pub struct Flood {
    interface: File,
    chance: fastrand::Rng,
}

impl Flood {
    /// Lays it into a network namespace.
    pub fn lay(netns: &Netns, seed: u64) -> Result<Self> {
        let interface = netns.inside(|| tun::open(INTERFACE))?;
        netns.ip(&["link", "set", INTERFACE, "up"])?;
        netns.address(INTERFACE, &format!("{TARGET}/32"))?;
        netns.ip(&["route", "add", "198.18.0.0/15", "dev", INTERFACE])?;
        Ok(Self { interface, chance: fastrand::Rng::with_seed(seed) })
    }

    /// Asks for so many connections to a port, each from another address and port, and answers nothing.
    pub fn ask_for_connections(&mut self, port: u16, count: u32) -> Result<()> {
        for _ in 0..count {
            let source = Ipv4Addr::from(SOURCES | self.chance.u32(..1 << SOURCE_BITS));
            let builder = PacketBuilder::ipv4(source.octets(), TARGET.octets(), 64)
                .tcp(self.chance.u16(1024..), port, self.chance.u32(..), 64_000)
                .syn();
            let mut packet = Vec::with_capacity(builder.size(0));
            builder.write(&mut packet, &[]).context("cannot make a packet")?;
            self.interface.write_all(&packet).with_context(|| format!("cannot write to {INTERFACE}"))?;
            self.read_answers()?;
        }
        Ok(())
    }

    /// Takes what comes back, which would fill the interface's queue.
    fn read_answers(&mut self) -> Result<()> {
        let mut packet = [0; 2048];
        loop {
            match self.interface.read(&mut packet) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).with_context(|| format!("cannot read from {INTERFACE}")),
            }
        }
    }
}
