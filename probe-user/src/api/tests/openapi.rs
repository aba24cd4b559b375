//! Keeps the description in `deploy/openapi` the one that is served.

use std::{env, fs};

use super::super::routes::document;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/openapi/traffic-probe.json");

#[test]
fn the_file_is_the_description_that_is_served() {
    let described = document().to_pretty_json().unwrap() + "\n";
    if env::var("TRAFFIC_PROBE_OPENAPI").as_deref() == Ok("update") {
        fs::write(FILE, &described).unwrap();
    }
    let written = fs::read_to_string(FILE).unwrap();
    assert!(
        written == described,
        "deploy/openapi/traffic-probe.json is not what the types in probe-user/src/api say; \
         `TRAFFIC_PROBE_OPENAPI=update cargo test -p probe-user openapi` writes it anew"
    );
}

#[test]
fn everything_is_described() {
    let document = serde_json::to_value(document()).unwrap();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name}");
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            // What may be null is one of two, of which the first is described.
            let described = [&property["description"], &property["oneOf"][0]["description"]];
            assert!(described.iter().any(|text| text.is_string()), "{name}.{field}: {property}");
        }
    }
    for (path, operations) in document["paths"].as_object().unwrap() {
        assert!(operations["get"]["summary"].is_string(), "{path}");
    }
}
