//! Keeps the Postman collection in `deploy/postman` in step with the description.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::super::routes::document;

const FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postman/traffic-probe.postman_collection.json");

/// What is served beside the API, and so not described.
const BESIDE: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

/// The requests of an item: of a folder those in it.
fn requests(item: &Value) -> Vec<&Value> {
    match item["item"].as_array() {
        Some(items) => items.iter().flat_map(requests).collect(),
        None => vec![item],
    }
}

fn collection() -> Value {
    serde_json::from_slice(&fs::read(FILE).unwrap()).unwrap()
}

/// The template of the description that a request's path fits: a variable of the collection stands for a part.
fn template(path: &str, templates: &BTreeSet<String>) -> Option<String> {
    let fits = |template: &str| {
        let (asked, known): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
        asked.len() == known.len()
            && asked.iter().zip(&known).all(|(asked, known)| asked == known || known.starts_with('{'))
    };
    templates.iter().find(|template| fits(template)).cloned()
}

/// The path of a request, its parameters and its tests.
fn parts(item: &Value) -> (String, Vec<String>, String) {
    let url = &item["request"]["url"];
    let raw = url["raw"].as_str().unwrap().strip_prefix("{{baseUrl}}").unwrap();
    let path = raw.split('?').next().unwrap().to_owned();
    let keys =
        url["query"].as_array().into_iter().flatten().map(|pair| pair["key"].as_str().unwrap().to_owned());
    let tests = item["event"].as_array().unwrap().iter().find(|event| event["listen"] == "test").unwrap();
    let lines = tests["script"]["exec"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    (path, keys.collect(), lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_collection_asks_for_everything_that_is_described_and_for_nothing_else() {
    let document = serde_json::to_value(document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let templates: BTreeSet<_> = paths.keys().cloned().collect();
    // Every path with its own success, every parameter, every refusal that the description has and that can be had.
    let mut wanted = BTreeSet::new();
    for (path, operations) in paths {
        wanted.insert(format!("{path} 200"));
        for parameter in operations["get"]["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "query" {
                wanted.insert(format!("{path}?{}", parameter["name"].as_str().unwrap()));
            }
        }
    }
    for refusal in
        ["/api/v1/services 400", "/api/v1/services/{name} 404", "/api/v1/tiers 400", "/api/v1/stream 400"]
    {
        wanted.insert(refusal.to_owned());
    }
    for item in requests(&collection()) {
        let (path, parameters, tests) = parts(item);
        let status = tests.split("to.have.status(").nth(1).and_then(|rest| rest.split(')').next());
        let status: u16 = status.unwrap_or_else(|| panic!("{path}: no test of the status")).parse().unwrap();
        let Some(template) = template(&path, &templates) else {
            let known = BESIDE.contains(&path.as_str()) || status == 404;
            assert!(known, "the collection asks for {path}, which is not described");
            continue;
        };
        wanted.remove(&format!("{template} {status}"));
        for parameter in parameters {
            wanted.remove(&format!("{template}?{parameter}"));
        }
    }
    // A parameter of the one is asked for at the other: both are read by the same function.
    wanted.remove("/api/v1/services/{name}?port");
    assert!(wanted.is_empty(), "described, and not in the collection: {wanted:#?}");
}

#[test]
fn variables_are_those_of_the_environment_or_of_the_collection() {
    let environment = FILE.replace("_collection", "_environment");
    let environment: Value = serde_json::from_slice(&fs::read(environment).unwrap()).unwrap();
    let collection = collection();
    let declared: BTreeSet<_> = [&environment["values"], &collection["variable"]]
        .into_iter()
        .flat_map(|values| values.as_array().unwrap())
        .map(|variable| variable["key"].as_str().unwrap().to_owned())
        .collect();
    let text = collection.to_string();
    let used: BTreeSet<_> = text
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(used.is_subset(&declared), "used: {used:?}, declared: {declared:?}");
    assert!(used.contains("baseUrl") && declared.contains("maxResponseMs"));
}
