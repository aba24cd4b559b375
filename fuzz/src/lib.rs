//! Conversations for the engine and its parsers, a slow reference to hold them against, and the fuzz targets.
//!
//! - [`script`]: a conversation as segments in the order in which the probe sees them, and its form in bytes, in which the
//!   corpus is kept;
//! - [`run`]: the engine over a script, and what it counted;
//! - [`conversation`]: requests and answers as one would write them down;
//! - [`reference`]: HTTP/1 framing over whole streams, read plainly;
//! - [`lines`]: the same for single lines;
//! - [`proxies`]: clients that proxies name, target and reference;
//! - [`routes`]: the template of a path;
//! - [`targets`]: what a fuzzer runs. Each panics where engine and reference differ.

pub mod conversation;
pub mod lines;
pub mod proxies;
pub mod reference;
pub mod replay;
pub mod routes;
pub mod run;
pub mod script;
pub mod targets;

/// Makes a program of the target of this name: for libFuzzer where `cfg(fuzzing)` is set, else one that replays the
/// files and directories that it is given.
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::targets::$target(input));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay::main($crate::targets::$target)
        }
    };
}
