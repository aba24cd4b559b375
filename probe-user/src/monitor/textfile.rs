//! The results of one run as a file for the textfile collector of Prometheus' exporter of nodes.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

use super::{failure::Undone, metrics::State, names, results::Run};

/// Writes a run, or that it was undone. The file is there whole or not at all: a collector may read it at any time.
pub(super) fn write(file: &Path, collection: &str, done: &Result<Run, Undone>) -> anyhow::Result<()> {
    let mut state = State::new(collection).context("the table of metrics is malformed")?;
    // What only the predecessor's file knows.
    if let Some(good) = fs::read_to_string(file).ok().and_then(|text| last_success(&text)) {
        state.was_good(good);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let run = done.as_ref().ok();
    state.show(run.map_or(now, |run| run.started_timestamp_seconds), run);
    let text = state.render().context("cannot render the results")?;
    replace(file, &text).with_context(|| {
        format!(
            "cannot write {}: its directory has to be there, and this user allowed to write in it (--textfile)",
            file.display()
        )
    })
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its name does not end in .prom: the collector passes over it.
    let unfinished = tempfile::NamedTempFile::new_in(directory)?;
    fs::write(unfinished.path(), text)?;
    // The collector is another user.
    fs::set_permissions(unfinished.path(), fs::Permissions::from_mode(0o644))?;
    unfinished.persist(file)?;
    Ok(())
}

/// When the last good run began, as a file says that was written before.
fn last_success(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(&format!("{}{{", names::LAST_GOOD_RUN.name)))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_success_outlives_a_failure_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.prom");
        let run = |started, passed| {
            let run = Run { started_timestamp_seconds: started, passed, ..Run::default() };
            Ok(run)
        };
        write(&file, "shop", &run(1_700_000_000.5, true)).unwrap();
        write(&file, "shop", &run(1_700_000_060.5, false)).unwrap();
        write(&file, "shop", &Err(Undone::Stopped)).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.contains("last_success_timestamp_seconds{collection=\"shop\"} 1700000000.5\n"),
            "{text}"
        );
        assert!(text.contains("last_run_success{collection=\"shop\"} 0\n"), "{text}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        let absent = directory.path().join("absent/shop.prom");
        let error = write(&absent, "shop", &run(1.0, true)).unwrap_err();
        assert!(format!("{error:#}").contains("its directory has to be there"), "{error:#}");
    }
}
