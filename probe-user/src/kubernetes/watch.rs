//! The watch on the pods of this node, for as long as the agent runs.
//!
//! The API server may be gone, come back, forget where we were (410 Gone), or let our token expire: the watcher of
//! `kube` begins anew, by itself and ever more patiently, and the directory keeps what it was told. The client reads its
//! token again every minute.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::StreamExt;
use kube::{
    Api, Client, Config,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::{
    directory::Directory,
    log::{Subject, Told},
    pod::Pod,
};

/// Keeps the directory up to date; returns only where there is no way to an API server.
pub(super) async fn follow(node: String, directory: Arc<Mutex<Directory>>) {
    let locked = || directory.lock().unwrap_or_else(PoisonError::into_inner);
    let client = match client().await {
        Ok(client) => client,
        Err(error) => {
            locked().conclude_without_server();
            return super::log::without_server(&error);
        }
    };
    let pods: Api<Pod> = Api::all(client);
    let of_this_node = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let mut events = std::pin::pin!(watcher(pods, of_this_node).default_backoff());
    let mut told = Told::of(Subject::Pods);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if take(&mut locked(), &event) {
                    told.listed(format_args!("on {node}: {} now", locked().pods()));
                }
            }
            Err(error) => {
                if told.failed(&error) {
                    locked().conclude_without_server();
                }
            }
        }
    }
}

/// Takes an event into the directory; true if what the API server has is now known.
fn take(directory: &mut Directory, event: &Event<Pod>) -> bool {
    match event {
        Event::Init => directory.begin_list(),
        Event::InitApply(pod) | Event::Apply(pod) => directory.apply(pod),
        Event::Delete(pod) => directory.remove(pod, Instant::now()),
        Event::InitDone => directory.end_list(Instant::now()),
    }
    !matches!(event, Event::Init | Event::InitApply(_))
}

/// A client as the pod's service account, or outside of a cluster as the user's kubeconfig says.
pub(super) async fn client() -> anyhow::Result<Client> {
    let config = Config::infer().await?;
    Ok(Client::try_from(config)?)
}
