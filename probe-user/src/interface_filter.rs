//! Which network interfaces are counted.

use std::{fmt, str::FromStr};

use glob::Pattern;

/// The interfaces that the operator wants counted: those which match any plain glob (or all, if there is none) and no
/// glob with a `!` before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFilter {
    included: Vec<Pattern>,
    excluded: Vec<Pattern>,
}

impl InterfaceFilter {
    /// Whether the interface of this name is to be counted.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.included.is_empty() || matches(&self.included)) && !matches(&self.excluded)
    }
}

impl InterfaceFilter {
    /// The globs that should have interfaces counted, and match none of these.
    #[must_use]
    pub fn in_vain(&self, names: &[&str]) -> Vec<&str> {
        let included = self.included.iter();
        included.filter(|glob| !names.iter().any(|name| glob.matches(name))).map(Pattern::as_str).collect()
    }

    /// What is to be said where some globs match nothing; none if all match something.
    #[must_use]
    pub fn complaint(&self, names: &[&str]) -> Option<String> {
        let in_vain = self.in_vain(names);
        let globs = in_vain.iter().map(|glob| format!("`{glob}`")).collect::<Vec<_>>().join(", ");
        let there = names.join(", ");
        let there = if there.is_empty() { "none at all".to_owned() } else { there };
        (!in_vain.is_empty()).then(|| {
            format!(
                "--interfaces {globs} matches no interface, of which there are {there}; one that comes later is counted: check the \
                 spelling if none is to come"
            )
        })
    }
}

impl FromIterator<InterfaceGlob> for InterfaceFilter {
    fn from_iter<I: IntoIterator<Item = InterfaceGlob>>(globs: I) -> Self {
        let mut filter = Self::default();
        for glob in globs {
            match glob {
                InterfaceGlob::Include(pattern) => filter.included.push(pattern),
                InterfaceGlob::Exclude(pattern) => filter.excluded.push(pattern),
            }
        }
        filter
    }
}

/// One glob, as it is typed: `eth*`, `!veth*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceGlob {
    /// Count what matches.
    Include(Pattern),
    /// Do not count what matches.
    Exclude(Pattern),
}

impl FromStr for InterfaceGlob {
    type Err = BadGlob;

    fn from_str(typed: &str) -> Result<Self, BadGlob> {
        let glob = typed.strip_prefix('!').unwrap_or(typed);
        if glob.is_empty() {
            return Err(BadGlob(
                "an empty glob matches no interface: write a name or a glob such as `eth*`".into(),
            ));
        }
        let pattern = Pattern::new(glob)
            .map_err(|error| BadGlob(format!("`{glob}` is not a glob ({}): see glob(7)", error.msg)))?;
        Ok(if glob.len() == typed.len() { Self::Include(pattern) } else { Self::Exclude(pattern) })
    }
}

/// Why something typed is no glob.
#[derive(Debug)]
pub struct BadGlob(String);

impl fmt::Display for BadGlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for BadGlob {}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(globs: &[&str], name: &str) -> bool {
        globs.iter().map(|glob| glob.parse().unwrap()).collect::<InterfaceFilter>().admits(name)
    }

    #[test]
    fn without_globs_every_interface_counts() {
        assert!(admitted(&[], "eth0"));
    }

    #[test]
    fn any_plain_glob_admits() {
        assert!(admitted(&["eth*", "wlan?"], "eth10"));
        assert!(admitted(&["eth*", "wlan?"], "wlan0"));
        assert!(!admitted(&["eth*", "wlan?"], "lo"));
    }

    #[test]
    fn any_excluding_glob_refuses_wherever_it_stands() {
        assert!(admitted(&["!veth*"], "eth0"));
        assert!(!admitted(&["!veth*"], "veth1"));
        assert!(!admitted(&["!eth1", "eth*"], "eth1"));
    }

    #[test]
    fn a_glob_that_matches_nothing_is_told() {
        let filter: InterfaceFilter =
            ["ehto0", "l*", "!veth*"].iter().map(|glob| glob.parse().unwrap()).collect();
        let complaint = filter.complaint(&["lo", "eth0"]).unwrap();
        assert!(
            complaint.starts_with("--interfaces `ehto0` matches no interface, of which there are lo, eth0; "),
            "{complaint}"
        );
        assert_eq!(filter.complaint(&["lo", "ehto0"]), None);
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        assert!("[".parse::<InterfaceGlob>().unwrap_err().to_string().contains("not a glob"));
        assert!("!".parse::<InterfaceGlob>().unwrap_err().to_string().contains("empty"));
    }
}
