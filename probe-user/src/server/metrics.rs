//! `/metrics`: the page is sent while it is written.

use std::{io, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task,
    time::{self, Instant},
};

use super::{Service, gate::Turn};
use crate::exposition::{CONTENT_TYPE as TEXT, Exposition, Gone};

/// Pieces of the page that wait for the client: what it takes to write and to send at the same time.
const AHEAD: usize = 2;

/// How long a client may take for the page: what Prometheus by default gives a scrape. It keeps its turn for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the writer hands to the server.
enum Part {
    Piece(Bytes),
    /// The page is whole. Without this one its end would look the same whether it was or not.
    End,
}

pub(super) async fn metrics(State(service): State<Service>, turn: Option<Extension<Turn>>) -> Response {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    // Writing for a large node takes a while: not on a thread that others wait for.
    task::spawn_blocking(move || {
        write(&service.exposition, &sender, &runtime);
        drop(turn);
    });
    let pieces = stream::try_unfold(receiver, async |mut receiver: mpsc::Receiver<Part>| {
        match receiver.recv().await {
            Some(Part::Piece(piece)) => Ok(Some((piece, receiver))),
            Some(Part::End) => Ok(None),
            None => Err(io::Error::other("the page of metrics was not finished")),
        }
    });
    ([(CONTENT_TYPE, TEXT)], Body::from_stream(pieces)).into_response()
}

/// Writes the page, until the client has gone or takes nothing more: then there is nobody to tell.
fn write(exposition: &Exposition, sender: &mpsc::Sender<Part>, runtime: &Handle) {
    let deadline = Instant::now() + PATIENCE;
    let send = |part| {
        let sent = time::timeout_at(deadline, sender.send(part));
        runtime.block_on(sent).map_err(|_| Gone)?.map_err(|_| Gone)
    };
    if exposition.write(&mut |piece| send(Part::Piece(piece.into()))).is_ok() {
        _ = send(Part::End);
    }
}
