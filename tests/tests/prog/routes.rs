//! Routes in the kernel: what the host makes of a request line, however it is cut, and no more of them than there may be.

use std::{collections::BTreeMap, num::NonZeroU8};

use probe_common::{
    connection::{Connection, Side, Stage},
    reason::Reason,
};
use probe_fuzz::script::Delivery;
use probe_user::settings::RouteLimits;

use crate::trial::Trial;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn limits(total: u32, per_service: u8) -> RouteLimits {
    RouteLimits { total, per_service: NonZeroU8::new(per_service).expect("not zero") }
}

/// A connection of a service that has just been established.
fn connection(service: u32) -> Connection {
    let mut connection = Connection { stage: Stage::Open, service, ..Connection::default() };
    connection.request.begin_at(1);
    connection.response.begin_at(1);
    connection
}

fn segment(side: Side, at: usize, bytes: &[u8]) -> Delivery {
    Delivery {
        side,
        sequence: 1 + u32::try_from(at).expect("a test is short"),
        bytes: bytes.to_vec(),
        acknowledged: 1,
        fin: false,
        time: 0,
    }
}

/// Has a service asked for targets on one connection, in segments of a size, each request answered before the next.
fn ask(trial: &mut Trial, targets: &[&str], size: usize) {
    let mut at = [0, 0];
    for target in targets {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        for (side, text) in [(Side::Request, request.as_str()), (Side::Response, OK)] {
            for piece in text.as_bytes().chunks(size) {
                trial.deliver(&segment(side, at[side as usize], piece));
                at[side as usize] += piece.len();
            }
        }
    }
}

fn counted(service: u32, routes: &[(Option<&str>, u64)]) -> BTreeMap<(u32, Option<String>), u64> {
    routes.iter().map(|(route, count)| ((service, route.map(str::to_owned)), *count)).collect()
}

#[test]
fn paths_become_templates_however_they_are_cut() {
    let Some(mut trial) = Trial::with_routes(Some(limits(100, 100))) else { return };
    let long = format!("/a/{}/b", "xo".repeat(150));
    let digest = format!("/blobs/sha256/{}?x=y", "0123456789abcdef".repeat(4));
    let targets = [
        "/",
        "/users/4711/orders?page=2",
        "/users/12/orders",
        "/o/123e4567-e89b-12d3-a456-426614174000#here",
        "http://example.org/users/1/orders",
        "*",
        "/caf\u{e9}",
        "/1/2/3/4/5/6/7/8/9/10",
        &long,
        &digest,
        "/cart;jsessionid=0A1B2C/items;v=2?x",
        "/reset/kTqzWbXcNvPdLmRsGhJf",
    ];
    let expected = [
        (Some("/"), 1),
        (Some("/users/*/orders"), 3),
        (Some("/o/*"), 1),
        (Some("*"), 1),
        (None, 1),
        (Some("/*/*/*/*/*/*/*/*/**"), 1),
        (Some("/a/**"), 1),
        (Some("/blobs/sha256/*"), 1),
        (Some("/cart/items"), 1),
        (Some("/reset/*"), 1),
    ];
    for size in [3_000, 500] {
        trial.begin(&connection(3));
        ask(&mut trial, &targets, size);
        assert_eq!(trial.by_route(), counted(3, &expected), "cut to {size}");
        assert_eq!(trial.counts().unmeasured, BTreeMap::new());
    }
    // Byte by byte each line is put together again as long as it fits what is kept of one; of the others a start is seen.
    trial.begin(&connection(4));
    ask(&mut trial, &["/users/7;a=b/orders", "/a-path-that-is-longer-than-what-is-kept-of-a-line"], 1);
    assert_eq!(trial.by_route(), counted(4, &[(Some("/users/*/orders"), 1), (None, 1)]));
}

#[test]
fn pipelined_requests_have_each_its_own() {
    let Some(mut trial) = Trial::with_routes(Some(limits(100, 100))) else { return };
    trial.begin(&connection(1));
    let request = |i: usize| format!("GET /{}/{i} HTTP/1.1\r\n\r\n", ["a", "b", "c"][i % 3]);
    let requests: String = (0..32).map(request).collect();
    trial.deliver(&segment(Side::Request, 0, requests.as_bytes()));
    trial.deliver(&segment(Side::Response, 0, OK.repeat(32).as_bytes()));
    let expected = [(Some("/a/*"), 11), (Some("/b/*"), 11), (Some("/c/*"), 10)];
    assert_eq!(trial.by_route(), counted(1, &expected));
}

#[test]
fn one_service_cannot_take_the_room_of_another() {
    let Some(mut trial) = Trial::with_routes(Some(limits(300, 255))) else { return };
    trial.begin(&connection(1));
    let invented: Vec<_> = (0..400).map(|i| format!("/x{i}y")).collect();
    ask(&mut trial, &invented.iter().map(String::as_str).collect::<Vec<_>>(), 3_000);
    let flooded = trial.by_route();
    assert_eq!(flooded.len(), 256);
    assert_eq!(flooded[&(1, None)], 400 - 255);
    assert_eq!(
        trial.counts().unmeasured[&Reason::RoutesFull],
        400 - 255,
        "routes that found no room are told"
    );
    // All together may have 300: there is room for 45.
    trial.begin(&connection(2));
    ask(&mut trial, &invented.iter().take(60).map(String::as_str).collect::<Vec<_>>(), 3_000);
    let other = trial.by_route();
    assert_eq!((other.len(), other[&(2, None)]), (46, 15));
    // What has a route keeps it.
    ask_again(&mut trial, 2, &invented[..45]);
}

fn ask_again(trial: &mut Trial, service: u32, paths: &[String]) {
    trial.begin(&connection(service));
    ask(trial, &paths.iter().map(String::as_str).collect::<Vec<_>>(), 3_000);
    let expected: Vec<_> = paths.iter().map(|path| (Some(path.as_str()), 1)).collect();
    assert_eq!(trial.by_route(), counted(service, &expected));
}

/// What a request costs in the receiving program, with routes and without: figures for docs/reference/cost.md, no bounds. To be run by
/// `cargo xtask test prog -- --ignored --nocapture cost_of_a_route`.
#[test]
#[ignore = "tells figures, and judges none"]
fn the_cost_of_a_route_is_told() {
    const RUNS: u32 = 20_000;
    let paths =
        ["/", "/api/v1/users/4711", "/api/v1/orders/123e4567-e89b-12d3-a456-426614174000/items?page=3"];
    for path in paths {
        let request = segment(Side::Request, 0, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let mut nanoseconds = [f64::INFINITY; 2];
        for _ in 0..3 {
            for (routes, least) in [None, Some(limits(100, 100))].into_iter().zip(&mut nanoseconds) {
                let Some(mut trial) = Trial::with_routes(routes) else { return };
                *least = least.min(trial.time(&connection(1), &request, RUNS));
            }
        }
        println!("GET {path}: {:.0} ns without routes, {:.0} ns with them", nanoseconds[0], nanoseconds[1]);
    }
}
