//! How many requests are worked on at a time.

use std::{sync::Arc, time::Duration};

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

use super::{limits, routes};

/// For how long a request waits for its turn: scrapes wait 10 s for their answer, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// The gate that requests pass.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    turns: Arc<Semaphore>,
    limit: usize,
}

impl Gate {
    pub(super) fn new(limit: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(limit)), limit }
    }
}

/// A request's turn, for what goes on when its answer has begun: whoever holds a copy keeps it.
#[derive(Clone, Debug)]
pub(super) struct Turn(
    #[expect(dead_code, reason = "given back when it is dropped")] Arc<OwnedSemaphorePermit>,
);

/// Lets a request through when it is its turn. Questions after the agent's health wait for nobody: they cost nothing.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if routes::is_about_health(request.uri().path()) {
        return next.run(request).await;
    }
    match timeout(PATIENCE, Arc::clone(&gate.turns).acquire_owned()).await {
        Ok(Ok(turn)) => {
            let turn = Turn(Arc::new(turn));
            request.extensions_mut().insert(turn.clone());
            let response = next.run(request).await;
            drop(turn);
            response
        }
        _ => crowded(&format!("{} requests are worked on, as many as may be", gate.limit)),
    }
}

/// The answer to who should come back in a moment.
pub(super) fn crowded(why: &str) -> Response {
    let headers = [(RETRY_AFTER, limits::RETRY_AFTER)];
    (StatusCode::SERVICE_UNAVAILABLE, headers, format!("{why}: come back in a moment\n")).into_response()
}
