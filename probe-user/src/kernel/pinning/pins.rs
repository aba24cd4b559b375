//! The pinned objects of one layout.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{Program, links::FdLink},
};

use super::{Layout, PinError};
use crate::kernel::{attachments::field, syscall};

pub(super) const LINKS: &str = "links";
pub(super) const PROGRAMS: &str = "programs";
pub(super) const MAPS: &str = "maps";
pub(super) const WITHOUT: &str = "without";
pub(super) const WHOLE: &str = "whole";

/// Where the objects of one layout are pinned.
#[derive(Clone, Debug)]
pub(in crate::kernel) struct Pins {
    directory: PathBuf,
}

/// A pinned link, open.
#[derive(Debug)]
pub(in crate::kernel) struct Pin {
    path: PathBuf,
    link: OwnedFd,
}

impl Pins {
    pub(super) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a map is.
    pub(in crate::kernel) fn map(&self, name: &str) -> PathBuf {
        self.directory.join(MAPS).join(name)
    }

    /// Where a program is.
    pub(in crate::kernel) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(PROGRAMS).join(name)
    }

    fn link(&self, name: &str) -> PathBuf {
        self.directory.join(LINKS).join(name)
    }

    /// Pins every map of an object, but for constants, which only its programs need.
    pub(in crate::kernel) fn pin_maps(&self, ebpf: &Ebpf) -> Result<(), PinError> {
        for (name, map) in ebpf.maps().filter(|(name, _)| is_pinned(name)) {
            let path = self.map(name);
            map.pin(&path).map_err(|error| PinError::File {
                what: "pin a map at",
                path,
                source: io::Error::other(error),
            })?;
        }
        Ok(())
    }

    /// Names and paths of the maps that are pinned.
    pub(in crate::kernel) fn maps(&self) -> Result<Vec<(String, PathBuf)>, PinError> {
        let names = names(&self.directory.join(MAPS))?;
        Ok(names.into_iter().map(|name| (name.clone(), self.map(&name))).collect())
    }

    /// Fails if a map of the object is not among the pinned ones: programs use another than the agent would read.
    pub(in crate::kernel) fn demand_maps(&self, ebpf: &Ebpf) -> Result<(), PinError> {
        let missing =
            ebpf.maps().map(|(name, _)| name).find(|name| is_pinned(name) && !self.map(name).exists());
        missing.map_or(Ok(()), |name| Err(PinError::Missing(self.map(name))))
    }

    /// Notes a feature whose programs were loaded, and could not be attached.
    pub(in crate::kernel) fn note_without(&self, feature: &str) -> Result<(), PinError> {
        let path = self.directory.join(WITHOUT).join(feature);
        fs::create_dir_all(&path).map_err(PinError::file("make the directory", path))
    }

    /// The features that were noted so.
    pub(in crate::kernel) fn without(&self) -> Result<Vec<String>, PinError> {
        names(&self.directory.join(WITHOUT))
    }

    /// Pins a program.
    pub(in crate::kernel) fn pin_program(&self, program: &mut Program, name: &str) -> Result<(), PinError> {
        let path = self.program(name);
        program.pin(&path).map_err(|error| PinError::File {
            what: "pin a program at",
            path,
            source: io::Error::other(error),
        })
    }

    /// Pins a link, which then holds its program at its hook whatever becomes of the agent.
    pub(in crate::kernel) fn pin(&self, link: FdLink, name: &str) -> Result<Pin, PinError> {
        let path = self.link(name);
        // Dropped on return: the path holds the link.
        let _pinned = link.pin(&path).map_err(|error| PinError::File {
            what: "pin a link at",
            path,
            source: io::Error::other(error),
        })?;
        self.demand(name)
    }

    /// Opens a program that must be there.
    pub(in crate::kernel) fn demand_program(&self, name: &str) -> Result<OwnedFd, PinError> {
        let path = self.program(name);
        syscall::open_pinned(&path).map_err(PinError::file("open the program pinned at", path))
    }

    /// Opens a link that must be there.
    pub(in crate::kernel) fn demand(&self, name: &str) -> Result<Pin, PinError> {
        self.find(name)?.ok_or_else(|| PinError::Missing(self.link(name)))
    }

    /// Opens a link that may be there.
    pub(in crate::kernel) fn find(&self, name: &str) -> Result<Option<Pin>, PinError> {
        Pin::open(self.link(name))
    }

    /// The names of the links that are there.
    pub(in crate::kernel) fn links(&self) -> Result<Vec<String>, PinError> {
        names(&self.directory.join(LINKS))
    }

    /// What must be there for the next agent to take it up, and stays the same while this one runs: interfaces come and go.
    pub(in crate::kernel) fn lasting(&self) -> Vec<PathBuf> {
        let of = |part: &str| {
            let directory = self.directory.join(part);
            names(&directory).unwrap_or_default().into_iter().map(move |name| directory.join(name))
        };
        let links = of(LINKS).filter(|path| !path.to_string_lossy().contains("/interface_"));
        links.chain(of(PROGRAMS)).chain(of(MAPS)).chain([self.directory.join(WHOLE)]).collect()
    }

    /// Pins a link in the place of one that is dead.
    pub(in crate::kernel) fn replace(&self, link: FdLink, name: &str) -> Result<Pin, PinError> {
        let path = self.link(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PinError::File { what: "remove", path, source: error })
            }
            _ => self.pin(link, name),
        }
    }

    /// Removes the links of this name that other layouts have, at a hook that takes one program only.
    pub(in crate::kernel) fn take_place(&self, name: &str) -> Result<(), PinError> {
        let Some(parent) = self.directory.parent() else { return Ok(()) };
        for other in names(parent)?.into_iter().filter(|name| Layout::is_name(name)) {
            let directory = parent.join(other);
            if directory != self.directory
                && let Some(pin) = Self::at(directory).find(name)?
            {
                pin.remove()?;
            }
        }
        Ok(())
    }
}

impl Pin {
    pub(super) fn open(path: PathBuf) -> Result<Option<Self>, PinError> {
        match syscall::open_pinned(&path) {
            Ok(link) => Ok(Some(Self { path, link })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PinError::File { what: "open the link pinned at", path, source }),
        }
    }

    /// The interface that the link is at; none if that has gone, or if it is at no interface.
    pub(in crate::kernel) fn interface(&self) -> Option<u32> {
        field(&self.account(), "ifindex").filter(|&index| index != 0)
    }

    /// Whether the link was at a cgroup and another process has detached it.
    pub(in crate::kernel) fn is_off_its_cgroup(&self) -> bool {
        field::<u64>(&self.account(), "cgroup_id") == Some(0)
    }

    /// The kernel's own account of it.
    fn account(&self) -> String {
        fs::read_to_string(format!("/proc/self/fdinfo/{}", self.link.as_raw_fd())).unwrap_or_default()
    }

    /// Takes the program from its hook.
    pub(in crate::kernel) fn remove(self) -> Result<(), PinError> {
        // At once, where the kernel can: else it does so some time after the last who holds the link lets go.
        let _ = syscall::detach_link(self.link.as_fd());
        fs::remove_file(&self.path).map_err(PinError::file("remove", self.path))
    }
}

/// Constants (`.rodata`) are only read by programs. A name with a dot cannot be pinned, either.
fn is_pinned(map: &str) -> bool {
    !map.starts_with('.')
}

/// The names in a directory; none if it is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, PinError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(PinError::File { what: "list", path: directory.to_owned(), source }),
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<io::Result<_>>().map_err(PinError::file("list", directory))
}
