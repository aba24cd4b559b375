//! The flags of `traffic-probe run`, and what they mean together.

use std::{net::SocketAddr, num::NonZeroU8, path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{BoolishValueParser, NonEmptyStringValueParser, TypedValueParser},
    value_parser,
};

use super::{ClusterArgs, InstanceArgs, ListenerArgs, MetricsArgs, PeerArgs, Setting, duration, layers};
use crate::{
    export::BadEdges,
    interface_filter::InterfaceGlob,
    proxies::ProxyNetwork,
    settings::{Capacities, ErrorClass, RouteLimits, Settings, TcAttachment, TcHook, TcxOrder},
    tier::{BadTiers, Policy},
};

/// Below this, collecting would cost more than counting.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Above this, "now" means nothing any more.
const LONGEST_WINDOW: Duration = Duration::from_hours(1);

/// Flags of `traffic-probe run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// TOML file with settings: the long names of these flags, and a table [tiers]. Flags and environment override it
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TRAFFIC_PROBE_CONFIG")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub(super) config: Option<PathBuf>,
    /// Threshold of a tier, such as `high.users=500`; overrides [tiers] of the file; repeatable [default: none]
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', env = "TRAFFIC_PROBE_TIER")]
    #[arg(value_parser = layers::tier)]
    tier: Vec<toml::Table>,
    /// The table [tiers] of the file.
    #[arg(skip)]
    pub(super) tiers_of_file: toml::Table,
    /// What is set to what by whom.
    #[arg(skip)]
    pub(super) settings_shown: Vec<Setting>,
    /// Address and port of /metrics, /api/v1, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9464", env = "TRAFFIC_PROBE_LISTEN")]
    #[arg(value_parser = address)]
    listen: SocketAddr,
    /// Time between two reads of the kernel's tables (a tick)
    #[arg(long, value_name = "DURATION", default_value = "1s", env = "TRAFFIC_PROBE_INTERVAL")]
    #[arg(value_parser = duration::parse)]
    interval: Duration,
    /// Time over which rates and quantiles are computed
    #[arg(long, value_name = "DURATION", default_value = "10s", env = "TRAFFIC_PROBE_WINDOW")]
    #[arg(value_parser = duration::parse)]
    window: Duration,
    /// How long a client without a connection still counts as a user after its last request
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "TRAFFIC_PROBE_USERS_WINDOW")]
    #[arg(value_parser = duration::parse)]
    users_window: Duration,
    /// Drop services and series that have been idle for this long; 0s keeps them. Services of deleted pods may go sooner
    #[arg(long, value_name = "DURATION", default_value = "1h", env = "TRAFFIC_PROBE_IDLE_AFTER")]
    #[arg(value_parser = duration::parse)]
    idle_after: Duration,
    /// Interfaces to count, by glob; `!` excludes; repeatable [default: all]
    #[arg(long, value_name = "GLOB", value_delimiter = ',', env = "TRAFFIC_PROBE_INTERFACES")]
    interfaces: Vec<InterfaceGlob>,
    /// Interfaces whose received packets are counted by XDP: native, or generic with a warning; repeatable
    /// [default: none]
    #[arg(long, value_name = "IFACE", value_delimiter = ',', env = "TRAFFIC_PROBE_XDP")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    xdp: Vec<String>,
    /// Place in the TCX chain: at its head, before all other programs, or at its tail, to count what they let through
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_TCX_ORDER")]
    tcx_order: TcxOrder,
    /// How to attach to interfaces: TCX if the kernel has it (6.6 or later), or always filters in a clsact
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_TC_HOOK")]
    tc_hook: TcHook,
    /// Priority of our filters in a clsact; lower runs first
    #[arg(long, value_name = "N", default_value_t = 3, env = "TRAFFIC_PROBE_TC_PRIORITY")]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    tc_priority: u16,
    /// Responses that count as errors: only 5xx, or 4xx as well
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_ERRORS")]
    errors: ErrorClass,
    /// Trusted proxies: networks whose PROXY headers, X-Forwarded-For and Forwarded name the client; repeatable
    /// [default: none]
    #[arg(long, value_name = "CIDR", value_delimiter = ',', env = "TRAFFIC_PROBE_PROXIES")]
    proxies: Vec<ProxyNetwork>,
    /// Capacity of the services table
    #[arg(long, value_name = "N", default_value_t = 4096, env = "TRAFFIC_PROBE_MAX_SERVICES")]
    #[arg(value_parser = value_parser!(u32).range(2..=1 << 20), help_heading = "Capacities")]
    max_services: u32,
    /// Capacity of the latency table: one entry per histogram bucket in use of each series
    #[arg(long, value_name = "N", default_value_t = 65_536, env = "TRAFFIC_PROBE_MAX_SERIES")]
    #[arg(value_parser = value_parser!(u32).range(64..=1 << 24), help_heading = "Capacities")]
    max_series: u32,
    /// Latency entries per service; beyond that, requests count under method OTHER and the class of their status
    #[arg(long, value_name = "N", default_value_t = 8192, env = "TRAFFIC_PROBE_MAX_SERIES_PER_SERVICE")]
    #[arg(value_parser = value_parser!(u32).range(64..=1 << 24), help_heading = "Capacities")]
    max_series_per_service: u32,
    /// Capacity of the clients table, over all services; further users are estimated
    #[arg(long, value_name = "N", default_value_t = 262_144, env = "TRAFFIC_PROBE_MAX_CLIENTS")]
    #[arg(value_parser = value_parser!(u32).range(64..=1 << 26), help_heading = "Capacities")]
    max_clients: u32,
    /// Break requests down by route, a template of the path: /users/4711?a=b counts as /users/*
    #[arg(long, env = "TRAFFIC_PROBE_ROUTES", value_parser = BoolishValueParser::new())]
    routes: bool,
    /// With --routes: capacity of the routes table, over all services
    #[arg(long, value_name = "N", default_value_t = 8192, env = "TRAFFIC_PROBE_MAX_ROUTES")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 20), help_heading = "Capacities")]
    max_routes: u32,
    /// With --routes: routes per service, at most 255; further requests count under the route `other`
    #[arg(long, value_name = "N", default_value = "100", env = "TRAFFIC_PROBE_MAX_ROUTES_PER_SERVICE")]
    #[arg(value_parser = value_parser!(NonZeroU8), help_heading = "Capacities")]
    max_routes_per_service: NonZeroU8,
    #[command(flatten)]
    peers: PeerArgs,
    #[command(flatten)]
    instance: InstanceArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    listener: ListenerArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Settings that contradict each other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// Too many passes.
    #[error(
        "--interval {} is too short: each pass reads all of the kernel's tables; choose {} or more",
        duration::show(*.0), duration::show(SHORTEST_INTERVAL)
    )]
    Interval(Duration),
    /// No rate can be taken.
    #[error(
        "--window {} is shorter than --interval {}: a rate needs two passes; choose a longer window or a shorter interval",
        duration::show(*.window), duration::show(*.interval)
    )]
    Window {
        /// What was asked for.
        window: Duration,
        /// What it must not be below.
        interval: Duration,
    },
    /// Not a window any more.
    #[error("{flag} {} is too long: choose {} or less", duration::show(*.asked), duration::show(LONGEST_WINDOW))]
    TooLong {
        /// The flag.
        flag: &'static str,
        /// What was asked for.
        asked: Duration,
    },
    /// Users come and go between two passes unseen.
    #[error("--users-window 0s would count no users: choose 1s or more")]
    UsersWindow,
    /// Tiers that make no sense.
    #[error(transparent)]
    Tiers(#[from] BadTiers),
    /// Buckets that nothing can be counted in.
    #[error(transparent)]
    Buckets(#[from] BadEdges),
}

impl RunArgs {
    /// What the program needs, if the flags make sense together.
    pub fn settings(self) -> Result<Settings, BadSettings> {
        let Self { interval, window, users_window, .. } = self;
        if interval < SHORTEST_INTERVAL {
            return Err(BadSettings::Interval(interval));
        }
        if window < interval {
            return Err(BadSettings::Window { window, interval });
        }
        for (flag, asked) in [("--window", window), ("--users-window", users_window)] {
            if asked > LONGEST_WINDOW {
                return Err(BadSettings::TooLong { flag, asked });
            }
        }
        if users_window.is_zero() {
            return Err(BadSettings::UsersWindow);
        }
        let tiers = Policy::from_table(layers::tiers(&self.tiers_of_file, &self.tier))?;
        Ok(Settings {
            tiers,
            listen: self.listen,
            limits: self.listener.limits(),
            web_config: self.listener.web_config,
            metrics: self.metrics.options()?,
            interval,
            window,
            users_window,
            idle_after: (!self.idle_after.is_zero()).then_some(self.idle_after),
            interfaces: self.interfaces.into_iter().collect(),
            xdp: self.xdp,
            tc: TcAttachment { hook: self.tc_hook, order: self.tcx_order, priority: self.tc_priority },
            errors: self.errors,
            capacities: Capacities {
                services: self.max_services,
                series: self.max_series,
                series_per_service: self.max_series_per_service,
                clients: self.max_clients,
                routes: self.routes.then_some(RouteLimits {
                    total: self.max_routes,
                    per_service: self.max_routes_per_service,
                }),
                peers: self.peers.limits(),
            },
            peers: self.peers.settings(),
            proxies: self.proxies.into_iter().collect(),
            pin: self.instance.pin,
            lock: self.instance.lock,
            cluster: self.cluster.settings(),
        })
    }
}

fn address(typed: &str) -> Result<SocketAddr, String> {
    typed.parse().map_err(|_| {
        format!("`{typed}` is not an address with a port: write 127.0.0.1:9464, 0.0.0.0:9464 or [::1]:9464")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(flags: &[&str]) -> Result<Settings, BadSettings> {
        match Cli::parse_from(["traffic-probe", "run"].iter().chain(flags)).command {
            Command::Run(run) => run.settings(),
            _ => unreachable!("`run` was typed"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:9464");
        assert_eq!(settings.interval, Duration::from_secs(1));
        assert_eq!(settings.window, Duration::from_secs(10));
        assert_eq!(settings.users_window, Duration::from_mins(1));
        assert_eq!(settings.idle_after, Some(Duration::from_hours(1)));
        assert_eq!(settings.errors, ErrorClass::Server);
        let capacities = Capacities {
            services: 4096,
            series: 65_536,
            series_per_service: 8192,
            clients: 262_144,
            routes: None,
            peers: None,
        };
        assert_eq!(settings.capacities, capacities);
    }

    #[test]
    fn routes_are_counted_on_request_and_bounded() {
        let limits = |flags: &[&str]| {
            let routes = settings(flags).unwrap().capacities.routes;
            routes.map(|limits| (limits.total, limits.per_service.get()))
        };
        assert_eq!(limits(&["--max-routes", "7"]), None);
        assert_eq!(limits(&["--routes"]), Some((8192, 100)));
        assert_eq!(
            limits(&["--routes", "--max-routes", "7", "--max-routes-per-service", "255"]),
            Some((7, 255))
        );
        for refused in ["0", "256"] {
            let flags = ["traffic-probe", "run", "--max-routes-per-service", refused];
            assert!(Cli::try_parse_from(flags).is_err(), "{refused}");
        }
    }

    #[test]
    fn nothing_is_pinned_unless_asked_for() {
        assert_eq!(settings(&[]).unwrap().pin, None);
        let asked = settings(&["--pin", "/sys/fs/bpf/traffic-probe"]).unwrap().pin;
        assert_eq!(asked.as_deref(), Some(std::path::Path::new("/sys/fs/bpf/traffic-probe")));
    }

    #[test]
    fn interfaces_are_repeated_or_parted_by_commas() {
        let settings = settings(&["--interfaces", "eth*,!eth1", "--interfaces", "lo"]).unwrap();
        assert!(settings.interfaces.admits("eth0"));
        assert!(!settings.interfaces.admits("eth1"));
        assert!(settings.interfaces.admits("lo"));
        assert!(!settings.interfaces.admits("wlan0"));
    }

    #[test]
    fn no_proxy_is_trusted_unless_asked_for() {
        assert!(settings(&[]).unwrap().proxies.are_none());
        let asked = settings(&["--proxies", "10.0.0.0/8,fd00::/8", "--proxies", "192.0.2.1"]).unwrap();
        assert_eq!(asked.proxies.entries().len(), 3);
    }

    #[test]
    fn contradictions_are_sentences() {
        let sentence = |flags: &[&str]| settings(flags).unwrap_err().to_string();
        assert!(sentence(&["--interval", "10ms"]).starts_with("--interval 10ms is too short"));
        assert!(sentence(&["--interval", "2s", "--window", "1s"]).contains("shorter than --interval 2s"));
        assert!(sentence(&["--window", "2h"]).starts_with("--window 2h is too long"));
        assert!(sentence(&["--users-window", "0s"]).contains("no users"));
    }

    #[test]
    fn a_port_alone_is_no_address() {
        let error =
            Cli::try_parse_from(["traffic-probe", "run", "--listen", "9464"]).unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:9464"), "{error}");
    }
}
