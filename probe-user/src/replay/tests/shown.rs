//! How a report is shown.

use serde_json::{Value, json};

use super::{
    super::render,
    files::three_requests,
    replayed,
    wire::{GET, MS, Wire},
};

#[test]
fn the_document_has_the_shape_that_is_promised() {
    let report = replayed(&three_requests());
    let document: Value = serde_json::from_str(&render::json(&report).unwrap()).unwrap();
    let service = &document["services"][0];
    for (name, value) in [
        ("service", json!("10.0.0.1:80")),
        ("protocol", json!("http1")),
        ("requests", json!(3)),
        ("responses", json!(3)),
        ("client_errors", json!(0)),
        ("server_errors", json!(1)),
        ("aborted", json!(0)),
        ("in_flight", json!(0)),
        ("bytes", json!({ "received": 96, "sent": 126 })),
        ("unmeasured", json!({})),
    ] {
        assert_eq!(service[name], value, "{name}");
    }
    assert_eq!(service["duration"]["count"], 3);
    assert_eq!(service["duration"]["max_seconds"], 0.005);
    assert_eq!(service["time_to_first_byte"]["max_seconds"], 0.004);
    let post = &service["by_status"][1];
    assert_eq!(
        (&post["method"], &post["status"], &post["count"]),
        (&json!("POST"), &json!("500"), &json!(1))
    );
    assert_eq!(post["duration"]["max_seconds"], 0.005);
    assert_eq!(service["connections"]["opened"], 1);
    let capture = &document["capture"];
    assert_eq!(capture["packets"], 13);
    assert_eq!(capture["truncated"], false);
    assert_eq!(capture["error"], Value::Null);
    assert_eq!(capture["skipped"], json!({}));
}

#[test]
fn a_table_for_people() {
    let mut wire = Wire::between("[fd00::2]:40000", "[fd00::1]:8080");
    wire.wait(12 * MS).shake().ask(GET);
    let report = replayed(&[three_requests(), wire.packets].concat());
    let text = render::text(&report);
    let lines: Vec<_> = text.lines().collect();
    let cells = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert!(lines[0].starts_with("SERVICE         PROTOCOL  REQUESTS"), "{text}");
    let expected = "10.0.0.1:80 http1 3 0 1 0 0 2.9 ms 4.9 ms 4.9 ms 96 126 1";
    assert_eq!(cells(1), expected.split(' ').collect::<Vec<_>>(), "{text}");
    let expected = "[fd00::1]:8080 http1 0 0 0 0 1 - - - 27 0 1";
    assert_eq!(cells(2), expected.split(' ').collect::<Vec<_>>(), "{text}");
    assert!(
        text.contains(
            "\n10.0.0.1:80  GET 200: 2 (P50 2.0 ms, P99 2.9 ms), POST 500: 1 (P50 5.0 ms, P99 5.0 ms)\n"
        ),
        "{text}"
    );
    assert!(text.contains("\n[fd00::1]:8080  connections: 1 open at the end\n"), "{text}");
    assert!(text.ends_with("\ntest: 17 packets in 12.0 ms from 2023-11-14T22:13:20.000000000Z\n"), "{text}");
}

#[test]
fn a_capture_of_nothing_says_so() {
    let text = render::text(&replayed(&[]));
    assert_eq!(text, "no TCP connection in this capture\n\ntest: 0 packets\n");
}
