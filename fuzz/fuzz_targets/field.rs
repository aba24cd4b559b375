//! A line of a head's fields.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(field);
