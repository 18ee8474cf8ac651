//! Ask one upstream relay about recipients: over which connections, and what when they fail.
//!
//! In: recipients to ask about; what became of lookups, connections and questions. Out: what to do
//! next; recipients that cannot be asked about here. Invariant: a recipient is in one place: it
//! waits, or is asked about on one connection; no connection is opened that nobody would use, and
//! none carries more than `CALLOUT_ASKS_MAX` questions. Lives on: each shard, one an upstream relay
//! that is asked.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::base::limits::{CALLOUT_ASKS_MAX, CALLOUT_RECONNECT_AFTER};
use crate::base::time::Monotonic;
use crate::mail::address::Mailbox;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<L> {
    /// Look up its addresses: `on_found` or `on_not_found` is to follow.
    Find,
    /// Connect to this one: `on_connecting` or `on_failed` is to follow.
    Connect(IpAddr),
    /// Ask about this recipient on this connection: `on_answered` or `on_gone` is to follow.
    Ask(L, Mailbox),
    /// Part in good order, and forget the connection.
    Part(L),
}

/// What a connection was for that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was being opened: `on_failed` is to follow, unless nobody is to blame.
    Opening,
    /// This recipient was being asked about, after so many others.
    Asking(Mailbox, u32),
    /// Nothing: it waited for whoever comes, or had been parted with.
    Nothing,
}

/// Questions to one upstream relay, and the connections `L` to it.
#[derive(Debug)]
pub struct Asking<L> {
    waiting: VecDeque<Mailbox>,
    lines: Vec<Line<L>>,
    lines_max: usize,
    addresses: Vec<IpAddr>,
    /// The place of the next one.
    turn: usize,
    found_until: Monotonic,
    is_finding: bool,
    /// Connections in a row that could not be opened.
    failed: usize,
    connects_after: Monotonic,
}

#[derive(Debug)]
struct Line<L> {
    id: L,
    state: State,
    /// Questions so far.
    asked: u32,
}

#[derive(Debug)]
enum State {
    Opening,
    Resting,
    Asking(Mailbox),
    /// The answer has come; the peer is not ready for the next question.
    Answered,
}

impl<L: Copy + PartialEq> Asking<L> {
    /// Over so many connections at most.
    pub fn new(lines_max: usize, now: Monotonic) -> Self {
        Self {
            waiting: VecDeque::new(),
            lines: Vec::new(),
            lines_max,
            addresses: Vec::new(),
            turn: 0,
            found_until: now,
            is_finding: false,
            failed: 0,
            connects_after: now,
        }
    }

    /// Ask about a recipient.
    pub fn push(&mut self, recipient: Mailbox) {
        self.waiting.push_back(recipient);
    }

    /// Ask about it before the others: it had its turn, and its connection ended before.
    pub fn push_again(&mut self, recipient: Mailbox) {
        self.waiting.push_front(recipient);
    }

    /// What to do next; whether further connections may be made is the caller's to know.
    pub fn poll(&mut self, may_connect: bool, now: Monotonic) -> Option<Action<L>> {
        let is_worn =
            |line: &Line<L>| matches!(line.state, State::Resting) && line.asked >= CALLOUT_ASKS_MAX;
        if let Some(place) = self.lines.iter().position(is_worn) {
            return Some(Action::Part(self.lines.swap_remove(place).id));
        }
        if self.waiting.is_empty() {
            return None;
        }
        let resting = self.lines.iter_mut().find(|line| matches!(line.state, State::Resting));
        if let Some(line) = resting {
            let recipient = self.waiting.pop_front()?;
            line.state = State::Asking(recipient.clone());
            line.asked += 1;
            return Some(Action::Ask(line.id, recipient));
        }
        let opening = self.lines.iter().filter(|line| matches!(line.state, State::Opening));
        let is_enough = opening.count() >= self.waiting.len() || self.lines.len() >= self.lines_max;
        if is_enough || !may_connect || now < self.connects_after {
            return None;
        }
        if self.addresses.is_empty() || self.found_until <= now {
            let is_new = !std::mem::replace(&mut self.is_finding, true);
            return is_new.then_some(Action::Find);
        }
        let address = self.addresses[self.turn % self.addresses.len()];
        self.turn = self.turn.wrapping_add(1);
        Some(Action::Connect(address))
    }

    /// When `poll` has something to do though nothing has happened.
    pub fn deadline(&self, now: Monotonic) -> Option<Monotonic> {
        let waits = !self.waiting.is_empty() && now < self.connects_after;
        waits.then_some(self.connects_after)
    }

    /// It has these addresses until then.
    pub fn on_found(&mut self, addresses: Vec<IpAddr>, until: Monotonic) {
        self.is_finding = false;
        (self.addresses, self.found_until) = (addresses, until);
        self.failed = 0;
    }

    /// Its addresses could not be found. Those that it had may hold still; without any, those who
    /// waited come back.
    pub fn on_not_found(&mut self, retry: Monotonic) -> Vec<Mailbox> {
        self.is_finding = false;
        if self.addresses.is_empty() {
            return self.waiting.drain(..).collect();
        }
        self.found_until = retry;
        Vec::new()
    }

    /// A connection is being opened.
    pub fn on_connecting(&mut self, id: L) {
        self.lines.push(Line { id, state: State::Opening, asked: 0 });
    }

    /// The peer is ready for a question.
    pub fn on_ready(&mut self, id: L) {
        self.failed = 0;
        if let Some(line) = self.line(id) {
            line.state = State::Resting;
        }
    }

    /// The peer has answered: about whom.
    pub fn on_answered(&mut self, id: L) -> Option<Mailbox> {
        let line = self.line(id)?;
        match std::mem::replace(&mut line.state, State::Answered) {
            State::Asking(recipient) => Some(recipient),
            State::Opening | State::Resting | State::Answered => None,
        }
    }

    /// A connection is gone: what it was for.
    pub fn on_gone(&mut self, id: L) -> Gone {
        let place = self.lines.iter().position(|line| line.id == id);
        let Some(place) = place else { return Gone::Nothing };
        let line = self.lines.swap_remove(place);
        match line.state {
            State::Opening => Gone::Opening,
            State::Asking(recipient) => Gone::Asking(recipient, line.asked - 1),
            State::Resting | State::Answered => Gone::Nothing,
        }
    }

    /// A connection could not be opened. Once that holds for all addresses, those who waited come
    /// back, unless another connection serves them.
    pub fn on_failed(&mut self, now: Monotonic) -> Vec<Mailbox> {
        self.failed += 1;
        if self.failed < self.addresses.len() {
            return Vec::new();
        }
        self.failed = 0;
        if self.lines.iter().any(|line| !matches!(line.state, State::Opening)) {
            self.connects_after = now + CALLOUT_RECONNECT_AFTER;
            return Vec::new();
        }
        self.waiting.drain(..).collect()
    }

    fn line(&mut self, id: L) -> Option<&mut Line<L>> {
        self.lines.iter_mut().find(|line| line.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Monotonic = Monotonic(1_000);
    const NEVER: Monotonic = Monotonic(u64::MAX);

    fn user(number: u32) -> Mailbox {
        Mailbox::parse(&format!("user{number}@corp.example"), false).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// With two addresses, and so many recipients that wait.
    fn found(waiting: u32) -> Asking<u8> {
        let mut asking = Asking::new(3, NOW);
        (0..waiting).for_each(|number| asking.push(user(number)));
        assert_eq!(asking.poll(true, NOW), Some(Action::Find));
        assert_eq!(asking.poll(true, NOW), None, "once");
        asking.on_found(vec![address(1), address(2)], NEVER);
        asking
    }

    /// All that it wants now, each connection by its number.
    fn actions(asking: &mut Asking<u8>, number: &mut u8) -> Vec<Action<u8>> {
        std::iter::from_fn(|| {
            let action = asking.poll(true, NOW)?;
            if let Action::Connect(_) = action {
                *number += 1;
                asking.on_connecting(*number);
            }
            Some(action)
        })
        .collect()
    }

    #[test]
    fn each_recipient_is_asked_about_in_its_turn_over_few_connections() {
        let (mut asking, mut number) = (found(5), 0);
        let first = actions(&mut asking, &mut number);
        let to = |last| Action::Connect(address(last));
        assert_eq!(first, [to(1), to(2), to(1)], "three at most, by turns");
        asking.on_ready(2);
        assert_eq!(actions(&mut asking, &mut number), [Action::Ask(2, user(0))]);
        asking.on_ready(1);
        assert_eq!(actions(&mut asking, &mut number), [Action::Ask(1, user(1))]);
        assert_eq!(asking.on_answered(1), Some(user(1)));
        assert_eq!(actions(&mut asking, &mut number), [], "the peer is not ready yet");
        assert_eq!(asking.on_answered(1), None);
        asking.on_ready(1);
        assert_eq!(actions(&mut asking, &mut number), [Action::Ask(1, user(2))]);
        assert_eq!(asking.on_gone(2), Gone::Asking(user(0), 0));
        asking.push_again(user(0));
        assert_eq!(asking.on_answered(1), Some(user(2)));
        assert_eq!(asking.on_gone(1), Gone::Nothing);
        asking.on_ready(3);
        assert_eq!(actions(&mut asking, &mut number)[0], Action::Ask(3, user(0)));
    }

    #[test]
    fn no_connection_is_opened_that_nobody_would_use() {
        let (mut asking, mut number) = (found(1), 0);
        assert_eq!(actions(&mut asking, &mut number).len(), 1);
        asking.push(user(1));
        assert_eq!(asking.poll(false, NOW), None, "it may not");
        assert_eq!(actions(&mut asking, &mut number).len(), 1);
        asking.on_ready(1);
        asking.on_ready(2);
        assert_eq!(actions(&mut asking, &mut number).len(), 2);
        assert_eq!(actions(&mut asking, &mut number), []);
    }

    #[test]
    fn a_connection_carries_so_many_questions_at_most() {
        let (mut asking, mut number) = (found(CALLOUT_ASKS_MAX + 1), 0);
        asking.lines_max = 1;
        assert_eq!(actions(&mut asking, &mut number).len(), 1);
        for one in 0..CALLOUT_ASKS_MAX {
            asking.on_ready(1);
            assert_eq!(actions(&mut asking, &mut number), [Action::Ask(1, user(one))]);
            assert_eq!(asking.on_answered(1), Some(user(one)));
        }
        asking.on_ready(1);
        let last = actions(&mut asking, &mut number);
        assert_eq!(last, [Action::Part(1), Action::Connect(address(2))]);
        assert_eq!(asking.on_gone(1), Gone::Nothing);
    }

    #[test]
    fn once_no_address_can_be_reached_those_who_waited_come_back() {
        let (mut asking, mut number) = (found(2), 0);
        assert_eq!(actions(&mut asking, &mut number).len(), 2);
        assert_eq!(asking.on_gone(1), Gone::Opening);
        assert_eq!(asking.on_failed(NOW), []);
        assert_eq!(actions(&mut asking, &mut number), [Action::Connect(address(1))]);
        assert_eq!(asking.on_gone(2), Gone::Opening);
        assert_eq!(asking.on_failed(NOW), [user(0), user(1)]);
        assert_eq!(actions(&mut asking, &mut number), []);
        // A later one may be asked about again.
        asking.push(user(2));
        asking.on_ready(3);
        assert_eq!(actions(&mut asking, &mut number), [Action::Ask(3, user(2))]);
    }

    #[test]
    fn while_a_connection_serves_those_who_wait_others_are_opened_now_and_then() {
        let (mut asking, mut number) = (found(3), 0);
        actions(&mut asking, &mut number);
        asking.on_ready(1);
        assert_eq!(actions(&mut asking, &mut number), [Action::Ask(1, user(0))]);
        for gone in [2, 3] {
            assert_eq!(asking.on_gone(gone), Gone::Opening);
            assert_eq!(asking.on_failed(NOW), []);
        }
        assert_eq!(actions(&mut asking, &mut number), []);
        let again = NOW + CALLOUT_RECONNECT_AFTER;
        assert_eq!(asking.deadline(NOW), Some(again));
        assert_eq!(asking.poll(true, Monotonic(again.0 - 1)), None);
        assert!(matches!(asking.poll(true, again), Some(Action::Connect(_))));
        assert_eq!(asking.deadline(again), None);
    }

    #[test]
    fn addresses_hold_for_their_time_and_longer_where_there_are_no_others() {
        let mut asking: Asking<u8> = Asking::new(1, NOW);
        asking.push(user(0));
        assert_eq!(asking.poll(true, NOW), Some(Action::Find));
        assert_eq!(asking.on_not_found(NOW), [user(0)]);
        asking.push(user(1));
        assert_eq!(asking.poll(true, NOW), Some(Action::Find));
        let until = NOW + Duration::from_secs(60);
        asking.on_found(vec![address(1)], until);
        assert_eq!(asking.poll(true, until), Some(Action::Find));
        assert_eq!(asking.on_not_found(until + Duration::from_secs(5)), []);
        assert_eq!(asking.poll(true, until), Some(Action::Connect(address(1))));
    }
}
