//! Open files: how many there may be, and how many there are.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many as the hard limit allows. The soft one is often 1,024, for the sake of programs that use `select`.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!("cannot raise the soft limit on open files to the hard limit: {error}");
    }
}

/// How many this process may have.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many it has.
#[must_use]
pub fn in_use() -> u64 {
    // One of them is the directory that is read here.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// What a pass over processes, cgroups and namespaces, the API server's connections and the like take at most.
const FOR_FILES: u64 = 64;

/// How many are left of a limit, with so many in use, for interfaces and for clients of the listener.
#[must_use]
pub const fn free(limit: u64, in_use: u64) -> u64 {
    limit.saturating_sub(in_use).saturating_sub(FOR_FILES)
}

/// How many clients of the listener there are descriptors for, beside what is open now and what else may be opened: the other half
/// is for interfaces that come.
#[must_use]
pub fn for_clients() -> usize {
    usize::try_from(free(limit(), in_use()) / 2).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_opened_is_in_use_and_the_limit_is_the_hard_one() {
        let before = in_use();
        let opened: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open files meanwhile, a few of them.
        assert!(in_use() > before + 50, "{before}, and then {} for {} files", in_use(), opened.len());
        raise_limit();
        assert_eq!(limit(), getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
    }
}
