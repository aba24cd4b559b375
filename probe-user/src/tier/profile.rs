//! Kinds of services: what load means differs between an API and a stream.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request that moves so many bytes is a transfer and not a call.
const LARGE_REQUEST: f64 = 256.0 * 1024.0;

/// Where requests are not seen: bytes per second on a connection that make it a transfer, 1 Mbit/s.
const FAST_CONNECTION: f64 = 125_000.0;

/// A connection that lives so many seconds is kept for its own sake.
const LONG_CONNECTION: f64 = 30.0;

/// Requests per second on a long connection below which it is there for something else: one in 20 s.
const RARE_REQUESTS: f64 = 0.05;

/// What kind of service it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Many small requests.
    #[default]
    Api,
    /// Much data over connections that stay: media.
    Streaming,
    /// Connections that stay, with little on them: chats, games, telemetry.
    Realtime,
    /// Transfers that come and go: downloads, backups.
    Bulk,
}

/// How much of each measure counts against its threshold: 1 all of it, 0 nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Of requests per second.
    pub requests: f64,
    /// Of bits per second.
    pub bits: f64,
    /// Of concurrent users.
    pub users: f64,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Api, Self::Streaming, Self::Realtime, Self::Bulk];

    /// As it is written in the configuration.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Streaming => "streaming",
            Self::Realtime => "realtime",
            Self::Bulk => "bulk",
        }
    }

    /// How the measures are weighed. Data counts the same for all, since links are. A transfer's requests are what it
    /// is cut into, so a tenth of them counts; users count where each holds a connection that has to be served.
    #[must_use]
    pub const fn weights(self) -> Weights {
        match self {
            Self::Api => Weights { requests: 1.0, bits: 1.0, users: 0.0 },
            Self::Streaming => Weights { requests: 0.1, bits: 1.0, users: 1.0 },
            Self::Realtime => Weights { requests: 1.0, bits: 1.0, users: 1.0 },
            Self::Bulk => Weights { requests: 0.1, bits: 1.0, users: 0.1 },
        }
    }
}

/// What a service's traffic looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Payload per second, both ways.
    pub(super) bytes: f64,
    /// Requests per second.
    pub(super) requests: f64,
    /// Connections that are open.
    pub(super) open: f64,
    /// How long a connection lives, in seconds.
    pub(super) connection: f64,
}

impl Shape {
    /// The profile that such traffic has; none where there is none to tell by.
    pub(super) fn profile(&self) -> Option<Profile> {
        if self.bytes <= 0.0 {
            return None;
        }
        let transfers = if self.requests > 0.0 {
            self.bytes / self.requests >= LARGE_REQUEST
        } else {
            self.bytes >= FAST_CONNECTION * self.open.max(1.0)
        };
        let stays = self.connection >= LONG_CONNECTION;
        Some(match (transfers, stays) {
            (true, true) => Profile::Streaming,
            (true, false) => Profile::Bulk,
            (false, true) if self.requests < self.open * RARE_REQUESTS => Profile::Realtime,
            (false, _) => Profile::Api,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: f64, requests: f64, open: f64, connection: f64) -> Option<Profile> {
        Shape { bytes, requests, open, connection }.profile()
    }

    #[test]
    fn bytes_a_request_and_the_life_of_connections_tell() {
        assert_eq!(of(50_000.0, 100.0, 10.0, 0.1), Some(Profile::Api));
        assert_eq!(of(50_000.0, 100.0, 10.0, 3600.0), Some(Profile::Api), "connections that are kept");
        assert_eq!(of(10e6, 5.0, 20.0, 600.0), Some(Profile::Streaming));
        assert_eq!(of(10e6, 1.0, 2.0, 8.0), Some(Profile::Bulk));
        assert_eq!(of(20_000.0, 0.2, 500.0, 900.0), Some(Profile::Realtime));
    }

    #[test]
    fn where_requests_are_not_seen_the_bytes_of_a_connection_tell() {
        assert_eq!(of(10e6, 0.0, 5.0, 600.0), Some(Profile::Streaming));
        assert_eq!(of(10e6, 0.0, 5.0, 3.0), Some(Profile::Bulk));
        assert_eq!(of(1_000.0, 0.0, 50.0, 600.0), Some(Profile::Realtime));
        assert_eq!(of(1_000.0, 0.0, 5.0, 0.5), Some(Profile::Api));
    }

    #[test]
    fn silence_tells_nothing() {
        assert_eq!(of(0.0, 0.0, 5.0, 600.0), None);
    }
}
