//! A real mail server, and the mail that it took.

use std::{fs, net::SocketAddr, net::TcpStream, path::PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{poll, ports, process::Process, tool};

/// A running `aiosmtpd` that keeps what it takes, ended when dropped.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    directory: TempDir,
    _process: Process,
}

/// A message, as it is read.
#[derive(Debug)]
pub struct Mail {
    /// Who it was for, from the envelope.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its parts, one after the other.
    pub text: String,
}

impl MailServer {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-mail-")?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut command = tool::command("aiosmtpd")?;
        command.args([
            "--nosetuid",
            "--listen",
            &address.to_string(),
            "--class",
            "aiosmtpd.handlers.Mailbox",
        ]);
        let mut process = Process::spawn(command.arg(directory.path().join("mail")))?;
        poll::until("the mail server to listen", || {
            ensure!(process.ended()?.is_none(), "aiosmtpd has ended: {}", process.stderr()?);
            Ok(TcpStream::connect(address).is_ok().then_some(()))
        })?;
        Ok(Self { address, directory, _process: process })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it took until now, in no order.
    pub fn mails(&self) -> Result<Vec<Mail>> {
        let new: PathBuf = self.directory.path().join("mail/new");
        if !new.is_dir() {
            return Ok(Vec::new());
        }
        fs::read_dir(new)?.map(|entry| Mail::parse(&fs::read_to_string(entry?.path())?)).collect()
    }
}

impl Mail {
    fn parse(message: &str) -> Result<Self> {
        let message = message.replace("\r\n", "\n");
        let (head, body) = message.split_once("\n\n").context("a message has a head")?;
        let head = head.replace("\n ", " ");
        let field = |name: &str| -> Result<String> {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.with_context(|| format!("no {name} in {head}"))?.trim().to_owned())
        };
        Ok(Self { to: field("X-RcptTo:")?, subject: field("Subject:")?, text: unquoted(body)? })
    }
}

/// Reads quoted-printable (RFC 2045, section 6.7).
fn unquoted(text: &str) -> Result<String> {
    let joined = text.replace("=\n", "");
    let (mut bytes, mut rest) = (Vec::new(), joined.as_str());
    while let Some((before, after)) = rest.split_once('=') {
        bytes.extend(before.bytes());
        if let Some(Ok(byte)) = after.get(..2).map(|digits| u8::from_str_radix(digits, 16)) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            // Of the head of a part, which is not encoded.
            bytes.push(b'=');
            rest = after;
        }
    }
    bytes.extend(rest.bytes());
    String::from_utf8(bytes).context("mail in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let message = "X-RcptTo: a@b.c\r\nSubject: over\r\n two lines\r\n\r\nx=3D1 =C2=B7 long=\r\nline; charset=UTF-8\r\n";
        let mail = Mail::parse(message).unwrap();
        assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("a@b.c", "over two lines"));
        assert_eq!(mail.text, "x=1 \u{b7} longline; charset=UTF-8\n");
    }
}
