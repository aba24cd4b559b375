//! Where the running kernel keeps three things that no helper tells: a task's main thread, its name, and the port that a socket connects to.
//!
//! They come from the kernel's own description of its types (BTF), by which the verifier judges the reads as well: an offset that is
//! not that of such a field is refused when the programs are loaded.

use std::fs;

const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Offsets in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TaskLayout {
    /// `task_struct.group_leader`
    pub(super) leader: u32,
    /// `task_struct.comm`
    pub(super) command: u32,
    /// `sock_common.skc_dport`, and `sock` begins with a `sock_common`.
    pub(super) port: u32,
}

impl TaskLayout {
    /// That of the running kernel.
    ///
    /// # Errors
    /// A sentence: its types cannot be read, or have no such fields.
    pub(super) fn of_this_kernel() -> Result<Self, String> {
        let types = fs::read(KERNEL_TYPES)
            .map_err(|error| format!("the kernel's types cannot be read from {KERNEL_TYPES}: {error}"))?;
        Self::of(&types)
            .ok_or_else(|| format!("{KERNEL_TYPES} does not describe the main thread and the name of a task, or the port of a socket"))
    }

    fn of(types: &[u8]) -> Option<Self> {
        let types = Types::of(types)?;
        let task = types.structure("task_struct")?;
        let socket = types.structure("sock_common")?;
        Some(Self {
            leader: types.offset(task, "group_leader", NESTING)?,
            command: types.offset(task, "comm", NESTING)?,
            port: types.offset(socket, "skc_dport", NESTING)?,
        })
    }
}

/// The two sections of a BTF (see `Documentation/bpf/btf.rst`), and where in the first one each type begins.
struct Types<'a> {
    entries: &'a [u8],
    strings: &'a [u8],
    /// By number, less one: the type 0 is `void`, which is not there.
    places: Vec<u32>,
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Bytes of what all types begin with, and of a member.
const ENTRY: usize = 12;
/// How deep members without a name, whose own members are the structure's, are within each other.
const NESTING: u32 = 4;

impl<'a> Types<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let [low, high] = *bytes.first_chunk()?;
        if u16::from_ne_bytes([low, high]) != MAGIC {
            return None;
        }
        let body = bytes.get(word(bytes, 4)? as usize..)?;
        let section = |at| {
            let (from, length) = (word(bytes, at)? as usize, word(bytes, at + 4)? as usize);
            body.get(from..from.checked_add(length)?)
        };
        let (entries, strings) = (section(8)?, section(16)?);
        let (mut places, mut place) = (Vec::new(), 0);
        while place < entries.len() {
            places.push(u32::try_from(place).ok()?);
            place += ENTRY + length_behind(word(entries, place + 4)?)?;
        }
        (place == entries.len()).then_some(Self { entries, strings, places })
    }

    /// The place of a structure.
    fn structure(&self, name: &str) -> Option<usize> {
        let mut places = self.places.iter().map(|place| *place as usize);
        places.find(|place| kind(self.info(*place)) == STRUCT && self.is_named(*place, name))
    }

    /// The offset of a member of the structure or union at a place.
    fn offset(&self, place: usize, name: &str, nesting: u32) -> Option<u32> {
        let info = self.info(place);
        if !matches!(kind(info), STRUCT | UNION) {
            return None;
        }
        (1..=count(info)).find_map(|number| {
            let member = place + number * ENTRY;
            let [of_name, of_type, bits] = [0, 4, 8].map(|at| word(self.entries, member + at));
            // The offsets share a word with the widths of bit fields, if the structure has any.
            let own = if info >> 31 != 0 { bits? & 0x00ff_ffff } else { bits? } / 8;
            if self.is_named(member, name) {
                return Some(own);
            }
            let inner =
                (of_name? == 0 && nesting > 0).then(|| self.places.get(of_type?.checked_sub(1)? as usize));
            self.offset(*inner?? as usize, name, nesting - 1)?.checked_add(own)
        })
    }

    fn info(&self, place: usize) -> u32 {
        word(self.entries, place + 4).unwrap_or(0)
    }

    /// Whether a type or member, which begins with its name, has this one.
    fn is_named(&self, place: usize, name: &str) -> bool {
        let text = word(self.entries, place).and_then(|at| self.strings.get(at as usize..));
        text.and_then(|text| text.strip_prefix(name.as_bytes())).is_some_and(|rest| rest.first() == Some(&0))
    }
}

const fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

const fn count(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// Bytes behind what all types begin with.
const fn length_behind(info: u32) -> Option<usize> {
    Some(match kind(info) {
        // An integer, a variable, a tag of a declaration.
        1 | 14 | 17 => 4,
        // An array.
        3 => 12,
        // A section of data, an enumeration of 64 bits.
        STRUCT | UNION | 15 | 19 => count(info) * ENTRY,
        // An enumeration, a prototype of a function.
        6 | 13 => count(info) * 8,
        2 | 7..=12 | 16 | 18 => 0,
        // Nobody knows how long a type of a kernel to come is.
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BTF of an integer, a task and a socket, whose members begin at these bits; the port is in a union without a name, as the
    /// kernel has it.
    fn described(members: [u32; 3], bitfields: bool) -> Vec<u8> {
        let strings = b"\0task_struct\0group_leader\0comm\0sock_common\0skc_dport\0other\0";
        let at = |name: &str| {
            let name = [b"\0", name.as_bytes(), b"\0"].concat();
            u32::try_from(strings.windows(name.len()).position(|part| part == name).unwrap() + 1).unwrap()
        };
        let info = |kind: u32, count: u32| u32::from(bitfields) << 31 | kind << 24 | count;
        let mut types = vec![at("other"), 1 << 24, 4, 32];
        types.extend([at("task_struct"), info(STRUCT, 3), 64, at("other"), 1, 8 << 24]);
        types.extend([at("group_leader"), 1, members[0], at("comm"), 1, members[1]]);
        types.extend([0, info(UNION, 1), 8, at("skc_dport"), 1, 32]);
        types.extend([at("sock_common"), info(STRUCT, 2), 64, at("other"), 1, 0, 0, 3, members[2] - 32]);
        let types: Vec<_> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let lengths = [types.len(), strings.len()].map(|length| u32::try_from(length).unwrap());
        let header = [u32::from(MAGIC) | 1 << 16, 24, 0, lengths[0], lengths[0], lengths[1]];
        [&header.map(u32::to_ne_bytes).concat(), &types[..], strings].concat()
    }

    #[test]
    fn members_are_found_by_their_names() {
        let expected = TaskLayout { leader: 8, command: 16, port: 12 };
        assert_eq!(TaskLayout::of(&described([64, 128, 96], false)), Some(expected));
        let with_widths = [64 | 3 << 24, 128, 96];
        assert_eq!(TaskLayout::of(&described(with_widths, true)), Some(expected));
    }

    #[test]
    fn what_is_cut_off_or_damaged_has_none() {
        let whole = described([64, 128, 96], false);
        for length in 0..whole.len() {
            let found = TaskLayout::of(&whole[..length]);
            assert_eq!(found, None, "{length} bytes");
        }
        let mut other = whole.clone();
        other[24 + 7] = 31;
        assert_eq!(TaskLayout::of(&other), None, "a kind that nobody knows");
    }

    #[test]
    fn this_kernel_describes_them() {
        let Ok(types) = fs::read(KERNEL_TYPES) else {
            assert!(TaskLayout::of_this_kernel().unwrap_err().contains(KERNEL_TYPES));
            return;
        };
        let layout = TaskLayout::of(&types).expect("the kernel's types are whole");
        assert!(layout.leader > 0 && layout.command > layout.leader && layout.port > 0, "{layout:?}");
    }
}
