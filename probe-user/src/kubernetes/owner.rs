//! The `DaemonSet` that runs the agent: an agent that ends since it was uninstalled leaves nothing pinned, one that makes way
//! for another leaves all.
//!
//! Both end by the same signal. So the API server is asked whether the `DaemonSet` is still there. With it go, in the same
//! moment, the service account and its rights: an answer that refuses us now, where it did not at the start, says the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{
    Api,
    core::{ObjectMeta, PartialObjectMeta},
};
use tokio::runtime::Runtime;

use super::watch;
use crate::settings::OwnerName;

/// Who ends us gives us thirty seconds, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// The `DaemonSet`, as the API server has it.
#[derive(Debug)]
pub struct Owner {
    name: OwnerName,
    /// Whether it was there once, and we could see it.
    was_seen: Arc<AtomicBool>,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// It is there.
    There,
    /// It is not, or is about to go.
    Gone,
    /// We may not see it.
    Refused,
    /// Nobody answers.
    Unknown,
}

impl Owner {
    /// Looks at it once, in the background.
    #[must_use]
    pub fn find(name: &OwnerName, runtime: &Runtime) -> Self {
        let owner = Self { name: name.clone(), was_seen: Arc::default() };
        let (name, was_seen) = (owner.name.clone(), Arc::clone(&owner.was_seen));
        runtime.spawn(async move {
            match look(&name).await {
                Sight::There => was_seen.store(true, Ordering::Relaxed),
                sight => tracing::warn!(
                    "cannot read the DaemonSet {name} ({sight:?}): if it is uninstalled, the pinned state stays \
                     until `traffic-probe detach`; allow the service account to get it"
                ),
            }
        });
        owner
    }

    /// Whether it is there no more.
    #[must_use]
    pub fn is_gone(&self, runtime: &Runtime) -> bool {
        let look = async { tokio::time::timeout(PATIENCE, look(&self.name)).await };
        let sight = runtime.block_on(look).unwrap_or(Sight::Unknown);
        concluded(sight, self.was_seen.load(Ordering::Relaxed))
    }
}

/// Whether what is seen now, after it was seen or not at the start, says that it is gone.
fn concluded(sight: Sight, was_seen: bool) -> bool {
    match sight {
        Sight::Gone => true,
        Sight::Refused => was_seen,
        Sight::There | Sight::Unknown => false,
    }
}

async fn look(name: &OwnerName) -> Sight {
    let Ok(client) = watch::client().await else { return Sight::Unknown };
    let sets: Api<PartialObjectMeta<DaemonSet>> = Api::namespaced(client, &name.namespace);
    match sets.get_opt(&name.name).await {
        Ok(found) => of_metadata(found.as_ref().map(|set| &set.metadata)),
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => Sight::Refused,
        Err(error) => {
            tracing::debug!("cannot request the DaemonSet {name}: {error}");
            Sight::Unknown
        }
    }
}

fn of_metadata(found: Option<&ObjectMeta>) -> Sight {
    match found {
        Some(metadata) if metadata.deletion_timestamp.is_none() => Sight::There,
        _ => Sight::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_so_means_that_it_is_gone() {
        assert!(concluded(Sight::Gone, false));
        assert!(concluded(Sight::Refused, true), "its rights went with it");
        assert!(!concluded(Sight::Refused, false), "it never had any");
        assert!(!concluded(Sight::Unknown, true), "the API server may be away");
        assert!(!concluded(Sight::There, true));
    }

    #[test]
    fn what_is_being_deleted_is_gone() {
        let metadata = |text| serde_json::from_str::<ObjectMeta>(text).unwrap();
        assert_eq!(of_metadata(None), Sight::Gone);
        assert_eq!(of_metadata(Some(&metadata(r#"{"name":"x"}"#))), Sight::There);
        let going = r#"{"name":"x","deletionTimestamp":"2026-11-24T14:00:07Z"}"#;
        assert_eq!(of_metadata(Some(&metadata(going))), Sight::Gone);
    }
}
