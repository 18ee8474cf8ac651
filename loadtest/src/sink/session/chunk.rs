//! Content in chunks (RFC 3030): BDAT, what of it is taken, and what is swallowed and refused.

use std::time::Instant;

use super::{Effect, Session, State, Want};
use crate::sink::command;
use crate::sink::extensions::Extension;
use crate::sink::script::{Decision, Stage};

impl Session {
    pub(super) fn bdat(&mut self, rest: &[u8], now: Instant) -> Option<Want> {
        let Some((left, last)) = command::chunk(rest) else {
            self.violation("a BDAT command that does not parse");
            // What follows could be content or commands: nobody can tell.
            self.put(b"501 5.5.4 BDAT size [LAST]\r\n");
            return Some(Want::Close);
        };
        if !self.listener.conduct.offers.has(Extension::Chunking) {
            self.violation("BDAT, which was not offered");
        }
        if self.recipients.is_empty() {
            self.state = State::Stray { left };
            return None;
        }
        self.state = State::Chunk { left, last };
        if std::mem::replace(&mut self.chunked, true) {
            return None;
        }
        self.begin_content(now);
        if self.listener.conduct.has_rules(Stage::Data) {
            self.first_chunk(left, now)
        } else {
            None
        }
    }

    /// A script's word on the first BDAT, which stands where DATA's reply would.
    fn first_chunk(&mut self, left: u64, now: Instant) -> Option<Want> {
        let Decision { delay, reply, cut, .. } = self.decide(Stage::Data, now);
        if let Some(cut) = cut {
            return Some(self.cut(cut));
        }
        if let Some(reply) = reply {
            if reply.starts_with(b"421") {
                return self.reply(&reply, Effect::Content);
            }
            // The chunk comes in all the same, and is refused behind it.
            self.refusal = reply;
            self.state = State::Stray { left };
        }
        (!delay.is_zero()).then_some(Want::Pause(delay))
    }

    pub(super) fn chunk(&mut self, rest: &[u8], now: Instant) -> (usize, Option<Want>) {
        let (State::Chunk { left, .. } | State::Stray { left }) = &mut self.state else {
            unreachable!("only chunks come here");
        };
        let count = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
        *left -= count as u64;
        let done = *left == 0;
        if count > 0 && matches!(self.state, State::Chunk { .. }) {
            self.content.take(&rest[..count], &self.shared.filler);
            if let Some(want) = self.while_content() {
                return (count, Some(want));
            }
        }
        (count, if done { self.end_of_chunk(now) } else { None })
    }

    fn end_of_chunk(&mut self, now: Instant) -> Option<Want> {
        match self.state {
            State::Chunk { last: true, .. } => self.end(now),
            State::Chunk { .. } => {
                self.state = State::Command;
                self.reply(b"250 2.0.0 More\r\n", Effect::None)
            }
            State::Stray { .. }
            | State::Greeting
            | State::Command
            | State::Dots(_)
            | State::Ended => match std::mem::take(&mut self.refusal) {
                refusal if refusal.is_empty() => {
                    self.state = State::Command;
                    self.forget_transaction();
                    self.reply(b"503 5.5.1 No transaction\r\n", Effect::None)
                }
                refusal => self.reply(&refusal, Effect::Record),
            },
        }
    }
}
