//! A message as the spool hands it out: its envelope in RAM, its octets hot or mapped.
//!
//! In: a message that was just appended (hot), or its record read back from a segment (cold).
//! Out: windows over prefix and content, in order, without copying.
//! Invariant: `content_bytes` is the sum of the parts; a cold part's checksum was verified.
//! Unit: octets. Lives on: any shard; it crosses as `Arc<Stored>`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::MessageId;
use crate::base::limits::RECIPIENT_BYTES;
use crate::base::time::WallTime;
use crate::mail::durability::Durability;
use crate::mail::envelope::Envelope;
use crate::mail::outcome::Reason;
use crate::spool::segment::SegmentBytes;

/// Where a message's record lies in its directory: what the queue keeps of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvelopeAt {
    /// The segment's number.
    pub segment: u32,
    /// The record's first octet in it.
    pub offset: u32,
    /// Octets of the record, its header included.
    pub bytes: u32,
}

/// Where a recipient's last state lies in the message's directory: what the queue keeps of the last
/// reply. At most `STATE_BYTES_MAX` octets lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateAt {
    /// The segment's number.
    pub segment: u32,
    /// The state's first octet in it.
    pub offset: u32,
}

/// Octets of a segment: to be populated before they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The segment's number.
    pub segment: u32,
    /// The first octet.
    pub offset: u32,
    /// How many.
    pub bytes: u32,
}

/// Who handed the message in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client, by SMTP.
    Client {
        /// Its address.
        peer: IpAddr,
        /// The listener's place in the configuration of that time.
        listener: u16,
        /// What its 250 was worth.
        durability: Durability,
    },
    /// A program, over HTTP; it may send to anyone.
    Injected,
    /// The relay itself: a DSN. May use the space that is kept back for outcomes.
    Own,
}

impl Origin {
    /// When the message was promised: what we write ourselves is promised once it is committed.
    pub fn durability(self) -> Durability {
        match self {
            Self::Client { durability, .. } => durability,
            Self::Injected | Self::Own => Durability::Commit,
        }
    }
}

/// A message to be appended.
#[derive(Debug)]
pub struct NewMessage {
    /// From `Log::next_id`.
    pub id: MessageId,
    /// Reverse-path and recipients.
    pub envelope: Arc<Envelope>,
    /// When the end of data came.
    pub received: WallTime,
    /// From MAIL to the end of data.
    pub intake: Duration,
    /// Header fields that the relay puts before the content; at most `PREFIX_MAX` octets.
    pub prefix: Vec<u8>,
    /// The content's last chunk, at most `RECORD_CONTENT_MAX` octets; those before it went to
    /// `Log::append_content`.
    pub content: Vec<u8>,
    /// Some octet of prefix or content is above 127.
    pub has_eight_bit: bool,
    /// Its recipients are held until an operator releases them.
    pub is_quarantined: bool,
    /// Who handed it in.
    pub origin: Origin,
}

impl NewMessage {
    /// A message that the node writes itself: `content` is its last chunk.
    pub fn own(
        id: MessageId,
        envelope: Envelope,
        content: Vec<u8>,
        has_eight_bit: bool,
        now: WallTime,
    ) -> Self {
        Self {
            id,
            envelope: Arc::new(envelope),
            received: now,
            intake: Duration::ZERO,
            prefix: Vec::new(),
            content,
            has_eight_bit,
            is_quarantined: false,
            origin: Origin::Own,
        }
    }

    /// What events can tell of it while nothing of it is in the spool. `content_bytes`: of all of
    /// its content.
    pub fn as_stored(&self, content_bytes: u64) -> Stored {
        Stored {
            id: self.id,
            envelope: self.envelope.clone(),
            received: self.received,
            intake: self.intake,
            prefix: Vec::new(),
            content_bytes,
            has_eight_bit: self.has_eight_bit,
            is_quarantined: false,
            origin: self.origin,
            parts: Vec::new(),
        }
    }
}

/// A message in the spool: to be attempted, returned in a DSN, or shown.
#[derive(Debug)]
pub struct Stored {
    /// Its name for life.
    pub id: MessageId,
    /// Reverse-path and recipients.
    pub envelope: Arc<Envelope>,
    /// When it was received.
    pub received: WallTime,
    /// From MAIL to the end of data.
    pub intake: Duration,
    /// Header fields that the relay put before the content.
    pub prefix: Vec<u8>,
    /// Octets of the content, without the prefix.
    pub content_bytes: u64,
    /// Some octet of prefix or content is above 127.
    pub has_eight_bit: bool,
    /// Its recipients are held until an operator releases them.
    pub is_quarantined: bool,
    /// Who handed it in.
    pub origin: Origin,
    /// The content, in order.
    pub parts: Vec<Part>,
}

/// A stretch of content.
#[derive(Clone, Debug)]
pub enum Part {
    /// Still in RAM, as it was appended.
    Hot(Arc<Vec<u8>>),
    /// Committed, in the segment's map.
    Mapped {
        /// The map.
        segment: Arc<dyn SegmentBytes>,
        /// The first octet.
        offset: u32,
        /// How many; checked to be inside the map.
        bytes: u32,
    },
}

impl Part {
    /// The octets.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Hot(content) => content,
            Self::Mapped { segment, offset, bytes } => {
                let start = *offset as usize;
                &segment.bytes()[start..start + *bytes as usize]
            }
        }
    }
}

impl Stored {
    /// Octets of the message as it is sent: prefix and content.
    pub fn bytes(&self) -> u64 {
        self.prefix.len() as u64 + self.content_bytes
    }

    /// Octets of memory that it takes while its content is in RAM.
    pub fn memory(&self) -> usize {
        let hot = |part: &Part| match part {
            Part::Hot(content) => content.capacity(),
            Part::Mapped { .. } => 0,
        };
        let recipients = self.envelope.recipients.len() * RECIPIENT_BYTES;
        self.prefix.capacity() + recipients + self.parts.iter().map(hot).sum::<usize>()
    }

    /// The octets at `offset`, as many as lie together, at most `max`; empty at the end only.
    pub fn window(&self, offset: u64, max: usize) -> &[u8] {
        let parts = self.parts.iter().map(Part::bytes);
        let mut rest = offset;
        for bytes in std::iter::once(self.prefix.as_slice()).chain(parts) {
            match usize::try_from(rest) {
                Ok(start) if start < bytes.len() => {
                    let end = bytes.len().min(start.saturating_add(max));
                    return &bytes[start..end];
                }
                _ => rest -= bytes.len() as u64,
            }
        }
        &[]
    }

    /// Whether all content is in RAM.
    pub fn is_hot(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Hot(_)))
    }
}

/// How one recipient stands: what survives a restart of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientState {
    /// The recipient's place in the envelope.
    pub recipient: u16,
    /// How it stands.
    pub standing: Standing,
}

/// A recipient's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To be attempted.
    Pending {
        /// Attempts made.
        attempts: u32,
        /// When the next one is due.
        due: WallTime,
        /// An operator holds it.
        held: bool,
        /// What the last attempt came to; its texts are cut to `REPLY_TEXT_MAX`, `DETAIL_MAX` and
        /// `PEER_MAX` octets when stored.
        reason: Option<Reason>,
    },
    /// Final: the next hop has taken it.
    Delivered,
    /// Final: the reverse-path was told, or did not want to be.
    Bounced,
    /// Final since before reclaim moved the message; the event log says how.
    Ended,
}

impl Standing {
    /// Whether nothing more will be done for the recipient.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Pending { .. } => false,
            Self::Delivered | Self::Bounced | Self::Ended => true,
        }
    }
}
