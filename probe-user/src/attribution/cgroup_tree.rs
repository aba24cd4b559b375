//! From a cgroup's id to its path.
//!
//! The id is the inode number of the cgroup's directory, so one walk over the directories knows them all.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    cgroup_news::CgroupNews,
    pace::{Known, Leave, Pace},
};

/// Deeper than any hierarchy that people make; keeps the walk bounded.
const MAX_DEPTH: usize = 32;

/// The cgroups that were there at the last look.
#[derive(Debug)]
pub(super) struct CgroupTree {
    root: PathBuf,
    paths: HashMap<u64, String>,
    pace: Pace,
    /// Those that the kernel told of since, if it tells.
    news: Option<CgroupNews>,
}

impl CgroupTree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, paths: HashMap::new(), pace: Pace::default(), news: None }
    }

    /// Has the kernel tell of those that come.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        self.news = Some(CgroupNews::of(&self.root)?);
        Ok(())
    }

    /// Where the hierarchy is mounted.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a cgroup below the root, with a slash before it; none if it is gone.
    pub(super) fn path(&mut self, id: u64, now: Instant, since: Instant) -> Known<Option<&str>> {
        let told = || self.news.as_ref().and_then(|news| news.path(id));
        if !self.paths.contains_key(&id)
            && let Some(path) = told()
        {
            self.paths.insert(id, path);
        }
        if !self.paths.contains_key(&id) {
            match self.pace.ask(now, since) {
                Leave::Look => self.paths = walk(&self.root),
                Leave::Conclude => {}
                Leave::Wait => return Known::NotYet,
            }
        }
        Known::Yes(self.paths.get(&id).map(String::as_str))
    }
}

fn walk(root: &Path) -> HashMap<u64, String> {
    let mut paths = HashMap::new();
    let mut waiting = vec![(root.to_path_buf(), String::new(), 0)];
    if let Ok(metadata) = fs::metadata(root) {
        paths.insert(std::os::unix::fs::MetadataExt::ino(&metadata), "/".to_owned());
    }
    while let Some((directory, path, depth)) = waiting.pop() {
        // A cgroup may go while we look.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        for entry in directories {
            let below = format!("{path}/{}", entry.file_name().to_string_lossy());
            if depth < MAX_DEPTH {
                waiting.push((entry.path(), below.clone(), depth + 1));
            }
            paths.insert(entry.ino(), below);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::MetadataExt, time::Duration};

    use super::*;

    fn id(root: &Path, path: &str) -> u64 {
        let directory = root.join(path);
        fs::create_dir_all(&directory).unwrap();
        fs::metadata(directory).unwrap().ino()
    }

    #[test]
    fn an_id_is_an_inode_number() {
        let root = tempfile::tempdir().unwrap();
        let nginx = id(root.path(), "system.slice/nginx.service");
        let top = id(root.path(), "");
        let mut tree = CgroupTree::new(root.path().into());
        let now = Instant::now();
        assert_eq!(tree.path(nginx, now, now), Known::Yes(Some("/system.slice/nginx.service")));
        assert_eq!(tree.path(top, now, now), Known::Yes(Some("/")));
        assert_eq!(tree.path(u64::MAX, now, now), Known::Yes(None));
    }

    #[test]
    fn a_new_one_is_found_by_the_next_look() {
        let root = tempfile::tempdir().unwrap();
        let mut tree = CgroupTree::new(root.path().into());
        let start = Instant::now();
        assert_eq!(tree.path(u64::MAX, start, start), Known::Yes(None));
        let new = id(root.path(), "new.service");
        let asked = start + Duration::from_millis(10);
        assert_eq!(tree.path(new, asked, asked), Known::NotYet);
        assert_eq!(tree.path(new, start + Duration::from_secs(1), asked), Known::Yes(Some("/new.service")));
    }
}
