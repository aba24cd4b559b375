//! How the bytes of a conversation come by.

use probe_common::connection::Side;
use probe_fuzz::{
    conversation::Turn,
    script::{Operation, Setting},
};
use proptest::prelude::*;

/// How often in a hundred something happens to a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// It comes again, with other boundaries.
    pub(crate) again: u32,
    /// It comes behind the next one.
    pub(crate) late: u32,
    /// The probe never sees it.
    pub(crate) lost: u32,
}

/// The cuts and the fates of segments, used from the start again when they are at an end.
#[derive(Clone, Debug)]
pub(crate) struct Fates {
    cuts: Vec<usize>,
    dice: Vec<u32>,
    next: usize,
}

pub(crate) fn fates() -> impl Strategy<Value = Fates> {
    // From a byte to more than an offload buffer's usual size; mostly some hundreds.
    let cut = prop_oneof![2 => 1_usize..40, 4 => 40_usize..1500, 1 => 1500_usize..20_000];
    (prop::collection::vec(cut, 1..30), prop::collection::vec(0_u32..100, 50))
        .prop_map(|(cuts, dice)| Fates { cuts, dice, next: 0 })
}

pub(crate) fn setting() -> impl Strategy<Value = Setting> {
    // So that both directions wrap in most conversations.
    (0_u16..9_000, 0_u16..9_000).prop_map(|(a, b)| Setting {
        joined: false,
        closed: true,
        before_wrap: [a, b],
    })
}

impl Fates {
    fn cut(&mut self) -> usize {
        self.next += 1;
        self.cuts[self.next % self.cuts.len()]
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.next += 1;
        self.dice[self.next % self.dice.len()] < percent
    }

    /// Has a side write bytes, and segments with them come by as the weather is.
    pub(crate) fn write(
        &mut self,
        side: Side,
        bytes: &[u8],
        weather: Weather,
        operations: &mut Vec<Operation>,
    ) {
        if weather.late == 0 && weather.lost == 0 {
            self.write_in_order(side, bytes, weather, operations);
            return;
        }
        // In portions that can be pointed back to.
        for bytes in bytes.chunks(60_000) {
            operations.push(Operation::Hold(side, bytes.to_vec()));
            let mut segments = Vec::new();
            let mut from = 0;
            while from < bytes.len() {
                let to = (from + self.cut()).min(bytes.len());
                segments.push((from, to));
                from = to;
            }
            for i in 1..segments.len() {
                if self.happens(weather.late) {
                    segments.swap(i - 1, i);
                }
            }
            for (from, to) in segments {
                if !self.happens(weather.lost) {
                    operations.push(again(side, bytes.len() - from, to - from));
                }
                if self.happens(weather.again) {
                    operations.push(again(side, bytes.len() - from, to - from));
                }
            }
        }
    }

    fn write_in_order(
        &mut self,
        side: Side,
        bytes: &[u8],
        weather: Weather,
        operations: &mut Vec<Operation>,
    ) {
        let mut from = 0;
        while from < bytes.len() {
            let to = (from + self.cut()).min(bytes.len());
            operations.push(Operation::Send(side, bytes[from..to].to_vec()));
            if self.happens(weather.again) {
                // With some of what came before it, and perhaps not all of it.
                let back = (to - from + self.cut() % 100).min(60_000);
                operations.push(again(side, back, self.cut()));
            }
            from = to;
        }
    }
}

fn again(side: Side, back: usize, length: usize) -> Operation {
    let short = |value| u16::try_from(value).unwrap_or(u16::MAX);
    Operation::Again { side, back: short(back), length: short(length) }
}

/// The operations of a conversation: `depth` requests at a time, then their answers.
pub(crate) fn converse(
    turns: &[Turn],
    last: Option<&(Turn, [Vec<u8>; 2])>,
    depth: usize,
    weather: Weather,
    fates: &mut Fates,
) -> Vec<Operation> {
    let mut operations = Vec::new();
    for group in turns.chunks(depth) {
        let requests: Vec<u8> = group.iter().flat_map(Turn::request).collect();
        let responses: Vec<u8> = group.iter().flat_map(Turn::response).collect();
        fates.write(Side::Request, &requests, weather, &mut operations);
        fates.write(Side::Response, &responses, weather, &mut operations);
    }
    if let Some((turn, [asked, answered])) = last {
        fates.write(Side::Request, &turn.request(), weather, &mut operations);
        fates.write(Side::Response, &[&turn.response()[..], answered].concat(), weather, &mut operations);
        fates.write(Side::Request, asked, weather, &mut operations);
    }
    operations.push(Operation::Fin(Side::Response));
    operations.push(Operation::Fin(Side::Request));
    operations
}
