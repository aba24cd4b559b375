//! The results for people.

use std::fmt::Write;

use super::results::Run;

/// A run in one line.
pub(super) fn line(run: &Run) -> String {
    let failed = run.requests.iter().filter(|request| !request.failures.is_empty());
    let names: Vec<_> = failed.map(|request| request.request.as_str()).collect();
    let (all, seconds) = (run.requests.len(), run.duration_seconds);
    match names[..] {
        [] => format!("{}: {all} requests passed in {seconds:.1} s", run.collection),
        _ => format!(
            "{}: {} of {all} requests failed in {seconds:.1} s: {}",
            run.collection,
            names.len(),
            names.join(", ")
        ),
    }
}

/// A run with its requests and what failed.
pub(super) fn text(run: &Run) -> String {
    let mut text = line(run) + "\n\n";
    let width = run.requests.iter().map(|request| request.request.chars().count()).max().unwrap_or_default();
    for request in &run.requests {
        let verdict = if request.failures.is_empty() { "ok" } else { "FAILED" };
        let status = request.status.map_or("-".to_owned(), |status| status.to_string());
        let time = request.duration_seconds.map_or("-".to_owned(), |time| format!("{:.0} ms", time * 1e3));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{verdict:<7} {:<width$}  {status:>3}  {time:>8}", request.request);
        for failure in &request.failures {
            let _ = writeln!(text, "        {}: {}", failure.name, failure.message);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::results::{Failure, Request},
        *,
    };

    #[test]
    fn what_failed_stands_below_its_request() {
        let good = Request {
            request: "Orders/list".into(),
            status: Some(200),
            duration_seconds: Some(0.031),
            assertions: 2,
            failures: Vec::new(),
        };
        let failure = Failure { name: "no answer".into(), message: "ECONNREFUSED".into() };
        let bad = Request { request: "pay".into(), failures: vec![failure], ..Request::default() };
        let run = Run {
            collection: "shop".into(),
            started_timestamp_seconds: 0.0,
            duration_seconds: 0.42,
            passed: false,
            requests: vec![good, bad],
        };
        let expected = "shop: 1 of 2 requests failed in 0.4 s: pay\n\n\
                        ok      Orders/list  200     31 ms\n\
                        FAILED  pay            -         -\n        no answer: ECONNREFUSED\n";
        assert_eq!(text(&run), expected);
    }
}
