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

use super::limits::{Limits, Refusal};

/// What the stream and the service behind it tell each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes since the last request was whole.
    head: AtomicUsize,
    /// A request became whole: the next one has its own time.
    whole: AtomicBool,
    /// Whether there was any.
    served: AtomicBool,
    /// What still comes is of no interest.
    deaf: AtomicBool,
    /// Its client takes nothing of an answer.
    stuck: AtomicBool,
    too_slow: AtomicBool,
}

impl Progress {
    /// A request's head is here.
    pub(super) fn request_is_whole(&self) {
        self.head.store(0, Ordering::Relaxed);
        self.whole.store(true, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
    }

    /// Nothing more is read.
    pub(super) fn stop_reading(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Whether the client waits for an answer, or will once it has asked: one that has been served, and says nothing, does
    /// not.
    pub(super) fn awaits_answer(&self) -> bool {
        let asks = self.head.load(Ordering::Relaxed) > 0 || !self.served.load(Ordering::Relaxed);
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

/// The stream.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    limits: Limits,
    progress: Arc<Progress>,
    /// Runs while a head is due: from the beginning, and later from a head's first byte.
    head_due: Option<Pin<Box<Sleep>>>,
    /// Runs while the client takes nothing.
    take_due: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, limits: Limits, progress: Arc<Progress>) -> Self {
        let head_due = Some(Box::pin(sleep(limits.patience)));
        Self { stream, limits, progress, head_due, take_due: None }
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
        let patience = self.limits.patience;
        let due = self.take_due.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(due.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let progress = &this.progress;
        if progress.deaf.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        if progress.whole.swap(false, Ordering::Relaxed) {
            this.head_due = None;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len() - before;
                let head = progress.head.fetch_add(read, Ordering::Relaxed) + read;
                if head > this.limits.head {
                    return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
                }
                if read > 0 && this.head_due.is_none() {
                    this.head_due = Some(Box::pin(sleep(this.limits.patience)));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let Some(due) = &mut this.head_due else { return Poll::Pending };
                ready!(due.as_mut().poll(cx));
                progress.too_slow.store(true, Ordering::Relaxed);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_taking(cx, tried)
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
        self.watch_taking(cx, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
