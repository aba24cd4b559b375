//! Certificates of an authority that a test makes for itself.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::{process, tool};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// An authority, with all that it signed in a directory of its own.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self> {
        let authority = Self { directory: TempDir::with_prefix("traffic-probe-pki-")? };
        authority.request("authority", &[])?;
        Ok(authority)
    }

    /// Has it sign a certificate for a name, with the same name for the file: `NAME.pem` and `NAME.key`. One that is there
    /// is replaced.
    pub fn sign(&self, name: &str, alternative: &str) -> Result<()> {
        let names = format!("subjectAltName={alternative}");
        let signed = ["-CA", "authority.pem", "-CAkey", "authority.key", "-addext", &names];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        self.request(name, &[&signed[..], &leaf[..]].concat())
    }

    /// The same of a certificate that expired yesterday.
    pub fn sign_expired(&self, name: &str) -> Result<()> {
        let openssl = |arguments: &[&str]| {
            let mut command = tool::command("openssl")?;
            process::run_well(command.current_dir(self.directory()).args(arguments), LIMIT).map(drop)
        };
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        // A certificate without extensions would be of a version that nobody takes.
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let asked = ["req", "-new", "-key", &key, "-subj", &format!("/CN={name}"), "-out", &request];
        openssl(&[&asked[..], &leaf].concat())?;
        let authority = ["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"];
        let authority = [&authority[..], &["-copy_extensions", "copy"]].concat();
        let signed = ["x509", "-req", "-in", &request, "-days", "-1", "-out", &certificate];
        openssl(&[&signed[..], &authority].concat())
    }

    /// A file of it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn request(&self, name: &str, more: &[&str]) -> Result<()> {
        let mut command = tool::command("openssl")?;
        command.current_dir(self.directory()).args(["req", "-x509", "-newkey", "ec"]);
        command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]);
        command.args(["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key")]);
        command.args(["-out", &format!("{name}.pem")]).args(more);
        process::run_well(&mut command, LIMIT).map(drop)
    }
}
