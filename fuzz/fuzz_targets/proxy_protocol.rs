//! The beginning of a connection from a proxy.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(proxy_protocol);
