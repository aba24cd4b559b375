//! Whom a proxy speaks for, request by request.

use super::{Connection, reading::Line};
use crate::{
    flow::Part,
    forwarded,
    proxied::{Counting, Ended, MOST, News},
    reason::Reason,
    window::Window,
};

/// What a step came to that concerns the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Whom a request is from.
    pub client: Option<[u8; 16]>,
    /// Who it is cannot be told.
    pub unmeasured: Option<Reason>,
}

impl Connection {
    /// A line of a request's head names a client: then it is read a byte at a time. False if it does not.
    #[inline(always)]
    pub(super) fn begins_value(&mut self, window: &mut Window, line: &Line) -> bool {
        let Some((field, from)) = forwarded::named(window, line.start, line.end) else {
            return false;
        };
        if !window.proxied.begin_field(field) {
            return false;
        }
        self.read_bytes(Part::Value, line, from);
        true
    }

    /// A byte of such a field's value, or the newline behind it. A function of its own: see [`Connection::read_byte`].
    #[inline(never)]
    pub(super) fn value_byte(&mut self, window: &mut Window, byte: u8) {
        let proxied = &mut window.proxied;
        let flow = &mut self.request;
        let ended = proxied.list.eat(byte);
        if byte == b'\n' {
            flow.part = Part::Fields;
        } else if proxied.read >= MOST {
            proxied.lose_client();
            flow.after = Part::Fields;
            flow.part = Part::Tail;
            return;
        }
        proxied.read = proxied.read.wrapping_add(1);
        if ended {
            proxied.ended = Ended::Element;
        }
    }

    /// To be called behind each step of a request whose client is counted [`Counting::ByRequest`]; `is_proxy` says whether
    /// an address is that of a trusted proxy.
    #[inline(always)]
    pub fn tell_client(&mut self, window: &mut Window, is_proxy: impl FnOnce(&[u8; 16]) -> bool) -> Told {
        let proxied = &mut window.proxied;
        let news = proxied.news;
        if matches!(news, News::None) {
            return Told::default();
        }
        proxied.news = News::None;
        match news {
            News::Unreadable => return Told { client: None, unmeasured: Some(Reason::ProxyHeader) },
            News::Asked => {
                let client = proxied.client().unwrap_or(self.client);
                let unmeasured = if proxied.is_blind() { Some(Reason::ForwardedUnread) } else { None };
                return Told { client: Some(client), unmeasured };
            }
            _ => {}
        }
        let is_proxy = is_proxy(&proxied.hop);
        if matches!(news, News::Hop) {
            proxied.judge(is_proxy);
        } else {
            self.client = proxied.hop;
            if !is_proxy {
                // It speaks through the proxy, which adds nothing to what it says.
                self.counting = Counting::Connected;
            }
        }
        Told::default()
    }
}
