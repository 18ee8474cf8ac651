//! The figures of one key in one interval, and how they are kept.
//!
//! In: events. Out: sums, rates, and octets: 1, then pairs of numbers for what is not zero, then
//! classes by name, then the histogram. Numbers are LEB128. Invariant: what was written reads back
//! as it was, and what is damaged is no figures.

use crate::mail::class::Class;
use crate::outcome::event::{By, Event, Kind};
use crate::outcome::kpi::times::Times;

words! {
    /// What is counted. The order is that on disk: new ones go last.
    Figure {
        /// Recipients that we took responsibility for.
        Injected "injected";
        /// Those that a next hop took.
        Delivered "delivered";
        /// Attempts after which a recipient waits.
        Deferred "deferred";
        /// Recipients that were refused for good.
        Bounced "bounced";
        /// Given up for their age.
        Expired "expired";
        /// On a suppression list.
        Suppressed "suppressed";
        /// Taken out by an operator.
        Removed "removed";
        /// Taken by their next hop, and bounced later.
        BouncedLater "bounced_later";
        /// Recipients who want no more of it.
        Complaints "complaints";
        /// Messages that a person opened.
        OpensPeople "opens_people";
        /// Messages that a machine opened.
        OpensMachine "opens_machine";
        /// Links that a person followed.
        Clicks "clicks";
        /// Recipients who unsubscribed.
        Unsubscribes "unsubscribes";
        /// Links that a machine followed.
        ClicksMachine "clicks_machine";
    }
}

impl Figure {
    /// What an event adds one to; `None`: to nothing.
    pub fn of(event: &Event<'_>) -> Option<Self> {
        let is_vouched = || event.returned.as_ref().is_some_and(|it| !it.vouched.is_empty());
        match event.kind {
            Kind::Received => Some(Self::Injected),
            Kind::Delivered => Some(Self::Delivered),
            Kind::Deferred => Some(Self::Deferred),
            Kind::Bounced if event.class == Class::Suppressed.as_str() => Some(Self::Suppressed),
            Kind::Bounced => Some(Self::Bounced),
            Kind::Expired => Some(Self::Expired),
            Kind::Removed => Some(Self::Removed),
            Kind::BouncedLater => is_vouched().then_some(Self::BouncedLater),
            Kind::Complained => is_vouched().then_some(Self::Complaints),
            Kind::Opened if event.by == Some(By::Machine) => Some(Self::OpensMachine),
            Kind::Opened => Some(Self::OpensPeople),
            Kind::Clicked if event.by == Some(By::Machine) => Some(Self::ClicksMachine),
            Kind::Clicked => Some(Self::Clicks),
            Kind::Unsubscribed => Some(Self::Unsubscribes),
            Kind::Held | Kind::Released | Kind::Quarantined | Kind::Refused => None,
            Kind::Discarded | Kind::Verified | Kind::Returned => None,
        }
    }
}

/// What became of the recipients counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    counts: [u64; Figure::ALL.len()],
    /// Of those that bounced.
    classes: [u64; Class::ALL.len()],
    /// From MAIL to the next hop's reply, of those that were delivered.
    pub times: Times,
}

/// The first octet of what is on disk.
const FORM: u8 = 1;

impl Figures {
    /// Count an event, which is one of `figure`.
    pub fn add(&mut self, figure: Figure, event: &Event<'_>) {
        self.counts[figure as usize] += 1;
        match figure {
            Figure::Bounced => self.classes[class(&event.class) as usize] += 1,
            Figure::Delivered => {
                if let Some(delays) = &event.delays {
                    self.times.record(delays.total());
                }
            }
            Figure::Injected | Figure::Deferred | Figure::Expired | Figure::Suppressed => {}
            Figure::Removed | Figure::BouncedLater | Figure::Complaints | Figure::Clicks => {}
            Figure::OpensPeople | Figure::OpensMachine | Figure::ClicksMachine => {}
            Figure::Unsubscribes => {}
        }
    }

    /// Add others.
    pub fn merge(&mut self, other: &Self) {
        let add = |(mine, theirs): (&mut u64, &u64)| *mine = mine.saturating_add(*theirs);
        self.counts.iter_mut().zip(&other.counts).for_each(add);
        self.classes.iter_mut().zip(&other.classes).for_each(add);
        self.times.merge(&other.times);
    }

    /// How many.
    pub fn count(&self, figure: Figure) -> u64 {
        self.counts[figure as usize]
    }

    /// How many bounced for this.
    pub fn bounced(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    /// Events that were counted: how big it is beside others.
    pub fn volume(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The share of those that came to an end here, in which something was attempted, that was
    /// delivered; `None` where none did.
    pub fn delivery_rate(&self) -> Option<f64> {
        let delivered = self.count(Figure::Delivered);
        let ended = delivered + self.count(Figure::Bounced) + self.count(Figure::Expired);
        (ended > 0).then(|| delivered as f64 / ended as f64)
    }

    /// Append what they are kept as.
    pub fn write(&self, into: &mut Vec<u8>) {
        into.push(FORM);
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        put(counts.clone().count() as u64, into);
        for (place, count) in counts {
            put(place as u64, into);
            put(*count, into);
        }
        let classes = Class::ALL.into_iter().filter(|class| self.bounced(*class) > 0);
        put(classes.clone().count() as u64, into);
        for class in classes {
            let name = class.as_str().as_bytes();
            put(name.len() as u64, into);
            into.extend_from_slice(name);
            put(self.bounced(class), into);
        }
        let buckets = self.times.buckets();
        put(buckets.len() as u64, into);
        for (bucket, count) in buckets {
            put((*bucket).into(), into);
            put(*count, into);
        }
    }

    /// Read them back; `None`: they are of a later version, or damaged.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let (form, mut rest) = octets.split_first()?;
        if *form != FORM {
            return None;
        }
        let mut figures = Self::default();
        for _ in 0..take(&mut rest)? {
            let place = usize::try_from(take(&mut rest)?).ok()?;
            *figures.counts.get_mut(place)? = take(&mut rest)?;
        }
        for _ in 0..take(&mut rest)? {
            let length = usize::try_from(take(&mut rest)?).ok()?;
            let (name, after) = rest.split_at_checked(length)?;
            rest = after;
            let count = take(&mut rest)?;
            let class = class(std::str::from_utf8(name).ok()?);
            let bounced = &mut figures.classes[class as usize];
            *bounced = bounced.saturating_add(count);
        }
        for _ in 0..take(&mut rest)? {
            let bucket = u16::try_from(take(&mut rest)?).ok()?;
            let count = take(&mut rest)?;
            figures.times.add(bucket, count).then_some(())?;
        }
        rest.is_empty().then_some(figures)
    }
}

/// The class of this name; a later version may have others.
fn class(name: &str) -> Class {
    Class::ALL.into_iter().find(|class| class.as_str() == name).unwrap_or(Class::Other)
}

fn put(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push((number & 0x7f) as u8);
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (octet, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(octet & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figures() -> impl Strategy<Value = Figures> {
        let counts = proptest::array::uniform14(0..u64::MAX);
        let classes = proptest::collection::vec(0..1_000_000u64, Class::ALL.len());
        let times = proptest::collection::vec((0..576u16, 1..u64::MAX), 0..40);
        (counts, classes, times).prop_map(|(counts, classes, buckets)| {
            let mut times = Times::default();
            buckets.iter().for_each(|(bucket, count)| {
                times.add(*bucket, count / 64);
            });
            Figures { counts, classes: classes.try_into().unwrap(), times }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_no_part_of_it_does(figures in figures()) {
            let mut octets = Vec::new();
            figures.write(&mut octets);
            prop_assert_eq!(Figures::read(&octets), Some(figures));
            for cut in 0..octets.len() {
                prop_assert_eq!(Figures::read(&octets[..cut]), None);
            }
        }

        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Figures::read(&octets);
        }
    }

    #[test]
    fn what_is_small_takes_few_octets() {
        let mut octets = Vec::new();
        let mut figures = Figures::default();
        figures.counts[Figure::Injected as usize] = 100;
        figures.counts[Figure::Delivered as usize] = 100;
        figures.times.add(40, 100);
        figures.write(&mut octets);
        assert!(octets.len() <= 12, "{}", octets.len());
    }

    #[test]
    fn a_rate_is_of_what_came_to_an_end_in_attempts() {
        let mut figures = Figures::default();
        assert_eq!(figures.delivery_rate(), None);
        figures.counts[Figure::Suppressed as usize] = 5;
        figures.counts[Figure::Deferred as usize] = 5;
        assert_eq!(figures.delivery_rate(), None);
        figures.counts[Figure::Delivered as usize] = 3;
        figures.counts[Figure::Expired as usize] = 1;
        assert_eq!(figures.delivery_rate(), Some(0.75));
    }
}
