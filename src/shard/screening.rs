//! Ask name servers for the block lists about strangers, and hear what they say.
//!
//! In: questions of sessions. Out: their answers, each to all who asked for it. Invariant: at most
//! `BLOCK_QUESTIONS_MAX` questions are under way, each once; nobody waits for one that is not.
//! Lives on: each shard, for the sessions that it is the home of.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::limits::BLOCK_QUESTIONS_MAX;
use crate::base::time::Monotonic;
use crate::dns::{Answer, Finding, Question};
use crate::policy::block_lists::{BlockList, Rests};
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::shard::platform::{ConnectionId, Platform};

/// Questions about strangers.
#[derive(Debug, Default)]
pub(crate) struct Screening {
    /// In the order in which they came; all of them are in `asked`.
    to_ask: VecDeque<Question>,
    /// Who waits for what.
    asked: HashMap<Question, Vec<ConnectionId>>,
    /// Lists that are left alone.
    pub(crate) rests: Rests,
}

impl Screening {
    /// Whether there is something to be asked.
    pub(crate) fn is_busy(&self) -> bool {
        !self.to_ask.is_empty()
    }

    /// Ask this for a session; whether that is possible now.
    pub(crate) fn ask(&mut self, question: &Question, session: ConnectionId) -> bool {
        if let Some(waiting) = self.asked.get_mut(question) {
            if !waiting.contains(&session) {
                waiting.push(session);
            }
            return true;
        }
        let has_room = self.asked.len() < BLOCK_QUESTIONS_MAX;
        if has_room {
            self.to_ask.push_back(question.clone());
            self.asked.insert(question.clone(), vec![session]);
        }
        has_room
    }

    /// Who waits for this answer, no longer than until now.
    pub(crate) fn take_waiting(
        &mut self,
        answer: &Answer,
        lists: &[BlockList],
        now: Monotonic,
    ) -> Vec<ConnectionId> {
        let Some(waiting) = self.asked.remove(&answer.question) else { return Vec::new() };
        let answered = !matches!(answer.finding, Finding::Temporary(_));
        for list in lists.iter().filter(|list| list.serves(&answer.question.name)) {
            if self.rests.heard(&list.zone, answered, now) {
                tracing::warn!(zone = %list.zone, "a block list fails: it is left alone for 1m");
            }
        }
        waiting
    }
}

impl Shard {
    /// Ask what sessions want to know, and pass on what name servers have said.
    pub(super) fn hear<P: Platform>(&mut self, platform: &mut P) {
        // What comes of the answers is asked in another turn.
        for _ in 0..self.common.screening.to_ask.len() {
            let Some(question) = self.common.screening.to_ask.pop_front() else { break };
            let now = platform.now();
            let (settings, common) = (&self.settings, &mut self.common);
            self.lookups.ask(question, &mut Context { now, platform, settings, common });
        }
        while let Some(answer) = self.lookups.poll_answer() {
            self.pass_on(&answer, platform);
        }
    }

    fn pass_on<P: Platform>(&mut self, answer: &Arc<Answer>, platform: &mut P) {
        self.commit.verifying.answered(answer);
        let now = platform.now();
        let (settings, common) = (&self.settings, &mut self.common);
        let cx = &mut Context { now, platform, settings, common };
        self.ingress.answer_about(answer, &mut self.commit, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::Slots;
    use crate::dns::{Kind, Name};

    fn question(number: usize) -> Question {
        Question { name: Name::parse(&format!("a{number}.example")).unwrap(), kind: Kind::A }
    }

    /// Who waits for the answer to this one.
    fn waiting(screening: &mut Screening, number: usize) -> Vec<ConnectionId> {
        let (finding, expires) = (Finding::NoSuchName, Monotonic(0));
        let answer = Answer { question: question(number), finding, authenticated: false, expires };
        screening.take_waiting(&answer, &[], Monotonic(0))
    }

    #[test]
    fn each_question_is_asked_once_for_all() {
        let (mut screening, mut slots) = (Screening::default(), Slots::default());
        let [a, b] = [(); 2].map(|()| ConnectionId(slots.insert(())));
        for session in [a, b, a, a] {
            assert!(screening.ask(&question(1), session));
        }
        assert_eq!(screening.to_ask.len(), 1);
        assert_eq!(waiting(&mut screening, 1), [a, b]);
        assert_eq!(waiting(&mut screening, 1), []);
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let (mut screening, mut slots) = (Screening::default(), Slots::default());
        let session = ConnectionId(slots.insert(()));
        let asked = (0..10_000).filter(|number| screening.ask(&question(*number), session));
        assert_eq!(asked.count(), BLOCK_QUESTIONS_MAX);
        assert!(screening.ask(&question(0), session), "it is asked already");
        waiting(&mut screening, 0);
        assert!(screening.ask(&question(9_999), session), "there is room for another");
    }
}
