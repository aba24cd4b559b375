//! The flags about Kubernetes.

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::settings::{ClusterAccess, ClusterSettings, PlaceLabel};

/// Flags about Kubernetes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(super) struct ClusterArgs {
    /// Whether to name pods: if the agent runs in one (auto), also as the kubeconfig says (on), or never (off)
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_KUBERNETES")]
    kubernetes: ClusterAccess,
    /// Name of this node in the cluster [default: the host's name]
    #[arg(long, value_name = "NAME", env = "TRAFFIC_PROBE_NODE_NAME", value_parser = NonEmptyStringValueParser::new())]
    node_name: Option<String>,
    /// Labels that services get in a cluster beside name and port; series that differ in no label are added up
    #[arg(
        long,
        value_enum,
        value_name = "LABEL",
        value_delimiter = ',',
        env = "TRAFFIC_PROBE_KUBERNETES_LABELS"
    )]
    #[arg(default_values_t = PlaceLabel::ALL)]
    kubernetes_labels: Vec<PlaceLabel>,
}

impl ClusterArgs {
    pub(super) fn settings(self) -> ClusterSettings {
        ClusterSettings {
            access: self.kubernetes,
            node: self.node_name.unwrap_or_else(host_name),
            labels: self.kubernetes_labels,
        }
    }
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
    fn a_node_has_its_hosts_name_unless_it_has_another() {
        assert!(!settings(&[]).node.is_empty());
        assert_eq!(settings(&["--node-name", "node-1"]).node, "node-1");
    }
}
