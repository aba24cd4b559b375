//! The watches on slices of endpoints and on services.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Instant,
};

use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::{
    super::{
        locked,
        log::Subject,
        watch::{self, Keeper},
    },
    endpoints::{Endpoints, Kind},
    objects::{EndpointSlice, Service, Tells},
};

/// Begins to watch.
pub(super) fn spawn(runtime: &Runtime, endpoints: &Arc<Mutex<Endpoints>>) {
    let endpoints = Arc::clone(endpoints);
    runtime.spawn(async move {
        match watch::client().await {
            Ok(client) => {
                tokio::join!(
                    follow::<EndpointSlice>(client.clone(), Kind::Slice, &endpoints),
                    follow::<Service>(client, Kind::Service, &endpoints)
                );
            }
            // The watch on pods says why.
            Err(_) => locked(&endpoints).conclude_without_server(),
        }
    });
}

async fn follow<K>(client: Client, kind: Kind, endpoints: &Mutex<Endpoints>)
where
    K: Resource<DynamicType = ()> + Tells + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let subject = match kind {
        Kind::Slice => Subject::Slices,
        Kind::Service => Subject::Services,
    };
    let all = watcher::Config::default();
    watch::follow(Api::<K>::all(client), all, subject, &OfKind { kind, endpoints }).await;
}

/// What objects of one kind tell.
struct OfKind<'a> {
    kind: Kind,
    endpoints: &'a Mutex<Endpoints>,
}

impl<K: Tells> Keeper<K> for OfKind<'_> {
    fn take(&self, event: &Event<K>) {
        let (kind, now) = (self.kind, Instant::now());
        let mut endpoints = locked(self.endpoints);
        match event {
            Event::Init => endpoints.begin_list(kind),
            Event::InitApply(object) | Event::Apply(object) => {
                endpoints.apply(&(kind, object.key()), object.addresses(), now);
            }
            Event::Delete(object) => endpoints.remove(&(kind, object.key()), now),
            Event::InitDone => endpoints.end_list(kind, now),
        }
    }

    fn conclude_without_server(&self) {
        locked(self.endpoints).conclude_without_server();
    }

    fn known(&self) -> String {
        format!("of all namespaces: {} addresses now", locked(self.endpoints).known())
    }
}
