//! A client's stream, held to the listener's limits: how long a head may be and take, and how long an answer may wait to be
//! taken.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    limits::{Limits, Refusal},
    places::Seat,
};

/// What the stream and the service behind it tell each other.
#[derive(Debug)]
pub(super) struct Progress {
    seat: Arc<Seat>,
    /// Bytes of the head that is not whole yet.
    head: AtomicUsize,
    /// Heads that are whole, and not answered.
    whole: AtomicUsize,
    /// Whether there was any.
    served: AtomicBool,
    /// What still comes is of no interest.
    deaf: AtomicBool,
    /// Its client takes nothing of an answer.
    stuck: AtomicBool,
    too_slow: AtomicBool,
}

impl Progress {
    pub(super) fn of(seat: Arc<Seat>) -> Self {
        let (head, whole) = (AtomicUsize::default(), AtomicUsize::default());
        let [served, deaf, stuck, too_slow] = [(); 4].map(|()| AtomicBool::default());
        Self { seat, head, whole, served, deaf, stuck, too_slow }
    }

    /// A request is about to be answered.
    pub(super) fn request_is_whole(&self) {
        // Where lines end in another way than here they may be counted differently.
        let one_less = |whole: usize| Some(whole.saturating_sub(1));
        _ = self.whole.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        self.served.store(true, Ordering::Relaxed);
    }

    /// Nothing more is read.
    pub(super) fn stop_reading(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Whether the client waits for an answer, or will once it has asked: one that has been served, and says nothing, does
    /// not.
    pub(super) fn awaits_answer(&self) -> bool {
        let asks = [&self.head, &self.whole].iter().any(|some| some.load(Ordering::Relaxed) > 0)
            || !self.served.load(Ordering::Relaxed);
        asks && !self.stuck.load(Ordering::Relaxed)
    }

    /// Which limit it ran into; none if it left by itself.
    pub(super) fn refusal(&self, limits: &Limits) -> Option<Refusal> {
        if self.head.load(Ordering::Relaxed) > limits.head {
            return Some(Refusal::Head(limits.head));
        }
        let slow = self.too_slow.load(Ordering::Relaxed) && self.awaits_answer();
        slow.then_some(Refusal::Slow(limits.patience))
    }
}

/// Where heads of requests end: at an empty line. They have no content here, so that all that comes is heads.
#[derive(Debug, Default)]
struct Heads {
    /// Bytes of the head that is not whole.
    length: usize,
    line_has_text: bool,
}

impl Heads {
    /// Reads on, and says how many heads became whole. Goes no further than a head that is longer than the limit.
    fn read(&mut self, bytes: &[u8], limit: usize) -> usize {
        let mut whole = 0;
        for byte in bytes {
            self.length += 1;
            if self.length > limit {
                break;
            }
            match byte {
                b'\n' if self.line_has_text => self.line_has_text = false,
                // Empty lines before a request are passed over (RFC 9112, section 2.2).
                b'\n' => {
                    whole += usize::from(self.length > 2);
                    self.length = 0;
                }
                b'\r' => {}
                _ => self.line_has_text = true,
            }
        }
        whole
    }
}

/// The stream.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    limits: Limits,
    progress: Arc<Progress>,
    heads: Heads,
    /// Runs while a head is due: from the beginning, and later from a head's first byte.
    head_due: Option<Pin<Box<Sleep>>>,
    /// Runs while the client takes nothing.
    take_due: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, limits: Limits, progress: Arc<Progress>) -> Self {
        let head_due = Some(Box::pin(sleep(limits.patience)));
        Self { stream, limits, progress, heads: Heads::default(), head_due, take_due: None }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Whether what was tried went on; an error when it has not for too long.
    fn watch_taking<T>(&mut self, cx: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.progress.stuck.store(tried.is_pending(), Ordering::Relaxed);
        if tried.is_ready() {
            self.take_due = None;
            return tried;
        }
        self.progress.seat.is_stuck();
        let patience = self.limits.patience;
        let due = self.take_due.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(due.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The same for bytes of an answer.
    fn watch_writing(
        &mut self,
        cx: &mut Context<'_>,
        tried: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &tried {
            self.progress.seat.takes(*bytes);
        }
        self.watch_taking(cx, tried)
    }

    /// Notes what was read. An error says that a head is too long.
    fn note(&mut self, bytes: &[u8]) -> io::Result<()> {
        let whole = self.heads.read(bytes, self.limits.head);
        self.progress.whole.fetch_add(whole, Ordering::Relaxed);
        self.progress.head.store(self.heads.length, Ordering::Relaxed);
        if self.heads.length > self.limits.head {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if whole > 0 {
            self.head_due = None;
        }
        if self.heads.length > 0 && self.head_due.is_none() {
            self.head_due = Some(Box::pin(sleep(self.limits.patience)));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.progress.deaf.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(this.note(&buffer.filled()[before..])),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let Some(due) = &mut this.head_due else { return Poll::Pending };
                ready!(due.as_mut().poll(cx));
                this.progress.too_slow.store(true, Ordering::Relaxed);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_writing(cx, tried)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_taking(cx, tried)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_taking(cx, tried)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch_writing(cx, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_at_an_empty_line_wherever_they_are_cut() {
        let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\n\n\r\n\r\nGET /last";
        for cut in 0..text.len() {
            let mut heads = Heads::default();
            let whole = heads.read(&text[..cut], 100) + heads.read(&text[cut..], 100);
            assert_eq!((whole, heads.length), (2, "GET /last".len()), "cut at {cut}");
        }
    }

    #[test]
    fn many_small_heads_are_not_a_long_one() {
        let mut heads = Heads::default();
        assert_eq!(heads.read(&b"GET / HTTP/1.1\r\n\r\n".repeat(2000), 100), 2000);
        assert_eq!(heads.length, 0);
        // One that comes as a whole is as long as one that does not.
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100));
        assert_eq!((heads.read(long.as_bytes(), 100), heads.length), (0, 101));
    }
}
