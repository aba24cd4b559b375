//! What a pod belongs to, told by the pod alone, so that no right is needed to read anything else.
//!
//! The owner of a Deployment's pod is a `ReplicaSet`, that of a `CronJob`'s a Job. Both bear the name of what they belong to,
//! followed by a part that can be told for certain: a `ReplicaSet`'s is the hash of the template, with which the
//! Deployment labels its pods; a Job's is the minute that it was due at, not long before the pod was made.

use kube::core::ObjectMeta;

/// The labels that say which part of a `ReplicaSet`'s name is the hash: a Deployment's, and that of Argo's Rollout.
const TEMPLATE_HASHES: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];

/// How long after it was due a pod of a `CronJob` may still be made, since Jobs try again: in minutes.
const LATEST: i64 = 31 * 24 * 60;

/// The name of what a pod belongs to; its own, if it belongs to nothing.
pub(super) fn of(metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) else {
        return name.to_owned();
    };
    let behind = match owner.kind.as_str() {
        "ReplicaSet" => deployment(&owner.name, metadata),
        "Job" => cron_job(&owner.name, metadata),
        // A static pod has the name of its file, and that of the node behind it.
        "Node" => name.strip_suffix(&owner.name).and_then(|name| name.strip_suffix('-')),
        _ => None,
    };
    match (behind, owner.kind.as_str()) {
        (Some(behind), _) => behind.to_owned(),
        (None, "Node") => name.to_owned(),
        (None, _) => owner.name.clone(),
    }
}

/// The Deployment behind a `ReplicaSet`.
fn deployment<'a>(replica_set: &'a str, metadata: &ObjectMeta) -> Option<&'a str> {
    let labels = metadata.labels.as_ref()?;
    TEMPLATE_HASHES.iter().find_map(|label| {
        let name = replica_set.strip_suffix(labels.get(*label)?.as_str())?.strip_suffix('-')?;
        (!name.is_empty()).then_some(name)
    })
}

/// The `CronJob` behind a Job.
fn cron_job<'a>(job: &'a str, metadata: &ObjectMeta) -> Option<&'a str> {
    let (name, minute) = job.rsplit_once('-')?;
    let due: i64 = minute.parse().ok()?;
    let made = metadata.creation_timestamp.as_ref()?.0.as_second() / 60;
    (!name.is_empty() && (made - LATEST..=made).contains(&due)).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(kind: &str, owner: &str, labels: &serde_json::Value) -> String {
        let metadata = json!({
            "name": "web-6d9f-x7k2p",
            "labels": labels,
            "creationTimestamp": "2026-11-24T14:00:07Z",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "not-it", "uid": "1"},
                {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "2", "controller": true},
            ],
        });
        of(&serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn a_deployment_is_behind_its_replica_set() {
        assert_eq!(workload("ReplicaSet", "web-6d9f", &json!({"pod-template-hash": "6d9f"})), "web");
        assert_eq!(workload("ReplicaSet", "web-6d9f", &json!({"rollouts-pod-template-hash": "6d9f"})), "web");
        assert_eq!(workload("ReplicaSet", "web-6d9f", &json!({})), "web-6d9f", "made by hand");
        assert_eq!(workload("ReplicaSet", "web-6d9f", &json!({"pod-template-hash": "1111"})), "web-6d9f");
        assert_eq!(workload("ReplicaSet", "-6d9f", &json!({"pod-template-hash": "6d9f"})), "-6d9f");
    }

    #[test]
    fn a_cron_job_is_behind_its_job() {
        let minute = 1_795_528_800 / 60;
        assert_eq!(workload("Job", &format!("backup-{minute}"), &json!({})), "backup");
        assert_eq!(workload("Job", &format!("backup-{}", minute - 60), &json!({})), "backup", "tried again");
        assert_eq!(
            workload("Job", &format!("backup-{}", minute + 60), &json!({})),
            format!("backup-{}", minute + 60)
        );
        assert_eq!(workload("Job", "backup-20261124", &json!({})), "backup-20261124", "a date is no minute");
        assert_eq!(workload("Job", "backup", &json!({})), "backup");
    }

    #[test]
    fn other_owners_are_the_workload_themselves() {
        assert_eq!(workload("StatefulSet", "db", &json!({})), "db");
        assert_eq!(workload("DaemonSet", "agent", &json!({})), "agent");
        assert_eq!(workload("SparkApplication", "job-1", &json!({})), "job-1");
    }

    #[test]
    fn a_pod_of_nobody_is_its_own_workload() {
        let bare = json!({"name": "debug"});
        assert_eq!(of(&serde_json::from_value(bare).unwrap()), "debug");
        let of_a_file = json!({
            "name": "etcd-node-1",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "2", "controller": true}],
        });
        assert_eq!(of(&serde_json::from_value(of_a_file).unwrap()), "etcd");
    }
}
