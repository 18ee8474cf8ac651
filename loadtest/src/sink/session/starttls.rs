//! STARTTLS (RFC 3207) without the handshake: who may ask for it, and what a script puts behind the
//! reply instead.

use std::time::Instant;

use super::{Effect, Session, Want};
use crate::sink::extensions::Extension;
use crate::sink::script::{Behind, Cut, Stage};

/// What stands behind the reply where no TLS is to be: longer than the head of a TLS record.
const GARBAGE: &[u8] = b"What is this, and why is it not TLS?\r\n";

/// How far a session is with its TLS.
#[derive(Debug, Default)]
pub(super) struct Security {
    pub(super) secured: bool,
    /// What the rules put behind the reply that comes next.
    pub(super) behind: Option<Behind>,
    /// Octets in clear stand behind the reply.
    said_more: bool,
}

impl Session {
    /// From now on the client is heard through TLS, and what it said before does not count.
    pub(crate) fn secured(&mut self) {
        if self.security.said_more {
            self.violation("TLS begun in spite of octets in clear behind the reply to STARTTLS");
        }
        self.security = Security { secured: true, ..Security::default() };
        self.said_hello = false;
        self.forget_transaction();
    }

    /// The command; `more` says whether bytes follow it already.
    pub(super) fn starttls(&mut self, more: bool, now: Instant) -> Option<Want> {
        if !self.listener.conduct.offers.has(Extension::Starttls) || self.security.secured {
            self.violation("STARTTLS, which was not offered");
            return self.reply(b"502 5.5.1 Not here\r\n", Effect::None);
        }
        if !self.said_hello || self.in_transaction {
            return self.reply(b"503 5.5.1 Not now\r\n", Effect::None);
        }
        if more {
            self.violation("octets behind STARTTLS");
            self.put(b"503 5.5.1 Too much\r\n");
            return Some(Want::Close);
        }
        self.answer(Stage::Starttls, b"220 2.0.0 Go ahead\r\n", Effect::Secure, now)
    }

    /// What comes behind 220: a handshake, or what the rules say.
    pub(super) fn behind_the_reply(&mut self) -> Want {
        match self.security.behind.take() {
            None => Want::Secure,
            Some(Behind::Clear) => {
                self.put(b"250 2.0.0 Said in clear\r\n");
                self.security.said_more = true;
                Want::Secure
            }
            Some(Behind::Garbage) => {
                self.put(GARBAGE);
                Want::Close
            }
            Some(Behind::Stall) => Want::Stall,
            Some(Behind::Close) => self.cut(Cut::Close),
            Some(Behind::Reset) => self.cut(Cut::Reset),
        }
    }
}
