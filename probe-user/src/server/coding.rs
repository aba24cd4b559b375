//! How an answer is compressed while it is written.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use zstd::stream::{raw::CParameter, write::Encoder as ZstdEncoder};

/// So much is worth being sent: a piece of the page comes to a few KiB, and each that is sent wakes a thread.
const WORTH_SENDING: usize = 32 << 10;

/// The fastest: the page repeats itself so much that slower ones make it little smaller.
const ZSTD_LEVEL: i32 = 1;

/// How far back `zstd` looks, as a power of two: what it remembers is what each client takes of memory while it is served.
const ZSTD_WINDOW: u32 = 17;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// None.
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// As `Content-Encoding` has it; none of what is not coded.
    pub(super) const fn label(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Codes what is written, piece by piece.
pub(super) enum Coder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Coder {
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
                Self::Zstd(encoder)
            }
        })
    }

    /// What a piece comes to, if that is worth being sent yet.
    pub(super) fn code(&mut self, piece: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let coded = match self {
            Self::Identity => return Ok(Some(piece)),
            Self::Gzip(encoder) => {
                encoder.write_all(&piece)?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&piece)?;
                encoder.get_mut()
            }
        };
        Ok((coded.len() >= WORTH_SENDING).then(|| std::mem::take(coded)))
    }

    /// What is left.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn coded(coding: Coding, pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut coder = Coder::new(coding).unwrap();
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(coder.code(piece.clone()).unwrap().unwrap_or_default());
        }
        all.extend(coder.finish().unwrap());
        all
    }

    #[test]
    fn what_was_coded_piece_by_piece_comes_back() {
        // Nothing that could be made smaller, so that it leaves in several parts, and something that can.
        let noise =
            (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
        let pieces = [noise, b"traffic_requests_total 1\n".repeat(5000), Vec::new()];
        let plain = pieces.concat();
        assert_eq!(coded(Coding::Identity, &pieces), plain);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&*coded(Coding::Gzip, &pieces)).read_to_end(&mut back).unwrap();
        assert!(back == plain);
        let back = zstd::stream::decode_all(&*coded(Coding::Zstd, &pieces)).unwrap();
        assert!(back == plain);
        // What is no page at all is whole all the same.
        assert_eq!(zstd::stream::decode_all(&*coded(Coding::Zstd, &[])).unwrap(), b"");
    }
}
