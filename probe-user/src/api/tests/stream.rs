//! Following the ticks.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{Event, stream::MAX_SUBSCRIBERS},
    refused, sample, serving,
};
use crate::{
    identity::Identity,
    latest::Latest,
    report::Report,
    server::tests::{get, report, with_server},
    snapshot::{ServiceId, Snapshot},
};

struct Follower(BufReader<TcpStream>);

impl Follower {
    fn new(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: probe\r\n\r\n").unwrap();
        let mut follower = Self(BufReader::new(stream));
        assert!(follower.line_with("HTTP/1.1 ").ends_with("200 OK"));
        assert!(follower.line_with("content-type: ").ends_with("text/event-stream"));
        follower
    }

    /// The next line that starts like this.
    fn line_with(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended before {start}");
            if line.starts_with(start) {
                return line.trim_end().to_owned();
            }
        }
    }

    fn event(&mut self) -> Event {
        self.line_with("event: tick");
        serde_json::from_str(self.line_with("data: ").strip_prefix("data: ").unwrap()).unwrap()
    }
}

#[test]
fn the_latest_tick_comes_at_once_and_each_one_after_it() {
    let latest = Arc::new(Latest::default());
    latest.publish(sample::report("nginx").into());
    with_server(Arc::clone(&latest), |address| {
        let mut follower = Follower::new(address);
        let event = follower.event();
        assert_eq!(event.node.services, 3);
        let active: Vec<_> = event.active.iter().map(|service| service.service.as_str()).collect();
        assert_eq!(active, ["curl", "nginx", "nginx"]);
        assert!((event.active[1].requests_per_second - 10.0).abs() < 1e-9, "{:?}", event.active[1]);
        latest.publish(report(Instant::now()));
        assert_eq!(follower.event().node.services, 0, "idle services are left out");
    });
}

#[test]
fn so_many_events_as_are_asked_for_and_then_the_end() {
    let latest = Arc::new(Latest::default());
    latest.publish(sample::report("nginx").into());
    with_server(Arc::clone(&latest), |address| {
        let response = get(address, "/api/v1/stream?events=1");
        assert_eq!(response.matches("event: tick\n").count(), 1, "{response}");
        for query in ["events=0", "events=-1", "events=all", "event=1"] {
            assert_eq!(refused(address, &format!("/api/v1/stream?{query}")).0, 400, "{query}");
        }
    });
}

#[test]
fn who_is_slow_gets_the_latest_and_nothing_is_kept() {
    let latest = Arc::new(Latest::default());
    let mut reports = latest.follow();
    for number in 0..1000 {
        latest.publish(sample::report(&number.to_string()).into());
    }
    let seen = reports.borrow_and_update().clone().unwrap();
    assert!(seen.snapshot.services.keys().any(|id| id.name() == "999"));
    assert!(!reports.has_changed().unwrap(), "no other is waiting");
}

/// A report with so many services, by names of the number's.
fn large(number: usize) -> Report {
    const SERVICES: usize = 2000;
    let mut report = sample::report("nginx");
    let sample = Arc::unwrap_or_clone(report.snapshot);
    let (id, service) = sample.services.iter().nth(1).unwrap();
    let identity = |of: usize| Identity::named(&format!("service-{of:04}-of-tick-{number}"));
    let many = (0..SERVICES).map(|of| (ServiceId { identity: identity(of), ..id.clone() }, service.clone()));
    report.snapshot = Snapshot { services: many.collect(), taken: Instant::now(), ..sample }.into();
    report
}

/// More than the buffers of a connection hold.
#[test]
fn who_does_not_read_misses_events_and_goes_on_with_the_latest() {
    const TICKS: usize = 40;
    let latest = Arc::new(Latest::default());
    latest.publish(large(0).into());
    with_server(Arc::clone(&latest), |address| {
        let mut follower = Follower::new(address);
        for tick in 1..=TICKS {
            latest.publish(large(tick).into());
        }
        let last = format!("service-0000-of-tick-{TICKS}");
        let mut events = 1;
        while follower.event().active[0].service != last {
            events += 1;
        }
        assert!(events < TICKS, "all of {events} events were kept");
    });
}

#[test]
fn so_many_may_follow_and_a_place_is_given_back() {
    serving(sample::report("nginx"), |address| {
        let mut followers: Vec<_> = (0..MAX_SUBSCRIBERS).map(|_| Follower::new(address)).collect();
        let (status, error) = refused(address, "/api/v1/stream");
        assert_eq!(status, 503);
        assert!(error.starts_with("16 clients follow the stream already"), "{error}");
        followers.pop();
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: probe\r\n\r\n").unwrap();
            let mut first = String::new();
            BufReader::new(stream).read_line(&mut first).unwrap();
            if first.contains("200") {
                return;
            }
            assert!(Instant::now() < limit, "the place of one who left is not given back");
        }
    });
}
