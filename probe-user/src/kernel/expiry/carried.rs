//! What was counted under indices that have been given back, of services that live on under another: the counters that are
//! shown of them may not go down.

use std::collections::{BTreeMap, HashMap};

use crate::snapshot::{InFlight, Service, ServiceId};

/// By who they are.
#[derive(Debug, Default)]
pub(super) struct Carried {
    services: BTreeMap<ServiceId, Service>,
}

impl Carried {
    /// What a service begins with, before what the kernel has of it is added.
    pub(super) fn begin(&self, id: &ServiceId) -> Service {
        self.services.get(id).cloned().unwrap_or_default()
    }

    /// What a service has, for more to be added.
    pub(super) fn of(&mut self, id: &ServiceId) -> &mut Service {
        self.services.entry(id.clone()).or_default()
    }

    /// Nothing that is open, waits or is heard is carried: it was not there, or the index could not have been given back.
    pub(super) fn settle(&mut self, id: &ServiceId) {
        if let Some(service) = self.services.get_mut(id) {
            service.connections.open = 0;
            service.in_flight.values_mut().for_each(|waiting| *waiting = InFlight::default());
        }
    }

    /// Forgets services of which nothing is left in the kernel, and of the others the series of which nothing is: they have
    /// been idle for as long, and begin at zero if they come back.
    pub(super) fn forget_gone(
        &mut self,
        names: &HashMap<u32, ServiceId>,
        services: &mut BTreeMap<ServiceId, Service>,
    ) {
        if self.services.is_empty() {
            return;
        }
        self.services.retain(|id, _| names.values().any(|name| name == id));
        for (id, carried) in &mut self.services {
            let Some(service) = services.get_mut(id) else { continue };
            carried.requests.retain(|kind, before| {
                let lives = service.requests.get(kind).is_some_and(|now| now.count > before.count);
                if !lives {
                    service.requests.remove(kind);
                }
                lives
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{
        interface::Transport,
        protocol::{Method, Protocol},
        service::Role,
    };

    use super::*;
    use crate::snapshot::RequestKind;

    fn kind(status: u16) -> RequestKind {
        RequestKind { protocol: Protocol::Http1, method: Method::Get, status, route: None }
    }

    #[test]
    fn only_series_that_live_on_are_carried() {
        let id = ServiceId {
            service: "nginx".into(),
            port: 80,
            role: Role::Server,
            transport: Transport::Tcp,
            place: None,
        };
        let mut carried = Carried::default();
        for status in [200, 404] {
            carried.of(&id).requests.entry(kind(status)).or_default().add(80, 10, 100);
        }
        carried.of(&id).connections.open = 1;
        carried.settle(&id);
        let mut service = carried.begin(&id);
        assert_eq!(service.connections.open, 0);
        service.requests.entry(kind(200)).or_default().add(80, 1, 10);
        let mut services = BTreeMap::from([(id.clone(), service)]);
        carried.forget_gone(&HashMap::from([(1, id.clone())]), &mut services);
        assert_eq!(services[&id].requests.keys().collect::<Vec<_>>(), [&kind(200)]);
        assert_eq!(services[&id].requests[&kind(200)].count, 11, "it goes on from where it was");
        carried.forget_gone(&HashMap::new(), &mut services);
        assert_eq!(carried.begin(&id), Service::default());
    }
}
