//! The queue beside a naive model of it, under random operations.
//!
//! The model says what may happen (which state each recipient is in, what is due, who may not
//! depart); the queue chooses among it, and after each step both must show the same.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::time::Monotonic;

mod operations;
mod rows;
mod senders;

use operations::operation;
use rows::{ModelMessage, ModelRecipient};
use senders::{check_campaigns, handling, lifetime, stop, tenant, tenant_of, terms};

#[derive(Clone, Debug)]
enum Operation {
    /// Domains of the recipients, and for each the seconds until it is due, or held.
    Insert(Vec<(u8, Option<u8>)>),
    Pop,
    Finish(usize),
    Defer(usize, u8),
    Postpone(usize, u8),
    Park(usize, Option<u8>),
    Unpark(u8, u32),
    Advance(u8),
    /// The wall clock is set ahead by so many seconds, or back.
    SetClock(i32),
    Operate(Verb, Which),
    /// A tenant or a campaign of it is stopped, or goes on.
    Pause(u8, bool),
}

#[derive(Clone, Copy, Debug, Default)]
struct Which {
    message: Option<usize>,
    domain: Option<u8>,
    reverse_path: Option<u64>,
    tenant: Option<u8>,
}

struct Pair {
    queue: Queue<u64>,
    messages: BTreeMap<u64, ModelMessage>,
    parked: BTreeMap<u8, Option<i64>>,
    departures: Vec<Departure>,
    /// In seconds, whatever the wall clock shows.
    now: i64,
    /// By what the wall clock was set ahead.
    ahead: i64,
    ids: u64,
    /// Of `stop(0..)`.
    stopped: [bool; 3],
}

fn domain(number: u8) -> Domain {
    Domain::parse(&format!("d{number}.example")).expect("a domain")
}

fn number(domain: &Domain) -> u8 {
    domain.as_str()[1..].trim_end_matches(".example").parse().expect("made by domain()")
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            queue: Queue::new(Duration::from_secs(40), Duration::from_secs(100), 1_000),
            messages: BTreeMap::new(),
            parked: BTreeMap::new(),
            departures: Vec::new(),
            now: 1_000_000,
            ahead: 0,
            ids: 0,
            stopped: [false; 3],
        };
        pair.queue.set_tenants(terms());
        pair.follow();
        pair
    }

    fn wall(&self) -> WallTime {
        self.wall_at(self.now)
    }

    /// What the wall clock shows at a second, as it is set now.
    fn wall_at(&self, second: i64) -> WallTime {
        WallTime((second + self.ahead) * 1_000)
    }

    fn follow(&mut self) -> Option<i64> {
        let mono = Monotonic(u64::try_from(self.now).expect("not before") * 1_000_000_000);
        self.queue.follow(Now { mono, wall: self.wall() })
    }

    fn set_clock(&mut self, seconds: i64) {
        self.ahead += seconds;
        assert_eq!(self.follow(), (seconds != 0).then_some(seconds * 1_000));
    }

    fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Insert(recipients) => self.insert(recipients),
            Operation::Pop => self.pop(),
            Operation::Finish(which) => self.finish(*which),
            Operation::Defer(which, seconds) => self.defer(*which, *seconds),
            Operation::Postpone(which, seconds) => self.postpone(*which, *seconds),
            Operation::Park(which, seconds) => self.park(*which, *seconds),
            Operation::Unpark(number, up_to) => self.unpark(*number, *up_to),
            Operation::Advance(seconds) => self.advance(i64::from(*seconds)),
            Operation::SetClock(seconds) => self.set_clock(i64::from(*seconds)),
            Operation::Operate(verb, which) => self.operate(*verb, *which),
            Operation::Pause(which, on) => self.stop(*which, *on),
        }
        self.forget_unqueued_parks();
        self.check();
    }

    fn insert(&mut self, wanted: &[(u8, Option<u8>)]) {
        self.ids += 1;
        let (now, ahead, id) = (self.now, self.ahead, self.ids);
        let recipients: BTreeMap<u16, ModelRecipient> = (0..)
            .zip(wanted)
            .map(|(index, (domain, wait))| {
                let due = now + i64::from(wait.unwrap_or(0)) - 2;
                let state = match wait {
                    None => State::Held,
                    Some(_) if due > now => State::Deferred,
                    Some(_) => State::Ready,
                };
                let fresh = ModelRecipient {
                    domain: *domain,
                    state,
                    due,
                    attempts: index,
                    hold: false,
                    remove: false,
                    late: false,
                };
                (index, fresh)
            })
            .collect();
        let domains: Vec<Domain> = wanted.iter().map(|(number, _)| domain(*number)).collect();
        let rows = recipients.iter().zip(&domains).map(|((index, row), domain)| {
            let held = row.state == State::Held;
            let due = WallTime((row.due + ahead) * 1_000);
            let state = RecipientState { attempts: row.attempts, due, held, reason_at: None };
            (*index, domain, state)
        });
        let slot = self.queue.insert(new_message(id, self.wall()), rows, self.wall());
        match slot {
            None => assert!(wanted.is_empty()),
            Some(slot) => {
                let (reported, expired) = (false, false);
                let received = now;
                let lifetime = lifetime(id);
                let message =
                    ModelMessage { slot, received, lifetime, reported, expired, recipients };
                self.messages.insert(id, message);
            }
        }
    }

    fn pop(&mut self) {
        let Some(departure) = self.queue.pop_ready() else {
            return self.check_nothing_departs();
        };
        let name = number(self.queue.domain(departure.domain).expect("it has recipients"));
        assert!(!self.parked.contains_key(&name), "a parked domain departed");
        let id = self.queue.message(departure.message).expect("it is queued").id.0;
        let stopped = senders::is_stopped(id, self.stopped);
        let message = self.by_slot(departure.message);
        for index in departure.recipients.as_slice() {
            let row = message.recipients.get_mut(index).expect("a recipient");
            assert_eq!((row.state, row.domain), (State::Ready, name));
            assert!(!stopped, "a stopped one departed");
            row.state = State::Dispatched;
        }
        self.departures.push(departure);
    }

    /// Without departures in flight and not parked, what is ready must go.
    fn check_nothing_departs(&self) {
        let going = self.messages.iter().filter(|(id, _)| !senders::is_stopped(**id, self.stopped));
        for row in going.flat_map(|(_, message)| message.recipients.values()) {
            let same = |other: &&ModelRecipient| other.domain == row.domain;
            let all = self.messages.values().flat_map(|message| message.recipients.values());
            let in_flight = all.filter(same).any(|other| other.state == State::Dispatched);
            let waits = in_flight || self.parked.contains_key(&row.domain);
            assert!(row.state != State::Ready || waits, "{row:?} should depart");
        }
    }

    fn stop(&mut self, which: u8, on: bool) {
        let before = std::mem::replace(&mut self.stopped[usize::from(which)], on);
        let changed =
            if on { self.queue.pause(&stop(which)) } else { self.queue.resume(&stop(which)) };
        assert_eq!(changed, before != on);
    }

    fn by_slot(&mut self, slot: Slot) -> &mut ModelMessage {
        self.messages.values_mut().find(|message| message.slot == slot).expect("it is queued")
    }

    /// One of the recipients that are with the shard, as far as it was told.
    fn dispatched(&self, which: usize) -> Option<(Slot, u16)> {
        let rows = self.messages.values().flat_map(|message| {
            let slot = message.slot;
            message.recipients.iter().map(move |(index, row)| (slot, *index, row))
        });
        let with_shard = |row: &ModelRecipient| row.state == State::Dispatched && !row.late;
        let with_shard: Vec<_> = rows.filter(|(_, _, row)| with_shard(row)).collect();
        let (slot, index, _) = with_shard.get(which.checked_rem(with_shard.len())?)?;
        Some((*slot, *index))
    }

    fn finish(&mut self, which: usize) {
        let Some((slot, index)) = self.dispatched(which) else { return };
        let message = self.by_slot(slot);
        message.recipients.remove(&index);
        let left = message.recipients.len();
        match self.queue.finish(slot, index).expect("it is queued") {
            Finished::Left(remaining) => assert_eq!(usize::from(remaining), left),
            Finished::Done { id, .. } => {
                assert_eq!(left, 0);
                assert!(self.messages.remove(&id.0).is_some());
                assert_eq!(self.queue.message(slot), None);
            }
        }
        assert_eq!(self.queue.finish(slot, index), None, "a recipient ends once");
        self.left(slot, index);
    }

    /// A recipient of a departure came back by itself: the departure cannot be parked any more.
    fn left(&mut self, slot: Slot, index: u16) {
        let has = |departure: &Departure| {
            departure.message == slot && departure.recipients.as_slice().contains(&index)
        };
        self.departures.retain(|departure| !has(departure));
    }

    fn defer(&mut self, which: usize, seconds: u8) {
        let Some((slot, index)) = self.dispatched(which) else { return };
        let due = self.now + i64::from(seconds);
        let message = self.by_slot(slot);
        let fate = message.fate(index);
        let row = message.recipients.get_mut(&index).expect("it is queued");
        (row.due, row.attempts) = (due, row.attempts + 1);
        row.state = match fate {
            Deferral::Waiting => State::Deferred,
            Deferral::Held => State::Held,
            Deferral::Expired | Deferral::Removed => State::Dispatched,
        };
        row.hold &= row.state == State::Dispatched;
        let attempts = row.attempts;
        let said = self.queue.defer(slot, index, attempts, self.wall_at(due), None);
        assert_eq!(said, Some(fate));
        self.left(slot, index);
    }

    fn postpone(&mut self, which: usize, seconds: u8) {
        let Some((slot, index)) = self.dispatched(which) else { return };
        let due = self.now + i64::from(seconds);
        let message = self.by_slot(slot);
        let expected = match message.fate(index) {
            Deferral::Expired | Deferral::Waiting => Deferral::Waiting,
            fate @ (Deferral::Held | Deferral::Removed) => fate,
        };
        let row = message.recipients.get_mut(&index).expect("it is queued");
        row.due = due;
        row.state = match expected {
            Deferral::Waiting => State::Deferred,
            Deferral::Held => State::Held,
            Deferral::Expired | Deferral::Removed => State::Dispatched,
        };
        row.hold &= row.state == State::Dispatched;
        let said = self.queue.postpone(slot, index, self.wall_at(due));
        assert_eq!(said, Some(expected));
        self.left(slot, index);
    }

    fn park(&mut self, which: usize, seconds: Option<u8>) {
        let Some(which) = which.checked_rem(self.departures.len()) else { return };
        let departure = self.departures.swap_remove(which);
        let until = seconds.map(|seconds| self.now + i64::from(seconds));
        let wall = until.map(|until| self.wall_at(until));
        let over = self.queue.park(&departure, wall);
        let mut expected = Vec::new();
        let message = self.by_slot(departure.message);
        let mut name = 0;
        for index in departure.recipients.as_slice().iter().rev() {
            let fate = message.fate(*index);
            let row = message.recipients.get_mut(index).expect("it is queued");
            name = row.domain;
            match fate {
                Deferral::Waiting => row.state = State::Ready,
                Deferral::Held => (row.state, row.hold) = (State::Held, false),
                Deferral::Expired | Deferral::Removed => expected.push((*index, fate)),
            }
        }
        assert_eq!(over, expected);
        let rows = self.messages.values().flat_map(|message| message.recipients.values());
        let in_flight = |row: &ModelRecipient| row.domain == name && row.state == State::Dispatched;
        if !rows.into_iter().any(in_flight) {
            self.parked.insert(name, until);
        }
    }

    fn unpark(&mut self, name: u8, up_to: u32) {
        if let Some(id) = self.queue.find_domain(&domain(name)) {
            self.queue.unpark(id, up_to);
            self.parked.remove(&name);
        }
    }

    /// A domain that has left the queue and comes back is not parked.
    fn forget_unqueued_parks(&mut self) {
        let rows = self.messages.values().flat_map(|message| message.recipients.values());
        let queued: Vec<u8> = rows.map(|row| row.domain).collect();
        self.parked.retain(|name, _| queued.contains(name));
    }

    fn advance(&mut self, seconds: i64) {
        self.now += seconds;
        assert_eq!(self.follow(), None);
        let mut late = self.take_late();
        let mut due = Vec::new();
        self.queue.expire_due(self.wall(), &mut due);
        let now = self.now;
        self.parked.retain(|_, until| until.is_none_or(|until| until > now));
        let mut expected: Vec<Due> = Vec::new();
        for message in self.messages.values_mut() {
            expected.extend(message.grow_old(now));
        }
        // What became late just now is told at once, by a second look.
        late.extend(self.take_late());
        if self.queue.next_due().is_some_and(|next| next <= self.wall()) {
            self.queue.expire_due(self.wall(), &mut due);
        }
        // They come one by one.
        let single =
            |(message, index)| Due::Expired { message, recipients: Recipients::One(index) };
        expected.extend(late.into_iter().map(single));
        due.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(due, expected);
        assert!(self.queue.next_due().is_none_or(|next| next > self.wall()));
    }

    /// Those of expired messages that wait no more, which the shard was not told of.
    fn take_late(&mut self) -> Vec<(Slot, u16)> {
        let mut late = Vec::new();
        for message in self.messages.values_mut() {
            for (index, row) in &mut message.recipients {
                if std::mem::take(&mut row.late) && row.state == State::Dispatched {
                    late.push((message.slot, *index));
                }
            }
        }
        late
    }

    fn selected(&self, which: Which) -> (Selector, Vec<(u64, u16)>) {
        let selector = Selector {
            id: which.message.map(|place| MessageId(1 + place as u64)),
            domain: which.domain.map(domain),
            tenant: which.tenant.map(tenant),
            campaign: None,
            reverse_path: which.reverse_path,
        };
        let mut chosen = Vec::new();
        for (id, message) in &self.messages {
            for (index, row) in &message.recipients {
                let takes = which.message.is_none_or(|place| *id == 1 + place as u64)
                    && which.domain.is_none_or(|number| row.domain == number)
                    && which.reverse_path.is_none_or(|hash| *id % 3 == hash)
                    && which.tenant.is_none_or(|whose| tenant_of(*id) == Some(whose));
                if takes {
                    chosen.push((*id, *index));
                }
            }
        }
        (selector, chosen)
    }

    fn operate(&mut self, verb: Verb, which: Which) {
        let (selector, chosen) = self.selected(which);
        let mut said = self.queue.operate(verb, &selector, Place::default());
        assert_eq!(said.next, None);
        let (mut touched, mut pending) = (Vec::new(), 0);
        for (id, index) in chosen {
            let message = self.messages.get_mut(&id).expect("it is queued");
            let (slot, expired) = (message.slot, message.expired);
            let row = message.recipients.get_mut(&index).expect("it is queued");
            let dispatched = row.state == State::Dispatched;
            if row.operate(verb, expired) {
                pending += usize::from(dispatched);
                if !(dispatched && verb == Verb::Remove) {
                    touched.push((slot, index));
                }
            }
        }
        said.touched.sort_unstable();
        touched.sort_unstable();
        assert_eq!((said.touched, said.pending), (touched, pending));
    }

    fn check(&mut self) {
        let mut counts = BTreeMap::new();
        for (id, message) in &self.messages {
            let view = self.queue.show(MessageId(*id)).expect("it is queued");
            assert_eq!(view.message.slot, message.slot);
            assert_eq!(view.recipients.len(), message.recipients.len());
            for (seen, (index, row)) in view.recipients.iter().zip(&message.recipients) {
                assert_eq!((seen.index, number(&seen.domain)), (*index, row.domain));
                assert_eq!((seen.state, seen.attempts), (row.state, row.attempts));
                assert_eq!(seen.due, self.wall_at(row.due));
                *counts.entry((row.state as u8, seen.parked)).or_insert(0u64) += 1;
            }
        }
        let count = |state: State, parked| counts.get(&(state as u8, parked)).copied().unwrap_or(0);
        let stats = self.queue.stats();
        assert_eq!(stats.messages, self.messages.len() as u64);
        assert_eq!(stats.ready, count(State::Ready, false));
        assert_eq!(stats.parked, count(State::Ready, true));
        assert_eq!(stats.dispatched, count(State::Dispatched, false));
        assert_eq!(stats.deferred, count(State::Deferred, false));
        assert_eq!(stats.held, count(State::Held, false));
        check_campaigns(&self.queue, &self.messages);
    }

    /// Let everything come to its end; nothing may be left behind.
    fn drain(&mut self) {
        for verb in [Verb::Release, Verb::Remove] {
            self.operate(verb, Which::default());
        }
        self.advance(0);
        while self.dispatched(0).is_some() {
            self.finish(0);
            self.forget_unqueued_parks();
        }
        assert!(self.messages.is_empty());
        let stats = self.queue.stats();
        assert_eq!(Stats { row_bytes: stats.row_bytes, ..Stats::default() }, stats);
        assert!(self.queue.ring.is_empty() && self.queue.parks.is_empty());
        assert!(self.queue.lanes.is_empty() && self.queue.flows.is_empty());
        assert_eq!(self.queue.deferred.first(), None);
        assert_eq!((self.queue.ages.oldest(), self.queue.ages.ends.is_empty()), (None, true));
    }
}

/// By message, and what came alone by its recipient.
fn order(due: &Due) -> (Slot, Option<u16>) {
    match due {
        Due::Expired { message, recipients: Recipients::One(index) } => (*message, Some(*index)),
        Due::Expired { message, .. } | Due::DelayReport(message) => (*message, None),
    }
}

fn new_message(id: u64, received: WallTime) -> NewMessage<u64> {
    let record = RecordAt { log: 1, segment: 2, offset: 3 };
    NewMessage {
        id: MessageId(id),
        envelope: EnvelopeAt { record, bytes: 4 },
        received,
        delay_reported: false,
        last_attempt: false,
        reverse_path: id % 3,
        content_bytes: 5,
        handling: handling(id).boxed(),
        hot: Some((id, 300)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_as_its_model(operations in proptest::collection::vec(operation(), 1..120)) {
        let mut pair = Pair::new();
        operations.iter().for_each(|operation| pair.step(operation));
        pair.drain();
    }
}
