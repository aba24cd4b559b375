//! What a client may ask of the listener, and what it is told that asks for more.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How much of anything clients may have. Whatever they do, the agent's memory and descriptors stay bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. One more takes the place of the one that has been waiting longest for its client.
    pub connections: usize,
    /// Requests that are worked on at a time; others wait a moment. The stream of events has a limit of its own.
    pub requests: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// For how long a client may take to send a head, or may take nothing of an answer that is there for it.
    pub patience: Duration,
}

impl Limits {
    /// No more connections than there are descriptors for: a client may not take those that counting needs.
    #[must_use]
    pub fn within(self, descriptors: usize) -> Self {
        if descriptors >= self.connections {
            return self;
        }
        let connections = descriptors.max(1);
        tracing::warn!(
            "the listener allows {connections} connections, not {}: the limit on open files is too low; raise it \
             (`ulimit -n`, LimitNOFILE= in the unit)",
            self.connections
        );
        Self { connections, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, requests: 16, head: 16 << 10, patience: Duration::from_secs(10) }
    }
}

/// For how long, and for how many bytes, what a client still sends is taken from it after it was refused: closing a
/// socket with bytes unread resets the connection, and the client might never see why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 4 << 20;

/// When a client that finds no place should come back, in seconds.
pub(super) const RETRY_AFTER: &str = "1";

/// Why a client is sent away before there is a request that the routes could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Its head does not end.
    #[error("the request's head is longer than {0} bytes, the limit here")]
    Head(usize),
    /// It takes its time.
    #[error("the request's head did not arrive within {} s", .0.as_secs_f64())]
    Slow(Duration),
    /// All places are taken.
    #[error("{0} connections are open, which is the limit: try again in a moment")]
    Crowded(usize),
    /// It does not know that this is TLS.
    #[error("this port speaks TLS: use https")]
    Plaintext,
}

impl Refusal {
    const fn status(self) -> StatusCode {
        match self {
            Self::Head(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Plaintext => StatusCode::BAD_REQUEST,
        }
    }

    fn response(self) -> String {
        let (status, sentence) = (self.status(), self.to_string());
        let retry = match self {
            Self::Crowded(_) => format!("retry-after: {RETRY_AFTER}\r\n"),
            _ => String::new(),
        };
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n{retry}connection: close\r\n\r\n{sentence}\n",
            sentence.len() + 1,
        )
    }

    /// Tells it, and closes its connection.
    pub(super) async fn tell(self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        let farewell = async {
            stream.write_all(self.response().as_bytes()).await?;
            stream.shutdown().await?;
            let rest = &mut stream.take(LINGER_BYTES);
            tokio::io::copy(rest, &mut tokio::io::sink()).await
        };
        // A client that does not listen is none of ours.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_answer_in_words() {
        let refusal = Refusal::Crowded(7).response();
        assert!(refusal.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refusal}");
        assert!(refusal.contains("\r\nretry-after: 1\r\n"), "{refusal}");
        let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{refusal}");
        assert_eq!(body, "7 connections are open, which is the limit: try again in a moment\n");
        assert!(Refusal::Head(9).response().starts_with("HTTP/1.1 431 "));
        assert!(Refusal::Slow(Duration::from_millis(1500)).response().contains("within 1.5 s"));
    }
}
