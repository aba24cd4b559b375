//! `--filter`: which packets are counted, in tcpdump's words as far as they go.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::UNIX_EPOCH,
};

use ipnet::IpNet;

/// The most words of a filter: what is within parentheses is read by recursion.
const WORDS: usize = 256;

/// Which packets are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Term);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Tcp,
    Port(u16),
    Host(IpAddr),
    Net(IpNet),
    After(Moment),
    Before(Moment),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// A time in a capture, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Since1970(u64),
    SinceFirst(u64),
}

/// A filter that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// It ends where something has to follow.
    #[error("it ends where {0} is expected")]
    Ends(&'static str),
    /// Something else is there than what has to be.
    #[error("`{found}` is not {expected}")]
    Word {
        /// What is there.
        found: String,
        /// What has to be.
        expected: &'static str,
    },
    /// There are too many words.
    #[error("it has more than {WORDS} words")]
    Long,
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) ends: [SocketAddr; 2],
    /// In nanoseconds since 1970.
    pub(super) time: u64,
    /// That of the first packet.
    pub(super) first: u64,
}

impl Filter {
    /// Whether a packet is counted.
    pub(super) fn passes(&self, seen: &Seen) -> bool {
        self.0.passes(seen)
    }
}

impl Term {
    fn passes(&self, seen: &Seen) -> bool {
        let any = |holds: &dyn Fn(&SocketAddr) -> bool| seen.ends.iter().any(holds);
        match self {
            Self::Tcp => true,
            Self::Port(port) => any(&|end| end.port() == *port),
            Self::Host(host) => any(&|end| end.ip() == *host),
            Self::Net(net) => any(&|end| net.contains(&end.ip())),
            Self::After(moment) => seen.time >= moment.since_1970(seen.first),
            Self::Before(moment) => seen.time < moment.since_1970(seen.first),
            Self::Not(term) => !term.passes(seen),
            Self::And(left, right) => left.passes(seen) && right.passes(seen),
            Self::Or(left, right) => left.passes(seen) || right.passes(seen),
        }
    }
}

impl Moment {
    fn since_1970(self, first: u64) -> u64 {
        match self {
            Self::Since1970(time) => time,
            Self::SinceFirst(time) => first.saturating_add(time),
        }
    }
}

impl FromStr for Filter {
    type Err = BadFilter;

    fn from_str(typed: &str) -> Result<Self, BadFilter> {
        let spaced = typed.replace('(', " ( ").replace(')', " ) ").replace('!', " ! ");
        let words: Vec<_> = spaced.split_whitespace().collect();
        if words.len() > WORDS {
            return Err(BadFilter::Long);
        }
        let mut rest = &words[..];
        let term = either(&mut rest)?;
        match rest.first() {
            None => Ok(Self(term)),
            Some(found) => Err(BadFilter::word(found, "`and`, `or` or the end")),
        }
    }
}

impl BadFilter {
    fn word(found: &str, expected: &'static str) -> Self {
        Self::Word { found: found.to_owned(), expected }
    }
}

fn either(rest: &mut &[&str]) -> Result<Term, BadFilter> {
    let mut term = both(rest)?;
    while take(rest, &["or", "||"]) {
        term = Term::Or(term.into(), both(rest)?.into());
    }
    Ok(term)
}

fn both(rest: &mut &[&str]) -> Result<Term, BadFilter> {
    let mut term = single(rest)?;
    while take(rest, &["and", "&&"]) {
        term = Term::And(term.into(), single(rest)?.into());
    }
    Ok(term)
}

fn single(rest: &mut &[&str]) -> Result<Term, BadFilter> {
    const EXPECTED: &str =
        "a condition: `port N`, `host ADDRESS`, `net NETWORK`, `after TIME` or `before TIME`";
    if take(rest, &["not", "!"]) {
        return Ok(Term::Not(single(rest)?.into()));
    }
    if take(rest, &["("]) {
        let term = either(rest)?;
        let closing = next(rest, "`)`")?;
        return if closing == ")" { Ok(term) } else { Err(BadFilter::word(closing, "`)`")) };
    }
    match next(rest, EXPECTED)? {
        // As tcpdump has it: `tcp port 80`.
        "tcp" if matches!(rest.first(), Some(&("port" | "host" | "net"))) => single(rest),
        "tcp" => Ok(Term::Tcp),
        "port" => value(rest, "a port, from 0 to 65535").map(Term::Port),
        "host" => value(rest, "an IPv4 or IPv6 address").map(Term::Host),
        "net" => value(rest, "a network, such as 10.0.0.0/8").map(Term::Net),
        "after" => moment(rest).map(Term::After),
        "before" => moment(rest).map(Term::Before),
        found => Err(BadFilter::word(found, EXPECTED)),
    }
}

fn take(rest: &mut &[&str], words: &[&str]) -> bool {
    match rest {
        [first, behind @ ..] if words.contains(first) => {
            *rest = behind;
            true
        }
        _ => false,
    }
}

fn next<'a>(rest: &mut &[&'a str], expected: &'static str) -> Result<&'a str, BadFilter> {
    let (first, behind) = rest.split_first().ok_or(BadFilter::Ends(expected))?;
    *rest = behind;
    Ok(first)
}

fn value<T: FromStr>(rest: &mut &[&str], expected: &'static str) -> Result<T, BadFilter> {
    let word = next(rest, expected)?;
    word.parse().map_err(|_| BadFilter::word(word, expected))
}

fn moment(rest: &mut &[&str]) -> Result<Moment, BadFilter> {
    const EXPECTED: &str = "a time, such as 2026-01-31T12:00:00Z, or 5s from the first packet on";
    let word = next(rest, EXPECTED)?;
    let nanoseconds = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).ok();
    let since_1970 = humantime::parse_rfc3339_weak(word)
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(nanoseconds)
        .map(Moment::Since1970);
    let since_first = || humantime::parse_duration(word).ok().and_then(nanoseconds).map(Moment::SinceFirst);
    since_1970.or_else(since_first).ok_or_else(|| BadFilter::word(word, EXPECTED))
}
