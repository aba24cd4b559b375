//! The live line: on a terminal, `run` shows at once that it works, and logs do not tear it.

mod line;
mod sink;

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::termios::tcgetwinsize;
use tracing_subscriber::fmt::MakeWriter;

use crate::visible::directs;
pub use line::summary;
use sink::Sink;

/// To the line's start, and clear it to its end (ECMA-48, erase in line).
const CLEAR: &str = "\r\x1b[K";

/// Width of a terminal that does not tell.
const USUAL_WIDTH: usize = 80;

/// Standard error, shared by the live line and the log: one lock keeps each whole.
#[derive(Clone, Debug)]
pub struct Screen {
    kind: ScreenKind,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The live line.
    shown: String,
    sink: Sink,
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
        Self { kind, state: Arc::default() }
    }

    /// What standard error is.
    #[must_use]
    pub fn kind(&self) -> ScreenKind {
        self.kind
    }

    /// Shows a line in place of the one before it. Nothing is shown unless this is a terminal.
    pub fn show(&self, line: &str) {
        if self.kind == ScreenKind::Terminal {
            let mut state = self.state();
            truncate(line, width()).clone_into(&mut state.shown);
            let text = format!("{CLEAR}{}", state.shown);
            state.sink.draw(text.as_bytes());
        }
    }

    /// Leaves the line where it is and goes on below it.
    pub fn finish(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.shown).is_empty() {
            state.sink.draw(b"\n");
        }
    }

    /// How many lines of the log were lost until it could be written again, if that has just happened.
    #[must_use]
    pub fn lost_until_now(&self) -> Option<u64> {
        self.state().sink.recovered()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole whenever the lock is let go of.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says something on standard error, as the last words of a command. Unlike `eprintln!`, it does not panic where nobody
/// listens any more.
pub fn say(sentence: &str) {
    // A terminal or a log that is gone is no reason to end in another way.
    _ = writeln!(io::stderr(), "{sentence}");
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
    /// Never fails, and never waits for long: nobody who logs can do anything about a log that cannot be written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        let State { shown, sink } = &mut *state;
        let line = undirected(bytes);
        let line = line.as_bytes();
        if shown.is_empty() {
            sink.log(line);
        } else {
            // `tracing_subscriber` writes an event as a whole, with its newline: the live line moves below it.
            sink.log(&[CLEAR.as_bytes(), line, shown.as_bytes()].concat());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line without what changes the direction of writing: it may have the name of an interface, say, which is anybody's. Of other
/// characters that terminals act on `tracing_subscriber` takes care.
fn undirected(line: &[u8]) -> Cow<'_, str> {
    let line = String::from_utf8_lossy(line);
    if line.chars().any(directs) { line.replace(directs, "\u{fffd}").into() } else { line }
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
    fn a_log_line_reads_in_one_direction() {
        assert_eq!(undirected(b"interface eth0"), "interface eth0");
        assert_eq!(undirected("interface \u{202e}0hte\n".as_bytes()), "interface \u{fffd}0hte\n");
    }

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
