//! The first line of a request.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(request_line);
