//! Fields of protobuf messages, as they are on the wire. All fields here have numbers below 16, whose keys are one byte.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// How long a number is.
pub(super) const fn length_of(number: u64) -> usize {
    encoded_len_varint(number)
}

/// A number, without a key.
pub(super) fn varint(to: &mut Vec<u8>, number: u64) {
    encode_varint(number, to);
}

/// A number as protobuf has those that may be below zero: the nearer to zero, the shorter.
pub(super) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

pub(super) fn int(to: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::Varint, to);
    varint(to, value);
}

pub(super) fn real(to: &mut Vec<u8>, field: u32, value: f64) {
    encode_key(field, WireType::SixtyFourBit, to);
    to.extend_from_slice(&value.to_le_bytes());
}

/// What a field of so many bytes begins with.
pub(super) fn head(to: &mut Vec<u8>, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, to);
    varint(to, length as u64);
}

/// A message that is written already, or a list of numbers.
pub(super) fn message(to: &mut Vec<u8>, field: u32, message: &[u8]) {
    head(to, field, message.len());
    to.extend_from_slice(message);
}

pub(super) fn text(to: &mut Vec<u8>, field: u32, text: &str) {
    message(to, field, text.as_bytes());
}

/// A message of two texts: `LabelPair`.
pub(super) fn pair(to: &mut Vec<u8>, field: u32, name: &str, value: &str) {
    let length = |text: &str| 1 + length_of(text.len() as u64) + text.len();
    head(to, field, length(name) + length(value));
    text(to, 1, name);
    text(to, 2, value);
}

/// The content of a `Timestamp`, from seconds since the epoch.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of our days")]
pub(super) fn timestamp(to: &mut Vec<u8>, time: f64) {
    int(to, 1, time as u64);
    int(to, 2, (time.fract() * 1e9) as u64);
}
