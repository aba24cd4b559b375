//! Clients that proxies name: what a fuzzer runs, and the reference to hold it against, which reads whole texts by the
//! standard library.

use std::net::IpAddr;

use probe_common::{
    connection::{Connection, Segment, Side, Stage},
    forwarded::{List, ListField},
    proxied::{Counting, Proxied},
    user::mapped,
    window::Window,
};

const PEER: [u8; 16] = mapped([10, 0, 0, 1]);
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A connection of a trusted proxy, with this at its beginning. The first byte says how it is cut.
///
/// # Panics
/// Where the engine names another client than the reference, or one for another segmentation.
pub fn proxy_protocol(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = client(bytes, usize::MAX);
    assert_eq!(client(bytes, usize::from(*cut % 70) + 1), whole, "{}", bytes.escape_ascii());
    if let Some(expected) = source(bytes) {
        assert_eq!(whole, expected, "{}", bytes.escape_ascii());
    }
}

/// The client of the connection, once all was said.
fn client(bytes: &[u8], cut: usize) -> [u8; 16] {
    let mut connection = Connection {
        stage: Stage::Open,
        client: PEER,
        counting: Counting::ByRequest,
        ..Connection::default()
    };
    connection.request.begin_at(0);
    let (mut window, mut kept, mut sequence) = (Box::<Window>::default(), Proxied::default(), 0);
    for bytes in bytes.chunks(cut.min(bytes.len().max(1))) {
        let length = u32::try_from(bytes.len()).expect("an input is short");
        let segment = Segment { side: Side::Request, sequence, length, acknowledged: None, fin: false };
        let mut more = connection.accept(&segment).due;
        window.clear();
        window.proxied = kept;
        while more {
            more = connection.step(&segment, 1, &mut window, bytes).more;
            if connection.counting == Counting::ByRequest {
                connection.tell_client(&mut window, |_| false);
            }
        }
        kept = window.proxied;
        sequence += length;
    }
    connection.client
}

/// Whom a header names; none if the bytes are none, or not all of its source.
fn source(bytes: &[u8]) -> Option<[u8; 16]> {
    if let Some(header) = bytes.strip_prefix(SIGNATURE) {
        let (&[command, family, high, low], rest) = header.split_first_chunk()?;
        let length = u16::from_be_bytes([high, low]);
        return match (command, family >> 4) {
            (0x21, 1) if length >= 12 => rest.first_chunk().map(|source| mapped(*source)),
            (0x21, 2) if length >= 36 => rest.first_chunk().copied(),
            // Whatever comes behind is of the proxy itself, or another header.
            _ => None,
        };
    }
    let line = bytes.strip_prefix(b"PROXY ")?.split(|byte| matches!(byte, b'\n')).next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (family, source) = (words.next()?, words.next()?);
    words.next()?;
    let address: IpAddr = str::from_utf8(source).ok()?.parse().ok()?;
    match (family, address) {
        (b"TCP4", IpAddr::V4(address)) => Some(mapped(address.octets())),
        (b"TCP6", IpAddr::V6(address)) => Some(address.octets()),
        _ => None,
    }
}

/// The value of a field that names clients; the first byte says of which.
///
/// # Panics
/// Where an address is read that is not in its element, or, in a value without quotes, another than the reference reads.
pub fn forwarded(input: &[u8]) {
    let Some((first, value)) = input.split_first() else { return };
    let value = value.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let field = if first & 1 == 0 { ListField::XForwardedFor } else { ListField::Forwarded };
    let hops = hops(field, value);
    let text = String::from_utf8_lossy(value);
    for address in hops.iter().flatten() {
        let plausible = text.split(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.');
        // A port may stand behind it.
        let found = plausible
            .flat_map(|word| [Some(word), word.split_once(':').map(|(before, _)| before)])
            .flatten()
            .any(|word| octets(word) == Some(*address));
        assert!(found, "{address:?} is not in {}", value.escape_ascii());
    }
    if !value.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        assert_eq!(hops, plain_hops(field, value), "{}", value.escape_ascii());
    }
}

/// The hops of a value, none for one that is no address.
fn hops(field: ListField, value: &[u8]) -> Vec<Option<[u8; 16]>> {
    let (mut list, mut hops) = (List::default(), Vec::new());
    list.begin(field);
    for byte in value.iter().chain(b"\n") {
        if list.eat(*byte) {
            let mut address = [0; 16];
            let named = list.names();
            let read = list.address().finish(&mut address) && named;
            hops.push(read.then_some(address));
            list.next();
        }
    }
    hops
}

/// The same of a value without quotes.
fn plain_hops(field: ListField, value: &[u8]) -> Vec<Option<[u8; 16]>> {
    let elements = value.split(|byte| *byte == b',').map(trimmed).filter(|element| !element.is_empty());
    let node = |element: &[u8]| match field {
        ListField::Forwarded => {
            let pairs = element.split(|byte| *byte == b';');
            let mut named = pairs.filter_map(|pair| {
                let equals = pair.iter().position(|byte| *byte == b'=')?;
                let name = trimmed_start(&pair[..equals]);
                name.eq_ignore_ascii_case(b"for").then(|| pair[equals + 1..].to_vec())
            });
            named.next().filter(|_| named.next().is_none())
        }
        _ => Some(element.to_vec()),
    };
    elements.map(|element| address(trimmed(&node(element)?))).collect()
}

/// An address with or without brackets and a port.
fn address(node: &[u8]) -> Option<[u8; 16]> {
    let text = str::from_utf8(node.split(|byte| !byte.is_ascii()).next()?).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (inner, behind) = bracketed.split_once(']')?;
        let behind = behind.trim_start_matches([' ', '\t', '\r']);
        let whole = behind.is_empty() && text.len() == node.len();
        return octets(inner).filter(|_| whole || behind.starts_with(':'));
    }
    let whole = text.len() == node.len();
    if let Some(address) = octets(text).filter(|_| whole) {
        return Some(address);
    }
    let (before, _) = text.split_once(':')?;
    before.parse::<std::net::Ipv4Addr>().ok().map(|address| mapped(address.octets()))
}

fn octets(text: &str) -> Option<[u8; 16]> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some(mapped(address.octets())),
        IpAddr::V6(address) => Some(address.octets()),
    }
}

const SPACES: [u8; 3] = *b" \t\r";

fn trimmed(text: &[u8]) -> &[u8] {
    let text = trimmed_start(text);
    let end = text.iter().rposition(|byte| !SPACES.contains(byte)).map_or(0, |last| last + 1);
    &text[..end]
}

fn trimmed_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !SPACES.contains(byte)).unwrap_or(text.len());
    &text[start..]
}
