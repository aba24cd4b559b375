//! How many distinct clients there are, where the table of them is full: a `HyperLogLog` (Flajolet, Fusy, Gandouet and
//! Meunier, 2007), of which the kernel keeps the registers and the agent makes the estimate.

use crate::user::ClientKey;

/// Bits of a hash that choose the register.
const PRECISION: u32 = 11;

/// Registers of a sketch. The estimate's standard error is 1.04 by their square root: 2.3 %.
pub const REGISTERS: usize = 1 << PRECISION;

/// Key of a sketch: whose clients, and when. A sketch cannot forget, so that there is one for each part of the users'
/// window, and the agent throws the old ones away.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SketchKey {
    /// The service's index.
    pub service: u32,
    /// Number of the part of the window, counted up by the agent.
    pub epoch: u32,
}

/// The registers: each holds the longest run of zeros that a hash with its number had, and one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// Each at most 54.
    pub registers: [u8; REGISTERS],
}

impl Default for Sketch {
    fn default() -> Self {
        Self { registers: [0; REGISTERS] }
    }
}

impl Sketch {
    /// Takes a client in; once more is no more. Two CPUs at the same register may lose the smaller of two changes' larger
    /// value: less than the sketch is off by anyway.
    #[inline(always)]
    pub fn add(&mut self, client: &ClientKey) {
        let hash = hash(&client.address);
        let register = hash as usize & (REGISTERS - 1);
        // The bit below the rest ends the run of zeros of a rest that is zero.
        let rest = hash & !(REGISTERS as u64 - 1) | 1 << (PRECISION - 1);
        let rank = rest.leading_zeros() as u8 + 1;
        if self.registers[register] < rank {
            self.registers[register] = rank;
        }
    }

    /// Takes all of another's clients in.
    pub fn merge(&mut self, other: &Self) {
        for (register, other) in self.registers.iter_mut().zip(other.registers) {
            *register = (*register).max(other);
        }
    }
}

/// 64 bits of an address, each of them depending on each of its bits (the finalizer of `MurmurHash3`, twice).
#[inline(always)]
fn hash(address: &[u8; 16]) -> u64 {
    let (words, _) = address.as_chunks::<8>();
    let [low, high] = [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])];
    mix(mix(high).wrapping_add(low))
}

#[inline(always)]
const fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}
