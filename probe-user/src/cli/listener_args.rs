//! The flags about the listener, beside its address.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{NonEmptyStringValueParser, TypedValueParser},
    value_parser,
};

use super::duration;
use crate::server::Limits;

/// Flags about the listener.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Listener")]
pub(super) struct ListenerArgs {
    /// TLS and authentication, in the web configuration format of Prometheus exporters [default: none]
    #[arg(long, alias = "web.config.file", value_name = "FILE", env = "TRAFFIC_PROBE_WEB_CONFIG")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub(super) web_config: Option<PathBuf>,
    /// Open connections; a new one beyond that replaces the one that has waited longest for its client
    #[arg(long, value_name = "N", default_value = "256", env = "TRAFFIC_PROBE_MAX_CONNECTIONS")]
    #[arg(value_parser = count(16..=65_536))]
    max_connections: usize,
    /// Requests handled at a time; others queue for up to 5 s
    #[arg(long, value_name = "N", default_value = "16", env = "TRAFFIC_PROBE_MAX_REQUESTS")]
    #[arg(value_parser = count(1..=1024))]
    max_requests: usize,
    /// Bytes of a request's head
    #[arg(long, value_name = "BYTES", default_value = "16384", env = "TRAFFIC_PROBE_MAX_REQUEST_HEAD")]
    #[arg(value_parser = count(1024..=262_144))]
    max_request_head: usize,
    /// Time for a client to send a request's head, or to read more of a response
    #[arg(long, value_name = "DURATION", default_value = "10s", env = "TRAFFIC_PROBE_REQUEST_TIMEOUT")]
    #[arg(value_parser = patience)]
    request_timeout: Duration,
}

impl ListenerArgs {
    pub(super) const fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            requests: self.max_requests,
            head: self.max_request_head,
            patience: self.request_timeout,
        }
    }
}

/// A number of things within a range.
fn count(range: std::ops::RangeInclusive<i64>) -> impl TypedValueParser<Value = usize> {
    value_parser!(u32).range(range).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

fn patience(typed: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(100)..=Duration::from_mins(10);
    let asked = duration::parse(typed)?;
    if range.contains(&asked) { Ok(asked) } else { Err(format!("`{typed}` is not between 100ms and 10m")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        listener: ListenerArgs,
    }

    #[test]
    fn defaults_are_those_of_the_server() {
        assert_eq!(Typed::parse_from(["run"]).listener.limits(), Limits::default());
    }

    #[test]
    fn a_web_configuration_is_named_as_exporters_have_it_too() {
        for flag in ["--web-config", "--web.config.file"] {
            let typed = Typed::parse_from(["run", flag, "web.yml"]).listener.web_config;
            assert_eq!(typed, Some(PathBuf::from("web.yml")));
        }
    }

    #[test]
    fn limits_are_within_reason() {
        for flag in
            ["--max-connections=1", "--max-requests=0", "--max-request-head=9", "--request-timeout=0s"]
        {
            assert!(Typed::try_parse_from(["run", flag]).is_err(), "{flag}");
        }
    }
}
