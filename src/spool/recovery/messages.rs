//! Decode recovered messages one by one, so that a large queue is in RAM only once.

use std::vec;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::{Domain, ReversePath};
use crate::mail::envelope::Envelope;
use crate::mail::handling::Handling;
use crate::spool::format::Record;
use crate::spool::index::{Entry, MessageEntry};
use crate::spool::letter::Segments;
use crate::spool::record::MessageView;
use crate::spool::recovery::drafts::{Draft, LastState};
use crate::spool::recovery::{Damage, Fault};
use crate::spool::segment::SegmentName;
use crate::spool::stored::{EnvelopeAt, StateAt};

/// A message of the queue.
#[derive(Debug)]
pub struct RecoveredMessage {
    /// Its name.
    pub id: MessageId,
    /// Where its record is.
    pub at: EnvelopeAt,
    /// When it was received.
    pub received: WallTime,
    /// Whom DSNs go to: `ReversePath::hash_of` its text.
    pub reverse_path: u64,
    /// Octets of the message as it is sent.
    pub bytes: u64,
    /// How its sender wants it handled, where something was said of it.
    pub handling: Option<Box<Handling>>,
    /// The recipients that are not final, in the envelope's order; at least one.
    pub pending: Vec<PendingRecipient>,
}

/// A recipient that is not final.
#[derive(Debug)]
pub struct PendingRecipient {
    /// Its place in the envelope.
    pub recipient: u16,
    /// Where it goes; `None` for the domainless `<Postmaster>`.
    pub domain: Option<Domain>,
    /// Attempts made.
    pub attempts: u32,
    /// When the next one is due; when it was received, if none was made.
    pub due: WallTime,
    /// An operator holds it.
    pub held: bool,
    /// Where its last state is; `None` if it has none yet.
    pub last: Option<StateAt>,
}

/// A message that was found, to be decoded.
#[derive(Debug)]
pub(in crate::spool) struct Found {
    pub(super) id: MessageId,
    pub(super) draft: Draft,
    pub(super) source: Source,
}

/// What says who its recipients are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// The entry of its segment's index at this octet of the segment.
    Entry(usize),
    /// Its record.
    Record,
}

impl Found {
    /// What is known of the message; an error: the record's envelope cannot be understood, though
    /// it is as it was written.
    pub(in crate::spool) fn decode(
        &self,
        directory: u16,
        segments: &Segments,
    ) -> Result<RecoveredMessage, Damage> {
        let by_entry = self.entry(segments).and_then(|entry| self.by_entry(&entry));
        let decoded = by_entry.or_else(|| self.by_record(segments));
        decoded.ok_or_else(|| self.at(directory, Fault::Record))
    }

    /// What its segment's index says of it.
    pub(super) fn entry<'a>(&self, segments: &'a Segments) -> Option<MessageEntry<'a>> {
        let Source::Entry(place) = self.source else { return None };
        let bytes = segments.get(&self.draft.at.segment)?.bytes();
        match Entry::split(bytes.get(place..)?)?.0 {
            Entry::Message(message) => Some(message),
            Entry::State { .. } | Entry::Done { .. } => None,
        }
    }

    /// Of a message that is not whole: where its record is.
    pub(super) fn damage(&self, directory: u16) -> Damage {
        self.at(directory, Fault::Content(self.id))
    }

    fn at(&self, directory: u16, fault: Fault) -> Damage {
        let EnvelopeAt { segment, offset, bytes } = self.draft.at;
        let segment = SegmentName { directory, number: segment };
        Damage { segment, offset, bytes, fault }
    }

    fn by_entry(&self, entry: &MessageEntry<'_>) -> Option<RecoveredMessage> {
        let received = entry.received;
        let mut pending = Vec::with_capacity(entry.recipients.into());
        for (recipient, text) in (0u16..).zip(entry.domains()) {
            let domain = match text? {
                "" => None,
                text => Some(Domain::parse(text).ok()?),
            };
            pending.extend(self.pending(recipient, domain, received, false));
        }
        Some(RecoveredMessage {
            id: self.id,
            at: self.draft.at,
            received,
            reverse_path: entry.reverse_path,
            bytes: entry.octets,
            handling: entry.handling().map(Box::new),
            pending,
        })
    }

    fn by_record(&self, segments: &Segments) -> Option<RecoveredMessage> {
        let at = self.draft.at;
        let map = segments.get(&at.segment)?;
        let record = Record::decode(map.bytes(), at.offset, at.offset.checked_add(at.bytes)?)?;
        let view = MessageView::decode(record.payload)?;
        let (received, bytes) = (view.received(), view.bytes());
        let Envelope { reverse_path, handling, recipients, .. } = view.envelope()?;
        let pending = (0u16..).zip(recipients).filter_map(|(recipient, asked)| {
            let domain = asked.forward_path.domain().cloned();
            self.pending(recipient, domain, received, view.is_quarantined())
        });
        let (pending, reverse_path) =
            (pending.collect(), ReversePath::hash_of(reverse_path.as_str()));
        let id = self.id;
        Some(RecoveredMessage { id, at, received, reverse_path, bytes, handling, pending })
    }

    /// How a recipient stands; `None`: it is final.
    fn pending(
        &self,
        recipient: u16,
        domain: Option<Domain>,
        received: WallTime,
        is_quarantined: bool,
    ) -> Option<PendingRecipient> {
        let (attempts, due, held, last) = match self.draft.last(recipient) {
            None => (0, received, is_quarantined, None),
            Some(LastState::Pending { attempts, due, held, at }) => (attempts, due, held, Some(at)),
            Some(LastState::Final) => return None,
        };
        Some(PendingRecipient { recipient, domain, attempts, due, held, last })
    }
}

/// The messages of a directory that was read at once, in order of their records.
#[derive(Debug)]
pub struct Messages {
    directory: u16,
    segments: Segments,
    found: vec::IntoIter<Found>,
}

impl Iterator for Messages {
    /// An error: the record's envelope cannot be understood, though it is as it was written.
    type Item = Result<RecoveredMessage, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.found.next()?;
        Some(found.decode(self.directory, &self.segments))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.found.size_hint()
    }
}

impl ExactSizeIterator for Messages {}

impl Messages {
    pub(super) fn new(directory: u16, segments: Segments, found: Vec<Found>) -> Self {
        Self { directory, segments, found: found.into_iter() }
    }

    /// All of them, to be read more than once.
    pub(in crate::spool) fn iter(
        &self,
    ) -> impl Iterator<Item = Result<RecoveredMessage, Damage>> + '_ {
        let found = self.found.as_slice().iter();
        found.map(|one| one.decode(self.directory, &self.segments))
    }

    /// Their names.
    pub(in crate::spool) fn ids(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.found.as_slice().iter().map(|one| one.id)
    }
}
