//! Keep in step with the spool: records that were written, and messages that were moved.

use crate::base::ids::MessageId;
use crate::base::slots::Slot;
use crate::queue::Queue;
use crate::queue::entry::{EnvelopeAt, RecordAt};

impl<H> Queue<H> {
    /// The last reply to a recipient now lies in this record. Nothing happens if the recipient has
    /// left the queue meanwhile.
    pub fn note(&mut self, id: MessageId, recipient: u16, reason_at: RecordAt) {
        let Some(row) = self.ids.find(id, &self.messages) else { return };
        self.reason_lies(self.messages.slot(row), recipient, reason_at);
    }

    /// The message's envelope lies here now, and its recipients' last replies there. No effect if
    /// it has left the queue meanwhile.
    pub fn relocate(
        &mut self,
        id: MessageId,
        envelope: EnvelopeAt,
        reasons: impl Iterator<Item = (u16, RecordAt)>,
    ) {
        let Some(row) = self.ids.find(id, &self.messages) else { return };
        self.messages[row].lies_at(envelope);
        let message = self.messages.slot(row);
        for (recipient, reason_at) in reasons {
            self.reason_lies(message, recipient, reason_at);
        }
    }

    fn reason_lies(&mut self, message: Slot, recipient: u16, reason_at: RecordAt) {
        if let Some(entry) = self.find_entry(message, recipient) {
            self.entries[entry].set_reason(Some(reason_at));
        }
    }
}
