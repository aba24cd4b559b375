//! `traffic-probe detach`: removes every trace of an agent that was killed, or that pinned its state.

use std::io::{self, Write};

use crate::{check::privileges, cli::DetachArgs, instance::Instance, kernel};

/// Removes what there is, and says what that was. Nothing to remove is a success too.
pub fn detach(flags: &DetachArgs) -> anyhow::Result<()> {
    privileges::demand()?;
    let _instance = Instance::of_node(&flags.instance.lock)?;
    let mut found = false;
    if let Some(directory) = &flags.instance.pin {
        let removed = kernel::remove_pinned(directory)?;
        if let Some(removed) = removed.filter(|removed| !removed.is_nothing()) {
            tell(&format!("removed {}: {removed}", directory.display()));
            found = true;
        }
    }
    let interfaces = kernel::remove_filters()?;
    if interfaces > 0 {
        tell(&format!("removed the filters of a killed agent from {interfaces} of the interfaces"));
        found = true;
    }
    if !found {
        tell(&format!("nothing to remove{}", hint(flags)));
    }
    Ok(())
}

/// What was removed is removed, whether anybody reads that or not.
fn tell(sentence: &str) {
    _ = writeln!(io::stdout(), "{sentence}");
}

/// Without a directory nobody can know of pinned state.
fn hint(flags: &DetachArgs) -> &'static str {
    if flags.instance.pin.is_some() {
        return "";
    }
    "; for what an agent has pinned, name its directory by --pin"
}
