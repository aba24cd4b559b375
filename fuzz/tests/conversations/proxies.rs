//! Clients that proxies name, as the references read them.

use proptest::prelude::*;

proptest! {
    #[test]
    fn headers_name_whom_they_say(
        cut: u8,
        text in "PROXY (TCP4|TCP6|UNKNOWN) ([0-9.]{7,15}|[0-9a-f:]{2,39}) [0-9.]{0,9} [0-9]{0,5} [0-9]{0,5}\r\n(GET / HTTP/1.1\r\n\r\n)?",
        binary in prop::collection::vec(any::<u8>(), 4..60),
        command in 0x1f_u8..0x23,
    ) {
        probe_fuzz::targets::proxy_protocol(&[&[cut], text.as_bytes()].concat());
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([command, binary[0] & 0x33, 0, binary[1] & 63]);
        header.extend(&binary[4..]);
        probe_fuzz::targets::proxy_protocol(&[&[cut], &header[..]].concat());
    }

    #[test]
    fn lists_have_the_hops_that_are_in_them(
        field: u8,
        value in "((for=|For=|by=|proto=)?(\"?\\[?[0-9a-f:]{2,20}\\]?\"?|[0-9]{1,3}(\\.[0-9]{1,3}){3}|unknown|_x)(:[0-9]{1,5})?[ \t]?[,;]?[ ]?){0,6}",
    ) {
        probe_fuzz::targets::forwarded(&[&[field], value.as_bytes()].concat());
    }
}
