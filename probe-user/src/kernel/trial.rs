//! What [`Probe::start`](super::Probe::start) would come to: its own functions, in a network namespace, a cgroup and a pinned state
//! that are made for it and go with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process, thread,
};

use nix::sched::{CloneFlags, unshare};

use super::{
    Features, Networks, Probe, StartError, interfaces, load, pin_directory,
    pinning::{Layout, PinDirectory},
    place_at_fault,
};
use crate::{feature::Feature, settings::Settings};

/// What was tried.
#[derive(Debug)]
pub struct Trial {
    /// What would be in force, and what would be missing.
    pub features: Features,
    /// What was not tried, and why not.
    pub untried: Vec<String>,
}

impl Trial {
    /// Tries what `run` would do.
    ///
    /// # Errors
    /// What `run` would end with.
    pub fn of(settings: &Settings, cgroup: &Path) -> Result<Self, StartError> {
        interfaces::demand_requested(settings)?;
        let features = Features::wanted(settings);
        let trying = || {
            let mut trial = Self { features: features.clone(), untried: Vec::new() };
            let elsewhere = trial.settings_elsewhere(settings);
            trial.run(&elsewhere, cgroup).map(|()| trial)
        };
        // A thread of its own, since it does not come back into its namespace.
        thread::scope(|scope| scope.spawn(trying).join().unwrap_or(Err(StartError::Failed)))
    }

    /// Goes into a network namespace whose only interface is attached to; or attaches to none of this one's.
    fn settings_elsewhere(&mut self, settings: &Settings) -> Settings {
        let mut elsewhere = Settings { xdp: Vec::new(), ..settings.clone() };
        if self.features.has(Feature::Xdp) {
            self.untried.push(
                "the drivers of the interfaces that --xdp names: to attach to one may interrupt its traffic"
                    .to_owned(),
            );
        }
        match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => elsewhere.interfaces = [].into_iter().collect(),
            Err(error) => {
                self.untried.push(format!(
                    "interfaces: a network namespace of its own takes CAP_SYS_ADMIN ({})",
                    io::Error::from(error)
                ));
                elsewhere.interfaces = "!*".parse().into_iter().collect();
            }
        }
        elsewhere
    }

    fn run(&mut self, settings: &Settings, cgroup: &Path) -> Result<(), StartError> {
        let _made = settings.pin.as_deref().map(MadeDirectories::on_the_way_to);
        if let Some(directory) = pin_directory(settings, &mut self.features)? {
            match self.attach(settings, cgroup, Some(&directory)) {
                Ok(()) => return Ok(()),
                Err(error) => self.features.lose(Feature::Pin, place_at_fault(error)?),
            }
        }
        self.attach(settings, cgroup, None)
    }

    fn attach(
        &mut self,
        settings: &Settings,
        cgroup: &Path,
        directory: Option<&PinDirectory>,
    ) -> Result<(), StartError> {
        let own = OwnCgroup::below(cgroup);
        if let Err(error) = &own {
            self.untried.push(format!(
                "attaching to sockets: no cgroup of its own can be made below {}: {error}",
                cgroup.display()
            ));
        }
        let own = own.ok();
        loop {
            let features = &mut self.features;
            let ebpf = load(features, settings.capacities, Networks::of(settings))?;
            let pins = directory.map(|directory| directory.begin(&Layout::for_trial())).transpose()?;
            let attached =
                Probe::attach(ebpf, settings, features, own.as_ref().map(OwnCgroup::path), pins.as_ref());
            // What is pinned goes first, then what holds it.
            let abandoned = pins.as_ref().map_or(Ok(()), PinDirectory::abandon);
            match attached {
                Err(StartError::Without { feature, why })
                    if features.has(feature) && feature != Feature::Pin =>
                {
                    features.lose(feature, why);
                }
                attached => {
                    drop(attached?);
                    return Ok(abandoned?);
                }
            }
        }
    }
}

/// A cgroup in which there is nobody, removed when dropped.
struct OwnCgroup(PathBuf);

impl OwnCgroup {
    fn below(root: &Path) -> io::Result<Self> {
        let path = root.join(format!("traffic-probe-check-{}", process::id()));
        fs::create_dir(&path).map(|()| Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::warn!("cannot remove the cgroup {}: {error}", self.0.display());
        }
    }
}

/// Directories that are not there yet, removed when dropped unless somebody has put something into them.
struct MadeDirectories(Vec<PathBuf>);

impl MadeDirectories {
    fn on_the_way_to(path: &Path) -> Self {
        Self(path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect())
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        for directory in &self.0 {
            let _ = fs::remove_dir(directory);
        }
    }
}
