//! Cgroups as they come: a container may live for less than a pass, and its cgroup's number says nothing once it is gone.
//!
//! A thread waits for the kernel to tell of new directories (`inotify(7)`), and notes their numbers at once. What it misses
//! (more directories than the user may watch, a burst that overruns the kernel's queue) is found by the next walk, if it is
//! still there.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// So many of the latest are known: what came within a minute, of pods that come and go fifty a second with a few cgroups
/// each.
const REMEMBERED: usize = 16_384;

/// The latest cgroups that came.
#[derive(Clone, Debug, Default)]
pub(super) struct CgroupNews(Arc<Mutex<Latest>>);

#[derive(Debug, Default)]
struct Latest {
    paths: HashMap<u64, String>,
    order: VecDeque<u64>,
}

impl CgroupNews {
    /// Begins to listen below `root`.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let news = Self::default();
        let mut listener = Listener::new(root, news.clone())?;
        thread::Builder::new().name("cgroups".into()).spawn(move || {
            if let Err(error) = listener.listen() {
                tracing::warn!(
                    "the kernel no longer reports new cgroups ({error}): containers that live less than a second may \
                     be named after their process"
                );
            }
        })?;
        Ok(news)
    }

    /// The path of a cgroup that came a while ago, whether or not it is still there.
    pub(super) fn path(&self, id: u64) -> Option<String> {
        self.latest().paths.get(&id).cloned()
    }

    fn add(&self, id: u64, path: String) {
        let mut latest = self.latest();
        if latest.paths.insert(id, path).is_none() {
            latest.order.push_back(id);
        }
        if latest.order.len() > REMEMBERED
            && let Some(oldest) = latest.order.pop_front()
        {
            latest.paths.remove(&oldest);
        }
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of directories.
struct Listener {
    inotify: OwnedFd,
    root: PathBuf,
    /// What is watched, by the kernel's number for the watch: the path below the root.
    watched: HashMap<i32, String>,
    news: CgroupNews,
}

impl Listener {
    fn new(root: &Path, news: CgroupNews) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC)?;
        let mut listener = Self { inotify, root: root.into(), watched: HashMap::new(), news };
        listener.watch(String::new())?;
        Ok(listener)
    }

    /// Returns only if it cannot go on.
    fn listen(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        loop {
            for event in self.wait(&mut buffer)? {
                match event {
                    Event::Came { watch, name } => {
                        if let Some(above) = self.watched.get(&watch) {
                            let path = format!("{above}/{name}");
                            self.watch(path)?;
                        }
                    }
                    Event::Gone { watch } => drop(self.watched.remove(&watch)),
                    // Whatever came meanwhile is below what is watched, or below what comes by this.
                    Event::Overrun => self.watch(String::new())?,
                }
            }
        }
    }

    fn wait(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Vec<Event>> {
        let mut reader = inotify::Reader::new(&self.inotify, buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => events.extend(Event::of(&event)),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(events);
            }
        }
    }

    /// Watches a directory and all below, and notes their numbers: the watch first, so that what comes while we look is
    /// told of. A directory that has gone again is nobody's loss.
    fn watch(&mut self, path: String) -> io::Result<()> {
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            let directory = self.root.join(path.trim_start_matches('/'));
            let wanted = WatchFlags::CREATE | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
            // The number first: it is what will be asked for, and the directory may be gone in a moment.
            let Ok(metadata) = fs::metadata(&directory) else { continue };
            self.news.add(metadata.ino(), if path.is_empty() { "/".into() } else { path.clone() });
            match inotify::add_watch(&self.inotify, &directory, wanted) {
                Ok(watch) => drop(self.watched.insert(watch, path.clone())),
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV | rustix::io::Errno::NOTDIR) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(below.map(|entry| format!("{path}/{}", entry.file_name().to_string_lossy())));
        }
        Ok(())
    }
}

/// What the kernel tells.
enum Event {
    Came { watch: i32, name: String },
    Gone { watch: i32 },
    Overrun,
}

impl Event {
    fn of(event: &inotify::Event<'_>) -> Option<Self> {
        use rustix::fs::inotify::ReadFlags as Told;
        let told: ReadFlags = event.events();
        if told.contains(Told::QUEUE_OVERFLOW) {
            return Some(Self::Overrun);
        }
        if told.contains(Told::IGNORED) {
            return Some(Self::Gone { watch: event.wd() });
        }
        let name = event.file_name().filter(|_| told.contains(Told::CREATE | Told::ISDIR))?;
        let name = std::ffi::OsStr::from_bytes(name.to_bytes()).to_string_lossy().into_owned();
        Some(Self::Came { watch: event.wd(), name })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[track_caller]
    fn wait_for(news: &CgroupNews, id: u64) -> String {
        let started = Instant::now();
        loop {
            if let Some(path) = news.path(id) {
                return path;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "it was not told of");
            thread::yield_now();
        }
    }

    #[test]
    fn what_comes_and_goes_is_known() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("kubepods")).unwrap();
        let news = CgroupNews::of(root.path()).unwrap();
        let make = |path: &str| {
            let directory = root.path().join(path);
            fs::create_dir_all(&directory).unwrap();
            fs::metadata(directory).unwrap().ino()
        };
        let (pod, container) = (make("kubepods/pod1"), make("kubepods/pod1/0123"));
        assert_eq!(wait_for(&news, pod), "/kubepods/pod1");
        assert_eq!(wait_for(&news, container), "/kubepods/pod1/0123");
        // As long as it is held, its number is nobody else's; those of cgroups never are.
        let _held = fs::File::open(root.path().join("kubepods/pod1/0123")).unwrap();
        fs::remove_dir_all(root.path().join("kubepods/pod1")).unwrap();
        // What comes after it, in a directory that came after it, is heard of too.
        let next = make("kubepods/pod2/a/b/c");
        assert_eq!(wait_for(&news, next), "/kubepods/pod2/a/b/c");
        assert_eq!(news.path(container).as_deref(), Some("/kubepods/pod1/0123"));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let news = CgroupNews::default();
        for id in 0..REMEMBERED as u64 + 10 {
            news.add(id, "/x".into());
        }
        assert_eq!(news.latest().paths.len(), REMEMBERED);
        assert!(news.path(9).is_none() && news.path(10).is_some());
    }
}
