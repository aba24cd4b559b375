//! Reading files that are read again while the agent runs. A FIFO in the place of one would block the thread that reads it for good,
//! and a device has no end.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// More than any certificate, list of tokens or configuration has.
const MOST: u64 = 16 << 20;

/// All of a file, which must be a regular one.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Else to open a FIFO waits until somebody writes to it. To a regular file it makes no difference.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        let what = match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_fifo() => "a FIFO",
            () if kind.is_socket() => "a socket",
            () => "a device",
        };
        let problem = format!("it is {what}, and has to be a file, since it is read again when it changes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let mut bytes = Vec::new();
    if file.take(MOST + 1).read_to_end(&mut bytes)? as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 16 MiB"));
    }
    Ok(bytes)
}

/// The same as text.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn only_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("text"), "größer").unwrap();
        assert_eq!(read_to_string(&file("text")).unwrap(), "größer");
        mkfifo(&file("fifo"), Mode::S_IRUSR).unwrap();
        for (path, kind) in [
            (file("fifo"), "a FIFO"),
            (directory.path().to_owned(), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            let said = read(&path).unwrap_err().to_string();
            assert!(said.starts_with(&format!("it is {kind}, and has to be a file")), "{said}");
        }
        assert_eq!(read(&file("nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        File::create(file("huge")).unwrap().set_len(MOST + 1).unwrap();
        assert_eq!(read(&file("huge")).unwrap_err().to_string(), "it has more than 16 MiB");
    }
}
