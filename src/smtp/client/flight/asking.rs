//! Ask the peer whether it takes a recipient, without sending it anything.
//!
//! Out: MAIL with the null reverse-path and RCPT; RSET before what follows. Invariant: neither DATA
//! nor BDAT is sent, so that the peer can take no message.

use std::sync::Arc;

use crate::base::time::Monotonic;
use crate::mail::address::{Mailbox, ReversePath};
use crate::mail::envelope::{Envelope, Recipient};
use crate::smtp::client::flight::Flight;
use crate::smtp::client::{Client, Transaction, using};

impl Client {
    /// Ask about a recipient: `Settled` tells of the one at place 0, with the reply to RCPT where
    /// it is accepted. Panics when not `is_ready`.
    pub fn ask(&mut self, recipient: Mailbox, now: Monotonic) {
        assert!(self.is_ready(), "a recipient is asked about in {:?}", self.phase);
        let transaction = question(recipient);
        let mut flight = Flight::new(transaction, self.reset_owed, &self.extensions);
        flight.only_asks = true;
        if flight.has_waiting() {
            flight.start_round(using(&self.options, &self.extensions));
            self.transactions_begun += 1;
        }
        self.flights.push_back(flight);
        self.advance(now);
    }
}

/// A transaction that would carry nothing, to nobody's knowledge.
fn question(recipient: Mailbox) -> Transaction {
    let smtp_utf8 = !recipient.as_str().is_ascii();
    let recipients = vec![Recipient::plain(recipient)];
    let envelope = Envelope { smtp_utf8, ..Envelope::plain(ReversePath::NULL, recipients) };
    Transaction {
        envelope: Arc::new(envelope),
        reverse_path: None,
        recipients: vec![0],
        content_bytes: 0,
        has_eight_bit: false,
        header_has_eight_bit: false,
        by: None,
    }
}
