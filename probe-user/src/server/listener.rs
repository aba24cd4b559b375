//! Accepting connections. HTTP/1 only; a client can neither keep a half-sent head nor the last free descriptor.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, sync::Semaphore};

/// How long a client may take to send the head of a request, or to leave a kept connection idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections at a time: a handful of scrapers is usual.
const MAX_CONNECTIONS: usize = 128;

/// A rest after an error to accept, which usually means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    address: SocketAddr,
    reason: String,
}

/// Takes the address, before anything is attached: a port in use is then a clean failure.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        // Tokio asks for it.
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| BindError { address, reason: reason(&error) })
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "address already in use; another program, or another traffic-probe, has that \
             port: choose another with --listen, or stop it"
                .into()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address: choose another with --listen".into()
        }
        io::ErrorKind::PermissionDenied => {
            "a port below 1024 needs root or CAP_NET_BIND_SERVICE: choose another with --listen".into()
        }
        _ => format!("{error}: choose another address with --listen"),
    }
}

/// Serves connections for as long as it is polled.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve_connection(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to /metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        // A client's doing: it left early, or sent no HTTP.
        tracing::debug!(%error, "a connection to /metrics ended early");
    }
}
