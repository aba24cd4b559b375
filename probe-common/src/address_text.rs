//! IP addresses as text, a byte at a time: dotted decimals, and IPv6 as RFC 4291, section 2.2, writes it.
//!
//! A byte at a time, so that it does not matter where a segment ends, and so that the caller's loop is the only one.

/// Groups of an IPv6 address.
const GROUPS: u8 = 8;

/// It is no address.
const BAD: u8 = 1;
/// The group in progress has a letter, so that it is no decimal.
const LETTERS: u8 = 2;
/// It begins with a zero.
const ZERO: u8 = 4;
/// The last byte was a colon that ended a group, or the first byte of all.
const COLON: u8 = 8;
/// The first byte was a colon.
const LEADING: u8 = 16;
/// There was a byte.
const STARTED: u8 = 32;
/// There was a colon.
const COLONS: u8 = 64;

/// An address of which some bytes were read. All zero is one of which none was. Aligned, so that it is cleared by words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressText {
    groups: [u16; GROUPS as usize],
    /// The group in progress, taken for hexadecimal.
    value: u16,
    /// The same taken for decimal.
    decimal: u16,
    /// Its digits.
    digits: u8,
    /// Groups that are complete.
    at: u8,
    /// One more than the number of groups before `::`; 0 if there was none.
    gap: u8,
    /// Decimals that are complete.
    octets: u8,
    flags: u8,
    padding: u8,
}

impl AddressText {
    /// Reads a byte.
    #[inline(always)]
    pub fn eat(&mut self, byte: u8) {
        let decimal = byte.wrapping_sub(b'0');
        let letter = (byte | 0x20).wrapping_sub(b'a');
        if decimal <= 9 {
            self.digit(decimal);
        } else if letter <= 5 {
            self.digit(letter + 10);
        } else if byte == b'.' {
            self.octet();
            if self.octets > 3 {
                self.flags |= BAD;
            }
        } else if byte == b':' {
            self.colon();
        } else {
            self.flags |= BAD;
        }
        self.flags |= STARTED;
    }

    #[inline(always)]
    fn digit(&mut self, digit: u8) {
        // A colon may begin an address only together with a second one.
        if self.digits >= 4 || (self.flags & LEADING != 0 && self.gap == 0) {
            self.flags |= BAD;
        }
        if self.digits == 0 {
            self.flags &= !(LETTERS | ZERO | COLON);
            if digit == 0 {
                self.flags |= ZERO;
            }
        }
        if digit > 9 {
            self.flags |= LETTERS;
        }
        self.value = self.value << 4 | u16::from(digit);
        self.decimal = self.decimal.wrapping_mul(10).wrapping_add(u16::from(digit));
        self.digits = self.digits.wrapping_add(1);
    }

    /// A dot, or the end, behind a decimal.
    #[inline(always)]
    fn octet(&mut self) {
        let padded = self.digits > 1 && self.flags & ZERO != 0;
        if self.digits == 0 || self.decimal > 255 || padded || self.flags & LETTERS != 0 || self.at >= GROUPS
        {
            self.flags |= BAD;
        }
        let group = &mut self.groups[(self.at & (GROUPS - 1)) as usize];
        if self.octets & 1 == 0 {
            *group = self.decimal << 8;
        } else {
            *group |= self.decimal & 0xff;
            self.at = self.at.wrapping_add(1);
        }
        self.octets = self.octets.wrapping_add(1);
        self.next();
    }

    #[inline(always)]
    fn colon(&mut self) {
        if self.octets > 0 {
            self.flags |= BAD;
        }
        if self.digits > 0 {
            self.group();
            self.flags |= COLON;
        } else if self.flags & COLON != 0 {
            if self.gap > 0 {
                self.flags |= BAD;
            }
            self.gap = self.at.wrapping_add(1);
            self.flags &= !COLON;
        } else if self.flags & STARTED == 0 {
            self.flags |= COLON | LEADING;
        } else {
            self.flags |= BAD;
        }
        self.flags |= COLONS;
    }

    #[inline(always)]
    fn group(&mut self) {
        if self.at >= GROUPS {
            self.flags |= BAD;
        }
        self.groups[(self.at & (GROUPS - 1)) as usize] = self.value;
        self.at = self.at.wrapping_add(1);
        self.next();
    }

    #[inline(always)]
    fn next(&mut self) {
        self.value = 0;
        self.decimal = 0;
        self.digits = 0;
    }

    /// Whether nothing was read.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags & STARTED == 0
    }

    /// Whether it has a colon.
    #[inline(always)]
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.flags & COLONS != 0
    }

    /// Whether it is in its fourth decimal and can have no colon any more, but for one before a port.
    #[inline(always)]
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.octets == 3 && self.flags & COLONS == 0
    }

    /// Writes the address, IPv4 as IPv4-mapped IPv6; false, and nothing, if what was read is none.
    #[inline(always)]
    pub fn finish(&mut self, address: &mut [u8; 16]) -> bool {
        if self.octets > 0 {
            self.octet();
            if self.octets != 4 {
                return false;
            }
        } else if self.digits > 0 {
            self.group();
        } else if self.gap != self.at.wrapping_add(1) {
            // Nothing, or a colon that nothing follows.
            return false;
        }
        if self.flags & BAD != 0 {
            return false;
        }
        if self.flags & COLONS == 0 {
            if self.octets != 4 {
                return false;
            }
            // IPv4-mapped (RFC 4291, section 2.5.5.2).
            let [high, low] = [self.groups[0], self.groups[1]];
            let low = 0xffff_0000_0000 | u64::from(high) << 16 | u64::from(low);
            write(address, 0, low);
            return true;
        } else if self.gap == 0 {
            if self.at != GROUPS {
                return false;
            }
        } else if self.at >= GROUPS {
            return false;
        } else {
            self.widen();
        }
        let half = |from: usize| {
            let group = |i: usize| u64::from(self.groups[from + i]);
            group(0) << 48 | group(1) << 32 | group(2) << 16 | group(3)
        };
        write(address, half(0), half(4));
        true
    }

    /// Moves the groups behind `::` to the end, from the last one on, and makes those that it stands for zero.
    #[inline(always)]
    fn widen(&mut self) {
        // What the compiler knew of them it would make use of to leave out the masks that the verifier wants.
        let at = core::hint::black_box(self.at);
        let head = self.gap.wrapping_sub(1);
        let tail = at.wrapping_sub(head);
        for k in 0..GROUPS {
            let to = (GROUPS - 1 - k) as usize;
            let from = at.wrapping_sub(1).wrapping_sub(k) & (GROUPS - 1);
            if k < tail {
                self.groups[to] = self.groups[from as usize];
            } else if to >= usize::from(head) {
                self.groups[to] = 0;
            }
        }
    }
}

/// Writes an address by its halves.
#[inline(always)]
fn write(address: &mut [u8; 16], high: u64, low: u64) {
    let (halves, _) = address.as_chunks_mut::<8>();
    halves[0] = high.to_be_bytes();
    halves[1] = low.to_be_bytes();
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{
        format,
        net::{IpAddr, Ipv6Addr},
        string::{String, ToString},
    };

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<[u8; 16]> {
        let mut address = AddressText::default();
        text.bytes().for_each(|byte| address.eat(byte));
        let mut bytes = [0; 16];
        address.finish(&mut bytes).then_some(bytes)
    }

    fn truth(text: &str) -> Option<[u8; 16]> {
        match text.parse().ok()? {
            IpAddr::V4(address) => Some(address.to_ipv6_mapped().octets()),
            IpAddr::V6(address) => Some(address.octets()),
        }
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        for text in [
            "1.2.3.4",
            "255.255.255.255",
            "256.1.1.1",
            "01.2.3.4",
            "0.0.0.0",
            "1.2.3",
            "1.2.3.4.5",
            "1..2.3",
            "1.2.3.4.",
            ".1.2.3.4",
            "1.2.3.a",
            "::",
            "::1",
            "1::",
            ":1::",
            ":::",
            "1:::2",
            "::1::",
            "1:2",
            "1:",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1::2:3:4:5:6:7:8",
            "::ffff:1.2.3.4",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3",
            "::1.2.3.4:5",
            "12345::",
            "fe80::1%eth0",
            "",
            "g::",
            "2001:DB8::A",
            "1.2.3.4::",
            "::1.2.3.04",
            ":",
            "1",
            "ffff",
        ] {
            assert_eq!(read(text), truth(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_the_standard_library_reads_it(text in "[0-9a-f:.]{0,20}|[0-9.]{1,16}|[1f:]{1,18}") {
            prop_assert_eq!(read(&text), truth(&text), "{}", text);
        }

        #[test]
        fn every_address_is_read(groups: [u16; 8], zeros in 0_usize..9, at in 0_usize..8, upper: bool) {
            let mut groups = groups;
            groups.iter_mut().skip(at).take(zeros).for_each(|group| *group = 0);
            let address = Ipv6Addr::from(groups);
            let texts: [String; 2] = [address.to_string(), format!("{:?}", address.octets())];
            let text = if upper { texts[0].to_uppercase() } else { texts[0].clone() };
            prop_assert_eq!(read(&text), Some(address.octets()));
        }
    }
}
