//! A queue with as many recipients waiting in it as wanted.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::hint::black_box;
use std::time::Duration;

use relay_fast::base::ids::MessageId;
use relay_fast::base::time::WallTime;
use relay_fast::mail::address::Domain;
use relay_fast::queue::{EnvelopeAt, NewMessage, Queue, RecipientState, RecordAt};

const DOMAINS: usize = 1_000;
const START: WallTime = WallTime(1_795_491_661_000);

/// A queue, and what goes into it.
pub(crate) struct Waiting {
    queue: Queue<()>,
    domains: Vec<Domain>,
    next: u64,
    now: WallTime,
}

impl Waiting {
    /// So many recipients are ready, and so many deferred, due over the next two hours.
    pub(crate) fn new(ready: usize, deferred: usize) -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        let name = |number| format!("customer{number}.example");
        let domains = (0..DOMAINS).map(|number| Domain::parse(&name(number)).expect("a domain"));
        let mut waiting = Self {
            queue: Queue::new(day, 5 * day, 0),
            domains: domains.collect(),
            next: 0,
            now: START,
        };
        for number in 0..deferred {
            let wait = Duration::from_secs(600 + (number as u64 * 7_919) % 7_200);
            waiting.insert(waiting.now + wait);
        }
        for _ in 0..ready {
            waiting.insert(waiting.now);
        }
        waiting
    }

    fn insert(&mut self, due: WallTime) {
        let number = self.next;
        self.next += 1;
        let record = RecordAt { log: 0, segment: 1, offset: 0 };
        let message = NewMessage {
            id: MessageId(number),
            envelope: EnvelopeAt { record, bytes: 300 },
            received: self.now,
            delay_reported: false,
            reverse_path: 7,
            content_bytes: 10_240,
            last_attempt: false,
            handling: None,
            hot: None,
        };
        let place = usize::try_from(number % DOMAINS as u64).expect("few domains");
        let state = RecipientState { due, ..RecipientState::default() };
        let recipients = [(0, &self.domains[place], state)];
        self.queue.insert(message, recipients, self.now).expect("a new message");
    }

    /// One comes in, one departs and is final.
    pub(crate) fn deliver(&mut self) {
        self.insert(self.now);
        let departure = self.queue.pop_ready().expect("one at least is ready");
        black_box(self.queue.finish(departure.message, departure.recipients.as_slice()[0]));
    }

    /// One departs, waits for a second, and is ready again.
    pub(crate) fn defer(&mut self) {
        let departure = self.queue.pop_ready().expect("one at least is ready");
        let due = self.now + Duration::from_secs(1);
        let index = departure.recipients.as_slice()[0];
        black_box(self.queue.defer(departure.message, index, 1, due, None));
        // Time stands still for those who wait for long: the second passes for this one alone.
        let mut over = Vec::new();
        self.queue.expire_due(due, &mut over);
        assert!(over.is_empty(), "nothing is old");
    }
}
