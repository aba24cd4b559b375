//! The loads, each as much as one CPU of server bears, and what the load generators say.

mod h2load;
mod redis;
mod wrk;

use std::time::Duration;

use anyhow::{Result, bail};

use super::server::Server;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Small replies, one after the other on each connection.
    Small,
    /// Small replies, sixteen requests at a time.
    Pipelined,
    /// Replies of 1 MiB, by `sendfile`.
    Large,
    /// Small replies, each on a connection of its own.
    Connections,
    /// Small replies over HTTP/2, sixteen streams at a time.
    Http2,
    /// `GET` of Redis, one after the other on each connection.
    Redis,
    /// The same, sixteen at a time.
    RedisPipelined,
}

/// What a load came to.
pub(crate) struct Done {
    /// Requests that were answered.
    pub(crate) requests: u64,
    /// How long it took.
    pub(crate) time: Duration,
    /// How long they took; none where the load generator cannot tell.
    pub(crate) latency: Option<Latency>,
}

/// Of the requests of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// Half of them took this long or less.
    pub(crate) median: Duration,
    /// 99 of 100.
    pub(crate) tail: Duration,
}

impl Load {
    /// All of them; for a first look those that there are targets for.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        if quick {
            return vec![Self::Small, Self::Pipelined, Self::Large, Self::Http2, Self::Redis];
        }
        vec![
            Self::Small,
            Self::Pipelined,
            Self::Large,
            Self::Connections,
            Self::Http2,
            Self::Redis,
            Self::RedisPipelined,
        ]
    }

    /// Its name in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Small => "nginx, small replies",
            Self::Pipelined => "nginx, small replies, pipelined 16",
            Self::Large => "nginx, 1 MiB by sendfile",
            Self::Connections => "nginx, a connection each request",
            Self::Http2 => "nginx, HTTP/2, 16 streams",
            Self::Redis => "redis GET, -P 1",
            Self::RedisPipelined => "redis GET, -P 16",
        }
    }

    /// Whether the server is a redis; else an nginx.
    pub(crate) const fn is_redis(self) -> bool {
        matches!(self, Self::Redis | Self::RedisPipelined)
    }

    /// Whether the probe counts requests of its protocol; of others it counts bytes.
    pub(crate) const fn is_measured(self) -> bool {
        matches!(self, Self::Small | Self::Pipelined | Self::Large | Self::Connections)
    }

    /// Runs it for a moment, and says how many requests a second it came to.
    pub(crate) fn warm_up(self, server: &Server) -> Result<f64> {
        // For those that want a number of requests, and not a time.
        const GUESS: f64 = 20_000.0;
        let done = self.run(server, Duration::from_secs(1), GUESS)?;
        Ok(done.requests as f64 / done.time.as_secs_f64())
    }

    /// Runs it for a time. `rate` is what it came to before.
    pub(crate) fn run(self, server: &Server, time: Duration, rate: f64) -> Result<Done> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of requests")]
        let requests = (rate * time.as_secs_f64()) as u64;
        match self {
            Self::Http2 => h2load::run(server, "/small", 8, 16, time),
            Self::Redis => redis::run(server.port(), 1, requests),
            Self::RedisPipelined => redis::run(server.port(), 16, requests),
            _ => self.run_by(server, server.port(), time),
        }
    }

    /// Runs a load of HTTP/1 for a time, by a port that leads to the server.
    pub(crate) fn run_by(self, server: &Server, port: u16, time: Duration) -> Result<Done> {
        let (path, connections, manner) = match self {
            Self::Small => ("/small", 32, wrk::Manner::Plain),
            Self::Pipelined => ("/small", 32, wrk::Manner::Pipelined),
            Self::Large => ("/large", 8, wrk::Manner::Plain),
            Self::Connections => ("/small", 16, wrk::Manner::Close),
            Self::Http2 | Self::Redis | Self::RedisPipelined => bail!("{} is no load of HTTP/1", self.name()),
        };
        wrk::run(server, port, path, connections, manner, time)
    }
}
