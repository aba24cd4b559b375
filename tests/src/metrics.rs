//! What the agent exposes: the text format, parsed, and asked for by name and labels.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use anyhow::{Context, Result};

/// One answer of `/metrics`.
#[derive(Debug)]
pub struct Scrape {
    /// As it came.
    pub text: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    /// One that is not there is empty, to Prometheus.
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Names series: all that have this name and at least these labels.
#[derive(Clone, Debug)]
pub struct Series {
    name: Cow<'static, str>,
    labels: Vec<(&'static str, String)>,
}

/// On which end of its connections a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It accepts them.
    Server,
    /// It makes them.
    Client,
}

impl Role {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Server, Self::Client];

    /// The value of the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl Series {
    /// All series of a name.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), labels: Vec::new() }
    }

    /// The same for a name that is put together.
    #[must_use]
    pub const fn of(name: String) -> Self {
        Self { name: Cow::Owned(name), labels: Vec::new() }
    }

    /// Those of a service's port.
    #[must_use]
    pub fn at(name: &'static str, port: u16, role: Role) -> Self {
        Self::named(name).with("port", port).with("role", role.label())
    }

    /// The requests over HTTP/1 to a port.
    #[must_use]
    pub fn requests(port: u16, role: Role) -> Self {
        Self::at("traffic_requests_total", port, role).with("protocol", "http1")
    }

    /// Only those with this label; if it is empty, those without.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl fmt::Display) -> Self {
        self.labels.push((label, value.to_string()));
        self
    }

    /// Those of a histogram's part, such as `_count`.
    #[must_use]
    pub fn suffixed(self, suffix: &str) -> Self {
        Self { name: format!("{}{suffix}", self.name).into(), ..self }
    }

    fn names(&self, sample: &Sample) -> bool {
        sample.name == self.name && self.labels.iter().all(|(label, value)| sample.label(label) == value)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{", self.name)?;
        for (label, value) in &self.labels {
            write!(f, "{label}={value:?},")?;
        }
        f.write_str("}")
    }
}

impl Scrape {
    /// Reads the text format of Prometheus.
    pub fn parse(text: String) -> Result<Self> {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| sample(line).with_context(|| format!("no sample of the text format: {line}")))
            .collect::<Result<_>>()?;
        Ok(Self { text, samples })
    }

    /// The sum of the series; none if there is none.
    #[must_use]
    pub fn get(&self, series: &Series) -> Option<f64> {
        self.samples
            .iter()
            .filter(|sample| series.names(sample))
            .map(|sample| sample.value)
            .reduce(|sum, value| sum + value)
    }

    /// The sum of the series; 0 if there is none, since a series comes with its first event.
    #[must_use]
    pub fn sum(&self, series: &Series) -> f64 {
        self.get(series).unwrap_or_default()
    }

    /// Which samples are of the series, by their place.
    pub fn places<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = usize> + 'a {
        self.samples.iter().enumerate().filter(|(_, sample)| series.names(sample)).map(|(place, _)| place)
    }

    /// The names of the samples that have a label, with their places.
    pub fn with_label<'a>(&'a self, label: &'a str) -> impl Iterator<Item = (usize, &'a str)> + 'a {
        let samples =
            self.samples.iter().enumerate().filter(move |(_, sample)| !sample.label(label).is_empty());
        samples.map(|(place, sample)| (place, sample.name.as_str()))
    }

    /// The values of a label among the series, for messages.
    #[must_use]
    pub fn values(&self, series: &Series, label: &str) -> Vec<&str> {
        let mut values: Vec<_> = self
            .samples
            .iter()
            .filter(|sample| series.names(sample) && sample.value != 0.0)
            .filter_map(|sample| sample.labels.get(label).map(String::as_str))
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// `name{label="value",...} value`
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}')?)?),
        None => (series, BTreeMap::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

fn parse_labels(text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(label.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(labels)
}

/// A value up to the quote that ends it, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                plain @ ('"' | '\\') => plain,
                _ => return None,
            }),
            (_, plain) => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_name_and_labels() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{port=\"1\",role=\"server\"} 2\n\
                    a_total{port=\"1\",role=\"client\"} 3\na_total{port=\"2\",role=\"server\"} 4\nb 1e-3\n";
        let scrape = Scrape::parse(text.to_owned()).unwrap();
        let total = |series: Series| scrape.get(&series);
        assert_eq!(total(Series::at("a_total", 1, Role::Server)), Some(2.0));
        assert_eq!(total(Series::named("a_total").with("port", 1)), Some(5.0));
        assert_eq!(total(Series::named("b")), Some(0.001));
        assert_eq!(total(Series::named("a")), None);
        assert_eq!(scrape.values(&Series::named("a_total"), "port"), ["1", "2"]);
        assert!(Scrape::parse("a{b=\"c} 1".into()).is_err());
        let odd = Scrape::parse("a{b=\"\\\\x\\n\\\" }\",c=\"d\"} 1\n".into()).unwrap();
        assert_eq!(odd.get(&Series::named("a").with("b", "\\x\n\" }").with("c", "d")), Some(1.0));
    }
}
