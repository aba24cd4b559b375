//! What TCP itself knows of its connections: round-trip times, what it sent again, resets, and packets on the wire.

use std::{
    io::{BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    client::{Client, Request},
    expect::within,
    http1,
    link::Link,
    metrics::{Role, Series},
    nginx::Nginx,
    options,
    server::Server,
};
