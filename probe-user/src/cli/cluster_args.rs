//! The flags about Kubernetes.

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::settings::{ClusterAccess, ClusterSettings, OwnerName, PlaceLabel};

/// Flags about Kubernetes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(super) struct ClusterArgs {
    /// Name pods and workloads: if the agent runs in a pod (auto), also by kubeconfig (on), or never (off)
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_KUBERNETES")]
    kubernetes: ClusterAccess,
    /// Name of this node in the cluster [default: the host's name]
    #[arg(long, value_name = "NAME", env = "TRAFFIC_PROBE_NODE_NAME", value_parser = NonEmptyStringValueParser::new())]
    node_name: Option<String>,
    /// Labels of services in a cluster, beside name and port; series with equal labels are added up
    #[arg(
        long,
        value_enum,
        value_name = "LABEL",
        value_delimiter = ',',
        env = "TRAFFIC_PROBE_KUBERNETES_LABELS"
    )]
    #[arg(default_values_t = PlaceLabel::ALL)]
    kubernetes_labels: Vec<PlaceLabel>,
    /// The agent's own daemon set: once it is deleted, the agent removes its pinned state on exit [default: none]
    #[arg(long, value_name = "NAMESPACE/NAME", env = "TRAFFIC_PROBE_PIN_OWNER", value_parser = owner)]
    pin_owner: Option<OwnerName>,
}

impl ClusterArgs {
    pub(super) fn settings(self) -> ClusterSettings {
        ClusterSettings {
            access: self.kubernetes,
            node: self.node_name.unwrap_or_else(host_name),
            labels: self.kubernetes_labels,
            owner: self.pin_owner,
        }
    }
}

fn owner(typed: &str) -> Result<OwnerName, String> {
    let (namespace, name) = typed
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| format!("`{typed}` names no DaemonSet: write its namespace, a slash, and its name"))?;
    Ok(OwnerName { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// The host's name, in lower case as names of nodes are.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        cluster: ClusterArgs,
    }

    fn settings(flags: &[&str]) -> ClusterSettings {
        Typed::parse_from(["run"].iter().chain(flags)).cluster.settings()
    }

    #[test]
    fn all_labels_are_given_unless_some_are_chosen() {
        assert_eq!(settings(&[]).labels, PlaceLabel::ALL);
        let chosen = settings(&["--kubernetes-labels", "namespace,workload"]).labels;
        assert_eq!(chosen, [PlaceLabel::Namespace, PlaceLabel::Workload]);
    }

    #[test]
    fn an_owner_has_a_namespace_and_a_name() {
        let owner = settings(&["--pin-owner", "probes/traffic-probe"]).owner.unwrap();
        assert_eq!((owner.namespace.as_str(), owner.name.as_str()), ("probes", "traffic-probe"));
        for refused in ["traffic-probe", "/x", "x/", "a/b/c"] {
            assert!(super::owner(refused).unwrap_err().contains("names no DaemonSet"), "{refused}");
        }
    }

    #[test]
    fn a_node_has_its_hosts_name_unless_it_has_another() {
        assert!(!settings(&[]).node.is_empty());
        assert_eq!(settings(&["--node-name", "node-1"]).node, "node-1");
    }
}
