//! Whether what holds our programs still has them at their hooks, by the kernel's own account of this process's descriptors. A link
//! stays open when somebody detaches it (`bpftool link detach`), and then names no place any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// The links of this process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attachments {
    /// Those that were at a cgroup and are at none, by their ids.
    off_cgroups: BTreeSet<u32>,
    /// How many there are at each interface.
    at_interfaces: BTreeMap<u32, usize>,
}

impl Attachments {
    /// Looks; none if the kernel gives no account.
    pub(super) fn look() -> Option<Self> {
        let entries = fs::read_dir("/proc/self/fdinfo").ok()?;
        let mut attachments = Self::default();
        for entry in entries.flatten() {
            // One that was closed meanwhile says nothing.
            attachments.note(&fs::read_to_string(entry.path()).unwrap_or_default());
        }
        Some(attachments)
    }

    fn note(&mut self, account: &str) {
        let Some(id) = field::<u32>(account, "link_id") else { return };
        if field::<u64>(account, "cgroup_id") == Some(0) {
            self.off_cgroups.insert(id);
        }
        if let Some(index) = field(account, "ifindex").filter(|index| *index != 0) {
            *self.at_interfaces.entry(index).or_default() += 1;
        }
    }

    pub(super) fn is_off_its_cgroup(&self, link: u32) -> bool {
        self.off_cgroups.contains(&link)
    }

    pub(super) fn at_interface(&self, index: u32) -> usize {
        self.at_interfaces.get(&index).copied().unwrap_or_default()
    }
}

/// A number in the account of a descriptor.
pub(super) fn field<T: std::str::FromStr>(account: &str, name: &str) -> Option<T> {
    let value = account.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_at_no_place_is_told() {
        let link = |id: u32, place: &str| {
            format!(
                "pos:\t0\nflags:\t02000000\nlink_type:\tx\nlink_id:\t{id}\nprog_tag:\ta\nprog_id:\t9\n{place}"
            )
        };
        let mut attachments = Attachments::default();
        for account in [
            link(1, "cgroup_id:\t1\nattach_type:\t0\n"),
            link(2, "cgroup_id:\t0\nattach_type:\t1\n"),
            link(3, "ifindex:\t7\nattach_type:\t46 (ingress)\n"),
            link(4, "ifindex:\t7\nattach_type:\t47 (egress)\n"),
            link(5, "ifindex:\t0\nattach_type:\t47 (egress)\n"),
            "pos:\t0\nmap_id:\t2\n".to_owned(),
        ] {
            attachments.note(&account);
        }
        assert_eq!([1, 2].map(|id| attachments.is_off_its_cgroup(id)), [false, true]);
        assert_eq!([7, 8].map(|index| attachments.at_interface(index)), [2, 0]);
    }
}
