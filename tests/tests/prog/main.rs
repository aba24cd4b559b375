//! Single programs in the kernel, by `BPF_PROG_TEST_RUN`: frames made by hand, counts known exactly.
//!
//! Socket programs look at the connection of a packet's socket. The kernel gives a test run a socket of no protocol, so
//! that the programs themselves can only show that they leave alone what is not theirs. The engine that they run is tried
//! over a connection in a map, and held against the host's.

mod allowed;
mod contention;
mod engine;
mod frames;
mod grace;
mod interfaces;
mod loaded;
mod peers;
mod resources;
mod routes;
mod sample;
mod sockets;
mod trial;
mod trusted;
mod verifier;
