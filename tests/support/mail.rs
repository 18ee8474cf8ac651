//! Messages that know what they must look like, by their id alone.

use std::sync::Arc;

use relay_fast::base::ids::MessageId;
use relay_fast::base::prng::Prng;
use relay_fast::base::time::WallTime;
use relay_fast::mail::address::{Mailbox, ReversePath};
use relay_fast::mail::durability::Durability;
use relay_fast::mail::envelope::{Envelope, Recipient};
use relay_fast::mail::outcome::{Reason, Stage};
use relay_fast::mail::status::{EnhancedStatus, Reply, ReplyCode};
use relay_fast::spool::stored::{NewMessage, Origin, RecipientState, Standing, Stored};

/// Octets that are this message's and no other's.
pub(crate) fn content(id: MessageId, bytes: usize) -> Vec<u8> {
    let mut prng = Prng::from_number(id.0);
    let words = std::iter::repeat_with(|| prng.next_u64().to_le_bytes());
    words.take(bytes.div_ceil(8)).flatten().take(bytes).collect()
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text, false).expect("well-formed")
}

pub(crate) fn envelope(id: MessageId, recipients: u16) -> Envelope {
    let recipient = |n| Recipient::plain(mailbox(&format!("{id}@example{n}.com")));
    Envelope {
        envelope_id: Some(id.to_string().into()),
        ..Envelope::plain(
            ReversePath(Some(mailbox("sender@example.org"))),
            (0..recipients).map(recipient).collect(),
        )
    }
}

/// A whole message from a client with `bytes` of content in its last chunk.
pub(crate) fn message(id: MessageId, bytes: usize, recipients: u16) -> NewMessage {
    NewMessage {
        id,
        envelope: Arc::new(envelope(id, recipients)),
        received: WallTime(1_795_491_661_000),
        intake: std::time::Duration::from_millis(250),
        prefix: format!("Received: with id {id}\r\n").into_bytes(),
        content: content(id, bytes),
        has_eight_bit: true,
        is_quarantined: false,
        origin: Origin::Client {
            peer: [192, 0, 2, 1].into(),
            listener: 1,
            durability: Durability::Commit,
        },
    }
}

/// The same from a listener that answers from memory.
pub(crate) fn from_memory(id: MessageId, bytes: usize, recipients: u16) -> NewMessage {
    let peer = [192, 0, 2, 1].into();
    let origin = Origin::Client { peer, listener: 2, durability: Durability::Memory };
    NewMessage { origin, ..message(id, bytes, recipients) }
}

/// All octets of a message, through windows of a bad size.
pub(crate) fn whole(stored: &Stored) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let window = stored.window(out.len() as u64, 7_777);
        if window.is_empty() {
            assert_eq!(out.len() as u64, stored.bytes());
            return out;
        }
        out.extend_from_slice(window);
    }
}

/// A reason, and when its recipient is due.
pub(crate) fn pending() -> (Reason, WallTime) {
    let reply = Reply {
        code: ReplyCode::new(451).expect("a code"),
        enhanced: Some(EnhancedStatus::new(4, 7, 1)),
        text: "come back later".into(),
    };
    let reason = Reason {
        stage: Stage::Rcpt,
        status: EnhancedStatus::new(4, 7, 1),
        reply: Some(reply),
        detail: "".into(),
        peer: "mx.example.com[192.0.2.9]:25".into(),
    };
    (reason, WallTime(1_795_491_999_999))
}

pub(crate) fn pending_state(recipient: u16, attempts: u32) -> RecipientState {
    let (reason, due) = pending();
    let standing = Standing::Pending { attempts, due, held: false, reason: Some(reason) };
    RecipientState { recipient, standing }
}

pub(crate) fn delivered(recipient: u16) -> RecipientState {
    RecipientState { recipient, standing: Standing::Delivered }
}

pub(crate) fn bounced(recipient: u16) -> RecipientState {
    RecipientState { recipient, standing: Standing::Bounced }
}
