//! The ports that the kernel gives to sockets that ask for none: by them a UDP client is known.

use std::fs;

const PARAMETER: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What Linux begins with.
const USUAL: [u16; 2] = [32_768, 60_999];

/// The first and the last of them, in the agent's own network namespace, when it starts. Containers hardly ever have
/// others.
pub(super) fn given_ports() -> [u16; 2] {
    let text = fs::read_to_string(PARAMETER);
    text.ok().and_then(|text| parse(&text)).unwrap_or_else(|| {
        tracing::warn!(
            "{PARAMETER} does not give the client port range; assuming {} to {}",
            USUAL[0],
            USUAL[1]
        );
        USUAL
    })
}

fn parse(text: &str) -> Option<[u16; 2]> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse("32768\t60999\n"), Some([32_768, 60_999]));
        assert_eq!(parse("1024"), None);
        assert_eq!(parse("1024 x"), None);
        assert!(fs::read_to_string(PARAMETER).is_ok_and(|text| parse(&text).is_some()));
    }
}
