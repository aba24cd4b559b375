//! The process of an nginx, whatever it serves: started by a configuration, with all its files in one directory.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{poll, process::Process};

/// Starts one by the command for it, in a directory of its own, and waits until it listens. The configuration says
/// `daemon off`, and `pid` in that directory.
pub fn start(mut command: Command, root: &Path, configuration: &str) -> Result<Process> {
    let file = root.join("nginx.conf");
    fs::write(&file, configuration)?;
    command.arg("-p").arg(root).arg("-c").arg(file).arg("-e").arg(root.join("error.log"));
    let mut process = Process::spawn(&mut command)?;
    // It writes its number once it listens; to connect instead would count as a connection.
    poll::until("nginx to listen", || {
        if let Some(status) = process.ended()? {
            bail!("nginx ended with {status}: {}", process.stderr()?);
        }
        let written = fs::read_to_string(root.join("pid")).unwrap_or_default();
        Ok(written.ends_with('\n').then_some(()))
    })?;
    Ok(process)
}

/// What keeps its temporary files in that directory: for the block `http` of a configuration.
#[must_use]
pub fn temporary_files(root: &Path) -> String {
    let root = root.display();
    format!(
        "client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;"
    )
}
