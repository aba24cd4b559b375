//! The files of a replay, as one capture: by time, where there are several.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result};

use super::{
    capture::{Capture, Record},
    damage::Damage,
    interrupt::Interrupt,
    skip::Skip,
    source,
};

/// Captures that are read at the same time.
pub(super) struct Files(Vec<Input>);

struct Input {
    name: String,
    capture: Capture,
    damage: Option<Damage>,
    head: Kept,
}

/// A record that waits for its turn.
#[derive(Default)]
struct Kept {
    link: u16,
    time: u64,
    bytes: Vec<u8>,
    length: usize,
}

/// What became of a file.
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) packets: u64,
    pub(super) damage: Option<Damage>,
}

/// What a file is called.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Whether what was given has an end, which a signal should not have kept from being read.
pub(super) fn has_an_end(path: &Path) -> bool {
    path != Path::new("-") && path.is_file()
}

impl Files {
    /// Opens all of them.
    pub(super) fn open(paths: &[PathBuf], interrupt: &Rc<Interrupt>) -> Result<Self> {
        let open = |path: &PathBuf| {
            let name = name(path);
            let source = source::open(path, interrupt).with_context(|| format!("cannot open {name}"))?;
            let capture = Capture::open(source).with_context(|| format!("cannot replay {name}"))?;
            Ok(Input::new(name, capture))
        };
        Ok(Self(paths.iter().map(open).collect::<Result<_>>()?))
    }

    /// One that is open already.
    #[cfg(test)]
    pub(super) fn of(
        name: &str,
        source: impl std::io::Read + 'static,
    ) -> Result<Self, super::damage::NotACapture> {
        Ok(Self(vec![Input::new(name.to_owned(), Capture::open(source)?)]))
    }

    /// Hands over every packet: of one file as they stand there; of several always the one that is earliest.
    pub(super) fn read(&mut self, mut to: impl FnMut(Result<Record<'_>, Skip>)) {
        if let [input] = &mut self.0[..] {
            while input.advance(&mut to) {}
            return;
        }
        let mut heads = BinaryHeap::new();
        for (index, input) in self.0.iter_mut().enumerate() {
            heads.extend(input.next(&mut to).map(|time| Reverse((time, index))));
        }
        while let Some(Reverse((_, index))) = heads.pop() {
            let input = &mut self.0[index];
            to(Ok(input.head.record()));
            heads.extend(input.next(&mut to).map(|time| Reverse((time, index))));
        }
    }

    /// What became of them.
    pub(super) fn finish(self) -> Vec<Outcome> {
        let told = |input: Input| Outcome {
            name: input.name,
            packets: input.capture.packets(),
            damage: input.damage,
        };
        self.0.into_iter().map(told).collect()
    }
}

impl Input {
    fn new(name: String, capture: Capture) -> Self {
        Self { name, capture, damage: None, head: Kept::default() }
    }

    /// Hands over a packet; false if there are no more.
    fn advance(&mut self, to: impl FnMut(Result<Record<'_>, Skip>)) -> bool {
        match self.capture.advance(to) {
            Ok(more) => more,
            Err(damage) => {
                self.damage = Some(damage);
                false
            }
        }
    }

    /// Reads up to the next packet that can be read, and gives its time; the others are handed over at once.
    fn next(&mut self, to: &mut impl FnMut(Result<Record<'_>, Skip>)) -> Option<u64> {
        loop {
            let mut head = std::mem::take(&mut self.head);
            let mut filled = false;
            let more = self.advance(|record| match record {
                Ok(record) => {
                    head.keep(&record);
                    filled = true;
                }
                Err(skip) => to(Err(skip)),
            });
            self.head = head;
            match (filled, more) {
                (true, _) => return Some(self.head.time),
                (false, true) => {}
                (false, false) => return None,
            }
        }
    }
}

impl Kept {
    fn keep(&mut self, record: &Record<'_>) {
        (self.link, self.time, self.length) = (record.link, record.time, record.length);
        self.bytes.clear();
        self.bytes.extend_from_slice(record.bytes);
    }

    fn record(&self) -> Record<'_> {
        Record { link: self.link, time: self.time, bytes: &self.bytes, length: self.length }
    }
}
