//! What answers like an incoming webhook of Slack: it takes JSON by POST, and says `ok`.

use std::{
    io::{BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{http1, server::Server};

/// A listening webhook.
#[derive(Debug)]
pub struct Webhook {
    server: Server,
    messages: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    /// Listens.
    pub fn start() -> Result<Self> {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        let server = Server::start(Ipv4Addr::LOCALHOST, move |stream| take(&stream, &kept))?;
        Ok(Self { server, messages })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it got until now, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<Value> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn take(stream: &TcpStream, messages: &Mutex<Vec<Value>>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let Some(head) = http1::head(&mut reader)? else { return Ok(()) };
    ensure!(head.start.starts_with("POST /"), "not what Slack takes: {}", head.start);
    let mut body = Vec::new();
    http1::content(&mut reader, head.framing, &mut body)?;
    messages.lock().unwrap_or_else(PoisonError::into_inner).push(serde_json::from_slice(&body)?);
    // Closed, as Slack does, so that no connection outlives the test that ends this.
    let mut writer = stream;
    Ok(writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?)
}
