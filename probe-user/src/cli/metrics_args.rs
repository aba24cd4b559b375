//! The flags about what `/metrics` looks like.

use clap::{
    Args,
    builder::{BoolishValueParser, NonEmptyStringValueParser},
};

use crate::export::{BadEdges, Edges, Histograms, Options};

/// Flags about what is served at `/metrics`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Histograms in the protobuf format: classic buckets, native ones (the kernel's own, eight to a doubling), or both. The
    /// text formats have classic ones only
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_HISTOGRAMS")]
    histograms: Histograms,
    /// Upper bounds of classic buckets, in seconds. Each becomes the nearest that the kernel keeps, at most 4.5 % away
    /// [default: powers of two from 2^-17 to 2^5]
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', env = "TRAFFIC_PROBE_BUCKETS")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    buckets: Vec<String>,
    /// Tell in `OpenMetrics` when each counter and histogram was zero (`_created`): to most scrapers a series more of each
    #[arg(long, env = "TRAFFIC_PROBE_CREATED_SERIES", value_parser = BoolishValueParser::new())]
    created_series: bool,
}

impl MetricsArgs {
    pub(super) fn options(&self) -> Result<Options, BadEdges> {
        let edges = match &*self.buckets {
            [] => Edges::default(),
            asked => Edges::read(asked.iter().map(String::as_str))?,
        };
        Ok(Options { histograms: self.histograms, edges, created: self.created_series })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        metrics: MetricsArgs,
    }

    fn options(flags: &[&str]) -> Result<Options, BadEdges> {
        Typed::parse_from(["run"].iter().chain(flags)).metrics.options()
    }

    #[test]
    fn by_default_all_is_as_it_was() {
        assert_eq!(options(&[]).unwrap(), Options::default());
    }

    #[test]
    fn edges_are_repeated_or_parted_by_commas() {
        let edges = |flags: &[&str]| options(flags).unwrap().edges.seconds().collect::<Vec<_>>();
        assert_eq!(edges(&["--buckets", "0.25,0.5", "--buckets", "1"]), [0.25, 0.5, 1.0]);
        assert!(
            options(&["--buckets", "1,0.5"]).unwrap_err().to_string().starts_with("--buckets: 0.5 s has")
        );
    }

    #[test]
    fn histograms_have_three_forms() {
        for (typed, expected) in
            [("classic", Histograms::Classic), ("native", Histograms::Native), ("both", Histograms::Both)]
        {
            assert_eq!(options(&["--histograms", typed]).unwrap().histograms, expected);
        }
        assert!(options(&["--created-series"]).unwrap().created);
    }
}
