//! Looking, now and then, whether what was attached and pinned still is: others may take it away, by mistake or not, and then nothing
//! is counted where everything seems well.

use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{Probe, attach, attachments::Attachments, pinning::Pins};
use crate::{causes::with_causes, condition::Condition, feature::Feature};

/// How often. Each time every descriptor's account is read, some ten microseconds each.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// What is looked after.
pub(super) struct HookWatch {
    due: Instant,
    cgroup: PathBuf,
    /// Whether what was taken away from sockets could be attached again.
    sockets: Condition,
    /// What was pinned at the start, if anything was.
    pins: Option<(Pins, Vec<PathBuf>)>,
}

impl HookWatch {
    pub(super) fn begin(cgroup: PathBuf, pins: Option<&Pins>) -> Self {
        let pins = pins.map(|pins| (pins.clone(), pins.lasting()));
        Self { due: Instant::now() + EVERY, cgroup, sockets: Condition::lasting(Duration::ZERO), pins }
    }
}

impl Probe {
    /// Looks, when it is time to, and attaches again what somebody has taken away.
    pub(super) fn look_after_hooks(&mut self) {
        let now = Instant::now();
        let Some(watch) = self.watch.as_mut().filter(|watch| now >= watch.due) else { return };
        watch.due = now + EVERY;
        self.look_after_pins();
        let Some(attachments) = Attachments::look() else { return };
        self.look_after_sockets(&attachments, now);
        if let Some(interfaces) = &mut self.interfaces {
            interfaces.look_after_hooks(&mut self.ebpf, &mut self.features, &attachments);
        }
    }

    fn look_after_sockets(&mut self, attachments: &Attachments, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        let lost: Vec<_> =
            (0..self.sockets.len()).filter(|at| self.sockets[*at].is_off(attachments)).collect();
        if lost.is_empty() {
            return;
        }
        let names: Vec<_> = lost.iter().map(|at| format!("`{}`", self.sockets[*at].name())).collect();
        let names = names.join(", ");
        let pins = watch.pins.as_ref().map(|(pins, _)| pins);
        let again = File::open(&watch.cgroup).map_err(|error| error.to_string()).and_then(|root| {
            for at in lost {
                let name = self.sockets[at].name();
                let link =
                    attach::again(&mut self.ebpf, name, &root, pins).map_err(|error| with_causes(&error))?;
                self.sockets[at] = link;
            }
            Ok(())
        });
        match again {
            Ok(()) => {
                _ = watch.sockets.holds(now);
                tracing::warn!(
                    "another process detached {names} from the cgroup2 hierarchy; attached again: traffic of \
                     services in up to {} s before this is not counted",
                    EVERY.as_secs()
                );
            }
            Err(error) if watch.sockets.fails(now) => tracing::error!(
                "another process detached {names} from the cgroup2 hierarchy, and attaching again failed ({error}): \
                 services are counted partly or not at all; restart the agent"
            ),
            Err(_) => {}
        }
    }

    /// Loses the feature where something that was pinned is not there any more.
    pub(super) fn look_after_pins(&mut self) {
        let Some((_, lasting)) = self.watch.as_ref().and_then(|watch| watch.pins.as_ref()) else { return };
        if let Some(gone) = lasting.iter().find(|path| !path.exists()) {
            let why = format!("{} was deleted while the agent ran", gone.display());
            self.features.lose(Feature::Pin, why);
        }
    }

    /// Ends it. Whether everything that is pinned stays in the kernel and goes on counting; if some of it was deleted, the rest
    /// goes as well, since the next agent could not take it up.
    #[must_use]
    pub fn end(mut self) -> bool {
        self.look_after_pins();
        let is_pinned = self.is_pinned();
        let directory = self.directory.take();
        // Before what is left is removed: nothing is in use then.
        drop(self);
        if let Some(directory) = directory.filter(|_| !is_pinned) {
            match directory.remove() {
                Ok(removed) if removed.is_nothing() => {}
                Ok(removed) => tracing::info!("removed remains of the pinned state: {removed}"),
                Err(error) => tracing::warn!(
                    "cannot remove remains of the pinned state, which keeps counting: \
                     {error}"
                ),
            }
        }
        is_pinned
    }
}
