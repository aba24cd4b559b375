//! Names that others choose, of any characters: the page parses, each name is the value of its label, and there is no label more.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{rendered, sample};
use crate::{place::Place, snapshot::Snapshot};

/// Any text, often of what means something to formats and terminals.
pub(crate) fn name() -> impl Strategy<Value = String> {
    let odd =
        r#"[\\"\n\r\t,={}#/ \x{1b}\x{7f}\x{85}\x{9b}\x{200b}\x{202e}\x{2066}\x{2028}\x{feff}a-z0-9]{1,15}"#;
    // Zeros end strings of the kernel.
    prop_oneof![odd, "[^\0]{1,64}"]
}

/// The value up to the quote that ends it, and the rest.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    loop {
        match characters.next().expect("a quote that ends a value") {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, plain @ ('"' | '\\'))) => value.push(plain),
                other => panic!("{other:?} is escaped in {text:?}"),
            },
            (_, plain) => value.push(plain),
        }
    }
}

fn labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (label, rest) = text.split_once("=\"").expect("a label with a value");
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "the label {label:?}");
        let (value, rest) = quoted(rest);
        assert!(labels.insert(label.to_owned(), value).is_none(), "{label} twice");
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

/// The labels of each series.
fn series(page: &str) -> Vec<BTreeMap<String, String>> {
    assert!(!page.contains('\0'));
    let samples = page.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().unwrap_or_else(|_| panic!("{value:?} is no number in {line:?}"));
            let Some((name, rest)) = series.split_once('{') else { return BTreeMap::new() };
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{line:?}"
            );
            labels(rest.strip_suffix('}').expect("a brace"))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_page_means_the_same_whatever_services_pods_and_interfaces_are_called(
        service in name(), pod in name(), workload in name(), interface in name(),
    ) {
        let plain: BTreeSet<_> = series(&rendered(sample::report("nginx"))).into_iter().flat_map(BTreeMap::into_keys).collect();
        let mut report = sample::report(&service);
        let mut snapshot = Snapshot::clone(&report.snapshot);
        let place = Place { pod: pod.clone(), workload: workload.clone(), ..Place::default() };
        snapshot.services = std::mem::take(&mut snapshot.services)
            .into_iter()
            .map(|(mut id, service)| {
                id.identity.place = Some(place.clone().into());
                (id, service)
            })
            .collect();
        let volumes = snapshot.interfaces.values().next().copied().expect("an interface");
        snapshot.interfaces = [(interface.clone(), volumes)].into();
        report.snapshot = snapshot.into();
        let series = series(&rendered(report));
        let values = |label: &str| -> BTreeSet<_> { series.iter().filter_map(|series| series.get(label)).cloned().collect() };
        prop_assert!(values("service").contains(&service), "{:?}", values("service"));
        prop_assert_eq!(values("pod"), [pod].into());
        prop_assert_eq!(values("workload"), [workload].into());
        prop_assert_eq!(values("interface"), [interface].into());
        let all: BTreeSet<_> = series.iter().flat_map(BTreeMap::keys).cloned().collect();
        let more: Vec<_> = all.difference(&plain).map(String::as_str).collect();
        prop_assert_eq!(more, ["pod", "workload"]);
    }
}
