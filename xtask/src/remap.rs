//! Names for the directories of this machine in what is compiled: the same sources give the same bytes in any folder, and
//! nobody's home is in a binary.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use crate::workspace;

/// The variable that passes flags on unharmed, whatever is in them, and goes before `RUSTFLAGS`.
pub(crate) const VARIABLE: &str = "CARGO_ENCODED_RUSTFLAGS";
/// What is between two flags there.
const SEPARATOR: &str = "\x1f";

/// Flags for rustc, with those that rename directories added. Cargo leaves these out of the names that symbols get.
pub(crate) fn flags<'a>(others: impl IntoIterator<Item = &'a str>) -> OsString {
    let all = others.into_iter().map(OsString::from).chain(renamed().into_iter().map(|(from, to)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flag
    }));
    all.collect::<Vec<_>>().join(OsStr::new(SEPARATOR))
}

/// The directories that sources come from. Where one is in another, as a clone in a home may be, the last that fits counts.
fn renamed() -> Vec<(PathBuf, &'static str)> {
    let home = |variable: &str, usual: &str| {
        let usual = || env::var_os("HOME").map(|home| Path::new(&home).join(usual));
        env::var_os(variable).map(PathBuf::from).or_else(usual)
    };
    [
        (home("RUSTUP_HOME", ".rustup"), "/rustup"),
        (home("CARGO_HOME", ".cargo"), "/cargo"),
        (Some(workspace::root().to_owned()), "/traffic-probe"),
    ]
    .into_iter()
    .filter_map(|(from, to)| Some((from?, to)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_renamed_last_and_other_flags_stay() {
        let flags = flags(["-Cdebuginfo=2", "--cfg=a=\"b c\""]).into_string().unwrap();
        let flags: Vec<_> = flags.split(SEPARATOR).collect();
        assert_eq!(flags[..2], ["-Cdebuginfo=2", "--cfg=a=\"b c\""]);
        let root = format!("--remap-path-prefix={}=/traffic-probe", workspace::root().display());
        assert_eq!(flags.last(), Some(&&*root));
    }
}
