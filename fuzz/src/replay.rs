//! A target without a fuzzer: over files.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Runs a target over the files and directories that the program was given.
pub fn main(target: fn(&[u8])) -> ExitCode {
    let named: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    if named.is_empty() {
        eprintln!(
            "this target was built without a fuzzer: give it files or directories to replay, or run `cargo xtask fuzz`"
        );
        return ExitCode::FAILURE;
    }
    let mut replayed = 0;
    for path in named {
        match inputs(&path) {
            Ok(inputs) => {
                for (file, input) in inputs {
                    eprintln!("{}", file.display());
                    target(&input);
                    replayed += 1;
                }
            }
            Err(error) => {
                eprintln!("error: could not read {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{replayed} inputs replayed");
    ExitCode::SUCCESS
}

/// A file, or the files of a directory, by name; with their contents.
///
/// # Errors
/// What the system says.
pub fn inputs(path: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    if path.is_file() {
        return Ok(vec![(path.to_owned(), fs::read(path)?)]);
    }
    let mut inputs = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let contents = fs::read(&file)?;
        inputs.push((file, contents));
    }
    inputs.sort_unstable();
    Ok(inputs)
}
