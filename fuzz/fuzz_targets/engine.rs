//! A conversation, however it is cut, lost, repeated and reordered.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(engine);
