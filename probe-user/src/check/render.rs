//! Findings for people and for programs.

use std::{env, fmt::Write};

use super::{
    Findings,
    finding::{Finding, Verdict},
};
use crate::api;

/// The marks before each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marks {
    /// For terminals that speak UTF-8.
    Unicode,
    /// For all else.
    Ascii,
}

impl Marks {
    /// The marks that standard output can show.
    pub(super) fn for_output(terminal: bool) -> Self {
        // The first that is set decides, as in locale(7).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|name| env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        if terminal && (locale.ends_with("utf-8") || locale.ends_with("utf8")) {
            Self::Unicode
        } else {
            Self::Ascii
        }
    }

    fn of(self, verdict: Verdict) -> &'static str {
        match (self, verdict) {
            (Self::Unicode, Verdict::Good) => "✓",
            (Self::Unicode, Verdict::Lesser) => "!",
            (Self::Unicode, Verdict::Missing) => "✗",
            (Self::Ascii, Verdict::Good) => "ok  ",
            (Self::Ascii, Verdict::Lesser) => "warn",
            (Self::Ascii, Verdict::Missing) => "FAIL",
        }
    }
}

/// A line each, and one that sums up.
pub(super) fn text(findings: &[Finding], marks: Marks) -> String {
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { subject, verdict, detail } in findings {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{} {subject:width$}  {detail}", marks.of(*verdict));
    }
    let missing = findings.iter().filter(|finding| finding.verdict == Verdict::Missing).count();
    let verdict = match missing {
        0 => "will work here.".to_owned(),
        1 => "will not work here: one thing is missing.".to_owned(),
        more => format!("will not work here: {more} things are missing."),
    };
    _ = writeln!(text, "\n`traffic-probe run` {verdict}");
    text
}

/// One document.
pub(super) fn json(findings: &Findings) -> String {
    let list: Vec<_> = findings
        .all
        .iter()
        .map(
            |Finding {
                 subject,
                 verdict,
                 detail,
             }| {
                serde_json::json!({ "subject": subject, "verdict": verdict.label(), "detail": detail })
            },
        )
        .collect();
    let features: Vec<_> = findings.features.iter().map(api::Feature::of).collect();
    let would_run = findings.would_run();
    format!("{:#}\n", serde_json::json!({ "would_run": would_run, "findings": list, "features": features }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Feature, FeatureState};

    fn findings() -> Vec<Finding> {
        vec![
            Finding::good("kernel", "6.1"),
            Finding::lesser("tracefs", "not mounted"),
            Finding::missing("BTF", "no"),
        ]
    }

    #[test]
    fn a_line_each_for_people() {
        let text = text(&findings(), Marks::Ascii);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ok   kernel   6.1");
        assert_eq!(lines[1], "warn tracefs  not mounted");
        assert_eq!(lines[2], "FAIL BTF      no");
        assert!(lines[4].contains("will not work here: one thing"), "{text}");
    }

    #[test]
    fn one_document_for_programs() {
        let missing = Feature::Tcx.missing("refused (os error 22)");
        let state = FeatureState { feature: Feature::Tcx, missing: Some(missing.into()) };
        let found = Findings { all: findings(), features: vec![state] };
        let value: serde_json::Value = serde_json::from_str(&json(&found)).unwrap();
        assert_eq!(value["would_run"], false);
        assert_eq!(value["findings"][1]["verdict"], "lesser");
        assert_eq!(value["features"][0]["feature"], "tcx");
        assert_eq!(value["features"][0]["missing"]["why"], "refused (os error 22)");
    }
}
