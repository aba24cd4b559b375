//! What our reporter of newman (`reporter.js`) writes.

use std::io::Read;

use serde::Deserialize;

use super::results::{Failure, Request};

/// The reporter: it becomes a file beside the report.
pub(super) const REPORTER: &str = include_str!("reporter.js");

/// A test's message is for people: it may quote a whole answer.
const LONGEST_MESSAGE: usize = 300;

/// What is told of a run.
#[derive(Deserialize)]
pub(super) struct Report {
    /// Why newman ended it early; null if it did not.
    pub(super) error: Option<String>,
    requests: Vec<Turn>,
}

/// The turn of a request.
#[derive(Deserialize)]
struct Turn {
    request: String,
    status: Option<u16>,
    milliseconds: Option<f64>,
    assertions: u64,
    failures: Vec<Failure>,
}

impl Report {
    /// Reads one.
    pub(super) fn read(report: impl Read) -> serde_json::Result<Self> {
        serde_json::from_reader(report)
    }

    /// The requests that were made, or failed before they were.
    pub(super) fn requests(self) -> Vec<Request> {
        let made = |turn: &Turn| turn.status.is_some() || !turn.failures.is_empty();
        self.requests.into_iter().filter(made).map(Request::from).collect()
    }
}

impl From<Turn> for Request {
    fn from(turn: Turn) -> Self {
        let failures = turn.failures.into_iter();
        Self {
            request: turn.request,
            status: turn.status,
            duration_seconds: turn.milliseconds.map(|milliseconds| milliseconds / 1e3),
            assertions: turn.assertions,
            failures: failures
                .map(|failure| Failure { message: short(failure.message), ..failure })
                .collect(),
        }
    }
}

fn short(message: String) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{} ...", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the reporter writes it.
    const REPORT: &str = r#"{"error": null, "requests": [
        {"request": "Orders/list", "status": 200, "milliseconds": 27, "assertions": 2,
         "failures": [{"name": "fast", "message": "expected 1 to equal 2"}]},
        {"request": "skipped", "assertions": 0, "failures": []},
        {"request": "pay", "assertions": 0, "failures": [{"name": "no answer", "message": "connect ECONNREFUSED"}]}]}"#;

    #[test]
    fn each_request_that_was_made_has_its_answer_and_what_failed() {
        let failure = |name: &str, message: &str| Failure { name: name.into(), message: message.into() };
        let requests = Report::read(REPORT.as_bytes()).unwrap().requests();
        assert_eq!(
            requests,
            [
                Request {
                    request: "Orders/list".into(),
                    status: Some(200),
                    duration_seconds: Some(0.027),
                    assertions: 2,
                    failures: vec![failure("fast", "expected 1 to equal 2")],
                },
                Request {
                    request: "pay".into(),
                    failures: vec![failure("no answer", "connect ECONNREFUSED")],
                    ..Request::default()
                },
            ]
        );
        assert_eq!(requests.iter().map(Request::status_class).collect::<Vec<_>>(), ["2xx", "none"]);
    }

    #[test]
    fn what_is_no_report_is_an_error_and_long_messages_are_cut() {
        for text in ["", "{}", r#"{"error": null}"#, &REPORT[..200]] {
            assert!(Report::read(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(short("ä".repeat(301)), "ä".repeat(300) + " ...");
    }
}
