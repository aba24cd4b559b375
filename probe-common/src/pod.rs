//! The types that the agent reads out of maps.

use crate::{
    ages::{Old, Young},
    counters::ServiceCounters,
    exchange::{LatencyCell, LatencyKey},
    interface::InterfaceCounters,
    order::Order,
    peer::{PeerCell, PeerKey},
    route::RouteKey,
    sample::SampledClient,
    service::{IndexState, ParkedService, ServiceEntry, ServiceKey},
    user::{Client, ClientKey},
};

macro_rules! pod {
    ($($name:ty),+ $(,)?) => {$(
        // SAFETY: `repr(C)`, integers only, no padding that is not a field: any bytes are a value.
        unsafe impl aya::Pod for $name {}
    )+};
}

pod!(
    ServiceKey,
    ServiceEntry,
    ParkedService,
    IndexState,
    Young,
    Old,
    ServiceCounters,
    LatencyKey,
    LatencyCell,
    ClientKey,
    Client,
    InterfaceCounters,
    RouteKey,
    Order,
    SampledClient,
    PeerKey,
    PeerCell
);
