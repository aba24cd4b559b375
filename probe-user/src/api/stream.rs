//! The ticks as server-sent events (HTML standard, section 9.2).

use std::{num::NonZeroU32, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderName,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{answer::Failure, documents::Documents};
use crate::report::Report;

/// How many may follow at a time: each keeps a connection, and the server has a limited number of those.
pub(super) const MAX_SUBSCRIBERS: usize = 16;

/// Tells nginx, if it stands between, to pass events on as they come.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// One who follows. What they do not take in time is not kept: the next event that they get is the latest one.
struct Subscriber {
    documents: Arc<Documents>,
    reports: watch::Receiver<Option<Arc<Report>>>,
    /// How many events they still want; none for all that come.
    wanted: Option<u32>,
    /// Given back when they leave.
    _place: OwnedSemaphorePermit,
}

/// An answer that goes on for as long as the client stays, or for so many events.
pub(super) fn follow(
    documents: Arc<Documents>,
    mut reports: watch::Receiver<Option<Arc<Report>>>,
    places: Arc<Semaphore>,
    wanted: Option<NonZeroU32>,
) -> Result<Response, Failure> {
    let place = places.try_acquire_owned().map_err(|_| Failure::Crowded(MAX_SUBSCRIBERS))?;
    // The first event is the latest tick, and comes at once.
    reports.mark_changed();
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), (UNBUFFERED, "no")];
    let wanted = wanted.map(NonZeroU32::get);
    let body = Body::from_stream(events(Subscriber { documents, reports, wanted, _place: place }));
    Ok((headers, body).into_response())
}

fn events(subscriber: Subscriber) -> impl Stream<Item = Result<Bytes, axum::BoxError>> {
    stream::try_unfold(subscriber, |mut subscriber| async move {
        if let Some(wanted) = &mut subscriber.wanted {
            let Some(left) = wanted.checked_sub(1) else { return Ok(None) };
            *wanted = left;
        }
        loop {
            // An error says that the agent ends.
            if subscriber.reports.changed().await.is_err() {
                return Ok(None);
            }
            let Some(report) = subscriber.reports.borrow_and_update().clone() else { continue };
            let documents = Arc::clone(&subscriber.documents);
            let event = tokio::task::spawn_blocking(move || documents.of(report).event()).await??;
            return Ok(Some((event, subscriber)));
        }
    })
}
