//! Writing to standard error without depending on its reader: a disk that is full, a pipe that is closed or that nobody
//! empties, a terminal that was stopped. What cannot be written is lost, and counted.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// For how long a line waits for a reader that is slow for a moment. One that follows a line that was lost does not wait:
/// else every line of an agent whose log is stuck would hold up the thread that counts.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a pipe takes without blocking once it is writable (`PIPE_BUF`).
const AT_ONCE: usize = 4096;

/// What becomes of lines.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// Lines that were lost since the last one that was written.
    lost: u64,
    /// Lines that had been lost when one could be written again.
    recovered: Option<u64>,
}

impl Sink {
    /// Writes a line of the log.
    pub(super) fn log(&mut self, line: &[u8]) {
        self.log_to(&mut io::stderr().lock(), line);
    }

    /// Writes what is shown for the moment, and would be of no use later.
    pub(super) fn draw(&mut self, text: &[u8]) {
        let patience = self.patience();
        _ = write_all(&mut io::stderr().lock(), text, patience);
    }

    /// How many lines were lost until the log could be written again; told once.
    pub(super) fn recovered(&mut self) -> Option<u64> {
        self.recovered.take()
    }

    fn log_to(&mut self, to: &mut (impl Write + AsFd), line: &[u8]) {
        let patience = self.patience();
        match write_all(to, line, patience) {
            Ok(()) if self.lost > 0 => {
                let lost = std::mem::take(&mut self.lost);
                self.recovered = Some(self.recovered.unwrap_or_default() + lost);
            }
            Ok(()) => {}
            Err(_) => self.lost += 1,
        }
    }

    const fn patience(&self) -> Duration {
        if self.lost > 0 { Duration::ZERO } else { PATIENCE }
    }
}

fn write_all(to: &mut (impl Write + AsFd), bytes: &[u8], patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    for piece in bytes.chunks(AT_ONCE) {
        wait_until_writable(to, deadline)?;
        to.write_all(piece)?;
    }
    to.flush()
}

/// Waits until a write would not block. A closed pipe is writable, and the write says that it is closed.
fn wait_until_writable(to: &impl AsFd, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut watched = [PollFd::new(to, PollFlags::OUT)];
        match poll(&mut watched, Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read};

    use super::*;

    #[test]
    fn what_a_full_disk_does_not_take_is_lost_and_counted() {
        let (mut sink, mut full) = (Sink::default(), File::options().write(true).open("/dev/full").unwrap());
        for _ in 0..3 {
            sink.log_to(&mut full, b"a line\n");
        }
        assert_eq!(sink.recovered(), None);
        sink.log_to(&mut tempfile::tempfile().unwrap(), b"there is room again\n");
        assert_eq!((sink.recovered(), sink.recovered()), (Some(3), None));
    }

    #[test]
    fn a_reader_that_has_gone_or_stands_still_holds_nobody_up() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let mut sink = Sink::default();
        let began = Instant::now();
        // A pipe has 64 KiB.
        for _ in 0..2000 {
            sink.log_to(&mut writer, &[b'x'; 100]);
        }
        assert!(sink.lost > 1000, "{} of 2,000 lost", sink.lost);
        assert!(began.elapsed() < PATIENCE * 10, "2,000 lines took {:?}", began.elapsed());
        reader.read_exact(&mut vec![0; 50_000]).unwrap();
        sink.log_to(&mut writer, b"taken again\n");
        assert!(sink.recovered().is_some());
        drop(reader);
        sink.log_to(&mut writer, b"nobody is there\n");
        assert_eq!(sink.lost, 1);
    }
}
