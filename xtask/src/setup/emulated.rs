//! What it takes to run an image for another processor: an emulator of it, a kernel and a program for it.

use std::path::PathBuf;

use anyhow::Result;

use super::{
    archive::Processor,
    kernel, machine,
    step::{Detail, Steps},
    tools::{Tool, tool},
};

/// What starts it, and packs what it boots from.
pub(super) const TOOLS: [Tool; 3] = [
    tool("qemu-system-aarch64", "qemu-system-arm", "it emulates 64-bit ARM, for the image that is for it"),
    tool("cpio", "cpio", "it packs what a virtual machine boots from"),
    tool("depmod", "kmod", "it indexes a kernel's modules"),
];

/// A series whose kernels have all that the probe attaches to without a module.
const SERIES: &str = "6.12";

/// The parts of an emulated machine with 64-bit ARM.
pub(crate) struct Emulated {
    /// What it boots.
    pub(crate) kernel: PathBuf,
    /// A shell, a server and a client in one.
    pub(crate) busybox: PathBuf,
}

/// Fetches what is missing, telling only of that.
pub(crate) fn emulated() -> Result<Emulated> {
    let mut steps = Steps::new(Detail::Changes);
    Ok(Emulated {
        kernel: kernel::ensure(SERIES, Processor::Arm64, &mut steps)?.image,
        busybox: machine::busybox(Processor::Arm64, &mut steps)?,
    })
}
