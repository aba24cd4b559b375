//! The flags of `traffic-probe report`.

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser, builder::TypedValueParser};
use ureq::http::Uri;

use super::OutputFormat;
use crate::reporting::Credentials;

/// Flags of `traffic-probe report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// URL of the agent
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464", env = "TRAFFIC_PROBE_URL")]
    #[arg(value_parser = url)]
    pub url: Uri,
    /// Output format
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_FORMAT")]
    pub format: OutputFormat,
    /// CA certificates (PEM) to trust for https, instead of the public ones [default: none]
    #[arg(long, value_name = "FILE", env = "TRAFFIC_PROBE_CA")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub ca: Option<PathBuf>,
    /// Who asks.
    #[command(flatten)]
    pub credentials: Credentials,
}

fn url(typed: &str) -> Result<Uri, String> {
    let refused = || {
        format!("`{typed}` is not an agent's URL: write http://127.0.0.1:9464, or https:// if it serves TLS")
    };
    let url: Uri = typed.parse().map_err(|_| refused())?;
    let known = matches!(url.scheme_str(), Some("http" | "https")) && url.query().is_none();
    if known { Ok(url) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme() {
        for good in ["http://127.0.0.1:9464", "https://node.example/probe/", "http://[::1]:9464"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:9464", "localhost", "", "ftp://node", "http://node/?a=b", "http://"] {
            assert!(url(bad).unwrap_err().contains("write http://127.0.0.1:9464"), "{bad}");
        }
    }
}
