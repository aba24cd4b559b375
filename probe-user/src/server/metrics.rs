//! `/metrics`: the page is sent, and compressed, while it is written.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, HeaderValue, Method,
        header::{CONTENT_ENCODING, CONTENT_TYPE, VARY},
    },
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
    task,
    time::{self, Instant},
};

use super::{
    Service, accept,
    coding::{Coder, Coding},
    connection::Peer,
    gate::Turn,
};
use crate::{
    export::{Exposition, Format, Gone},
    scrapers::Scrapers,
};

/// Pieces of the page that wait for the client: what it takes to write and to send at the same time.
const AHEAD: usize = 2;

/// How long a client may take for the page: what Prometheus by default gives a scrape.
const PATIENCE: Duration = Duration::from_secs(10);

/// By this field of its requests Prometheus says how long it will wait, and with it whoever scrapes as it does.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// What the writer hands to the server.
enum Part {
    Piece(Bytes),
    /// The page is whole, of figures that were taken then. Without this one its end would look the same whether it was or
    /// not.
    End(Option<std::time::Instant>),
}

pub(super) async fn metrics(
    State(service): State<Service>,
    peer: Option<Extension<Peer>>,
    turn: Option<Extension<Turn>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let form = Form { format: accept::format(&headers), coding: accept::coding(&headers) };
    if method == Method::HEAD {
        // Nothing is written for who asks only what it would be; and they have not had the figures.
        let nothing = stream::empty::<io::Result<Bytes>>();
        return form.response(Body::from_stream(nothing));
    }
    let asked = peer.map(|Extension(Peer(who))| Asked {
        who,
        announced: headers.contains_key(SCRAPE_TIMEOUT),
        scrapers: service.scrapers,
    });
    let (sender, receiver) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    // Writing for a large node takes a while: not on a thread that others wait for.
    task::spawn_blocking(move || {
        write(&service.exposition, form, &sender, turn.map(|Extension(turn)| turn), &runtime);
    });
    let pieces = stream::try_unfold((receiver, asked), async |(mut receiver, asked): (_, Option<Asked>)| {
        match mpsc::Receiver::recv(&mut receiver).await {
            Some(Part::Piece(piece)) => Ok(Some((piece, (receiver, asked)))),
            // Asked for what comes next: the piece before has been sent.
            Some(Part::End(taken)) => {
                if let (Some(asked), Some(taken)) = (asked, taken) {
                    asked.has_had(taken);
                }
                Ok(None)
            }
            None => Err(io::Error::other("the page of metrics was not finished")),
        }
    });
    form.response(Body::from_stream(pieces))
}

/// What a client's page is like.
#[derive(Clone, Copy, Debug)]
struct Form {
    format: Format,
    coding: Coding,
}

impl Form {
    fn response(self, body: Body) -> Response {
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.format.content_type()));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if let Some(coding) = self.coding.label() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    }
}

/// Who asked.
struct Asked {
    who: IpAddr,
    announced: bool,
    scrapers: Arc<Scrapers>,
}

impl Asked {
    /// Notes that they have had the page.
    fn has_had(&self, taken: std::time::Instant) {
        self.scrapers.note(self.who, self.announced, taken, std::time::Instant::now());
    }
}

/// Writes the page, until the client has gone or takes nothing more: then there is nobody to tell. While the client has not taken
/// what is there, others have the turn.
fn write(
    exposition: &Exposition,
    Form { format, coding }: Form,
    sender: &mpsc::Sender<Part>,
    mut turn: Option<Turn>,
    runtime: &Handle,
) {
    let deadline = Instant::now() + PATIENCE;
    let mut send = |part| match sender.try_send(part) {
        Ok(()) => Ok(()),
        Err(TrySendError::Closed(_)) => Err(Gone),
        Err(TrySendError::Full(part)) => {
            if let Some(turn) = &mut turn {
                turn.give_back();
            }
            let send_and_go_on = async {
                let sent = sender.send(part).await.map_err(|_| Gone);
                if let Some(turn) = &mut turn {
                    turn.take_again().await;
                }
                sent
            };
            runtime.block_on(time::timeout_at(deadline, send_and_go_on)).map_err(|_| Gone)?
        }
    };
    let written = Coder::new(coding).map_err(|error| no_coding(&error)).and_then(|mut coder| {
        let taken = exposition.write(format, &mut |piece| {
            coder
                .code(piece)
                .map_err(|error| no_coding(&error))?
                .map_or(Ok(()), |coded| send(Part::Piece(coded.into())))
        })?;
        let rest = coder.finish().map_err(|error| no_coding(&error))?;
        if !rest.is_empty() {
            send(Part::Piece(rest.into()))?;
        }
        send(Part::End(taken))
    });
    if written.is_err() {
        tracing::debug!("a client of /metrics left before it had all of it");
    }
}

/// Compressing fails for want of memory alone; the client sees a page without an end.
fn no_coding(error: &io::Error) -> Gone {
    tracing::warn!("cannot compress the page of metrics: {error}");
    Gone
}
