//! A program that is at no hook: the kernel runs it once, whenever the agent asks (`BPF_PROG_TEST_RUN`).

use std::os::fd::{AsFd, OwnedFd};

use aya::Ebpf;

use super::{
    error::{CollectError, StartError},
    pinning::Pins,
    syscall,
};

/// The program.
pub(super) struct RunOnce {
    name: &'static str,
    program: OwnedFd,
}

impl RunOnce {
    /// Makes ready, and pins it if the next agent is to have it; the program must have been loaded.
    pub(super) fn prepare(
        ebpf: &mut Ebpf,
        name: &'static str,
        pins: Option<&Pins>,
    ) -> Result<Self, StartError> {
        let program = ebpf.program_mut(name).ok_or(StartError::Missing { what: "program", name })?;
        if let Some(pins) = pins {
            pins.pin_program(program, name)?;
        }
        let refused = |reason: String| StartError::Program { program: name, reason };
        let descriptor = program.fd().map_err(|error| refused(error.to_string()))?.as_fd();
        let program = descriptor.try_clone_to_owned().map_err(|error| refused(error.to_string()))?;
        Ok(Self { name, program })
    }

    /// Takes up the one that an earlier agent pinned.
    pub(super) fn take_up(name: &'static str, pins: &Pins) -> Result<Self, StartError> {
        Ok(Self { name, program: pins.demand_program(name)? })
    }

    /// Runs it, to its end: a signal to this process, even SIGKILL, is heard behind it.
    pub(super) fn run(&self) -> Result<(), CollectError> {
        let ran = syscall::run_once(self.program.as_fd());
        ran.map_err(|source| CollectError::Program { program: self.name, source })
    }
}
