//! Single programs in the kernel, by `BPF_PROG_TEST_RUN`: frames made by hand, counts known exactly.
//!
//! Socket programs look at the connection of a packet's socket. The kernel gives a test run a socket of no protocol, so
//! that here they can only show that they leave alone what is not theirs; what they count is shown end to end.

mod frames;
mod interfaces;
mod loaded;
mod sockets;
