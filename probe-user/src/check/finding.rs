//! What was found about one thing.

/// What was found about one thing that the probe needs or can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a few words.
    pub subject: &'static str,
    /// What it comes to.
    pub verdict: Verdict,
    /// What was found, and unless all is well, what follows and what to do.
    pub detail: String,
}

/// What a finding comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Good,
    /// `run` works, with a fall-back or with less to show.
    Lesser,
    /// `run` does not work.
    Missing,
}

impl Finding {
    pub(super) fn new(subject: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { subject, verdict, detail: detail.into() }
    }

    pub(super) fn good(subject: &'static str, detail: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Good, detail)
    }

    pub(super) fn lesser(subject: &'static str, detail: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Lesser, detail)
    }

    pub(super) fn missing(subject: &'static str, detail: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Missing, detail)
    }
}

impl Verdict {
    /// As JSON has it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Lesser => "lesser",
            Self::Missing => "missing",
        }
    }
}
