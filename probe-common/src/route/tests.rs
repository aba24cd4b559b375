extern crate std;

use std::{boxed::Box, format, string::String, vec::Vec};

use super::*;
use crate::window::CARRY;

/// The template of a request line that is shown whole.
fn of_line(line: &str) -> Option<String> {
    let mut window = Box::<Window>::default();
    window.load(line.as_bytes(), 0, u32::try_from(line.len()).unwrap()).unwrap();
    window.note_line(CARRY, window.end());
    let mut template = Template::default();
    template.begin(&window);
    let steps = (0..STEPS).position(|_| !template.step(&window));
    assert!(steps.is_some(), "more steps than are taken: {line}");
    let mut key = RouteKey::default();
    if !template.name(0, &mut key) {
        return None;
    }
    let bytes = key.bytes();
    let text: Vec<_> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
    assert!(bytes[text.len()..].iter().all(|byte| *byte == 0), "zeros behind the text of {line}");
    Some(String::from_utf8(text).unwrap())
}

fn of(target: &str) -> Option<String> {
    of_line(&format!("GET {target} HTTP/1.1"))
}

#[track_caller]
fn assert_routes(pairs: &[(&str, &str)]) {
    for (target, route) in pairs {
        assert_eq!(of(target).as_deref(), Some(*route), "{target}");
    }
}

#[test]
fn a_plain_path_is_its_own_template() {
    for path in ["/", "/a", "/index.html", "/api/v1/users", "/a/", "//a", "/a-b_c~d%20e,f=g:h@i", "/a'(b)"] {
        assert_eq!(of(path).as_deref(), Some(path));
    }
}

#[test]
fn what_names_one_among_many_is_an_asterisk() {
    assert_routes(&[
        ("/users/0", "/users/*"),
        ("/users/123456789012345678901234567890/orders/7", "/users/*/orders/*"),
        ("/7/", "/*/"),
        ("/x/123e4567-e89b-12d3-a456-426614174000", "/x/*"),
        ("/x/123E4567-E89B-12D3-A456-42661417400F/y", "/x/*/y"),
        ("/blobs/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "/blobs/*"),
        ("/commits/abcdef01", "/commits/*"),
        ("/o/507F1f77bcf86cd799439011/z", "/o/*/z"),
    ]);
    let sha512 = format!("/layers/{}/raw", "0a".repeat(64));
    assert_routes(&[(&sha512, "/layers/*/raw")]);
}

#[test]
fn words_and_what_only_looks_like_an_identifier_stay() {
    for path in [
        "/v1",
        "/1a",
        "/12.5",
        "/-7",
        "/deadbeef",
        "/effaced",
        "/abcde1",
        // Almost a UUID, and with vowels enough for a word.
        "/123ea567-e89b-12e3-a456-426ea417e00",
        "/123ea567e-89b-12e3-a456-426ea417e000",
        "/123ea567-e89b-12e3-a456-426ea417e00g",
        "/a1b2c3d4-",
    ] {
        assert_eq!(of(path).as_deref(), Some(path));
    }
}

#[test]
fn a_long_token_is_an_asterisk() {
    assert_routes(&[
        ("/reset/kTqzWbXcNvPdLmRsGhJf", "/reset/*"),
        ("/reset/qzwxjkvbnmtrplhgfdsc/confirm", "/reset/*/confirm"),
        ("/ids/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/ids/*"),
        ("/s/dGhpcyBpcyBub3QgYSB3b3JkIGF0IGFsbA==", "/s/*"),
        ("/files/V1StGXR8_Z5jdHi6B-myT", "/files/*"),
        (
            "/jwt/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN/x",
            "/jwt/*/x",
        ),
        ("/backup-20241130-nightly", "/*"),
    ]);
    // Longer than a template, and than what has a bit of its own.
    let long = "Zk3Tq9".repeat(60);
    assert_routes(&[(&format!("/a/{long}/b"), "/a/*/b")]);
}

#[test]
fn long_words_stay() {
    for path in [
        "/api/getCustomerOrderHistoryById",
        "/getAllByIdAndOrgIdInRegion",
        "/google.storage.v1.Storage/GetIamPolicyBindings",
        "/https-only-connections",
        "/internationalization-strengths",
        "/watch-strategies-and-lengths",
        "/rhythmically-synchronised",
        "/bootstrap.bundle.min.js.map",
        // A byte shorter than a token.
        "/kTqzWbXcNvPdLmRsGhJ",
    ] {
        assert_eq!(of(path).as_deref(), Some(path));
    }
}

#[test]
fn parameters_of_a_segment_are_cut() {
    assert_routes(&[
        ("/cart;jsessionid=0A1B2C3D4E5F", "/cart"),
        ("/cart;jsessionid=0A1B.node1?a=b", "/cart"),
        ("/cars;colour=red;year=2012/wheels;size=7/4711;v=1", "/cars/wheels/*"),
        ("/;jsessionid=1", "/"),
        ("/;a/b;", "//b"),
        ("/a;b#c", "/a"),
        ("/a;\u{e9}\u{1}/b", "/a/b"),
        ("http://user;x@example.org/a;b/c", "/a/c"),
        ("/x/kTqzWbXcNvPdLmRsGhJf;v=2/y", "/x/*/y"),
        ("/1;a/2;b/3;c/4;d/5;e/6;f/7;g/8;h/9;i", "/*/*/*/*/*/*/*/*/**"),
    ]);
    assert_eq!(of_line("GET /a;jsessionid=17"), None, "what follows was not seen");
}

#[test]
fn query_fragment_scheme_and_authority_are_cut() {
    assert_routes(&[
        ("/a?b=c/d", "/a"),
        ("/a/7?8", "/a/*"),
        ("/?x", "/"),
        ("/a#b/7", "/a"),
        ("http://example.org/a/7?b", "/a/*"),
        ("HTTPS://user@[::1]:8443/a/b", "/a/b"),
        ("http://example.org", "/"),
        ("https://example.org?q", "/"),
        ("*", "*"),
    ]);
}

#[test]
fn a_target_that_is_no_path_has_no_template() {
    for target in ["example.org:443", "ftp://a/b", "a/b", "**", "/a\u{7f}", "/\u{1}", "/caf\u{e9}", "/a\tb"] {
        assert_eq!(of(target), None, "{target}");
    }
    assert_eq!(of_line("CONNECT example.org:443 HTTP/1.1"), None);
}

#[test]
fn depth_and_length_are_bounded() {
    assert_routes(&[
        ("/1/2/3/4/5/6/7/8", "/*/*/*/*/*/*/*/*"),
        ("/1/2/3/4/5/6/7/8/", "/*/*/*/*/*/*/*/*/**"),
        ("/a/b/c/d/e/f/g/h/i/j?k", "/a/b/c/d/e/f/g/h/**"),
    ]);
    let long = "wo".repeat(30);
    assert_routes(&[
        (&format!("/{long}"), &format!("/{long}")),
        (&format!("/{long}/a"), &format!("/{long}/**")),
        (&format!("/{long}x"), "/**"),
        (&format!("/a/7/{}", "xo".repeat(200)), "/a/*/**"),
    ]);
    let widest = format!("/w{}", "ow".repeat(29));
    assert_routes(&[(&format!("{widest}/b"), &format!("{widest}/**"))]);
}

#[test]
fn the_method_may_be_of_any_length() {
    for method in ["A", "OPTIONS", "PROPPATCH", "VERSION-CONTROL", "BASELINE-CONTROL"] {
        assert_eq!(of_line(&format!("{method} /a/7 HTTP/1.1")).as_deref(), Some("/a/*"), "{method}");
    }
}

#[test]
fn a_line_that_was_not_seen_to_the_end_of_its_path_has_no_template() {
    let line = "GET /a/bcdefghijk/7 HTTP/1.1";
    for shown in 4..line.len() {
        let expected = (shown > "GET /a/bcdefghijk/7".len()).then_some("/a/bcdefghijk/*");
        assert_eq!(of_line(&line[..shown]).as_deref(), expected, "{}", &line[..shown]);
    }
}
