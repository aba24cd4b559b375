//! On reports made by hand, a second apart.

use probe_common::{interface::Transport, protocol::Protocol};

use super::*;
use crate::{identity::Identity, report::RequestRates, snapshot::Connections};

const WINDOW: Duration = Duration::from_secs(10);

/// A service's load as it is at each tick.
#[derive(Clone, Copy, Default)]
struct Traffic {
    requests: f64,
    megabits: f64,
    users: u64,
    opened: f64,
    open: u64,
}

struct Judged {
    judge: Judge,
    now: Instant,
}

impl Judged {
    fn by(policy: &str) -> Self {
        let policy = Policy::from_table(policy.parse().unwrap()).unwrap();
        Self { judge: Judge::new(policy, WINDOW), now: Instant::now() }
    }

    fn id() -> ServiceId {
        ServiceId {
            identity: Identity::named("web"),
            port: 80,
            role: Role::Server,
            transport: Transport::Tcp,
        }
    }

    fn after(&mut self, traffic: Traffic) -> Judgement {
        self.over(WINDOW, traffic)
    }

    fn over(&mut self, span: Duration, traffic: Traffic) -> Judgement {
        self.now += Duration::from_secs(1);
        let connections = Connections { open: traffic.open, ..Connections::default() };
        let totals = Service { users: traffic.users, connections, ..Service::default() };
        let requests = RequestRates { requests: traffic.requests, ..RequestRates::default() };
        let service = ServiceRates {
            sent: traffic.megabits * 1e6 / 8.0,
            opened: traffic.opened,
            requests: [(Protocol::Http1, requests)].into(),
            ..ServiceRates::default()
        };
        let snapshot = Snapshot {
            taken: self.now,
            collection: Duration::ZERO,
            services: [(Self::id(), totals)].into(),
            interfaces: BTreeMap::new(),
            node: Some([0, 0]),
            unmeasured: Vec::new(),
            tables: Vec::new(),
            features: Vec::new(),
        };
        let rates = Rates { span, services: [(Self::id(), service)].into(), ..Rates::default() };
        self.judge.judge(&snapshot, &rates)[&Self::id()]
    }

    fn at_rate(&mut self, requests: f64) -> Tier {
        self.after(Traffic { requests, megabits: requests / 1000.0, ..Traffic::default() }).tier
    }

    fn at_bandwidth(&mut self, megabits: f64) -> (Tier, bool) {
        let judgement = self.after(Traffic { requests: 1.0, megabits, ..Traffic::default() });
        (judgement.tier, judgement.rising)
    }
}

#[test]
fn the_rate_decides_at_its_thresholds() {
    let mut judged = Judged::by("");
    assert_eq!(judged.at_rate(0.0), Tier::Low);
    assert_eq!(judged.at_rate(99.9), Tier::Low);
    assert_eq!(judged.at_rate(100.0), Tier::Normal);
    assert_eq!(judged.at_rate(999.0), Tier::Normal);
    assert_eq!(judged.at_rate(1_000.0), Tier::High);
}

#[test]
fn so_does_the_bandwidth_of_few_requests() {
    let mut judged = Judged::by("");
    assert_eq!(judged.at_bandwidth(9.9), (Tier::Low, false));
    assert_eq!(judged.at_bandwidth(10.0), (Tier::Normal, false));
    assert_eq!(judged.at_bandwidth(100.0), (Tier::Normal, true));
    assert_eq!(judged.at_bandwidth(999.0), (Tier::Normal, true));
    assert_eq!(judged.at_bandwidth(1_000.0), (Tier::High, false));
    assert_eq!(judged.at_bandwidth(790.0), (Tier::Normal, true));
}

#[test]
fn a_load_that_hovers_at_a_threshold_does_not_flap() {
    for (threshold, above) in [(100.0, Tier::Normal), (1_000.0, Tier::High)] {
        let mut judged = Judged::by("");
        let tiers: Vec<_> =
            (0..100).map(|tick| judged.at_rate(threshold * (1.0 + 0.15 * f64::from(tick).sin()))).collect();
        let changes = tiers.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 1, "{changes} changes at {threshold}");
        assert_eq!(tiers.last(), Some(&above));
        assert_ne!(judged.at_rate(threshold * 0.79), above, "well below, it has left");
    }
}

#[test]
fn the_flag_does_not_flap_either() {
    let mut judged = Judged::by("");
    let flags: Vec<_> =
        (0..50).map(|tick| judged.at_bandwidth(100.0 + f64::from(tick % 2 * 15 - 7)).1).collect();
    assert_eq!(flags.windows(2).filter(|pair| pair[0] != pair[1]).count(), 1);
    assert_eq!(judged.at_bandwidth(79.0), (Tier::Normal, false));
}

#[test]
fn without_hysteresis_it_would() {
    let mut judged = Judged::by("hysteresis = 0");
    let tiers: Vec<_> = (0..10).map(|tick| judged.at_rate(95.0 + f64::from(tick % 2 * 10))).collect();
    assert_eq!(tiers.windows(2).filter(|pair| pair[0] != pair[1]).count(), 9);
}

#[test]
fn a_burst_in_the_first_moments_of_a_window_is_no_load() {
    let mut judged = Judged::by("");
    let burst = Traffic { requests: 900.0, ..Traffic::default() };
    assert_eq!(judged.over(Duration::from_secs(1), burst).tier, Tier::Low);
    assert_eq!(judged.over(Duration::from_secs(5), burst).tier, Tier::Normal);
}

#[test]
fn users_count_where_they_are_held() {
    let crowd = Traffic { requests: 1.0, megabits: 0.1, users: 1_200, open: 1_200, ..Traffic::default() };
    let tier = |profile: &str| {
        let rule = format!("[[service]]\nmatch = \"web\"\nprofile = \"{profile}\"");
        Judged::by(&rule).after(crowd).tier
    };
    assert_eq!(
        ["api", "bulk", "realtime", "streaming"].map(tier),
        [Tier::Low, Tier::Normal, Tier::High, Tier::High]
    );
}

#[test]
fn the_pieces_of_a_transfer_are_not_calls() {
    let segments = Traffic { requests: 150.0, megabits: 5.0, ..Traffic::default() };
    let tier = |profile: &str| {
        let rule = format!("[[service]]\nmatch = \"w*\"\nprofile = \"{profile}\"");
        Judged::by(&rule).after(segments).tier
    };
    assert_eq!(tier("api"), Tier::Normal);
    assert_eq!(tier("streaming"), Tier::Low);
}

#[test]
fn a_profile_changes_once_traffic_has_changed_for_good() {
    let mut judged = Judged::by("");
    let calls = Traffic { requests: 50.0, megabits: 0.4, opened: 50.0, open: 5, ..Traffic::default() };
    let media = Traffic { requests: 5.0, megabits: 50.0, open: 20, ..Traffic::default() };
    assert_eq!(judged.after(calls).profile, Profile::Api);
    for _ in 0..20 {
        assert_eq!(judged.after(media).profile, Profile::Api, "not yet");
    }
    assert_eq!(judged.after(calls).profile, Profile::Api);
    let last = (0..70).map(|_| judged.after(media)).last().unwrap();
    assert_eq!((last.profile, last.profile_source), (Profile::Streaming, ProfileSource::Inferred));
}

#[test]
fn what_comes_nearest_is_told() {
    let mut judged = Judged::by("");
    let judgement = judged.after(Traffic { requests: 500.0, megabits: 100.0, ..Traffic::default() });
    assert_eq!(judgement.measure, Measure::Requests);
    assert!((judgement.of_high - 0.5).abs() < 1e-9);
}
