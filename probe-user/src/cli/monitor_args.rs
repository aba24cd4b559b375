//! The flags of `traffic-probe monitor`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{BoolishValueParser, NonEmptyStringValueParser, TypedValueParser},
};

use super::{OutputFormat, duration};

/// Flags of `traffic-probe monitor`.
#[derive(Clone, Debug, Args)]
pub struct MonitorArgs {
    /// The collection, as Postman exports it (v2.0 or v2.1)
    #[arg(value_name = "COLLECTION", env = "TRAFFIC_PROBE_MONITOR_COLLECTION")]
    pub collection: PathBuf,
    /// Its environment, as Postman exports it [default: none]
    #[arg(long, value_name = "FILE", env = "TRAFFIC_PROBE_MONITOR_ENVIRONMENT")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub environment: Option<PathBuf>,
    /// Set a variable of the environment, overriding its file; repeatable [default: none]
    #[arg(long = "env-var", value_name = "NAME=VALUE", env = "TRAFFIC_PROBE_MONITOR_ENV_VAR")]
    #[arg(value_parser = variable)]
    pub variables: Vec<String>,
    /// Time from the start of one run to the start of the next
    #[arg(long, value_name = "TIME", default_value = "1m", env = "TRAFFIC_PROBE_MONITOR_EVERY")]
    #[arg(value_parser = period)]
    pub every: Duration,
    /// Kill a run that takes longer than this, and count it as undone
    #[arg(long, value_name = "TIME", default_value = "1m", env = "TRAFFIC_PROBE_MONITOR_TIMEOUT")]
    #[arg(value_parser = period)]
    pub timeout: Duration,
    /// Path of newman, or its name if it is on PATH
    #[arg(long, value_name = "PATH", default_value = "newman", env = "TRAFFIC_PROBE_NEWMAN")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub newman: PathBuf,
    /// Address and port of /metrics and /results
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9465")]
    #[arg(env = "TRAFFIC_PROBE_MONITOR_LISTEN")]
    pub listen: SocketAddr,
    /// TLS and authentication, in the web configuration format of Prometheus exporters [default: none]
    #[arg(long, alias = "web.config.file", value_name = "FILE", env = "TRAFFIC_PROBE_WEB_CONFIG")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub web_config: Option<PathBuf>,
    /// Run once, show the results and exit: 0 if all passed, 1 if a request or test failed, 2 if there was no run
    #[arg(long, env = "TRAFFIC_PROBE_MONITOR_ONCE", value_parser = BoolishValueParser::new())]
    pub once: bool,
    /// With --once: output format
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_FORMAT")]
    pub format: OutputFormat,
    /// With --once: also write metrics to this file for a textfile collector; its name must end in .prom
    /// [default: none]
    #[arg(long, value_name = "FILE", requires = "once", env = "TRAFFIC_PROBE_MONITOR_TEXTFILE")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub textfile: Option<PathBuf>,
}

fn variable(typed: &str) -> Result<String, String> {
    match typed.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(typed.to_owned()),
        _ => Err(format!("`{typed}` is not a variable: write NAME=VALUE")),
    }
}

fn period(typed: &str) -> Result<Duration, String> {
    let period = duration::parse(typed)?;
    if period.is_zero() { Err("it must be longer than zero".to_owned()) } else { Ok(period) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_a_name_and_a_period_some_length() {
        assert_eq!(variable("baseUrl=http://a/?b=c").as_deref(), Ok("baseUrl=http://a/?b=c"));
        assert!(variable("baseUrl").is_err() && variable("=x").is_err());
        assert_eq!(period("1m"), Ok(Duration::from_mins(1)));
        assert!(period("0s").is_err() && period("60").is_err());
    }
}
