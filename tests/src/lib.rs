//! The vocabulary of the end-to-end tests: the real agent, real servers, real clients, and namespaces to put them in.
//!
//! Every thing that a test starts or makes is a value whose drop ends or removes it, and complains if it cannot: a
//! test that fails, and unwinds, leaves as little behind as one that passes.

pub mod agent;
pub mod alertmanager;
pub mod api;
pub mod behind;
pub mod bpf;
pub mod burner;
pub mod capture;
pub mod cgroup;
pub mod client;
pub mod cluster;
pub mod container;
pub mod dns;
pub mod echo;
pub mod emulated;
pub mod expect;
pub mod flood;
pub mod forger;
pub mod frames;
pub mod grafana;
pub mod http1;
pub mod link;
pub mod load;
pub mod machine;
pub mod mail;
pub mod metrics;
pub mod neighbour;
pub mod netns;
pub mod newman;
pub mod nginx;
pub mod nginx_process;
pub mod options;
pub mod own_root;
pub mod paced;
pub mod pcap;
pub mod pins;
pub mod pki;
pub mod pods;
pub mod poll;
pub mod ports;
pub mod postman;
pub mod prefork;
pub mod process;
pub mod prometheus;
pub mod rules;
pub mod secured;
pub mod server;
pub mod stream;
pub mod summary;
pub mod tls;
pub mod tool;
pub mod tun;
pub mod ways;
pub mod webhook;
