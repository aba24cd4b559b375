//! The agent of traffic-probe. Data flows one way: the kernel's maps, [`snapshot::Snapshot`], [`window`], exporters.

pub mod attribution;
pub mod check;
pub mod cli;
pub mod config;
pub mod detach;
pub mod exposition;
pub mod figures;
pub mod histogram;
pub mod instance;
pub mod interface_filter;
pub mod kernel;
pub mod kubernetes;
pub mod latest;
pub mod live;
pub mod logs;
pub mod netns;
pub mod place;
pub mod proxies;
pub mod replay;
pub mod report;
pub mod run;
pub mod server;
pub mod settings;
pub mod snapshot;
pub mod tier;
pub mod window;
