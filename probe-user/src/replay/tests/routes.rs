//! Requests by route.

use serde_json::Value;

use super::{
    super::render,
    nothing_escaped, only, replayed,
    wire::{MS, OK, Sender::Client, Wire},
};

/// Routes as `route METHOD status: count`.
fn routes(service: &super::Service) -> Vec<String> {
    let line = |found: &super::super::report::RouteKind| {
        format!("{} {} {}: {}", found.route, found.kind.method, found.kind.status, found.kind.count)
    };
    service.by_route.iter().map(line).collect()
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn each_request_is_counted_under_its_template() {
    let mut wire = Wire::open();
    let pipelined: String = (0..40).map(|i| request(&format!("/{}/{i}?x", ["a", "b"][i % 2]))).collect();
    for half in [&pipelined[..], &pipelined] {
        // Sixteen at a time, as many as there is room for, and answers to all of them.
        for requests in half.split_inclusive("\r\n\r\n").collect::<Vec<_>>().chunks(16) {
            wire.ask(&requests.concat()).wait(MS).answer(&OK.repeat(requests.len())).wait(MS);
        }
    }
    wire.ask(&request("/caf\u{e9}")).answer(OK).ask(&request("/a/1")).wait(MS).close();
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let expected = ["/a/* GET aborted: 1", "/a/* GET 200: 40", "/b/* GET 200: 40", "other GET 200: 1"];
    assert_eq!(routes(only(&report)), expected);
    let text = render::text(&report);
    assert!(text.contains("\n10.0.0.1:80  /a/*  GET 200: 40 (P50 1.0 ms, P99 1.0 ms)\n"), "{text}");
    let document: Value = serde_json::from_str(&render::json(&report).unwrap()).unwrap();
    let first = &document["services"][0]["by_route"][1];
    let (route, method, status, count) =
        (&first["route"], &first["method"], &first["status"], &first["count"]);
    assert_eq!((route, method, status, count), (&"/a/*".into(), &"GET".into(), &"200".into(), &40.into()));
    assert_eq!(first["duration"]["max_seconds"], 0.001);
}

#[test]
fn routes_beyond_the_room_are_other() {
    let mut wire = Wire::open();
    for i in 0..300 {
        wire.ask(&request(&format!("/x{i}y"))).answer(OK).wait(MS);
    }
    wire.ask(&request("/x7y")).answer(OK).close();
    let report = replayed(&wire.packets);
    let found = routes(only(&report));
    assert_eq!(found.len(), 101);
    assert!(
        found.contains(&"other GET 200: 200".to_owned()) && found.contains(&"/x7y GET 200: 2".to_owned())
    );
}

#[test]
fn a_line_in_pieces_has_the_template_of_the_whole() {
    let mut wire = Wire::open();
    for byte in request("/users/4711").bytes() {
        wire.say(Client, &[byte]).wait(MS);
    }
    wire.answer(OK).close();
    assert_eq!(routes(only(&replayed(&wire.packets))), ["/users/* GET 200: 1"]);
}
