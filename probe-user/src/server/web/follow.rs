//! Reading a web configuration again when it, or a file that it names, has changed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Weak},
    thread,
    time::{Duration, SystemTime},
};

use super::{Reception, Web, validity::Invalid};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What tells that a file has changed, also where a link to it is set anew, as Kubernetes does: device, inode, seconds,
/// nanoseconds, size. None where it is not there.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

impl Web {
    /// Follows the files from now on, by a thread that first does what it is told to: it may need rights to read them that
    /// the threads which serve do without.
    pub fn follow(self: &Arc<Self>, first: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let web = Arc::downgrade(self);
        thread::Builder::new().name("web-config".into()).spawn(move || {
            first();
            Follower { path, web, seen: Vec::new(), complaint: None, invalid: None }.run();
        })?;
        Ok(())
    }
}

struct Follower {
    path: PathBuf,
    web: Weak<Web>,
    /// As the files were when they were read last.
    seen: Vec<Stamp>,
    /// What was wrong with them then.
    complaint: Option<String>,
    /// What was told of the certificate.
    invalid: Option<Invalid>,
}

impl Follower {
    fn run(mut self) {
        // What changed since they were read at the start is noticed, too.
        while let Some(web) = self.web.upgrade() {
            self.look(&web);
            self.look_at_certificate(&web.current());
            drop(web);
            thread::sleep(EVERY);
        }
    }

    fn look(&mut self, web: &Web) {
        let stamps = self.stamps(web);
        // Files that a configuration names in vain are not among those that are looked at: it is tried each time.
        if stamps == self.seen && self.complaint.is_none() {
            return;
        }
        let first = self.seen.is_empty();
        let read = Reception::read(&self.path).map_err(|error| error.to_string());
        match read.and_then(|reception| self.protecting_no_less(web, reception)) {
            Ok(reception) => {
                web.replace(reception);
                if !first {
                    tracing::info!(
                        "{} or a file it names has changed, and is now in force",
                        self.path.display()
                    );
                }
                self.complaint = None;
            }
            Err(complaint) => {
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!("keeping the previous web configuration: {complaint}");
                }
                self.complaint = Some(complaint);
            }
        }
        // From before it was read: what changed meanwhile is read again.
        self.seen = if self.stamps(web).len() == stamps.len() { stamps } else { self.stamps(web) };
    }

    /// What has been read, if it keeps out whom the present one keeps out.
    fn protecting_no_less(&self, web: &Web, reception: Reception) -> Result<Reception, String> {
        match web.current().protection.lost_by(reception.protection) {
            None => Ok(reception),
            Some(what) => Err(format!(
                "{} has no longer what it had at the start: {what} would go; to have it so, start the agent anew",
                self.path.display()
            )),
        }
    }

    /// Tells once what is wrong with the certificate.
    fn look_at_certificate(&mut self, reception: &Reception) {
        let invalid = reception.validity.and_then(|validity| validity.at(SystemTime::now()));
        if let Some(invalid) = invalid.filter(|_| invalid != self.invalid) {
            tracing::warn!("{invalid}");
        }
        self.invalid = invalid;
    }

    fn stamps(&self, web: &Web) -> Vec<Stamp> {
        let reception = web.current();
        let files = std::iter::once(&self.path).chain(&reception.files);
        files
            .map(|file| {
                let meta = fs::metadata(file).ok()?;
                Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
            })
            .collect()
    }
}
