//! The first line of a response.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(status_line);
