//! What both sides of the probe share: the types in the maps, and the parsers, the connection engine and the
//! histogram's arithmetic as pure functions.
//!
//! Nothing here allocates, panics, blocks or, but for `instruction.rs`, knows of BPF: the same code runs in a kernel hook, over a slice in
//! a test, and over a capture on disk.

#![no_std]
#![cfg_attr(not(feature = "user"), deny(unsafe_code))]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    clippy::cast_possible_truncation,
    reason = "sequence numbers, indices and buckets are cut to their width on purpose, and a check would be a panic"
)]

pub mod address_text;
pub mod ages;
mod apart;
pub mod blanks;
pub mod bucket;
pub mod connection;
pub mod counters;
pub mod datagram;
pub mod deliveries;
pub mod exchange;
pub mod flow;
pub mod forwarded;
pub mod http1;
mod instruction;
pub mod interface;
pub mod older;
pub mod order;
pub mod peer;
pub mod pending;
pub mod phase;
pub mod protocol;
pub mod proxied;
pub mod proxy_protocol;
pub mod reason;
pub mod route;
pub mod sample;
pub mod sequence;
pub mod service;
pub mod skim;
mod swar;
pub mod user;
pub mod window;

#[cfg(feature = "user")]
mod pod;
