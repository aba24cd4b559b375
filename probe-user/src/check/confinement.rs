//! What keeps the agent, while it runs, from what it never does.

use std::fs;

use super::finding::Finding;
use crate::least_privilege;

pub(super) fn look() -> [Finding; 2] {
    [
        seccomp(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        landlock(least_privilege::landlock_version()),
    ]
}

fn seccomp(status: &str) -> Finding {
    const SUBJECT: &str = "seccomp";
    if status.lines().any(|line| line.starts_with("Seccomp:")) {
        return Finding::good(SUBJECT, "system calls that the agent never makes are blocked");
    }
    Finding::lesser(
        SUBJECT,
        "not in this kernel (CONFIG_SECCOMP_FILTER): the agent may make any system call its capabilities allow",
    )
}

fn landlock(version: Option<i64>) -> Finding {
    const SUBJECT: &str = "Landlock";
    match version {
        Some(version) => Finding::good(
            SUBJECT,
            format!("version {version}: serving threads may read few files and write none"),
        ),
        None => Finding::lesser(
            SUBJECT,
            "not in this kernel (5.13 or later), or not enabled at boot (`lsm=`): only capabilities and the system \
             call filter protect files",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn what_a_kernel_lacks_is_named() {
        assert_eq!(seccomp("Seccomp:\t0\n").verdict, Verdict::Good);
        assert!(seccomp("Name:\tx\n").detail.contains("CONFIG_SECCOMP_FILTER"));
        assert!(landlock(Some(7)).detail.contains("version 7"));
        assert_eq!(landlock(None).verdict, Verdict::Lesser);
    }
}
