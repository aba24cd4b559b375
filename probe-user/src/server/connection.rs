//! One connection, from its first byte to its last.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Request, StatusCode, header::CONNECTION},
    response::{IntoResponse, Response},
};
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::{
    Web,
    guarded::{Guarded, Progress},
    limits::{Limits, Refusal},
    places::Seat,
};

/// How long a connection is kept for a client that asks for nothing, if nobody else needs its place: longer than scrapes are
/// apart.
const IDLE: Duration = Duration::from_mins(2);

/// Room for what is read ahead, and for what is written: more than a head may have.
const BUFFER: usize = 64 << 10;

/// Who asks, among the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// What connections are served by.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) limits: Limits,
    pub(super) router: Router,
    pub(super) web: Arc<Web>,
}

impl Host {
    /// Serves a connection until it ends, over TLS if that is in force.
    pub(super) async fn receive(self, stream: TcpStream, peer: IpAddr, seat: Seat) {
        let Self { limits, router, web } = self;
        let Some(tls) = web.current().tls.clone() else {
            return converse(stream, Peer(peer), seat, limits, router).await;
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(limits.patience, shake_hands(stream, tls)) => shaken,
            () = seat.is_needed() => return,
        };
        match shaken {
            Ok(Ok(Handshake::Done(stream))) => converse(*stream, Peer(peer), seat, limits, router).await,
            Ok(Ok(Handshake::Plaintext(mut stream))) => Refusal::Plaintext.tell(&mut stream).await,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake with a client failed");
            }
            // There is no common language to tell it in.
            Err(_) => {}
        }
    }
}

/// How a connection over TLS begins.
enum Handshake {
    Done(Box<TlsStream<TcpStream>>),
    /// With something else.
    Plaintext(TcpStream),
}

async fn shake_hands(stream: TcpStream, tls: Arc<ServerConfig>) -> std::io::Result<Handshake> {
    /// What every handshake begins with: the type of its record (RFC 8446, section 5.1).
    const RECORD: u8 = 22;
    let mut first = [RECORD];
    stream.peek(&mut first).await?;
    if first != [RECORD] {
        return Ok(Handshake::Plaintext(stream));
    }
    Ok(Handshake::Done(Box::new(TlsAcceptor::from(tls).accept(stream).await?)))
}

/// Serves a connection until it ends, or has to; a client that ran into a limit is told which.
async fn converse<S>(stream: S, peer: Peer, seat: Seat, limits: Limits, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seat = Arc::new(seat);
    let progress = Arc::new(Progress::of(Arc::clone(&seat)));
    let stream = TokioIo::new(Guarded::new(stream, limits, Arc::clone(&progress)));
    let router = TowerToHyperService::new(router);
    let answer = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        progress.request_is_whole();
        seat.is_busy();
        let occupied = Occupied(Arc::clone(&seat));
        let (progress, router) = (Arc::clone(&progress), router.clone());
        Box::pin(async move {
            if !request.body().is_end_stream() {
                progress.stop_reading();
                return Ok::<_, Infallible>(occupied.until_sent(has_body()));
            }
            Ok(occupied.until_sent(router.call(request).await?))
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        // Of requests that are sent ahead, and of answers, for a client.
        .max_buf_size(BUFFER)
        .serve_connection(stream, answer);
    let ended = tokio::select! {
        ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = seat.is_needed() => None,
    };
    let refusal = match ended {
        Some(Ok(())) => None,
        Some(Err(error)) => {
            // A client's doing: it left early, or sent no HTTP.
            tracing::debug!(%error, "a connection to the listener ended early");
            progress.refusal(&limits)
        }
        None => progress.awaits_answer().then_some(Refusal::Crowded(limits.connections)),
    };
    part(connection.into_parts().io.into_inner().into_inner(), refusal, limits.patience).await;
}

/// Ends a connection, with a word if there is one to say.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin, refusal: Option<Refusal>, patience: Duration) {
    match refusal {
        Some(refusal) => refusal.tell(&mut stream).await,
        None => {
            // A farewell that is not taken is none.
            let _ = tokio::time::timeout(patience, stream.shutdown()).await;
        }
    }
}

fn has_body() -> Response {
    let sentence = "no request here has content: ask with GET, and send none\n";
    let mut response = (StatusCode::PAYLOAD_TOO_LARGE, sentence).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A seat at which a request is worked on.
struct Occupied(Arc<Seat>);

impl Occupied {
    /// Keeps it until the answer's last byte was made.
    fn until_sent(self, response: Response) -> Response {
        response.map(|body| Body::new(Sending { body, occupied: self }))
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.is_waiting();
    }
}

/// An answer's body, at a seat.
struct Sending {
    body: Body,
    occupied: Occupied,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = pin!(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
        {
            self.occupied.0.owes(bytes.len());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
