//! Count what is live in each segment: what reclaim decides by.
//!
//! In: messages that were committed, moved, ended. Out: octets and messages live in each segment.
//! Invariant: a message is listed in the segment of its record; content of it in other segments
//! is counted there. States and ends are not counted: they are never needed longer than the
//! message they speak of, which lies before them in the log.
//! Unit: octets; 8 octets of RAM a message, and a list for the rare one that spans segments. A
//! message is known by where its record is: its id stands there.

use std::collections::{BTreeMap, HashMap};

use crate::base::ids::MessageId;
use crate::spool::record::Extent;
use crate::spool::stored::EnvelopeAt;

/// What lives in the segments of one directory.
#[derive(Debug, Default)]
pub(super) struct Live {
    segments: BTreeMap<u32, Tenants>,
    /// Content outside of the segment of the message's record: segment and octets.
    spread: HashMap<MessageId, Vec<(u32, u32)>>,
    bytes: u64,
    messages: u64,
}

#[derive(Debug, Default)]
struct Tenants {
    /// In order of offset, which is the order in which they were committed.
    messages: Vec<Tenant>,
    /// Nothing before this place is live.
    first: usize,
    dead: usize,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Tenant {
    /// Of its record.
    offset: u32,
    /// Octets in this segment, record and content; 0: dead.
    bytes: u32,
}

// The queue's budget of 128 bytes a recipient counts on it.
const _: () = assert!(size_of::<Tenant>() == 8);

impl Tenants {
    fn find(&self, offset: u32) -> Option<usize> {
        let place = self.messages.binary_search_by_key(&offset, |tenant| tenant.offset).ok()?;
        (self.messages[place].bytes > 0).then_some(place)
    }

    /// Give back the room of the dead once they are the most.
    fn tidy(&mut self) {
        if self.dead > 64 && self.dead > self.messages.len() / 2 {
            self.messages.retain(|tenant| tenant.bytes > 0);
            self.messages.shrink_to_fit();
            (self.first, self.dead) = (0, 0);
        }
    }
}

impl Live {
    /// A message lives at `at`; records are added in the order of the log.
    pub(super) fn add(
        &mut self,
        id: MessageId,
        at: EnvelopeAt,
        extents: impl Iterator<Item = Extent>,
    ) {
        let mut here = at.bytes;
        let mut elsewhere: Vec<(u32, u32)> = Vec::new();
        for extent in extents {
            if extent.segment == at.segment {
                here = here.saturating_add(extent.bytes);
                continue;
            }
            match elsewhere.last_mut().filter(|(segment, _)| *segment == extent.segment) {
                Some((_, bytes)) => *bytes = bytes.saturating_add(extent.bytes),
                None => elsewhere.push((extent.segment, extent.bytes)),
            }
        }
        for (segment, bytes) in &elsewhere {
            self.segments.entry(*segment).or_default().bytes += u64::from(*bytes);
            self.bytes += u64::from(*bytes);
        }
        if !elsewhere.is_empty() {
            self.spread.insert(id, elsewhere);
        }
        if !self.segments.contains_key(&at.segment) {
            let messages = self.seal(at.segment);
            self.segments.insert(at.segment, Tenants { messages, ..Tenants::default() });
        }
        let tenants = self.segments.entry(at.segment).or_default();
        let last = tenants.messages.last().map_or(0, |tenant| tenant.offset);
        assert!(last < at.offset, "message {id} at {at:?} is not the last");
        tenants.messages.push(Tenant { offset: at.offset, bytes: here });
        tenants.bytes += u64::from(here);
        self.bytes += u64::from(here);
        self.messages += 1;
    }

    /// The log goes on with `segment`: the one before it gets no more messages, and keeps no room
    /// for them. Its room is handed on: a hole of that size in the heap for each segment would be
    /// a fifth of all that is kept here.
    fn seal(&mut self, segment: u32) -> Vec<Tenant> {
        let Some((_, before)) = self.segments.range_mut(..segment).next_back() else {
            return Vec::new();
        };
        let exact = before.messages.as_slice().into();
        let mut room = std::mem::replace(&mut before.messages, exact);
        room.clear();
        room
    }

    /// The message at `at` lives no longer; whether it did.
    pub(super) fn remove(&mut self, id: MessageId, at: EnvelopeAt) -> bool {
        let Some(tenants) = self.segments.get_mut(&at.segment) else {
            return false;
        };
        let Some(place) = tenants.find(at.offset) else {
            return false;
        };
        let here = std::mem::take(&mut tenants.messages[place].bytes);
        tenants.dead += 1;
        tenants.bytes -= u64::from(here);
        tenants.tidy();
        self.bytes -= u64::from(here);
        self.messages -= 1;
        for (segment, bytes) in self.spread.remove(&id).unwrap_or_default() {
            if let Some(tenants) = self.segments.get_mut(&segment) {
                tenants.bytes -= u64::from(bytes);
            }
            self.bytes -= u64::from(bytes);
        }
        true
    }

    /// Whether the message lives at `at`.
    pub(super) fn contains(&self, at: EnvelopeAt) -> bool {
        let tenants = self.segments.get(&at.segment);
        tenants.is_some_and(|tenants| tenants.find(at.offset).is_some())
    }

    /// Octets of live messages in a segment.
    pub(super) fn bytes_in(&self, segment: u32) -> u64 {
        self.segments.get(&segment).map_or(0, |tenants| tenants.bytes)
    }

    /// Messages with live octets in a segment and how many; those recorded there first, in order,
    /// by the id that `read` finds at an offset. One of which it finds none is left out.
    pub(super) fn messages_in<'a>(
        &'a mut self,
        segment: u32,
        read: impl Fn(u32) -> Option<MessageId> + 'a,
    ) -> impl Iterator<Item = (MessageId, u32)> + 'a {
        let tenants = self.segments.entry(segment).or_default();
        let live = |tenant: &Tenant| tenant.bytes > 0;
        let skipped = tenants.messages[tenants.first..].iter().take_while(|one| !live(one)).count();
        tenants.first += skipped;
        let recorded = tenants.messages[tenants.first..].iter().filter(move |one| live(one));
        let reaching = self.spread.iter().filter_map(move |(id, elsewhere)| {
            let here = elsewhere.iter().find(|(number, _)| *number == segment);
            here.map(|(_, bytes)| (*id, *bytes))
        });
        let named = move |tenant: &Tenant| Some((read(tenant.offset)?, tenant.bytes));
        recorded.filter_map(named).chain(reaching)
    }

    /// A segment is no more.
    pub(super) fn forget(&mut self, segment: u32) {
        let tenants = self.segments.remove(&segment);
        let bytes = tenants.map_or(0, |tenants| tenants.bytes);
        assert!(bytes == 0, "segment {segment} goes with {bytes} live octets");
    }

    /// Octets of all live messages.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many messages live.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, offset: u32) -> EnvelopeAt {
        EnvelopeAt { segment, offset, bytes: 100 }
    }

    /// Message 1 at offset 8, message 2 at offset 16 and so on.
    fn read(offset: u32) -> Option<MessageId> {
        Some(MessageId(u64::from(offset) / 8))
    }

    fn extent(segment: u32, bytes: u32) -> Extent {
        Extent { segment, offset: 0, bytes, crc: 0 }
    }

    #[test]
    fn a_message_counts_where_its_octets_are_until_it_is_removed() {
        let mut live = Live::default();
        let (one, two) = (MessageId(1), MessageId(2));
        live.add(
            one,
            at(3, 8),
            [extent(1, 10), extent(1, 20), extent(2, 30), extent(3, 40)].into_iter(),
        );
        live.add(two, at(3, 16), [extent(3, 5)].into_iter());
        let counted: Vec<u64> = (1..=3).map(|segment| live.bytes_in(segment)).collect();
        assert_eq!(counted, [30, 30, 245]);
        assert_eq!((live.bytes(), live.messages()), (305, 2));
        assert_eq!(live.messages_in(1, read).collect::<Vec<_>>(), [(one, 30)]);
        assert_eq!(live.messages_in(3, read).collect::<Vec<_>>(), [(one, 140), (two, 105)]);
        assert!(!live.remove(two, at(3, 24)), "nothing is there");
        assert!(live.remove(one, at(3, 8)));
        assert!(!live.remove(one, at(3, 8)), "only once");
        assert_eq!(live.messages_in(3, read).collect::<Vec<_>>(), [(two, 105)]);
        assert_eq!((live.bytes_in(1), live.bytes_in(2), live.bytes()), (0, 0, 105));
        (1..=2).for_each(|segment| live.forget(segment));
    }

    #[test]
    fn the_dead_take_no_room() {
        let mut live = Live::default();
        let ats: Vec<_> = (0..1_000u32).map(|n| (MessageId(n.into()), at(1, 8 + n * 8))).collect();
        ats.iter().for_each(|(id, at)| live.add(*id, *at, [].into_iter()));
        ats[..990].iter().for_each(|(id, at)| assert!(live.remove(*id, *at)));
        assert!(ats[..990].iter().all(|(_, at)| !live.contains(*at)));
        assert!(ats[990..].iter().all(|(_, at)| live.contains(*at)));
        assert!(live.segments[&1].messages.len() < 100);
        assert_eq!(live.messages_in(1, read).count(), 10);
    }

    #[test]
    fn a_segment_that_gets_no_more_takes_eight_octets_a_message() {
        let mut live = Live::default();
        for n in 0..1_000u32 {
            live.add(MessageId(n.into()), at(1, 8 + n * 8), [].into_iter());
        }
        live.add(MessageId(1_000), at(2, 8), [].into_iter());
        assert_eq!(live.segments[&1].messages.capacity(), 1_000);
        assert!(live.segments[&2].messages.capacity() >= 1_000, "its room is handed on");
    }
}
