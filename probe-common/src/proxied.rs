//! For whom a proxy speaks: what is kept of a connection whose peer is a trusted proxy.
//!
//! The client is the last hop that is no such proxy itself: what stands before it in a list, anybody can have written. So
//! nginx has it with `real_ip_recursive`. Where all hops are proxies, it is the first of them; a hop that is no address ends
//! what is trusted, as it would be the one to vouch for those before it.

use crate::{
    forwarded::{List, ListField},
    proxy_protocol::TextHeader,
};

/// Bytes of the fields of a head that are read, at most: some sixty addresses.
pub const MOST: u16 = 1024;

/// How the client of a connection is counted.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// As a client with an open connection.
    #[default]
    Connected = 0,
    /// The same, in the sample, for want of room in the table: see [`crate::sample`].
    Sampled = 1,
    /// The peer is a trusted proxy: by its requests, each for a client of its own.
    ByRequest = 2,
    /// For want of room in the table, by others in the sample.
    LeftOut = 3,
}

/// Something that the caller has to decide or to count: see [`crate::connection::Connection::tell_client`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    #[default]
    None = 0,
    /// A PROXY header named the client of the connection: [`Proxied::hop`].
    Named = 1,
    /// A PROXY header could not be read.
    Unreadable = 2,
    /// A field named a hop: [`Proxied::hop`].
    Hop = 3,
    /// The head of a request is complete.
    Asked = 4,
}

/// An address that has been read, and is yet to be looked at.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// None.
    #[default]
    None = 0,
    /// An element of a list.
    Element = 1,
    /// The source in a PROXY header.
    Source = 2,
}

/// What is kept of such a connection. All zero is one that has said nothing. Aligned, so that it is copied by words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Proxied {
    /// The address that was read last.
    pub hop: [u8; 16],
    /// The client of the request in progress, as far as its head was read.
    client: [u8; 16],
    /// The list that is being read.
    pub list: List,
    /// The PROXY header that is being read.
    pub text: TextHeader,
    /// Bytes read of the fields of this head.
    pub read: u16,
    /// From which field `client` is.
    field: ListField,
    /// What the latest step came to.
    pub news: News,
    /// What ended with its byte.
    pub ended: Ended,
    /// Whether there is a client.
    known: bool,
    /// Whether a hop behind which there is no client that can be told was the last one but for proxies.
    blind: bool,
}

impl Proxied {
    /// A request begins.
    #[inline(always)]
    pub fn begin_head(&mut self) {
        self.read = 0;
        self.field = ListField::None;
        self.known = false;
        self.blind = false;
    }

    /// A field that names clients begins; false if it is not to be read. `X-Forwarded-For` goes before `Forwarded`: what
    /// a proxy does not know of it passes on, and most know only the former.
    #[inline(always)]
    #[must_use]
    pub fn begin_field(&mut self, field: ListField) -> bool {
        if self.field as u8 > field as u8 {
            return false;
        }
        if self.field as u8 != field as u8 {
            self.begin_head();
            self.field = field;
        }
        self.begin_list(field);
        true
    }

    /// A function of its own, as is [`Proxied::begin_text`], for the sake of the stack.
    #[inline(never)]
    fn begin_list(&mut self, field: ListField) {
        self.list.begin(field);
    }

    /// The next element of the list begins, if it was one that ended.
    #[inline(never)]
    pub fn begin_element(&mut self) {
        self.list.next();
    }

    /// A PROXY header of version 1 begins.
    #[inline(never)]
    pub fn begin_text(&mut self) {
        self.text = TextHeader::default();
    }

    /// Looks at the address that has ended. A function of its own that returns nothing, beside those that read bytes: together
    /// they would need more of the stack than there is.
    #[inline(never)]
    pub fn conclude(&mut self) {
        let source = matches!(self.ended, Ended::Source);
        let named = if source { self.text.is_of_family() } else { self.list.names() };
        let text = if source { self.text.source() } else { self.list.address() };
        let read = text.finish(&mut self.hop) && named;
        self.ended = Ended::None;
        if source {
            self.news = if read { News::Named } else { News::Unreadable };
            return;
        }
        if read {
            self.news = News::Hop;
        } else {
            self.lose_client();
        }
    }

    /// Forgets the client: what was said of it before cannot be trusted.
    #[inline(always)]
    pub fn lose_client(&mut self) {
        self.known = false;
        self.blind = true;
    }

    /// Says what the latest hop is.
    #[inline(always)]
    pub fn judge(&mut self, is_proxy: bool) {
        if is_proxy && self.known {
            return;
        }
        self.client = self.hop;
        self.known = true;
        if !is_proxy {
            self.blind = false;
        }
    }

    /// The client that a request is from by its head, if that names one.
    #[inline(always)]
    #[must_use]
    pub fn client(&self) -> Option<[u8; 16]> {
        if self.known { Some(self.client) } else { None }
    }

    /// Whether its head names somebody who cannot be told.
    #[inline(always)]
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.blind
    }
}
