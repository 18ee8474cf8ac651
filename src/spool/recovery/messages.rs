//! Decode recovered messages one by one, so that a large queue is in RAM only once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::{Domain, ReversePath};
use crate::mail::envelope::Envelope;
use crate::spool::format::Record;
use crate::spool::record::MessageView;
use crate::spool::recovery::drafts::{Draft, LastState};
use crate::spool::recovery::{Damage, Fault};
use crate::spool::segment::{SegmentBytes, SegmentName};
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
    /// Whom DSNs go to.
    pub reverse_path: ReversePath,
    /// Octets of the message as it is sent.
    pub bytes: u64,
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

/// The messages of a directory, in order of their records.
#[derive(Debug)]
pub struct Messages {
    pub(super) directory: u16,
    pub(super) maps: BTreeMap<u32, Arc<dyn SegmentBytes>>,
    pub(super) drafts: vec::IntoIter<(MessageId, Draft)>,
}

impl Iterator for Messages {
    /// An error: the record's envelope cannot be understood, though it is as it was written.
    type Item = Result<RecoveredMessage, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let (id, draft) = self.drafts.next()?;
        let damage = self.at(draft.at, Fault::Record);
        Some(self.decode(id, &draft).ok_or(damage))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.drafts.size_hint()
    }
}

impl ExactSizeIterator for Messages {}

impl Messages {
    /// All of them, to be read more than once.
    pub(in crate::spool) fn iter(
        &self,
    ) -> impl Iterator<Item = Result<RecoveredMessage, Damage>> + '_ {
        self.drafts.as_slice().iter().map(|(id, draft)| {
            let damage = self.at(draft.at, Fault::Record);
            self.decode(*id, draft).ok_or(damage)
        })
    }

    /// Their names.
    pub(in crate::spool) fn ids(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.drafts.as_slice().iter().map(|(id, _)| *id)
    }

    /// Of messages that are not whole: where their records are.
    pub(super) fn damage(&self) -> Vec<Damage> {
        let drafts = self.drafts.as_slice().iter();
        drafts.map(|(id, draft)| self.at(draft.at, Fault::Content(*id))).collect()
    }

    fn at(&self, at: EnvelopeAt, fault: Fault) -> Damage {
        let EnvelopeAt { segment, offset, bytes } = at;
        let segment = SegmentName { directory: self.directory, number: segment };
        Damage { segment, offset, bytes, fault }
    }

    fn decode(&self, id: MessageId, draft: &Draft) -> Option<RecoveredMessage> {
        let map = self.maps.get(&draft.at.segment)?;
        let end = draft.at.offset.checked_add(draft.at.bytes)?;
        let record = Record::decode(map.bytes(), draft.at.offset, end)?;
        let view = MessageView::decode(record.payload)?;
        let received = view.received();
        let Envelope { reverse_path, recipients, .. } = view.envelope()?;
        let pending = (0u16..).zip(recipients).filter_map(|(recipient, asked)| {
            let domain = asked.forward_path.domain().cloned();
            match draft.last(recipient) {
                None => Some(PendingRecipient {
                    recipient,
                    domain,
                    attempts: 0,
                    due: received,
                    held: false,
                    last: None,
                }),
                Some(LastState::Pending { attempts, due, held, at }) => Some(PendingRecipient {
                    recipient,
                    domain,
                    attempts,
                    due,
                    held,
                    last: Some(at),
                }),
                Some(LastState::Final) => None,
            }
        });
        let (at, bytes, pending) = (draft.at, view.bytes(), pending.collect());
        Some(RecoveredMessage { id, at, received, reverse_path, bytes, pending })
    }
}
