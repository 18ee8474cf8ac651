//! Answers, kept as long as they hold and while there is room.
//!
//! Invariant: at most `DNS_CACHE_MAX` answers and `DNS_CACHE_BYTES_MAX` octets; the answer that was
//! used longest ago goes first. Every operation costs the same however much is kept. Lives on: one
//! shard.

use std::sync::Arc;

use lru::LruCache;

use crate::base::limits::{DNS_CACHE_BYTES_MAX, DNS_CACHE_MAX};
use crate::base::time::Monotonic;
use crate::dns::answer::{Answer, Question};

/// A shard's DNS cache.
#[derive(Debug)]
pub(super) struct Cache {
    answers: LruCache<Question, Arc<Answer>>,
    /// Octets, as [`Answer::weight`] counts.
    weight: usize,
}

impl Cache {
    /// An empty cache; it grows as it is used.
    pub(super) fn new() -> Self {
        Self { answers: LruCache::unbounded(), weight: 0 }
    }

    /// How many answers are kept, expired ones included.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// The answer to `question`, if one is kept that still holds.
    pub(super) fn find(&mut self, question: &Question, now: Monotonic) -> Option<Arc<Answer>> {
        let answer = self.answers.get(question)?;
        if answer.expires > now {
            return Some(Arc::clone(answer));
        }
        if let Some(expired) = self.answers.pop(question) {
            self.weight -= expired.weight();
        }
        None
    }

    /// Keep `answer` instead of any other to its question.
    pub(super) fn keep(&mut self, answer: &Arc<Answer>) {
        self.weight += answer.weight();
        if let Some(old) = self.answers.put(answer.question.clone(), Arc::clone(answer)) {
            self.weight -= old.weight();
        }
        while self.answers.len() > DNS_CACHE_MAX || self.weight > DNS_CACHE_BYTES_MAX {
            match self.answers.pop_lru() {
                Some((_, oldest)) => self.weight -= oldest.weight(),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::answer::{Finding, Kind, Records};
    use crate::dns::name::Name;

    fn answer(number: usize, bytes: usize, expires: Monotonic) -> Arc<Answer> {
        let name = Name::parse(&format!("n{number}.example")).unwrap();
        Arc::new(Answer {
            question: Question { name, kind: Kind::Txt },
            finding: Finding::Records(Records::Txt(vec![vec![b'x'; bytes].into()])),
            authenticated: false,
            expires,
        })
    }

    #[test]
    fn an_answer_holds_until_it_expires() {
        let mut cache = Cache::new();
        let kept = answer(1, 10, Monotonic(100));
        cache.keep(&kept);
        assert_eq!(cache.find(&kept.question, Monotonic(99)), Some(Arc::clone(&kept)));
        assert_eq!(cache.find(&kept.question, Monotonic(100)), None);
        assert_eq!((cache.len(), cache.weight), (0, 0));
    }

    #[test]
    fn the_number_of_answers_is_bounded_and_the_least_used_goes_first() {
        let mut cache = Cache::new();
        let used = answer(0, 0, Monotonic(9));
        cache.keep(&used);
        for number in 1..DNS_CACHE_MAX + 10 {
            cache.keep(&answer(number, 0, Monotonic(9)));
            assert!(cache.find(&used.question, Monotonic(0)).is_some(), "after {number}");
        }
        assert_eq!(cache.len(), DNS_CACHE_MAX);
        assert_eq!(cache.find(&answer(1, 0, Monotonic(9)).question, Monotonic(0)), None);
    }

    #[test]
    fn the_octets_of_answers_are_bounded() {
        let mut cache = Cache::new();
        for number in 0..2 * DNS_CACHE_BYTES_MAX / 65_000 {
            cache.keep(&answer(number, 65_000, Monotonic(9)));
            assert!(cache.weight <= DNS_CACHE_BYTES_MAX);
        }
        let sum: usize = cache.answers.iter().map(|(_, kept)| kept.weight()).sum();
        assert_eq!(sum, cache.weight);
        assert!(cache.len() > 400);
    }

    #[test]
    fn a_newer_answer_replaces_the_older() {
        let mut cache = Cache::new();
        cache.keep(&answer(1, 1_000, Monotonic(5)));
        let newer = answer(1, 10, Monotonic(50));
        cache.keep(&newer);
        assert_eq!((cache.len(), cache.weight), (1, newer.weight()));
    }
}
