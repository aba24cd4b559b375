//! With whom services talk.

use super::{
    super::{names, sink::Sink},
    services::Labelled,
};
use crate::snapshot::{PeerTotals, Service};

pub(super) fn totals(sink: &mut impl Sink, services: &[Labelled<'_, Service>]) {
    type Of = fn(&PeerTotals) -> f64;
    let counters: [(_, Of); 4] = [
        (&names::PEER_REQUESTS, |totals| totals.requests as f64),
        (&names::PEER_ERRORS, |totals| totals.errors as f64),
        (&names::PEER_DURATION, |totals| totals.duration.as_secs_f64()),
        (&names::PEER_CONNECTIONS, |totals| totals.connections as f64),
    ];
    for (metric, of) in counters {
        let mut family = sink.family(metric);
        for (identity, service) in services {
            let [name, port, role] = identity.labels();
            for (peer, totals) in &service.peers {
                let [peer, namespace, pod, service] = peer.labels();
                let labels = [name, port, role, peer, namespace, pod, service];
                family.add_at(identity.place, &labels, of(totals));
            }
        }
    }
}
