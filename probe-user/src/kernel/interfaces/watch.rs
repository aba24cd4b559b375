//! Interfaces from which somebody has taken our programs.

use aya::Ebpf;

use super::{Attached, Interfaces, Refused, has_name};
use crate::kernel::{attachments::Attachments, features::Features, hook_watch::EVERY};

impl Interfaces {
    /// Attaches again to those from which somebody has taken our programs.
    pub(in crate::kernel) fn look_after_hooks(
        &mut self,
        ebpf: &mut Ebpf,
        features: &mut Features,
        attachments: &Attachments,
    ) {
        let is_off = |(index, attached): &(&u32, &Attached)| attached.hooks.are_off(**index, attachments);
        let off =
            self.attached.iter().filter(is_off).map(|(index, attached)| (*index, attached.name.clone()));
        // Those that have gone are still to be heard of.
        let off: Vec<_> = off.filter(|(index, name)| has_name(*index, name)).collect();
        for (index, name) in off {
            let (Some(link), Some(attached)) =
                (self.present.get(&index).cloned(), self.attached.remove(&index))
            else {
                continue;
            };
            let Attached { before, share, hooks, .. } = attached;
            // The other of the two, too: a program is at a hook once.
            hooks.detach();
            match self.attach_hooks(ebpf, features, index, &link) {
                Ok(hooks) => {
                    tracing::warn!(
                        "another process detached our programs from the interface {name}; attached again: its \
                         traffic in up to {} s before this is not counted",
                        EVERY.as_secs()
                    );
                    self.attached.insert(index, Attached { name, before, share, hooks });
                }
                Err(error) => {
                    tracing::warn!(
                        "another process detached our programs from the interface {name}, which is no longer \
                         counted: {error}"
                    );
                    self.counters.remove(index);
                    self.refused.insert(index, Refused { name, reason: error.to_string() });
                }
            }
        }
    }
}
