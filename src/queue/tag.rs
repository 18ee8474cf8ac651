//! A recipient's state, marks, place in the envelope and attempts, in one word.
//!
//! Bits from the lowest: 3 of state, never 0, so that a row of the table knows a free place by it;
//! 3 of marks; 10 of place; 16 of attempts.

use std::num::NonZeroU32;

use crate::base::limits::RECIPIENTS_MAX;
use crate::queue::entry::State;

const MARKS_AT: u32 = 3;
const INDEX_AT: u32 = 6;
const INDEX_BITS: u32 = 10;
const ATTEMPTS_AT: u32 = INDEX_AT + INDEX_BITS;
const STATE: u32 = 0b111;
const MARKS: u32 = 0b111 << MARKS_AT;
const _: () = assert!(RECIPIENTS_MAX <= 1 << INDEX_BITS);
const _: () = assert!(ATTEMPTS_AT + u16::BITS == u32::BITS);

/// What is remembered of a ready or dispatched entry beside its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u32);

impl Mark {
    /// Ready, and first of its run.
    pub(super) const HEAD: Self = Self(1 << MARKS_AT);
    /// Dispatched; an operator wants it held when it comes back.
    pub(super) const HOLD: Self = Self(2 << MARKS_AT);
    /// Dispatched; an operator wants it gone when it comes back.
    pub(super) const REMOVE: Self = Self(4 << MARKS_AT);
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(NonZeroU32);

impl Tag {
    /// Held, without marks.
    pub(super) fn new(index: u16, attempts: u16) -> Self {
        assert!(u32::from(index) < 1 << INDEX_BITS, "recipient {index}");
        let word = u32::from(index) << INDEX_AT | u32::from(attempts) << ATTEMPTS_AT;
        Self::of(word | code(State::Held))
    }

    fn of(word: u32) -> Self {
        Self(NonZeroU32::new(word).expect("a state is in it"))
    }

    /// The recipient's place in the envelope.
    pub(super) fn index(self) -> u16 {
        u16::try_from(self.0.get() >> INDEX_AT & ((1 << INDEX_BITS) - 1)).expect("ten bits")
    }

    /// Attempts made.
    pub(super) fn attempts(self) -> u16 {
        u16::try_from(self.0.get() >> ATTEMPTS_AT).expect("sixteen bits remain")
    }

    pub(super) fn set_attempts(&mut self, attempts: u16) {
        let rest = self.0.get() & ((1 << ATTEMPTS_AT) - 1);
        *self = Self::of(rest | u32::from(attempts) << ATTEMPTS_AT);
    }

    pub(super) fn state(self) -> State {
        match self.0.get() & STATE {
            1 => State::Ready,
            2 => State::Dispatched,
            3 => State::Deferred,
            _ => State::Held,
        }
    }

    /// Another state; the marks were about the one before.
    pub(super) fn enter(&mut self, state: State) {
        *self = Self::of(self.0.get() & !(STATE | MARKS) | code(state));
    }

    pub(super) fn has(self, mark: Mark) -> bool {
        self.0.get() & mark.0 != 0
    }

    pub(super) fn set(&mut self, mark: Mark) {
        self.0 |= mark.0;
    }

    pub(super) fn clear(&mut self, mark: Mark) {
        *self = Self::of(self.0.get() & !mark.0);
    }
}

fn code(state: State) -> u32 {
    match state {
        State::Ready => 1,
        State::Dispatched => 2,
        State::Deferred => 3,
        State::Held => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_touches_another() {
        let mut tag = Tag::new(999, u16::MAX);
        for state in [State::Ready, State::Dispatched, State::Deferred, State::Held] {
            tag.enter(state);
            for mark in [Mark::HEAD, Mark::HOLD, Mark::REMOVE] {
                assert!(!tag.has(mark));
                tag.set(mark);
                assert!(tag.has(mark));
            }
            tag.clear(Mark::HOLD);
            assert!(!tag.has(Mark::HOLD) && tag.has(Mark::HEAD) && tag.has(Mark::REMOVE));
            assert_eq!((tag.state(), tag.index(), tag.attempts()), (state, 999, u16::MAX));
        }
        tag.set_attempts(7);
        assert_eq!((tag.state(), tag.index(), tag.attempts()), (State::Held, 999, 7));
        assert!(tag.has(Mark::HEAD), "attempts change nothing else");
    }
}
