//! What the probe can do without: the one table of names, of what each takes, what is lost without it, and how to mend that.
//!
//! A feature is found out by trying it, never by a kernel's version alone (`kernel::Features`). The log, `traffic-probe check`, the
//! metric `traffic_probe_feature`, the API and the alert all have their words from here.

use std::{fmt, sync::Arc};

/// Something that the probe can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says of each what it is")]
pub enum Feature {
    Requests,
    States,
    KernelTypes,
    Reads,
    Oldest,
    Datagrams,
    Older,
    Expiry,
    Routes,
    Peers,
    Interfaces,
    Tcx,
    Xdp,
    News,
    Log,
    Pin,
}

/// What is known of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in logs, metrics and the API.
    pub name: &'static str,
    /// The programs of the object that it takes, beyond those that count anything at all.
    pub programs: &'static [&'static str],
    /// The maps of the object that only it needs at the size that was asked for.
    pub maps: &'static [&'static str],
    /// The feature without which this one is of no use.
    pub needs: Option<Feature>,
    /// What is lost without it, in words that follow "without it".
    pub lost: &'static str,
    /// How to get it: what an operator can do.
    pub mend: &'static str,
}

/// A feature that was wanted and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Why: what refused it, in the kernel's words.
    pub why: String,
    /// What is lost.
    pub lost: &'static str,
    /// How to get it.
    pub mend: &'static str,
}

/// Whether a feature that was wanted is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureState {
    /// Which one.
    pub feature: Feature,
    /// Why it is not; none if it is.
    pub missing: Option<Arc<Missing>>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; without it {}; to have it, {}", self.why, self.lost, self.mend)
    }
}

impl Feature {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 16] = [
        Self::Requests,
        Self::States,
        Self::KernelTypes,
        Self::Reads,
        Self::Oldest,
        Self::Datagrams,
        Self::Older,
        Self::Expiry,
        Self::Routes,
        Self::Peers,
        Self::Interfaces,
        Self::Tcx,
        Self::Xdp,
        Self::News,
        Self::Log,
        Self::Pin,
    ];

    /// Its name in logs, metrics and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its row of the table.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "it is the table")]
    pub const fn row(self) -> Row {
        match self {
            Self::Requests => Row {
                name: "requests",
                programs: &["socket_receive", "socket_transmit"],
                maps: &[],
                needs: None,
                lost: "bytes, packets, connections and users are counted; requests, durations, phases and errors are \
                     not",
                mend: "run a kernel with bpf_loop (5.17 or later) that lets the probe use it",
            },
            Self::States => Row {
                name: "states",
                programs: &["socket_states"],
                maps: &[],
                needs: None,
                lost: "a sock_ops callback reports closed connections instead: those older than the probe never \
                     count as closed, and servers without a cgroup name are named after the process in procfs",
                mend: "run a kernel with BTF tracepoints that reach socket storage (5.11 or later) and that lets the \
                     probe attach to them",
            },
            Self::KernelTypes => Row {
                name: "types",
                programs: &[],
                maps: &[],
                needs: None,
                lost: "a process that ends within a tick is named after the thread that opened its socket, and connects that fail before \
                       a packet leaves are not counted",
                mend: "run a kernel that describes its types in /sys/kernel/btf/vmlinux and lets programs read a task (5.16 or later)",
            },
            Self::Reads => Row {
                name: "reads",
                programs: &["application_reads"],
                maps: &[],
                needs: Some(Self::Requests),
                lost: "the phases queue and service are absent",
                mend: "run a kernel with BTF tracepoints that reach socket storage (5.11 or later) and that lets the \
                     probe attach to them",
            },
            Self::Oldest => Row {
                name: "oldest",
                programs: &[],
                maps: &["AGES", "OLD_AGES"],
                needs: Some(Self::Requests),
                lost: "the age of the oldest request in flight is absent",
                mend: "lower --max-services, or give the probe more memory",
            },
            Self::Datagrams => Row {
                name: "datagrams",
                programs: &["datagram_sockets"],
                maps: &[],
                needs: None,
                lost: "UDP is counted, but the owner of a socket is found by its cgroup and procfs only",
                mend: "run a kernel that lets the probe attach cgroup/sock_create programs (5.10 or later)",
            },
            Self::Older => Row {
                name: "older",
                programs: &["adopt"],
                maps: &[],
                needs: None,
                lost: "connections that were open before the probe started are seen from their next packet on",
                mend: "load the kernel module tcp_diag, and give the probe CAP_SYS_ADMIN and CAP_SYS_PTRACE",
            },
            Self::Expiry => Row {
                name: "expiry",
                programs: &["carry_out_orders"],
                maps: &["INDEX_STATES", "LEAVING", "ORDERS"],
                needs: None,
                lost: "idle services, series and peers stay in the tables, which may fill up",
                mend: "run a kernel with bpf_for_each_map_elem (5.13 or later) that lets the probe use it, or raise \
                     --max-services, --max-series and --max-peers",
            },
            Self::Routes => Row {
                name: "routes",
                programs: &[],
                maps: &["ROUTES", "ROUTE_COUNTS"],
                needs: Some(Self::Requests),
                lost: "requests are not broken down by route",
                mend: "lower --max-routes, or give the probe more memory",
            },
            Self::Peers => Row {
                name: "peers",
                programs: &[],
                maps: &["PEERS", "OTHER_PEERS", "PEER_COUNTS", "LEAVING_PEERS"],
                needs: None,
                lost: "requests and connections are not broken down by peer",
                mend: "lower --max-peers, or give the probe more memory",
            },
            Self::Interfaces => Row {
                name: "interfaces",
                programs: &["interface_receive", "interface_transmit"],
                maps: &["INTERFACES"],
                needs: None,
                lost: "bytes of interfaces and of the node are absent; bytes of services are counted",
                mend: "run a kernel with CONFIG_NET_CLS_BPF, and give the probe CAP_NET_ADMIN",
            },
            Self::Tcx => Row {
                name: "tcx",
                programs: &[],
                maps: &[],
                needs: Some(Self::Interfaces),
                lost: "interfaces are counted by filters in a clsact instead, which --pin cannot preserve",
                mend: "run a kernel with TCX (6.6 or later), or choose filters with --tc-hook clsact",
            },
            Self::Xdp => Row {
                name: "xdp",
                programs: &["interface_driver"],
                maps: &[],
                needs: Some(Self::Interfaces),
                lost: "interfaces named by --xdp are counted by generic XDP or by TC, which see less than the driver",
                mend: "drop --xdp for interfaces whose driver has no native XDP, or remove the XDP program that is \
                     attached",
            },
            Self::News => Row {
                name: "news",
                programs: &[],
                maps: &[],
                needs: None,
                lost: "interfaces and cgroups are listed once per tick, and shorter-lived ones may be missed",
                mend: "let the probe open rtnetlink sockets and inotify instances; fs.inotify.max_user_instances and \
                       fs.inotify.max_user_watches limit these",
            },
            Self::Log => Row {
                name: "log",
                programs: &[],
                maps: &["AYA_LOGS"],
                needs: None,
                lost: "unmeasured traffic is counted in traffic_probe_unmeasured_total, but not logged",
                mend: "run a kernel with BPF ring buffers (5.8 or later) that lets the probe map them",
            },
            Self::Pin => Row {
                name: "pin",
                programs: &[],
                maps: &[],
                needs: None,
                lost: "counters restart at zero with every start of the probe, and nothing is counted while it is \
                     down",
                mend: "mount a bpffs writable (`mount -t bpf bpf /sys/fs/bpf`; in a container, a volume without \
                     `:ro`) and point --pin to a directory in it",
            },
        }
    }

    /// What this one being absent comes to.
    #[must_use]
    pub fn missing(self, why: impl Into<String>) -> Missing {
        let Row { lost, mend, .. } = self.row();
        Missing { why: why.into(), lost, mend }
    }

    /// The one that a map of the object is made for, if that is one: without it the map is made as small as can be.
    #[must_use]
    pub fn of_map(map: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.row().maps.contains(&map))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_words_and_distinct() {
        let names: BTreeSet<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
        assert_eq!(names.len(), Feature::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())), "{names:?}");
    }

    #[test]
    fn all_are_listed_in_the_order_of_their_definition() {
        assert!(Feature::ALL.is_sorted());
        for (feature, number) in Feature::ALL.into_iter().zip(0..) {
            assert_eq!(feature as usize, number);
        }
    }

    #[test]
    fn what_is_lost_and_how_to_mend_it_reads_as_one_sentence() {
        for feature in Feature::ALL {
            let Row { lost, mend, name, .. } = feature.row();
            for part in [lost, mend] {
                assert!(part.len() > 20 && !part.ends_with('.') && !part.contains('\n'), "{name}: {part}");
                assert!(!part.contains("  "), "{name}: {part}");
                // "UDP" and names of flags apart, it goes on in the middle of a sentence.
                let first = part.split(' ').next().unwrap_or_default();
                assert!(
                    first == "UDP" || first.chars().all(|letter| !letter.is_uppercase()),
                    "{name}: {part}"
                );
            }
            let told = feature.missing("the kernel refused it: no (os error 1)").to_string();
            assert!(told.starts_with("the kernel refused it: no (os error 1); without it "), "{told}");
            assert!(told.contains(lost) && told.ends_with(mend), "{told}");
        }
    }

    #[test]
    fn no_program_or_map_belongs_to_two() {
        let of_all = |of: fn(&Row) -> &'static [&'static str]| {
            let all: Vec<_> = Feature::ALL.iter().flat_map(|feature| of(&feature.row())).collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
        };
        of_all(|row| row.programs);
        of_all(|row| row.maps);
        assert_eq!(Feature::of_map("PEERS"), Some(Feature::Peers));
        assert_eq!(Feature::of_map("COUNTERS"), None);
    }

    #[test]
    fn one_that_needs_another_is_told_behind_it() {
        for feature in Feature::ALL {
            assert!(feature.row().needs.is_none_or(|needed| needed < feature), "{}", feature.name());
        }
    }
}
