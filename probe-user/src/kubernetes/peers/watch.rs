//! The watches on slices of endpoints and on services, for as long as the agent runs: see [`crate::kubernetes::watch`].

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Instant,
};

use futures_util::StreamExt;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::{
    super::{
        log::{Subject, Told},
        watch::client,
    },
    endpoints::{Endpoints, Kind},
    locked,
    objects::{EndpointSlice, Service, Tells},
};

/// Begins to watch.
pub(super) fn spawn(runtime: &Runtime, endpoints: &Arc<Mutex<Endpoints>>) {
    let endpoints = Arc::clone(endpoints);
    runtime.spawn(async move {
        match client().await {
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
    let objects: Api<K> = Api::all(client);
    let mut events = std::pin::pin!(watcher(objects, watcher::Config::default()).default_backoff());
    let mut told = Told::of(match kind {
        Kind::Slice => Subject::Slices,
        Kind::Service => Subject::Services,
    });
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let mut endpoints = locked(endpoints);
                if take(&mut endpoints, kind, &event) {
                    told.listed(format_args!("of all namespaces: {} addresses now", endpoints.known()));
                }
            }
            Err(error) => {
                if told.failed(&error) {
                    locked(endpoints).conclude_without_server();
                }
            }
        }
    }
}

/// Takes an event in; true if what the API server has is now known.
fn take<K: Tells>(endpoints: &mut Endpoints, kind: Kind, event: &Event<K>) -> bool {
    let now = Instant::now();
    match event {
        Event::Init => endpoints.begin_list(kind),
        Event::InitApply(object) | Event::Apply(object) => {
            endpoints.apply(&(kind, object.key()), object.addresses(), now);
        }
        Event::Delete(object) => endpoints.remove(&(kind, object.key()), now),
        Event::InitDone => endpoints.end_list(kind, now),
    }
    !matches!(event, Event::Init | Event::InitApply(_))
}
