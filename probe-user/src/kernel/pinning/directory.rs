//! The directory that `--pin` names: who has it, and which states are in it.

use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::sys::{
    statfs::{BPF_FS_MAGIC, statfs},
    statvfs::FsFlags,
};

use super::{
    Layout, PinError,
    pins::{LINKS, MAPS, PROGRAMS, Pin, Pins, WHOLE, WITHOUT, names},
};
use crate::instance::Instance;

/// A directory on a bpffs that no other agent has while this value is there.
#[derive(Debug)]
pub struct PinDirectory {
    path: PathBuf,
    _instance: Instance,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Programs at hooks.
    pub links: usize,
    /// Programs that were at none.
    pub programs: usize,
    /// Maps.
    pub maps: usize,
}

impl PinDirectory {
    /// Makes it if it is missing, for root's eyes only, and takes possession of it.
    pub(in crate::kernel) fn make(path: &Path) -> Result<Self, PinError> {
        demand_bpffs(path)?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied if path.to_string_lossy().contains('.') => {
                PinError::Dot(path.to_owned())
            }
            _ => PinError::File { what: "make the directory", path: path.to_owned(), source: error },
        })?;
        Self::claim(path)
    }

    /// Takes possession of one that is there; none if it is not.
    pub(in crate::kernel) fn find(path: &Path) -> Result<Option<Self>, PinError> {
        if !path.try_exists().map_err(PinError::file("look for", path))? {
            return Ok(None);
        }
        demand_bpffs(path)?;
        Self::claim(path).map(Some)
    }

    fn claim(path: &Path) -> Result<Self, PinError> {
        let instance = Instance::of_directory(path).map_err(PinError::file("lock", path))??;
        Ok(Self { path: path.to_owned(), _instance: instance })
    }

    /// The state of a layout, if it is whole.
    pub(in crate::kernel) fn whole(&self, layout: &Layout) -> Option<Pins> {
        let directory = self.path.join(layout);
        directory.join(WHOLE).is_dir().then(|| Pins::at(directory))
    }

    /// Makes room for a new state of a layout. One that is there was cut short, or is damaged: it goes.
    pub(in crate::kernel) fn begin(&self, layout: &Layout) -> Result<Pins, PinError> {
        let pins = Pins::at(self.path.join(layout));
        remove_state(pins.directory(), &mut Removed::default())?;
        for part in [LINKS, PROGRAMS, MAPS] {
            make(&pins.directory().join(part))?;
        }
        Ok(pins)
    }

    /// Declares a state whole.
    pub(in crate::kernel) fn complete(pins: &Pins) -> Result<(), PinError> {
        make(&pins.directory().join(WHOLE))
    }

    /// Removes a state that did not become whole.
    pub(in crate::kernel) fn abandon(pins: &Pins) -> Result<(), PinError> {
        remove_state(pins.directory(), &mut Removed::default())
    }

    /// Whether a state of another layout is there, whole or not.
    pub(in crate::kernel) fn has_others(&self, layout: &Layout) -> Result<bool, PinError> {
        Ok(!self.others(layout)?.is_empty())
    }

    /// Removes the states of all other layouts.
    pub(in crate::kernel) fn remove_others(&self, layout: &Layout) -> Result<Removed, PinError> {
        let mut removed = Removed::default();
        for other in self.others(layout)? {
            remove_state(&other, &mut removed)?;
        }
        Ok(removed)
    }

    fn others(&self, layout: &Layout) -> Result<Vec<PathBuf>, PinError> {
        let own = layout.to_string();
        let names = names(&self.path)?.into_iter().filter(|name| Layout::is_name(name) && *name != own);
        Ok(names.map(|name| self.path.join(name)).collect())
    }

    /// Removes every state, and the directory, if nothing of anybody else's is in it.
    pub(in crate::kernel) fn remove(self) -> Result<Removed, PinError> {
        let mut removed = Removed::default();
        for name in names(&self.path)?.into_iter().filter(|name| Layout::is_name(name)) {
            remove_state(&self.path.join(name), &mut removed)?;
        }
        match fs::remove_dir(&self.path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy | io::ErrorKind::NotFound
                ) =>
            {
                Err(PinError::File { what: "remove", path: self.path, source: error })
            }
            _ => Ok(removed),
        }
    }
}

/// Removes a state. First what says that it is whole, so that one that is half removed is not taken up; then the links, so
/// that no program goes on without anybody to read what it counts.
fn remove_state(directory: &Path, removed: &mut Removed) -> Result<(), PinError> {
    remove_directory(&directory.join(WHOLE))?;
    let links = directory.join(LINKS);
    for name in names(&links)? {
        if let Some(pin) = Pin::open(links.join(name))? {
            pin.remove()?;
            removed.links += 1;
        }
    }
    for (part, count) in [(PROGRAMS, &mut removed.programs), (MAPS, &mut removed.maps)] {
        let part = directory.join(part);
        for name in names(&part)? {
            let path = part.join(name);
            fs::remove_file(&path).map_err(PinError::file("remove", path))?;
            *count += 1;
        }
        remove_directory(&part)?;
    }
    let without = directory.join(WITHOUT);
    for name in names(&without)? {
        remove_directory(&without.join(name))?;
    }
    remove_directory(&without)?;
    remove_directory(&links)?;
    remove_directory(directory)
}

fn make(directory: &Path) -> Result<(), PinError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(PinError::file("make the directory", directory))
}

/// Removes an empty directory that may be there.
fn remove_directory(directory: &Path) -> Result<(), PinError> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PinError::File { what: "remove", path: directory.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Fails unless a directory is, or would be, on a bpffs that can be written to.
fn demand_bpffs(path: &Path) -> Result<(), PinError> {
    let absolute = std::path::absolute(path).map_err(PinError::file("find", path))?;
    let place = absolute.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    let kind = statfs(place).map_err(|error| PinError::file("look at", place)(error.into()))?;
    if kind.filesystem_type() != BPF_FS_MAGIC {
        return Err(PinError::NoBpffs(path.to_owned()));
    }
    // Of the mount, that is: a volume may be read-only where the file system is not.
    if kind.flags().contains(FsFlags::ST_RDONLY) { Err(PinError::ReadOnly(path.to_owned())) } else { Ok(()) }
}

impl Removed {
    /// Whether there was nothing to remove.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { links, programs, maps } = self;
        let s = |count: &usize| if *count == 1 { "" } else { "s" };
        write!(
            formatter,
            "{links} link{} at hooks, {programs} program{} without one, {maps} map{}",
            s(links),
            s(programs),
            s(maps)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_elsewhere_is_refused_before_it_is_made() {
        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join("a").join("b");
        let error = PinDirectory::make(&path).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf bpf /sys/fs/bpf"), "{error}");
        assert!(!elsewhere.path().join("a").exists());
    }

    #[test]
    fn what_was_removed_is_told_in_words() {
        let removed = Removed { links: 1, programs: 2, maps: 16 };
        assert_eq!(removed.to_string(), "1 link at hooks, 2 programs without one, 16 maps");
        assert!(!removed.is_nothing() && Removed::default().is_nothing());
    }
}
