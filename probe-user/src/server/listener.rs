//! Taking an address, and accepting connections. HTTP/1 only.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, middleware::from_fn_with_state};
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::sync::Semaphore;

use super::{
    connection::Host,
    gate::{self, Gate},
    limits::{Limits, Refusal},
    places::Places,
    web::{self, Door, Web},
};
use crate::{condition::Condition, descriptors, scrapers::Scrapers};

/// Clients at a time that are told that there is no place for them; others are only hung up on.
const FAREWELLS: usize = 64;

/// A rest after an error to accept, which usually means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For how long there is no such error until it is over: descriptors that come and go make one state of it, not hundreds.
const CALM: Duration = Duration::from_secs(10);

/// What the kernel keeps of an answer that its client does not take, in bytes; it reserves twice as much. By itself it would keep
/// megabytes (`tcp_wmem`) for each.
const SEND_BUFFER: usize = 256 << 10;

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
        // Connections have what their listener has. It saves memory, and nothing depends on it.
        _ = set_socket_send_buffer_size(&listener, SEND_BUFFER);
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

/// Why a connection is not accepted, and what to do.
fn refused(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => format!(
            "{error}; the agent has as many as it may have, {}: raise its limit (`ulimit -n`, LimitNOFILE= in the unit)",
            descriptors::limit()
        ),
        Some(libc::ENFILE) => format!("{error}: the machine has as many as it may have (fs.file-max)"),
        _ => error.to_string(),
    }
}

/// Serves connections for as long as it is polled; those who have `scraped` before have turns of their own.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    web: Arc<Web>,
    scrapers: Arc<Scrapers>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let door =
        Door::new(Arc::clone(&web)).map_err(|_| io::Error::other("this machine gives no random numbers"))?;
    // The last one is the first to see a request.
    let router = router
        .layer(from_fn_with_state(Gate::new(limits.requests, scrapers), gate::pass))
        .layer(from_fn_with_state(door, web::admit));
    let host = Host { limits, router, web };
    let places = Places::new(limits.connections);
    let farewells = Arc::new(Semaphore::new(FAREWELLS));
    let mut accepting = Condition::lasting(CALM);
    loop {
        let (mut stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if accepting.fails(Instant::now()) {
                    tracing::warn!(
                        "cannot accept connections on the listener; they wait: {}",
                        refused(&error)
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Some(failures) = accepting.holds(Instant::now()) {
            tracing::info!("the listener accepts connections again, after {failures} failures");
        }
        if let Some(seat) = places.take() {
            tokio::spawn(host.clone().receive(stream, peer.ip(), seat));
        } else if host.web.current().tls.is_some() {
            // To tell it would take a handshake.
        } else if let Ok(farewell) = Arc::clone(&farewells).try_acquire_owned() {
            let refusal = Refusal::Crowded(places.limit());
            tokio::spawn(async move {
                refusal.tell(&mut stream).await;
                drop(farewell);
            });
        }
    }
}
