//! When the relay is killed, and how it is started again: rolled from a seed.

use std::time::Duration;

use super::outage::other_cores;
use crate::dice::Dice;

/// Ring entries of one thread until it is ready and idle, about.
const ENTRIES_OF_A_START: u64 = 60;
/// How long recovery is left before it is killed too, at most.
const RECOVERY_MS: u64 = 150;
/// How long after the count was reached the kill comes, at most: into a commit, not after it.
const LATER_US: u64 = 20_000;

/// One kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blow {
    pub(crate) moment: Moment,
    /// The relay that is started next is killed after this, ready or not.
    pub(crate) again: Option<Duration>,
    /// Shards that it is started with then.
    pub(crate) cores: u32,
}

/// When it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So much later than so many messages of the cycle were accepted.
    Accepted { count: u32, and_then: Duration },
    /// As a thread enters a ring for the so-manieth time.
    RingEntry(u64),
}

impl Blow {
    /// The next one, for a cycle of so many messages by a relay of so many shards.
    pub(crate) fn roll(dice: &mut Dice, messages: u32, cores: u32, at_ring_entry: bool) -> Self {
        let moment = if at_ring_entry {
            // A third of them while it starts, the others under load.
            let start = dice.between(0, 2) == 0;
            let entry = if start {
                dice.between(1, ENTRIES_OF_A_START)
            } else {
                dice.between(ENTRIES_OF_A_START, ENTRIES_OF_A_START + u64::from(messages) / 4)
            };
            Moment::RingEntry(entry)
        } else {
            let count = dice.between(1, u64::from(messages) * 19 / 20);
            let count = u32::try_from(count).expect("below the messages");
            let and_then = Duration::from_micros(dice.between(0, LATER_US));
            Moment::Accepted { count, and_then }
        };
        let twice = dice.between(0, 3) == 0;
        let again = twice.then(|| Duration::from_millis(dice.between(0, RECOVERY_MS)));
        Self { moment, again, cores: other_cores(cores, dice.roll()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_blows_and_each_changes_the_shards() {
        let rolled = |seed, at_ring_entry| {
            let mut dice = Dice::new(seed);
            let mut cores = 2;
            let roll = |_| {
                let blow = Blow::roll(&mut dice, 1_000, cores, at_ring_entry);
                assert_ne!(blow.cores, cores);
                cores = blow.cores;
                blow
            };
            (0..200).map(roll).collect::<Vec<Blow>>()
        };
        assert_eq!(rolled(7, false), rolled(7, false));
        assert_ne!(rolled(7, false), rolled(8, false));
        let blows = rolled(7, false);
        assert!(blows.iter().any(|blow| blow.again.is_some()));
        assert!(blows.iter().any(|blow| blow.again.is_none()));
        for blow in blows {
            let Moment::Accepted { count, .. } = blow.moment else { panic!("{blow:?}") };
            assert!((1..=950).contains(&count));
        }
        for blow in rolled(7, true) {
            let Moment::RingEntry(entry) = blow.moment else { panic!("{blow:?}") };
            assert!((1..=310).contains(&entry));
        }
    }
}
