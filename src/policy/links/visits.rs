//! Keep visits for a moment, and see whether so many came at once that no person made them.
//!
//! In: visits, as they come, and the time. Out: the same, each once, some of them as a machine's: a
//! scanner follows all links of a message within a second or two, and shows it by nothing else.
//! Invariant: a visit is told at the latest `VISITS_TOGETHER` after it came, in order; the same one
//! that comes again meanwhile is not told again; of all that comes `VISITS_TOLD_MAX` a second are
//! taken, so that what waits is bounded too. Lives on: the thread that answers links.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::base::ids::MessageId;
use crate::base::limits::{
    VISITS_OF_PERSON_MAX, VISITS_TOGETHER, VISITS_TOLD_MAX, VISITS_WAITING_MAX,
};
use crate::base::time::Monotonic;
use crate::mail::address::Mailbox;
use crate::mail::visit::{Action, By, Visit};

/// Visits that wait.
#[derive(Debug, Default)]
pub struct Visits {
    /// With when each is told, in order.
    waiting: VecDeque<(Monotonic, Visit)>,
    /// By message and recipient: what waits of it.
    letters: HashMap<Letter, Seen>,
    /// Of what is told of openings and clicks.
    told: Budget,
    /// Of those who unsubscribe: they are not kept from it by others who only read.
    unsubscribes: Budget,
}

/// How many of something there may be in a second.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    /// The second that is being counted.
    second: u64,
    /// How many were taken in it.
    taken: u32,
}

type Letter = (MessageId, Option<Mailbox>);

/// What waits of one recipient's message.
#[derive(Debug, Default)]
struct Seen {
    /// Each thing that was done, once.
    done: HashSet<(Action, By)>,
    /// Visits that wait.
    waiting: usize,
}

/// What became of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It will be told.
    Once,
    /// It is, already.
    Again,
    /// It will not be: there are too many.
    Lost,
}

impl Visits {
    /// Take a visit.
    pub fn handle_visit(&mut self, visit: Visit, now: Monotonic) -> Taken {
        let letter = (visit.about.message, visit.about.recipient.clone());
        let what = (visit.action.clone(), visit.by);
        if self.letters.get(&letter).is_some_and(|seen| seen.done.contains(&what)) {
            return Taken::Again;
        }
        if self.waiting.len() >= VISITS_WAITING_MAX || !self.told.admits(now) {
            return Taken::Lost;
        }
        let seen = self.letters.entry(letter).or_default();
        seen.done.insert(what);
        seen.waiting += 1;
        self.waiting.push_back((now + VISITS_TOGETHER, visit));
        Taken::Once
    }

    /// Whether one more may unsubscribe in this second; it counts.
    pub fn admits_unsubscribe(&mut self, now: Monotonic) -> bool {
        self.unsubscribes.admits(now)
    }

    /// The next visit that is to be told now.
    pub fn poll_visit(&mut self, now: Monotonic) -> Option<Visit> {
        self.deadline().filter(|due| *due <= now)?;
        let (_, visit) = self.waiting.pop_front()?;
        let letter = (visit.about.message, visit.about.recipient.clone());
        let Some(seen) = self.letters.get_mut(&letter) else { return Some(visit) };
        let by = if seen.is_too_much() { By::Machine } else { visit.by };
        seen.waiting -= 1;
        if seen.waiting == 0 {
            self.letters.remove(&letter);
        }
        Some(Visit { by, ..visit })
    }

    /// When the next one is to be told.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.waiting.front().map(|(due, _)| *due)
    }
}

impl Budget {
    /// Whether there may be one more in this second; it counts.
    fn admits(&mut self, now: Monotonic) -> bool {
        let second = now.since(Monotonic(0)).as_secs();
        if self.second != second {
            *self = Self { second, taken: 0 };
        }
        let admits = self.taken < VISITS_TOLD_MAX;
        self.taken += u32::from(admits);
        admits
    }
}

impl Seen {
    /// Whether more links were followed than a person follows.
    fn is_too_much(&self) -> bool {
        let links = self.done.iter().filter_map(|(action, _)| match action {
            Action::Click(url) => Some(url),
            Action::Open | Action::Unsubscribe => None,
        });
        links.collect::<HashSet<_>>().len() > VISITS_OF_PERSON_MAX
    }
}

// What a second lets in waits for `VISITS_TOGETHER`, which begins and ends within a second.
const _: () = {
    let seconds = VISITS_TOGETHER.as_secs() + 1;
    assert!(VISITS_WAITING_MAX as u64 >= seconds * VISITS_TOLD_MAX as u64);
    assert!(VISITS_TOGETHER.as_nanos() >= Duration::from_secs(1).as_nanos());
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::WallTime;
    use crate::mail::visit::About;

    const START: Monotonic = Monotonic(77_000_000_000);

    fn visit(message: u64, action: Action) -> Visit {
        let about = About {
            message: MessageId(message),
            taken: WallTime(0),
            recipient: None,
            tenant: None,
            campaign: None,
        };
        Visit { about, action, by: By::Person }
    }

    fn click(message: u64, link: usize) -> Visit {
        visit(message, Action::Click(format!("https://a.example/{link}").into()))
    }

    fn all(visits: &mut Visits, now: Monotonic) -> Vec<By> {
        std::iter::from_fn(|| visits.poll_visit(now)).map(|visit| visit.by).collect()
    }

    #[test]
    fn a_visit_is_told_after_a_while_and_in_order() {
        let mut visits = Visits::default();
        let half = VISITS_TOGETHER / 2;
        assert_eq!(visits.deadline(), None);
        assert_eq!(visits.handle_visit(click(1, 1), START), Taken::Once);
        assert_eq!(visits.handle_visit(visit(1, Action::Open), START + half), Taken::Once);
        assert_eq!(visits.deadline(), Some(START + VISITS_TOGETHER));
        assert_eq!(visits.poll_visit(START + half), None);
        assert_eq!(visits.poll_visit(START + VISITS_TOGETHER), Some(click(1, 1)));
        assert_eq!(visits.poll_visit(START + VISITS_TOGETHER), None);
        let later = START + VISITS_TOGETHER + half;
        assert_eq!(visits.poll_visit(later), Some(visit(1, Action::Open)));
        assert!(visits.letters.is_empty() && visits.waiting.is_empty());
    }

    #[test]
    fn whoever_follows_all_links_at_once_is_no_person() {
        let mut visits = Visits::default();
        for link in 0..VISITS_OF_PERSON_MAX {
            visits.handle_visit(click(1, link), START);
            visits.handle_visit(click(2, link), START);
        }
        visits.handle_visit(click(1, VISITS_OF_PERSON_MAX), START);
        visits.handle_visit(visit(1, Action::Open), START);
        let told: Vec<_> =
            std::iter::from_fn(|| visits.poll_visit(START + VISITS_TOGETHER)).collect();
        assert_eq!(told.len(), 2 * VISITS_OF_PERSON_MAX + 2);
        for visit in told {
            let by = if visit.about.message == MessageId(1) { By::Machine } else { By::Person };
            assert_eq!(visit.by, by, "{visit:?}");
        }
        // A moment later it is somebody else.
        let later = START + VISITS_TOGETHER * 2;
        visits.handle_visit(click(1, 9), later);
        assert_eq!(all(&mut visits, later + VISITS_TOGETHER), [By::Person]);
    }

    #[test]
    fn the_same_again_is_told_once() {
        let mut visits = Visits::default();
        assert_eq!(visits.handle_visit(click(1, 1), START), Taken::Once);
        assert_eq!(visits.handle_visit(click(1, 1), START), Taken::Again);
        let machine = Visit { by: By::Machine, ..click(1, 1) };
        assert_eq!(visits.handle_visit(machine, START), Taken::Once, "somebody else");
        assert_eq!(all(&mut visits, START + VISITS_TOGETHER), [By::Person, By::Machine]);
        assert_eq!(visits.handle_visit(click(1, 1), START + VISITS_TOGETHER), Taken::Once);
    }

    #[test]
    fn who_unsubscribes_is_not_kept_from_it_by_those_who_read() {
        let mut visits = Visits::default();
        let taken = (0..u64::from(VISITS_TOLD_MAX) + 1)
            .map(|message| visits.handle_visit(visit(message, Action::Open), START));
        assert_eq!(taken.last(), Some(Taken::Lost));
        let admitted = (0..=VISITS_TOLD_MAX).filter(|_| visits.admits_unsubscribe(START));
        assert_eq!(admitted.count(), VISITS_TOLD_MAX as usize, "a bound of their own");
        assert!(visits.admits_unsubscribe(START + Duration::from_secs(1)));
    }

    #[test]
    fn a_flood_is_cut_and_what_waits_is_bounded() {
        let mut visits = Visits::default();
        let (mut now, mut taken) = (START, 0);
        for message in 0..20 * u64::from(VISITS_TOLD_MAX) {
            now = now + Duration::from_micros(100);
            taken += usize::from(visits.handle_visit(click(message, 1), now) == Taken::Once);
            while visits.poll_visit(now).is_some() {}
            assert!(visits.waiting.len() <= VISITS_WAITING_MAX);
        }
        assert!((2..=4).contains(&(taken / VISITS_TOLD_MAX as usize)), "{taken} in two seconds");
        all(&mut visits, now + VISITS_TOGETHER);
        assert!(visits.letters.is_empty());
    }
}
