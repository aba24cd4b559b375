//! The value of `X-Forwarded-For` or `Forwarded`.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(forwarded);
