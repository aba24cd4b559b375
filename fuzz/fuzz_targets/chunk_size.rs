//! The first line of a chunk.
#![cfg_attr(fuzzing, no_main)]

probe_fuzz::fuzz!(chunk_size);
