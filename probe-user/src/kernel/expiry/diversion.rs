//! Entries of the histograms are taken away while programs go on counting: see [`probe_common::order`].

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use probe_common::{
    exchange::{LatencyCell, LatencyKey},
    order::{Action, DIVERTED, Order, STRAIGHT},
};

use crate::kernel::{
    collector::take,
    error::{CollectError, StartError},
    grace::Grace,
    object::CARRY_OUT_ORDERS,
    pinning::Pins,
    run_once::RunOnce,
};

const LEAVING: &str = "LEAVING";
const FLAG: &str = "DIVERTED";
const ORDERS: &str = "ORDERS";

/// How entries are taken away.
pub(super) struct Diversion {
    leaving: HashMap<MapData, LatencyKey, LatencyCell>,
    flag: Array<MapData, u64>,
    orders: Array<MapData, Order>,
    carry_out: RunOnce,
    /// Whether it was left in the middle.
    broken: bool,
}

impl Diversion {
    /// Makes ready; the program must have been loaded.
    pub(super) fn prepare(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<Self, StartError> {
        let carry_out = RunOnce::prepare(ebpf, CARRY_OUT_ORDERS, pins)?;
        Self::with(ebpf, carry_out)
    }

    /// Takes up what an earlier agent made, and sets right what it may have left in the middle.
    pub(super) fn take_up(ebpf: &mut Ebpf, pins: &Pins, grace: &Grace) -> Result<Self, StartError> {
        let mut diversion = Self::with(ebpf, RunOnce::take_up(CARRY_OUT_ORDERS, pins)?)?;
        diversion.broken = true;
        diversion.mend(grace).map_err(|source| StartError::Expiry { source })?;
        Ok(diversion)
    }

    fn with(ebpf: &mut Ebpf, carry_out: RunOnce) -> Result<Self, StartError> {
        Ok(Self {
            leaving: take(ebpf, LEAVING)?,
            flag: take(ebpf, FLAG)?,
            orders: take(ebpf, ORDERS)?,
            carry_out,
            broken: false,
        })
    }

    /// How many entries can leave at once.
    pub(super) fn room(&self) -> usize {
        self.orders.len() as usize
    }

    /// Sets right what was left in the middle, if anything was: orders that may not be all there, and what was counted for
    /// entries that were leaving.
    pub(super) fn mend(&mut self, grace: &Grace) -> Result<(), CollectError> {
        if !self.broken {
            return Ok(());
        }
        for number in 0..self.orders.len() {
            self.orders.set(number, Order::default(), 0).map_err(CollectError::of_map(ORDERS))?;
        }
        self.close(grace)
    }

    /// Has nobody touch these entries any more: what comes for them is counted elsewhere until [`Self::close`].
    pub(super) fn open(
        &mut self,
        entries: impl IntoIterator<Item = LatencyKey>,
        grace: &Grace,
    ) -> Result<(), CollectError> {
        self.broken = true;
        for entry in entries {
            let nothing = LatencyCell::default();
            self.leaving.insert(entry, nothing, 0).map_err(CollectError::of_map(LEAVING))?;
        }
        self.flag.set(0, DIVERTED, 0).map_err(CollectError::of_map(FLAG))?;
        // Those that run now may not have seen it.
        grace.wait()
    }

    /// Has these orders carried out: all, or, if this agent is killed, none. There may be no more of them than [`Self::room`].
    pub(super) fn carry_out(&mut self, orders: impl IntoIterator<Item = Order>) -> Result<(), CollectError> {
        for (number, order) in (0..).zip(orders) {
            self.orders.set(number, order, 0).map_err(CollectError::of_map(ORDERS))?;
        }
        self.carry_out.run()
    }

    /// Puts back what was counted meanwhile.
    pub(super) fn close(&mut self, grace: &Grace) -> Result<(), CollectError> {
        self.flag.set(0, STRAIGHT, 0).map_err(CollectError::of_map(FLAG))?;
        grace.wait()?;
        let entries = self.leaving.keys().collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(CollectError::of_map(LEAVING))?;
        let settle = |entry| Order { entry, action: Action::Settle as u32, ..Order::default() };
        self.carry_out(entries.into_iter().map(settle))?;
        self.broken = false;
        Ok(())
    }
}
