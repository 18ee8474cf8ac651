//! The queue, step by step and in figures.

use super::*;
use crate::base::limits::{OPERATED_BATCH_MAX, TOP_DOMAINS_LOOKED_MAX, TRANSACTION_RECIPIENTS_MAX};

mod ends;
mod gates;
mod operated;
mod resting;
mod shares;

const DELAY: Duration = Duration::from_secs(4 * 3_600);
const LIFETIME: Duration = Duration::from_secs(5 * 86_400);
const START: WallTime = WallTime(1_795_000_000_000);

/// A queue and its clock; messages are numbered from 1.
struct Bench {
    queue: Queue<&'static str>,
    now: WallTime,
    ids: u64,
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("a domain")
}

fn message(id: u64, received: WallTime) -> NewMessage<&'static str> {
    let record = RecordAt { log: 0, segment: 1, offset: 64 };
    NewMessage {
        id: MessageId(id),
        envelope: EnvelopeAt { record, bytes: 300 },
        received,
        delay_reported: false,
        last_attempt: false,
        reverse_path: id % 2,
        content_bytes: 10_000,
        handling: None,
        hot: None,
    }
}

fn all() -> Selector {
    Selector::default()
}

fn by_id(id: u64) -> Selector {
    Selector { id: Some(MessageId(id)), ..all() }
}

fn by_domain(name: &str) -> Selector {
    Selector { domain: Some(domain(name)), ..all() }
}

fn by_reverse_path(hash: u64) -> Selector {
    Selector { reverse_path: Some(hash), ..all() }
}

impl Bench {
    fn new() -> Self {
        Self { queue: Queue::new(DELAY, LIFETIME, 1_000), now: START, ids: 0 }
    }

    /// Queue a message with so many recipients at `name`.
    fn insert(&mut self, name: &str, recipients: u16) -> Slot {
        self.insert_as(name, recipients, RecipientState::default())
    }

    fn insert_as(&mut self, name: &str, recipients: u16, state: RecipientState) -> Slot {
        self.ids += 1;
        let name = domain(name);
        let rows = (0..recipients).map(|index| (index, &name, state));
        self.queue.insert(message(self.ids, self.now), rows, self.now).expect("new")
    }

    fn insert_many(&mut self, count: usize, name: &str, recipients: u16) {
        for _ in 0..count {
            self.insert(name, recipients);
        }
    }

    fn pop(&mut self) -> Departure {
        self.queue.pop_ready().expect("something is ready")
    }

    /// What departs next, as the numbers of its messages.
    fn pop_all(&mut self) -> Vec<Departure> {
        std::iter::from_fn(|| self.queue.pop_ready()).collect()
    }

    fn number(&self, departure: &Departure) -> u64 {
        self.queue.message(departure.message).expect("queued").id.0
    }

    fn finish(&mut self, departure: &Departure) {
        for index in departure.recipients.as_slice() {
            self.queue.finish(departure.message, *index).expect("it is with the shard");
        }
    }

    /// Let time pass; what has come due.
    fn pass(&mut self, time: Duration) -> Vec<Due> {
        self.now = self.now + time;
        let mut due = Vec::new();
        while self.queue.next_due().is_some_and(|next| next <= self.now) {
            self.queue.expire_due(self.now, &mut due);
        }
        due
    }

    fn state(&mut self, message: Slot, recipient: u16) -> State {
        self.queue.recipient(message, recipient).expect("it is queued").state
    }

    /// The counts that are not 0: ready, parked, dispatched, deferred, held.
    fn counts(&self) -> [u64; 5] {
        let stats = self.queue.stats();
        [stats.ready, stats.parked, stats.dispatched, stats.deferred, stats.held]
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_domains_messages_depart_in_the_order_in_which_they_came() {
    let mut bench = Bench::new();
    bench.insert_many(200, "a.example", 1);
    let departures = bench.pop_all();
    let order: Vec<u64> = departures.iter().map(|one| bench.number(one)).collect();
    assert_eq!(order, (1..=200).collect::<Vec<u64>>());
    assert_eq!(departures[99].in_flight, 100);
}

#[test]
fn domains_take_turns_however_much_waits_at_one() {
    let mut bench = Bench::new();
    bench.insert_many(1_000, "big.example", 1);
    bench.insert("small.example", 1);
    bench.insert("other.example", 1);
    let first: Vec<Departure> = (0..6).map(|_| bench.pop()).collect();
    let first: Vec<u64> = first.iter().map(|one| bench.number(one)).collect();
    assert_eq!(first, [1, 1_001, 1_002, 2, 3, 4]);
}

#[test]
fn messages_take_turns_in_runs_as_long_as_a_transaction() {
    let mut bench = Bench::new();
    let long = u16::try_from(TRANSACTION_RECIPIENTS_MAX).expect("fits") * 2 + 5;
    bench.insert("a.example", long);
    bench.insert("a.example", 3);
    bench.insert("a.example", 1);
    let runs: Vec<(u64, usize)> = bench
        .pop_all()
        .iter()
        .map(|run| (bench.number(run), run.recipients.as_slice().len()))
        .collect();
    let full = TRANSACTION_RECIPIENTS_MAX;
    assert_eq!(runs, [(1, full), (2, 3), (3, 1), (1, full), (1, 5)]);
}

#[test]
fn each_recipient_departs_by_itself_where_that_is_wanted() {
    let mut bench = Bench::new();
    bench.queue.set_run_max(1);
    bench.insert("a.example", 3);
    bench.insert("a.example", 1);
    let runs = bench.pop_all();
    let runs: Vec<(u64, &[u16])> =
        runs.iter().map(|run| (bench.number(run), run.recipients.as_slice())).collect();
    assert_eq!(runs, [(1, &[0][..]), (2, &[0]), (1, &[1]), (1, &[2])]);
}

#[test]
fn a_run_holds_recipients_of_one_domain_in_their_order() {
    let mut bench = Bench::new();
    let [a, b] = [domain("a.example"), domain("b.example")];
    let rows = (0..10u16).map(|n| (n, if n % 2 == 0 { &a } else { &b }, RecipientState::default()));
    bench.queue.insert(message(1, START), rows, START).expect("new");
    let runs = bench.pop_all();
    let recipients: Vec<&[u16]> = runs.iter().map(|run| run.recipients.as_slice()).collect();
    assert_eq!(recipients, [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]);
}

#[test]
fn what_is_parked_departs_first_once_it_may_and_others_are_not_held_up() {
    let mut bench = Bench::new();
    bench.insert_many(5, "full.example", 2);
    bench.insert("free.example", 1);
    let refused = bench.pop();
    assert!(bench.queue.park(&refused, Some(bench.now + SECOND)).is_empty());
    assert_eq!(bench.counts(), [1, 10, 0, 0, 0]);
    let free = bench.pop();
    assert_eq!(bench.number(&free), 6);
    assert_eq!(bench.queue.pop_ready(), None, "a parked domain waits");
    assert_eq!(bench.queue.next_due(), Some(bench.now + SECOND));
    bench.pass(SECOND);
    assert_eq!(bench.pop().recipients, refused.recipients);
    assert_eq!(bench.queue.pop_ready(), None, "one departure tries whether there is room");
}

#[test]
fn a_call_opens_a_parked_domain_before_its_time() {
    let mut bench = Bench::new();
    bench.insert_many(10, "full.example", 1);
    let refused = bench.pop();
    bench.queue.park(&refused, Some(bench.now + SECOND * 60));
    bench.queue.explain(refused.domain, Some("no room".into()));
    let why = bench.queue.recipient(refused.message, 0).expect("queued");
    assert!(why.parked && why.parked_until == Some(bench.now + SECOND * 60));
    assert_eq!(why.why.as_deref(), Some("no room"));
    bench.queue.unpark(refused.domain, 4);
    assert_eq!(bench.pop_all().len(), 4, "as many as there is room for");
    assert_eq!(bench.queue.next_due(), Some(START + DELAY), "its timer has gone");
}

#[test]
fn refusals_set_a_window_and_what_comes_back_widens_it() {
    let mut bench = Bench::new();
    bench.insert_many(1_000, "a.example", 1);
    let mut flying: Vec<Departure> = (0..5).map(|_| bench.pop()).collect();
    let refused = flying.pop().expect("five");
    bench.queue.park(&refused, None);
    assert_eq!(bench.queue.pop_ready(), None, "four are out: that is what it takes");
    // Each that comes back makes room for itself and one more, as long as the window is small.
    for _ in 0..3 {
        for back in std::mem::take(&mut flying) {
            bench.finish(&back);
        }
        flying = bench.pop_all();
    }
    assert_eq!(flying.len(), 32);
    for back in std::mem::take(&mut flying) {
        bench.finish(&back);
    }
    assert_eq!(bench.pop_all().len(), 36, "then by one in eight");
}

#[test]
fn what_is_due_later_is_ready_then_and_not_before() {
    let mut bench = Bench::new();
    let late = RecipientState { due: START + SECOND * 30, attempts: 3, ..Default::default() };
    let message = bench.insert_as("a.example", 2, late);
    assert_eq!(bench.queue.next_due(), Some(START + SECOND * 30));
    assert_eq!(bench.pass(SECOND * 29), []);
    assert_eq!((bench.queue.pop_ready(), bench.counts()), (None, [0, 0, 0, 2, 0]));
    bench.pass(SECOND);
    let departure = bench.pop();
    assert_eq!(departure.recipients, Recipients::Many([0, 1].into()), "they leave together");
    let reason_at = Some(RecordAt { log: 0, segment: 3, offset: 4 });
    let due = bench.now + Duration::from_millis(1_500);
    let said = bench.queue.defer(message, 1, 4, due, reason_at);
    assert_eq!(said, Some(Deferral::Waiting));
    let view = bench.queue.recipient(message, 1).expect("queued");
    assert_eq!((view.attempts, view.due, view.reason_at), (4, bench.now + SECOND * 2, reason_at));
    assert_eq!(bench.queue.defer(message, 7, 1, due, None), None, "no such recipient");
}

#[test]
fn messages_in_ram_are_the_newest_and_leave_when_cooled() {
    let mut bench = Bench::new();
    let name = domain("a.example");
    let mut slots = Vec::new();
    for id in 1..=3 {
        let hot = NewMessage { hot: Some(("content", 400)), ..message(id, START) };
        let one = [(0, &name, RecipientState::default())];
        slots.push(bench.queue.insert(hot, one, START).expect("new"));
    }
    let hot = |bench: &Bench| slots.iter().map(|slot| bench.queue.hot(*slot).is_some()).collect();
    let before: Vec<bool> = hot(&bench);
    assert_eq!((before, bench.queue.stats().hot_bytes), (vec![false, true, true], 800));
    bench.queue.cool(slots[1]);
    let after: Vec<bool> = hot(&bench);
    assert_eq!((after, bench.queue.stats().hot_bytes), (vec![false, false, true], 400));
}

#[test]
fn an_id_is_queued_once_and_a_message_without_recipients_never() {
    let mut bench = Bench::new();
    bench.insert("a.example", 1);
    let name = domain("a.example");
    let again = [(0, &name, RecipientState::default())];
    assert_eq!(bench.queue.insert(message(1, START), again, START), None);
    assert_eq!(bench.queue.insert(message(2, START), [], START), None);
    assert_eq!((bench.queue.stats().messages, bench.counts()), (1, [1, 0, 0, 0, 0]));
}

/// DESIGN: at most 128 bytes of RAM a queued recipient, of which the spool's `live.rs` takes eight.
/// The worst case: each of its own message.
#[test]
fn a_queued_recipient_costs_128_bytes_at_most() {
    const LIVE: f64 = 8.0;
    const MESSAGES: u64 = 200_000;
    let mut bench = Bench::new();
    let names: Vec<Domain> = (0..100).map(|n| domain(&format!("d{n}.example"))).collect();
    for id in 1..=MESSAGES {
        let name = &names[id as usize % names.len()];
        let one = [(0, name, RecipientState::default())];
        bench.queue.insert(message(id, START), one, START).expect("new");
    }
    let rows = bench.queue.stats().row_bytes;
    let each = LIVE + (rows + bench.queue.ids.bytes() as u64) as f64 / MESSAGES as f64;
    assert!(each <= 119.0, "{each} bytes: what the process needs beside is not counted here");
    let departures = bench.pop_all();
    departures.iter().for_each(|departure| bench.finish(departure));
    let left = bench.queue.stats();
    assert_eq!(Stats { row_bytes: left.row_bytes, ..Stats::default() }, left);
    assert_eq!(left.row_bytes, rows, "places stay, and know themselves which of them are free");
}
