//! Where the cgroup2 hierarchy is mounted. On hybrid hosts it is not at one usual place, and there may be several.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// Why there is no cgroup2 hierarchy to attach to.
#[derive(Debug, thiserror::Error)]
pub enum NoCgroup2 {
    /// None is mounted.
    #[error(
        "no cgroup2 hierarchy is mounted, and the probe attaches to its root: mount one with \
         `mount -t cgroup2 none /sys/fs/cgroup`, or on a host with cgroup v1 at another empty directory; give a container \
         the host's, as by `--volume /sys/fs/cgroup:/host/cgroup:ro`"
    )]
    NotMounted,
    /// Those that are mounted show only a part of the hierarchy, or cannot be read.
    #[error(
        "the cgroup2 mount at {} shows only a part of the hierarchy, is hidden by another mount, or cannot be read: run the probe \
         in the host's cgroup namespace, as root, or give its container the whole, as by `--volume /sys/fs/cgroup:/host/cgroup:ro`",
        .0.display()
    )]
    NotRoot(PathBuf),
    /// The mounts are not known.
    #[error("cannot read /proc/self/mountinfo to find the cgroup2 hierarchy: {0}; is /proc mounted?")]
    Mounts(#[from] io::Error),
}

/// The directory where the root of the cgroup2 hierarchy is mounted.
pub fn cgroup2_root() -> Result<PathBuf, NoCgroup2> {
    let mountinfo = fs::read("/proc/self/mountinfo")?;
    choose(&cgroup2_mounts(&mountinfo), |point| is_cgroup2(point) && is_root(point))
}

/// Whether the hierarchy is what a path leads to: another file system may be mounted over it.
fn is_cgroup2(point: &Path) -> bool {
    statfs(point).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Whether a readable directory is the root of the hierarchy itself: it alone has no file of events. What the mounts tell
/// does not decide it, since to a process in a cgroup namespace its own cgroup looks like the root.
fn is_root(point: &Path) -> bool {
    fs::read_dir(point).is_ok() && !point.join("cgroup.events").exists()
}

/// Whether there are hierarchies of cgroup v1 as well. If the mounts are not known, there are none.
#[must_use]
pub fn cgroup1_is_mounted() -> bool {
    has_cgroup1(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Where the root of the hierarchy of version 1 is mounted that has a controller, if there is one.
pub(super) fn cgroup1_root(controller: &str) -> Option<PathBuf> {
    cgroup1_mount(&fs::read("/proc/self/mountinfo").ok()?, controller.as_bytes())
}

/// The controllers are among the options of the file system, which are a line's last field.
fn cgroup1_mount(mountinfo: &[u8], controller: &[u8]) -> Option<PathBuf> {
    mountinfo.split(|byte| *byte == b'\n').filter(|line| kind(line) == Some(b"cgroup")).find_map(|line| {
        let options = line.rsplit(|byte| *byte == b' ').next()?;
        let has = options.split(|byte| *byte == b',').any(|option| option == controller);
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (has && root == b"/").then(|| PathBuf::from(OsString::from_vec(unescape(point))))
    })
}

fn has_cgroup1(mountinfo: &[u8]) -> bool {
    mountinfo.split(|byte| *byte == b'\n').any(|line| kind(line) == Some(b"cgroup"))
}

/// The type of a mount: behind the dash with which optional fields end.
fn kind(line: &[u8]) -> Option<&[u8]> {
    line.split(|byte| *byte == b' ').skip(5).skip_while(|field| *field != b"-").nth(1)
}

/// A mount of cgroup2.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The directory of the hierarchy that is mounted.
    root: Vec<u8>,
    /// Where.
    point: PathBuf,
}

fn choose(mounts: &[Mount], is_root: impl Fn(&Path) -> bool) -> Result<PathBuf, NoCgroup2> {
    // From within a cgroup namespace, what lies above it is shown as `/..`.
    let may_be = |mount: &&Mount| mount.root == b"/" || mount.root.starts_with(b"/..");
    let whole = mounts.iter().filter(may_be).find(|mount| is_root(&mount.point));
    match (whole, mounts.first()) {
        (Some(mount), _) => Ok(mount.point.clone()),
        (None, Some(mount)) => Err(NoCgroup2::NotRoot(mount.point.clone())),
        (None, None) => Err(NoCgroup2::NotMounted),
    }
}

/// The mounts of cgroup2 in the text of `/proc/PID/mountinfo`: see `proc(5)`.
fn cgroup2_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(cgroup2_mount).collect()
}

fn cgroup2_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    (kind(line)? == b"cgroup2")
        .then(|| Mount { root: unescape(root), point: PathBuf::from(OsString::from_vec(unescape(point))) })
}

/// Undoes the kernel's `\040` for a blank, and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                text.push(byte);
                rest = &tail[3..];
            }
            _ => {
                text.push(*first);
                rest = tail;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"\
        24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        32 30 0:28 / /sys/fs/cgroup/unified rw,relatime shared:9 master:2 - cgroup2 cgroup2 rw\n";

    fn chosen(mountinfo: &[u8], is_root: bool) -> Result<PathBuf, NoCgroup2> {
        choose(&cgroup2_mounts(mountinfo), |_| is_root)
    }

    #[test]
    fn a_hybrid_host_has_it_elsewhere() {
        assert_eq!(chosen(HYBRID, true).unwrap(), Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn hierarchies_of_version_1_are_seen() {
        assert!(has_cgroup1(HYBRID));
        assert!(!has_cgroup1(b"30 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"));
    }

    #[test]
    fn a_controller_of_version_1_is_found() {
        let cpu = cgroup1_mount(HYBRID, b"cpu");
        assert_eq!(cpu.as_deref(), Some(Path::new("/sys/fs/cgroup/cpu")));
        assert_eq!(cgroup1_mount(HYBRID, b"memory"), None);
        assert_eq!(cgroup1_mount(b"31 30 0:27 /a /m rw - cgroup cgroup rw,memory\n", b"memory"), None);
    }

    #[test]
    fn a_mount_of_a_part_is_passed_over() {
        let mounts = b"\
            40 1 0:28 /system.slice /part rw - cgroup2 cgroup2 rw\n\
            41 1 0:28 / /with\\040blank rw - cgroup2 cgroup2 rw\n";
        assert_eq!(chosen(mounts, true).unwrap(), Path::new("/with blank"));
        assert!(
            matches!(chosen(&mounts[..54], true), Err(NoCgroup2::NotRoot(path)) if path == Path::new("/part"))
        );
    }

    #[test]
    fn in_a_cgroup_namespace_the_hosts_root_is_found() {
        let mounts = b"\
            40 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            41 1 0:28 /../../.. /host/cgroup rw - cgroup2 cgroup2 rw\n";
        let own = Path::new("/sys/fs/cgroup");
        assert_eq!(choose(&cgroup2_mounts(mounts), |path| path != own).unwrap(), Path::new("/host/cgroup"));
        let directory = tempfile::tempdir().unwrap();
        assert!(is_root(directory.path()));
        fs::write(directory.path().join("cgroup.events"), "").unwrap();
        assert!(!is_root(directory.path()), "a cgroup below the root");
        assert!(!is_root(&directory.path().join("gone")));
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        assert!(matches!(chosen(b"", true), Err(NoCgroup2::NotMounted)));
        assert!(matches!(chosen(HYBRID, false), Err(NoCgroup2::NotRoot(_))));
        assert!(NoCgroup2::NotMounted.to_string().contains("mount -t cgroup2"));
    }

    #[test]
    fn another_file_system_is_no_hierarchy() {
        assert!(!is_cgroup2(tempfile::tempdir().unwrap().path()));
    }

    #[test]
    fn this_machine_can_be_asked() {
        if let Ok(root) = cgroup2_root() {
            assert!(is_cgroup2(&root));
            assert!(root.join("cgroup.procs").exists(), "{}", root.display());
        }
    }
}
