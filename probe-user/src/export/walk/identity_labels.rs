//! The labels that say whose a series is.

use probe_common::{interface::Transport, service::Role};

use crate::{place::Place, snapshot::ServiceId};

/// The values of the labels that say whose a series is.
pub(super) struct IdentityLabels<'a> {
    pub(super) service: &'a str,
    pub(super) port: String,
    pub(super) role: Role,
    pub(super) transport: Transport,
    /// Where it runs, if in a cluster.
    pub(super) place: Option<&'a Place>,
}

impl<'a> IdentityLabels<'a> {
    pub(super) fn new(id: &'a ServiceId) -> Self {
        Self {
            service: id.name(),
            port: id.port.to_string(),
            role: id.role,
            transport: id.transport,
            place: id.place(),
        }
    }

    pub(super) fn labels(&self) -> [&str; 3] {
        [self.service, &self.port, self.role.label()]
    }

    /// Of TCP's series the label is empty, and so left out: they are the many, and were there first.
    pub(super) const fn transport(&self) -> &'static str {
        if matches!(self.transport, Transport::Udp) { Transport::Udp.label() } else { "" }
    }
}
