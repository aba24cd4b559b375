//! The template of a request's path.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(route);
