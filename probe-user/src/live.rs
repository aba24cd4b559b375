//! The live line: on a terminal, `run` shows at once that it works, and logs do not tear it.

mod line;

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::termios::tcgetwinsize;
use tracing_subscriber::fmt::MakeWriter;

pub use line::summary;

/// To the line's start, and clear it to its end (ECMA-48, erase in line).
const CLEAR: &str = "\r\x1b[K";

/// Width of a terminal that does not tell.
const USUAL_WIDTH: usize = 80;

/// Standard error, shared by the live line and the log: one lock keeps each whole.
#[derive(Clone, Debug)]
pub struct Screen {
    kind: ScreenKind,
    shown: Arc<Mutex<String>>,
}

/// What standard error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenKind {
    /// A terminal that can clear a line.
    Terminal,
    /// A file, a pipe, or a terminal that cannot.
    Stream,
}

impl Screen {
    /// The screen that standard error is.
    #[must_use]
    pub fn detect() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let kind =
            if io::stderr().is_terminal() && !dumb { ScreenKind::Terminal } else { ScreenKind::Stream };
        Self { kind, shown: Arc::default() }
    }

    /// What standard error is.
    #[must_use]
    pub fn kind(&self) -> ScreenKind {
        self.kind
    }

    /// Shows a line in place of the one before it. Nothing is shown unless this is a terminal.
    pub fn show(&self, line: &str) {
        if self.kind == ScreenKind::Terminal {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            truncate(line, width()).clone_into(&mut shown);
            draw(&format!("{CLEAR}{shown}"));
        }
    }

    /// Leaves the line where it is and goes on below it.
    pub fn finish(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut *shown).is_empty() {
            draw("\n");
        }
    }
}

/// A terminal that is gone is no reason to stop counting.
fn draw(text: &str) {
    let mut stderr = io::stderr().lock();
    _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn width() -> usize {
    tcgetwinsize(io::stderr()).map_or(USUAL_WIDTH, |size| match size.ws_col {
        0 => USUAL_WIDTH,
        columns => usize::from(columns),
    })
}

/// As many parts of a line as fit without touching the last column, where some terminals wrap. A part is shown
/// whole or not at all: half a number, or milliseconds without their second letter, would be another number.
fn truncate(line: &str, width: usize) -> &str {
    let mut line = line;
    while line.chars().count() >= width {
        let Some((shorter, _)) = line.rsplit_once(line::SEPARATOR) else {
            return "";
        };
        line = shorter;
    }
    line
}

/// A log line being written.
#[derive(Debug)]
pub struct LogLine<'a>(&'a Screen);

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stderr = io::stderr().lock();
        if shown.is_empty() {
            return stderr.write(bytes);
        }
        // `tracing_subscriber` writes an event as a whole, with its newline: the live line moves below it.
        stderr.write_all(CLEAR.as_bytes())?;
        stderr.write_all(bytes)?;
        stderr.write_all(shown.as_bytes())?;
        stderr.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_the_terminal_in_whole_parts() {
        assert_eq!(truncate("1 service · P99 2 ms", 80), "1 service · P99 2 ms");
        assert_eq!(
            truncate("1 service · P99 2 ms", 21),
            "1 service · P99 2 ms",
            "characters count, not bytes"
        );
        assert_eq!(truncate("1 service · P99 2 ms", 20), "1 service");
        assert_eq!(truncate("1 service · P99 2 ms", 9), "");
    }
}
