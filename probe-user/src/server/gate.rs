//! How many requests are worked on at a time.
//!
//! An answer that waits for its client to take what is there is not worked on: it gives its turn back, and asks for another one to
//! go on. So clients that ask and do not read take nobody's turn. A few turns are kept for those who scraped before.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header::RETRY_AFTER},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{connection::Peer, limits, routes};
use crate::scrapers::Scrapers;

/// For how long a request waits for its turn: scrapes wait 10 s for their answer, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns beyond the others, for those who have had the metrics before.
const FOR_KNOWN: usize = 2;

/// The gate that requests pass.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    turns: Arc<Semaphore>,
    for_known: Arc<Semaphore>,
    limit: usize,
    scrapers: Arc<Scrapers>,
}

impl Gate {
    pub(super) fn new(limit: usize, scrapers: Arc<Scrapers>) -> Self {
        let [turns, for_known] = [limit, FOR_KNOWN].map(|turns| Arc::new(Semaphore::new(turns)));
        Self { turns, for_known, limit, scrapers }
    }

    /// A turn, when it comes.
    async fn turn(&self, is_known: bool) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        if !is_known {
            return turn.await.ok();
        }
        tokio::select! {
            turn = turn => turn.ok(),
            turn = Arc::clone(&self.for_known).acquire_owned() => turn.ok(),
        }
    }
}

/// A request's turn, for what goes on when its answer has begun: whoever holds a copy keeps it.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    gate: Gate,
    is_known: bool,
    /// None while it is given back.
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Turn {
    /// Gives it back, while there is nothing to do.
    pub(super) fn give_back(&mut self) {
        self.permit = None;
    }

    /// Waits for one again, unless it was not given back.
    pub(super) async fn take_again(&mut self) {
        if self.permit.is_none() {
            self.permit = self.gate.turn(self.is_known).await.map(Arc::new);
        }
    }
}

/// Lets a request through when it is its turn. Questions after the agent's health wait for nobody: they cost nothing.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if routes::is_about_health(request.uri().path()) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>();
    let is_known = peer.is_some_and(|Peer(who)| gate.scrapers.know(*who, Instant::now()));
    match timeout(PATIENCE, gate.turn(is_known)).await {
        Ok(Some(permit)) => {
            let turn = Turn { gate, is_known, permit: Some(Arc::new(permit)) };
            // Most answers are made when they begin; one that goes on keeps a copy.
            let begun = turn.clone();
            request.extensions_mut().insert(turn);
            let response = next.run(request).await;
            drop(begun);
            response
        }
        _ => crowded(&format!("{} requests are in progress, which is the limit", gate.limit)),
    }
}

/// The answer to who should come back in a moment.
pub(super) fn crowded(why: &str) -> Response {
    let headers = [(RETRY_AFTER, limits::RETRY_AFTER)];
    (StatusCode::SERVICE_UNAVAILABLE, headers, format!("{why}: come back in a moment\n")).into_response()
}
