//! What the agent needs to know to run, after flags and environment have been read and checked: see [`crate::cli`].

use std::{fmt, net::SocketAddr, num::NonZeroU8, path::PathBuf, time::Duration};

use crate::{
    export::Options, interface_filter::InterfaceFilter, peer_networks::PeerNetworks, proxies::Proxies,
    server::Limits, tier::Policy,
};

/// The settings of the agent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where `/metrics` is served.
    pub listen: SocketAddr,
    /// What clients may ask of it.
    pub limits: Limits,
    /// The file that says how to serve TLS and whom to admit.
    pub web_config: Option<PathBuf>,
    /// What metrics look like there.
    pub metrics: Options,
    /// Time between two passes over the kernel's tables.
    pub interval: Duration,
    /// Time over which rates and quantiles are taken.
    pub window: Duration,
    /// For how long after its last request a client counts as a user.
    pub users_window: Duration,
    /// After which time services to which nothing happens leave the kernel's tables; none if they stay.
    pub idle_after: Option<Duration>,
    /// Which interfaces are counted.
    pub interfaces: InterfaceFilter,
    /// Interfaces whose ingress is counted by XDP rather than TC.
    pub xdp: Vec<String>,
    /// How programs are attached to the queues of interfaces.
    pub tc: TcAttachment,
    /// Which answers count as failed.
    pub errors: ErrorClass,
    /// After which thresholds services are low, normal and high.
    pub tiers: Policy,
    /// Sizes of the kernel's tables.
    pub capacities: Capacities,
    /// What peers are called, where they are counted.
    pub peers: PeerSettings,
    /// Trusted proxies, which name the client.
    pub proxies: Proxies,
    /// Where programs and maps are pinned, to outlive the agent; if at all.
    pub pin: Option<PathBuf>,
    /// Directory whose lock keeps a second agent away.
    pub lock: PathBuf,
    /// How pods are named, if this is a node of a Kubernetes cluster.
    pub cluster: ClusterSettings,
}

/// How programs are attached to the queues of interfaces, where others may have theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcAttachment {
    /// By which of the kernel's two ways.
    pub hook: TcHook,
    /// Where among those that TCX has.
    pub order: TcxOrder,
    /// The priority among the filters of a `clsact`: the lowest number goes first.
    pub priority: u16,
}

/// The kernel's ways to attach a program to an interface's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum TcHook {
    /// TCX, and where the kernel has none (before 6.6), `clsact`.
    #[default]
    Auto,
    /// A filter in a `clsact` queueing discipline, by netlink.
    Clsact,
}

/// Where a program goes among those that are attached by TCX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum TcxOrder {
    /// Before all others: it sees what they drop or redirect.
    #[default]
    Head,
    /// Behind all others: it sees what they leave.
    Tail,
}

/// How many entries the kernel's tables are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capacities {
    /// Services; what comes after is counted under `other`.
    pub services: u32,
    /// Latency entries: a bucket of a series each.
    pub series: u32,
    /// Latency entries that one service may have.
    pub series_per_service: u32,
    /// Clients that are told apart, over all services.
    pub clients: u32,
    /// Routes; none if they are not counted.
    pub routes: Option<RouteLimits>,
    /// Peers; none if they are not counted.
    pub peers: Option<PeerLimits>,
}

/// What peers are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// Networks whose addresses are one peer.
    pub networks: PeerNetworks,
    /// Which labels they have.
    pub labels: Vec<PeerLabel>,
    /// Who tells of addresses of the cluster; nobody unless asked for.
    pub source: Option<PeerSource>,
}

/// A label of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PeerLabel {
    /// Its address, or its network's name.
    Address,
    /// The namespace of its pod or service.
    Namespace,
    /// Its pod.
    Pod,
    /// Its service.
    Service,
}

impl PeerLabel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Address, Self::Namespace, Self::Pod, Self::Service];
}

/// Who tells whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PeerSource {
    /// The API server, of `EndpointSlices` and Services of all namespaces.
    #[value(name = "endpointslices")]
    EndpointSlices,
}

/// How many peers are told apart; those beyond are counted under the peer `other` of their service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerLimits {
    /// Over all services.
    pub total: u32,
    /// Of a service: the clients of one cannot take the room of another.
    pub per_service: u32,
}

/// How many routes are told apart; requests beyond are counted under the route `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteLimits {
    /// Over all services.
    pub total: u32,
    /// Of a service: no client of one can take the room of another.
    pub per_service: NonZeroU8,
}

/// Which statuses make a request a failed one. Requests without an answer always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ErrorClass {
    /// The server's errors only.
    #[default]
    #[value(name = "5xx")]
    Server,
    /// The server's errors and those that it blames on the client.
    #[value(name = "4xx")]
    ServerAndClient,
}

/// How pods are named on Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Whether this is a node of a cluster.
    pub access: ClusterAccess,
    /// The node's name, as the API server has it.
    pub node: String,
    /// The identity labels that services get beside name and port.
    pub labels: Vec<PlaceLabel>,
    /// The `DaemonSet` that runs the agent, without which nothing stays pinned.
    pub owner: Option<OwnerName>,
}

impl ClusterSettings {
    /// Whether the API server is found by a kubeconfig, as outside of a pod.
    #[must_use]
    pub fn reads_kubeconfig(&self) -> bool {
        self.access == ClusterAccess::On && !in_pod()
    }
}

/// Whether this runs in a pod: the kubelet gives every container the API server's address.
#[must_use]
pub fn in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// A `DaemonSet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whether to look for a Kubernetes cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ClusterAccess {
    /// If the agent runs in a pod.
    #[default]
    Auto,
    /// Yes: in a pod as its service account, elsewhere as the kubeconfig says.
    On,
    /// No.
    Off,
}

/// An identity label that services have on Kubernetes: see [`crate::place::Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PlaceLabel {
    /// The pod's namespace.
    Namespace,
    /// What the pod belongs to.
    Workload,
    /// The pod.
    Pod,
    /// The container.
    Container,
    /// The node.
    Node,
}

impl PlaceLabel {
    /// All of them, in the order of [`crate::place::Place::LABELS`].
    pub const ALL: [Self; 5] = [Self::Namespace, Self::Workload, Self::Pod, Self::Container, Self::Node];
}
