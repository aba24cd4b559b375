//! Conversations as one would write them down, with what the probe must count of each.

use crate::lines;

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The request's method.
    pub method: &'static str,
    /// Its target: a path, an absolute URI, a host and port.
    pub target: String,
    /// The minor version of both messages.
    pub minor: u8,
    /// Fields of both heads that frame nothing, each with its line ending.
    pub fields: String,
    /// The request's content.
    pub content: Content,
    /// The statuses of interim responses.
    pub interim: Vec<u16>,
    /// The final status.
    pub status: u16,
    /// The answer's content.
    pub answer: Content,
}

/// What follows a head.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing, and no field says so.
    None,
    /// So many bytes as the field says.
    Sized(Vec<u8>),
    /// A length, and nothing behind it, as answers to `HEAD` and 304 may have it.
    Announced(u64),
    /// Chunks, each with an extension that may be empty, and a trailer section that may be.
    Chunked {
        /// The chunks, none of them empty.
        chunks: Vec<Vec<u8>>,
        /// Behind each size, with its semicolon.
        extension: &'static str,
        /// Fields, each with its line ending.
        trailer: &'static str,
    },
    /// All that comes until the connection ends.
    UntilClose(Vec<u8>),
}

impl Turn {
    /// What is exported of it.
    #[must_use]
    pub fn kind(&self) -> (&'static str, u16) {
        let method = lines::standard_method(self.method.as_bytes());
        (method.map_or("OTHER", |method| method.label()), self.status)
    }

    /// Whether the connection speaks something else behind it.
    #[must_use]
    pub fn switches(&self) -> bool {
        self.status == 101 || (self.method == "CONNECT" && self.status / 100 == 2)
    }

    /// The request's bytes.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let line = format!("{} {} HTTP/1.{}\r\n", self.method, self.target, self.minor);
        message(&line, &self.fields, &self.content)
    }

    /// The bytes of its answer, interim responses before it.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for status in &self.interim {
            bytes.extend(format!("HTTP/1.1 {status} Wait\r\nLink: </x>\r\n\r\n").bytes());
        }
        let line = format!("HTTP/1.{} {} Said\r\n", self.minor, self.status);
        bytes.extend(message(&line, &self.fields, &self.answer));
        bytes
    }
}

/// Blanks around a length, as some send them: none, or more than is kept of a line.
fn padding(length: usize) -> String {
    const PADDINGS: [(&str, usize); 5] = [(" ", 1), ("", 0), (" ", 8), ("\t ", 9), (" ", 70)];
    let (blanks, times) = PADDINGS[length % PADDINGS.len()];
    blanks.repeat(times)
}

fn message(line: &str, fields: &str, content: &Content) -> Vec<u8> {
    let framing = match content {
        Content::None | Content::UntilClose(_) => String::new(),
        Content::Sized(bytes) => {
            let blanks = padding(bytes.len());
            format!("Content-Length:{blanks}{}{blanks}\r\n", bytes.len())
        }
        Content::Announced(length) => format!("content-length:{length}\r\n"),
        Content::Chunked { .. } => "Transfer-Encoding: gzip, chunked\r\n".into(),
    };
    let mut bytes = [line, fields, &framing, "\r\n"].concat().into_bytes();
    match content {
        Content::None | Content::Announced(_) => {}
        Content::Sized(content) | Content::UntilClose(content) => bytes.extend(content),
        Content::Chunked { chunks, extension, trailer } => {
            for chunk in chunks {
                bytes.extend(format!("{:X}{extension}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(format!("0{extension}\r\n{trailer}\r\n").bytes());
        }
    }
    bytes
}
