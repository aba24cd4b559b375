//! A watch on objects of the API server, for as long as the agent runs.
//!
//! The API server may be gone, come back, forget where we were (410 Gone), or let our token expire: the watcher of
//! `kube` begins anew, by itself and ever more patiently, and who keeps the objects keeps what it was told. The client reads its
//! token again every minute.

use std::{fmt::Debug, time::Duration};

use backon::ExponentialBuilder;
use futures_util::StreamExt;
use kube::{
    Api, Client, Config, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, ExponentialBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::log::{self, Subject, Told};

/// How long it is left alone after the first failure; after each further one twice as long, and at random up to twice that, so
/// that the nodes of a cluster do not come back to it all at once.
const SOON: Duration = Duration::from_millis(800);
/// The longest of these times, half of the usual: pods that come meanwhile have no names.
const LATEST: Duration = Duration::from_secs(15);
/// Until all is listed again, where it told us to.
const ANEW: Duration = Duration::from_secs(1);

/// Who keeps what a watch tells.
pub(super) trait Keeper<K> {
    /// Takes an event in.
    fn take(&self, event: &Event<K>);
    /// Says that nothing is to be expected of the API server for now.
    fn conclude_without_server(&self);
    /// What is known now, in words.
    fn known(&self) -> String;
}

/// Keeps a keeper up to date on some objects; never returns.
pub(super) async fn follow<K>(
    objects: Api<K>,
    which: watcher::Config,
    subject: Subject,
    keeper: &impl Keeper<K>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // It answers, so that it is not to be left alone: not an error to those who are patient with errors.
    let events = watcher(objects, which).map(|event| match event {
        Err(error) if log::is_forgotten(&error) => Ok(Err(error)),
        event => event.map(Ok),
    });
    let patient = ExponentialBuilder::default().with_min_delay(SOON).with_max_delay(LATEST);
    let patient = ExponentialBackoff::from(patient.with_factor(2.0).with_jitter().without_max_times());
    let mut events = std::pin::pin!(events.backoff(patient));
    let mut told = Told::of(subject);
    while let Some(event) = events.next().await {
        match event {
            Ok(Ok(event)) => {
                keeper.take(&event);
                // What it has is now known.
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    told.listed(|| keeper.known());
                }
            }
            Ok(Err(forgotten)) => {
                tracing::debug!("the watch on {} restarts: {forgotten}", subject.label());
                tokio::time::sleep(ANEW).await;
            }
            Err(error) => {
                if told.failed(&error) {
                    keeper.conclude_without_server();
                }
            }
        }
    }
}

/// A client as the pod's service account, or outside of a cluster as the user's kubeconfig says.
pub(super) async fn client() -> anyhow::Result<Client> {
    let config = Config::infer().await?;
    Ok(Client::try_from(config)?)
}
