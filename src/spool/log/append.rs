//! Take messages, states and ends into the group that is being filled.
//!
//! Invariant: what was taken is committed in the order in which it came, or the caller hears of it.

use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::{RECORD_CONTENT_MAX, RECORD_MAX};
use crate::mail::durability::Durability;
use crate::spool::group::{Chunk, Group, Place, What, record_bytes};
use crate::spool::log::{Log, LogError, Refusal, Transaction};
use crate::spool::record::state::encode_state;
use crate::spool::record::{DoesNotFit, MessageHead, encode_message};
use crate::spool::stored::{EnvelopeAt, NewMessage, Origin, Part, RecipientState, Stored};

impl Log {
    /// Append a chunk of a message's content, at most `RECORD_CONTENT_MAX` octets, without copying
    /// it. The log keeps the order; nothing refers to the chunk until `append_message`. After an
    /// error the message cannot be completed: `abandon` it.
    pub fn append_content(&mut self, id: MessageId, content: Vec<u8>) -> Result<(), LogError> {
        let mut transaction = self.transactions.remove(&id).unwrap_or_default();
        let appended = self.append_chunk(id, &mut transaction, content);
        if appended.is_err() {
            transaction.lose(Refusal::Failed);
        }
        self.transactions.insert(id, transaction);
        appended
    }

    fn append_chunk(
        &mut self,
        id: MessageId,
        transaction: &mut Transaction,
        content: Vec<u8>,
    ) -> Result<(), LogError> {
        self.check(transaction, &content, true)?;
        if content.is_empty() {
            Ok(())
        } else {
            self.push_chunk(id, transaction, Arc::new(content))
        }
    }

    fn push_chunk(
        &mut self,
        id: MessageId,
        transaction: &mut Transaction,
        content: Arc<Vec<u8>>,
    ) -> Result<(), LogError> {
        let group = self.filling(0, content.len()).ok_or(LogError::TooLarge)?;
        (group.is_admission, group.is_awaited) = (true, true);
        group.unfinished.push(id);
        transaction.chunks.push(group.push_content(content));
        Ok(())
    }

    /// Append a message's last chunk and its envelope: `Accepted` or `Refused` follows. What comes
    /// back serves first attempts from RAM (chunks that are committed already: from the map). After
    /// an error nothing is kept of the message.
    pub fn append_message(&mut self, message: NewMessage) -> Result<Arc<Stored>, LogError> {
        let is_admission = message.origin != Origin::Own;
        let transaction = self.transactions.remove(&message.id).unwrap_or_default();
        self.check(&transaction, &message.content, is_admission)?;
        let earlier: u64 = transaction.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
        let mut stored = Stored {
            id: message.id,
            envelope: message.envelope,
            received: message.received,
            intake: message.intake,
            prefix: message.prefix,
            content_bytes: earlier + message.content.len() as u64,
            has_eight_bit: message.has_eight_bit,
            is_quarantined: message.is_quarantined,
            origin: message.origin,
            parts: Vec::new(),
        };
        let last = Arc::new(message.content);
        let chunks = self.push_message(&stored, transaction.chunks, last)?;
        stored.parts = self.parts(chunks);
        Ok(Arc::new(stored))
    }

    /// Append a message again that was refused though its client has the 250: `Accepted` or
    /// `Refused` follows anew. However much waits for the disk: content in RAM is not copied; what
    /// is in a map is, since its old segment may be free to go. After an error, try again later.
    pub fn append_again(&mut self, stored: &Stored) -> Result<(), LogError> {
        self.has_room(stored.bytes())?;
        let content = |part: &Part| match part {
            Part::Hot(content) => Arc::clone(content),
            Part::Mapped { .. } => Arc::new(part.bytes().to_vec()),
        };
        let mut contents: Vec<_> = stored.parts.iter().map(content).collect();
        let last = contents.pop().unwrap_or_default();
        let mut transaction = Transaction::default();
        for content in contents {
            self.push_chunk(stored.id, &mut transaction, content)?;
        }
        self.push_message(stored, transaction.chunks, last)?;
        Ok(())
    }

    /// Put a message's record and the last of its content in a group; all its chunks.
    fn push_message(
        &mut self,
        stored: &Stored,
        mut chunks: Vec<Chunk>,
        last: Arc<Vec<u8>>,
    ) -> Result<Vec<Chunk>, LogError> {
        let head = MessageHead {
            received: stored.received,
            intake: stored.intake,
            content_bytes: stored.content_bytes,
            has_eight_bit: stored.has_eight_bit,
            is_quarantined: stored.is_quarantined,
            origin: stored.origin,
            prefix: &stored.prefix,
        };
        let extents = chunks.len() + usize::from(!last.is_empty());
        let mut payload = std::mem::take(&mut self.scratch);
        payload.clear();
        let encoded = encode_message(&head, &stored.envelope, extents, &mut payload);
        encoded.map_err(|DoesNotFit| LogError::TooLarge)?;
        let record = record_bytes(payload.len(), extents);
        if record as usize > RECORD_MAX {
            return Err(LogError::TooLarge);
        }
        let is_admission = stored.origin != Origin::Own;
        let group = self.filling(record, last.len()).ok_or(LogError::TooLarge)?;
        group.is_admission |= is_admission;
        group.is_awaited |= is_admission && stored.origin.durability() == Durability::Commit;
        if !last.is_empty() {
            chunks.push(group.push_content(last));
        }
        let what = What::Message { is_admission };
        group.push_item(stored.id, what, &payload, chunks.clone());
        self.scratch = payload;
        Ok(chunks)
    }

    /// Forget the chunks of a transaction that came to nothing.
    pub fn abandon(&mut self, id: MessageId) {
        self.transactions.remove(&id);
    }

    /// Append how a recipient stands now; `Noted` follows for a pending one. For a bounced one only
    /// after its DSN was accepted, or a crash may take both.
    pub fn append_state(&mut self, id: MessageId, state: &RecipientState) {
        let mut payload = std::mem::take(&mut self.scratch);
        payload.clear();
        encode_state(state, &mut payload);
        let what =
            What::State { recipient: state.recipient, is_pending: !state.standing.is_final() };
        self.push_fact(id, what, &payload);
        self.scratch = payload;
    }

    /// Append the end of a message: every recipient is final (states of the last ones need not be
    /// appended). `at` is where it was accepted, recovered or last moved.
    pub fn append_done(&mut self, id: MessageId, at: EnvelopeAt) {
        let at = self.moves.end(id, at);
        self.push_fact(id, What::Done { at }, &[]);
    }

    fn push_fact(&mut self, id: MessageId, what: What, payload: &[u8]) {
        let group = self.filling(record_bytes(payload.len(), 0), 0);
        let group = group.expect("the smallest group holds a state");
        group.push_item(id, what, payload, Vec::new());
    }

    /// Whether `content` may come in for a transaction.
    fn check(
        &self,
        transaction: &Transaction,
        content: &[u8],
        is_admission: bool,
    ) -> Result<(), LogError> {
        match transaction.lost {
            Some(Refusal::Failed) => return Err(LogError::Lost),
            Some(Refusal::Full) => return Err(LogError::Full),
            None => {}
        }
        if content.len() > RECORD_CONTENT_MAX {
            return Err(LogError::TooLarge);
        }
        if is_admission { self.admit(content.len() as u64) } else { Ok(()) }
    }

    /// The group that a record and a content of these octets go into; `None` if none can hold them.
    pub(super) fn filling(&mut self, record: u32, content: usize) -> Option<&mut Group> {
        let max = self.group_max();
        let content = u32::try_from(content).ok()?;
        let fits = self.queue.back().is_some_and(|group| group.fits(record, content, max));
        if !fits {
            let group = Group::new(self.serial);
            if !group.fits(record, content, max) {
                return None;
            }
            self.serial += 1;
            self.queue.push_back(group);
        }
        self.queue.back_mut()
    }

    /// What chunks hold: from RAM while they are not committed, then from the map.
    fn parts(&self, chunks: Vec<Chunk>) -> Vec<Part> {
        let part = |chunk: Chunk| match (chunk.hot, chunk.place) {
            (Some(hot), _) => Part::Hot(hot),
            (None, Place::Disk { segment, offset }) => {
                let file = self.space.file(segment).expect("chunks pin their segment");
                Part::Mapped { segment: Arc::clone(&file.map), offset, bytes: chunk.bytes }
            }
            (None, Place::Group { .. }) => unreachable!("only what is committed leaves RAM"),
        };
        chunks.into_iter().map(part).collect()
    }
}
