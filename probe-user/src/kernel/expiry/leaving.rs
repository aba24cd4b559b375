//! What becomes of the entries of series that leave.

use probe_common::{
    exchange::{LatencyCell, LatencyKey, Span},
    order::{Action, Order},
};

use super::series::Series;

/// A series that is to leave.
#[derive(Clone, Debug)]
pub(super) struct Leaver {
    /// Which one.
    pub(super) series: Series,
    /// All its entries, with what they have.
    pub(super) entries: Vec<(LatencyKey, LatencyCell)>,
    /// Another that is shown as the same, and stays: what this one had goes there, or what is shown would go down.
    pub(super) heir: Option<Series>,
    /// The service with which its times to first byte stay, if there is no such other: its own, if that stays.
    pub(super) rest: u32,
}

impl Leaver {
    /// How many requests it has.
    pub(super) fn count(&self) -> u64 {
        let counted = self.entries.iter().filter(|(key, _)| is_counted(key));
        counted.map(|(_, cell)| cell.count).sum()
    }

    /// What is to be done to each of its entries.
    pub(super) fn orders(&self) -> impl Iterator<Item = Order> + '_ {
        self.entries.iter().map(|(key, cell)| self.order(key, cell))
    }

    fn order(&self, key: &LatencyKey, cell: &LatencyCell) -> Order {
        let to = match (self.heir, Span::from_key(key.span)) {
            (_, None | Some(Span::Admission)) => None,
            (Some(heir), _) => Some(heir.entry_like(key)),
            (None, Some(Span::Both | Span::FirstByte)) => {
                Some(LatencyKey { service: self.rest, ..self.series.rest(key.bucket) })
            }
            (None, _) => None,
        };
        let order = Order { entry: *key, action: Action::Delete as u32, ..Order::default() };
        to.map_or(order, |to| moved(key, to, cell))
    }
}

/// An order to add what an entry has to another, and to delete it.
pub(super) fn moved(entry: &LatencyKey, to: LatencyKey, cell: &LatencyCell) -> Order {
    let action = Action::Move as u32;
    Order { entry: *entry, to, count: cell.count, sum: cell.sum, action, ..Order::default() }
}

/// Whether an entry is one of requests, and no sign.
pub(super) const fn is_counted(key: &LatencyKey) -> bool {
    key.span != Span::Admission as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(service: u32, span: Span, status: u16, bucket: u16) -> LatencyKey {
        LatencyKey { service, status, bucket, span: span as u8, ..LatencyKey::default() }
    }

    fn leaver(heir: Option<Series>) -> Leaver {
        let entries = [(Span::Both, 3, 2), (Span::Duration, 4, 1), (Span::Admission, 0, 9)];
        let entries = entries.map(|(span, bucket, count)| {
            (key(1, span, 200, bucket), LatencyCell { count, sum: count * 100 })
        });
        Leaver { series: Series::of(&entries[0].0).unwrap(), entries: entries.to_vec(), heir, rest: 1 }
    }

    #[test]
    fn times_to_first_byte_stay_with_the_service() {
        let leaver = leaver(None);
        assert_eq!(leaver.count(), 3, "a sign is no request");
        let orders: Vec<_> = leaver.orders().collect();
        let [both, duration, sign] = &orders[..] else { panic!("{orders:?}") };
        assert_eq!((both.action, both.count, both.sum), (Action::Move as u32, 2, 200));
        assert_eq!(both.to, leaver.series.rest(3));
        let elsewhere = Leaver { rest: 2, ..leaver.clone() }.orders().next().unwrap();
        assert_eq!(elsewhere.to, LatencyKey { service: 2, ..both.to }, "its service leaves as well");
        assert!(duration.action == Action::Delete as u32 && sign.action == Action::Delete as u32);
    }

    #[test]
    fn an_heir_takes_all_but_the_sign() {
        let heir = Series::of(&key(2, Span::Both, 200, 0));
        let leaver = leaver(heir);
        let orders: Vec<_> = leaver.orders().collect();
        assert_eq!(orders[0].to, key(2, Span::Both, 200, 3));
        assert_eq!((orders[1].to, orders[1].count), (key(2, Span::Duration, 200, 4), 1));
        assert_eq!(orders[2].action, Action::Delete as u32);
    }
}
