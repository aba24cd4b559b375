//! The configuration file: TOML, with the flags of `traffic-probe run` for keys, and `[tiers]`.
//!
//! What a flag's value may be is known to the flag alone: the file's values become the flags' defaults (see
//! [`crate::cli`]), and so pass the same checks as what is typed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// The only key that is no flag.
pub const TIERS: &str = "tiers";

/// Below this likeness (0 to 1) a name is no misspelling of another.
const ALIKE: f64 = 0.6;

/// A configuration file that is well formed, by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// Values by key: one, or those of a list.
    pub settings: BTreeMap<String, Vec<String>>,
    /// The table `[tiers]`.
    pub tiers: Table,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// It cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not TOML.
    #[error("{} is not TOML: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where.
        error: String,
    },
    /// A key that nobody knows.
    #[error("{}: unknown key `{key}`{}", path.display(), hint(.nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A value that cannot be a flag's.
    #[error("{}: `{key}` must be a string, a number, or a list of those", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Its key.
        key: String,
    },
}

impl ConfigFile {
    /// Reads a file, whose keys must be among those that are known.
    pub fn read(path: &Path, known: &[String]) -> Result<Self, BadConfig> {
        let text = fs::read_to_string(path)
            .map_err(|error| BadConfig::Unreadable { path: path.to_owned(), error })?;
        Self::parse(path, &text, known)
    }

    fn parse(path: &Path, text: &str, known: &[String]) -> Result<Self, BadConfig> {
        let path = path.to_owned();
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                return Err(BadConfig::Malformed { path, error: one_line(text, &error) });
            }
        };
        let mut file = Self { path, ..Self::default() };
        for (key, value) in table {
            match value {
                Value::Table(tiers) if key == TIERS => file.tiers = tiers,
                _ if key == TIERS || !known.contains(&key) => {
                    let names = known.iter().map(String::as_str).chain([TIERS]);
                    let nearest = nearest(&key, names).filter(|_| key != TIERS).map(str::to_owned);
                    return Err(BadConfig::UnknownKey { path: file.path, key, nearest });
                }
                value => {
                    let Some(values) = texts(&value) else {
                        return Err(BadConfig::Value { path: file.path, key });
                    };
                    file.settings.insert(key, values);
                }
            }
        }
        Ok(file)
    }
}

/// A scalar, or the scalars of a list, as they would be typed.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Some(vec![text(value)?]),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The error with its line, in one line.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    line.map_or_else(|| error.message().to_owned(), |line| format!("line {line}: {}", error.message()))
}

/// The name that is most like one that is not among them, if any is like it at all.
fn nearest<'a>(unknown: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(unknown, name);
    names
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// A message of serde's on something unknown, with the nearest of the names that it says it expected.
#[must_use]
pub fn with_nearest(message: &str) -> String {
    // "unknown field `a`, expected one of `b`, `c`"
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| message.starts_with("unknown ")) else {
        return message.to_owned();
    };
    format!("{message}{}", hint(nearest(unknown, quoted)))
}

/// Puts tables into each other: what is in `over` goes before what is in `under`.
#[must_use]
pub fn merged(mut under: Table, over: Table) -> Table {
    for (key, value) in over {
        match (under.remove(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => {
                under.insert(key, Value::Table(merged(below, above)));
            }
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
    under
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, BadConfig> {
        let known = ["interval", "listen", "interfaces", "max-series"].map(str::to_owned);
        ConfigFile::parse(Path::new("probe.toml"), text, &known)
    }

    #[test]
    fn keys_are_flags() {
        let file =
            parse("interval = \"2s\"\ninterfaces = [\"eth*\", \"!eth1\"]\nmax-series = 1000\n[tiers]\na = 1");
        let file = file.unwrap();
        assert_eq!(file.settings["interval"], ["2s"]);
        assert_eq!(file.settings["interfaces"], ["eth*", "!eth1"]);
        assert_eq!(file.settings["max-series"], ["1000"]);
        assert_eq!(file.tiers["a"].as_integer(), Some(1));
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        let sentence = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            sentence("intervall = \"1s\""),
            "probe.toml: unknown key `intervall`; did you mean `interval`?"
        );
        assert_eq!(sentence("tires = 1"), "probe.toml: unknown key `tires`; did you mean `tiers`?");
        assert_eq!(sentence("zzz = 1"), "probe.toml: unknown key `zzz`");
        assert!(sentence("interval = { a = 1 }").contains("must be a string"));
        assert!(sentence("listen = \"a\"\ninterval = [").starts_with("probe.toml is not TOML: line 2: "));
        let missing = ConfigFile::read(Path::new("/absent.toml"), &[]).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read the configuration file /absent.toml: No such file"));
    }

    #[test]
    fn serde_is_given_a_suggestion() {
        assert_eq!(
            with_nearest("unknown field `hgh`, expected `normal` or `high`"),
            "unknown field `hgh`, expected `normal` or `high`; did you mean `high`?"
        );
        assert_eq!(with_nearest("missing field `match`"), "missing field `match`");
    }

    #[test]
    fn tables_are_merged_key_by_key() {
        let under: Table = "a.b = 1\na.c = 2".parse().unwrap();
        let over: Table = "a.b = 3".parse().unwrap();
        assert_eq!(merged(under, over), "a.b = 3\na.c = 2".parse::<Table>().unwrap());
    }
}
