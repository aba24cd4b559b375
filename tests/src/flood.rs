//! Packets from a great many addresses that nobody has: made by a program, into a network namespace of the test's own.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::Ipv4Addr,
};

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;

use crate::{netns::Netns, tun};

/// Where the packets come in.
const INTERFACE: &str = "flood0";
/// The namespace's address there.
pub const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// 198.18.0.0/15, which is for such purposes (RFC 2544): what is answered goes where it came from, and no further.
const SOURCES: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const SOURCE_BITS: u32 = 17;
/// 10.0.0.0/8, for more of them.
const MANY_SOURCES: u32 = u32::from_be_bytes([10, 0, 0, 0]);
const MANY_SOURCE_BITS: u32 = 24;
/// How many packets may have been answered before the answers are taken.
const ANSWERS: u32 = 64;

/// What was sent from a great many addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Datagrams to the port that was named, each from an address of its own.
    pub datagrams: u64,
    /// Datagrams and requests for connections to ports at random, from further addresses.
    pub astray: u64,
}

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
        for sources in ["198.18.0.0/15", "10.0.0.0/8"] {
            netns.ip(&["route", "add", sources, "dev", INTERFACE])?;
        }
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

    /// Sends packets, each from an address that no other has: three of four are datagrams to a port, the others go to
    /// ports at random, as datagrams and as requests for connections. There are 16,777,216 addresses.
    pub fn send_from_everywhere(&mut self, port: u16, count: u32) -> Result<Sent> {
        ensure!(count <= 1 << MANY_SOURCE_BITS, "there are not so many addresses");
        let mut sent = Sent::default();
        let mut packet = Vec::new();
        for number in 0..count {
            // An odd factor: each number has a place of its own.
            let place = number.wrapping_mul(0x9e37_79b1) & ((1 << MANY_SOURCE_BITS) - 1);
            let source = Ipv4Addr::from(MANY_SOURCES | place);
            let ip = PacketBuilder::ipv4(source.octets(), TARGET.octets(), 64);
            let (from, astray) = (self.chance.u16(1024..), self.chance.u16(1..));
            let astray = if astray == port { port ^ 1 } else { astray };
            packet.clear();
            match number % 8 {
                3 => ip.udp(from, astray).write(&mut packet, b"flood")?,
                7 => ip.tcp(from, astray, number, 64_000).syn().write(&mut packet, &[])?,
                _ => ip.udp(from, port).write(&mut packet, b"flood")?,
            }
            if matches!(number % 8, 3 | 7) {
                sent.astray += 1;
            } else {
                sent.datagrams += 1;
            }
            self.interface.write_all(&packet).with_context(|| format!("cannot write to {INTERFACE}"))?;
            if number % ANSWERS == 0 {
                self.read_answers()?;
            }
        }
        self.read_answers()?;
        Ok(sent)
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
