//! Files that the threads which speak with the network may touch: a few, and none to write (Landlock). The kernel gives as
//! much of it as it has.
//!
//! The thread that collects is not held to this: Landlock would also keep it from looking at other processes, whose names and
//! sockets are its business.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

/// What serving reads: about this process, the authorities that TLS trusts, and the service account's token, which is
/// renewed as long as the pod lives.
const SERVING: [&str; 9] = [
    "/proc",
    "/dev/urandom",
    "/etc/ssl",
    "/etc/pki",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/etc/localtime",
    "/run/secrets",
    // Where Kubernetes mounts it, and what is no link to `/run` in an image that has neither.
    "/var/run/secrets",
];

/// The newest version that was tried; of an older kernel, what it has is used.
const NEWEST: ABI = ABI::V6;

/// Which files may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Those that serving takes.
    Few,
    /// All: a kubeconfig can name files anywhere.
    All,
}

/// Restricts this thread, and those that it starts from now on; true if the kernel gave any of it.
pub(super) fn restrict(reading: Reading) -> Result<bool, RulesetError> {
    let paths: &[&str] = if reading == Reading::Few { &SERVING } else { &["/"] };
    let read: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(paths, read))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// The version that this kernel has; none if it has none or does not use it.
pub(super) fn version() -> Option<i64> {
    const ASK_FOR_VERSION: u32 = 1;
    // SAFETY: a question that takes no memory of ours: see landlock_create_ruleset(2).
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<()>(), 0_usize, ASK_FOR_VERSION)
    };
    (version > 0).then_some(version)
}

#[cfg(test)]
mod tests {
    use std::{fs, io, thread};

    use super::*;

    #[test]
    fn who_serves_reads_little_and_writes_nothing() {
        if version().is_none() {
            eprintln!("this kernel has no Landlock: nothing to see");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "text").unwrap();
        let tried = thread::spawn(move || {
            assert!(restrict(Reading::Few).unwrap());
            let seen = [fs::read_to_string("/proc/self/status"), fs::read_to_string(&file)];
            (
                seen.map(|read| read.map_err(|error| error.kind())),
                fs::write(&file, "").map_err(|error| error.kind()),
            )
        });
        let ([status, other], written) = tried.join().unwrap();
        assert!(status.is_ok());
        assert_eq!(other, Err(io::ErrorKind::PermissionDenied));
        assert_eq!(written, Err(io::ErrorKind::PermissionDenied));
    }
}
