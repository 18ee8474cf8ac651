//! Hold values in numbered slots whose numbers outlive them safely.
//!
//! A [`Slot`] is an index and a generation: a completion that arrives for a closed connection names
//! a generation that is gone, and finds nothing. All operations are O(1).

use std::marker::PhantomData;

/// A place in [`Slots`]: valid until its value is removed, and never again after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// The slot as one number, for a ring's `user_data`: 32 bits of generation, 32 of index.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The slot that [`Slot::to_bits`] made.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// The slot's place in a table.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
enum Place<T> {
    Used(T),
    Free { next: u32 },
}

const NONE: u32 = u32::MAX;

/// A slab with generations. Grows to the most it ever held at once.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<(u32, Place<T>)>,
    free: u32,
    len: usize,
    holds: PhantomData<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: NONE, len: 0, holds: PhantomData }
    }
}

impl<T> Slots<T> {
    /// How many values are held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Hold `value`; its slot is new.
    pub fn insert(&mut self, value: T) -> Slot {
        self.len += 1;
        if self.free == NONE {
            let index = u32::try_from(self.places.len()).expect("fewer than 2^32 values");
            self.places.push((0, Place::Used(value)));
            return Slot { index, generation: 0 };
        }
        let index = self.free;
        let (generation, place) = &mut self.places[index as usize];
        match std::mem::replace(place, Place::Used(value)) {
            Place::Free { next } => self.free = next,
            Place::Used(_) => unreachable!("a used place on the free list"),
        }
        Slot { index, generation: *generation }
    }

    /// The value in `slot`, if it is still there.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        match self.places.get(slot.index()) {
            Some((generation, Place::Used(value))) if *generation == slot.generation => Some(value),
            _ => None,
        }
    }

    /// The value in `slot`, to change, if it is still there.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        match self.places.get_mut(slot.index()) {
            Some((generation, Place::Used(value))) if *generation == slot.generation => Some(value),
            _ => None,
        }
    }

    /// Take the value out of `slot`; the slot is invalid from now on.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        self.get(slot)?;
        let (generation, place) = &mut self.places[slot.index()];
        *generation = generation.wrapping_add(1);
        let taken = std::mem::replace(place, Place::Free { next: self.free });
        self.free = slot.index;
        self.len -= 1;
        match taken {
            Place::Used(value) => Some(value),
            Place::Free { .. } => unreachable!("checked above"),
        }
    }

    /// Every value with its slot, in order of index.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.places.iter().enumerate().filter_map(|(index, (generation, place))| match place {
            Place::Used(value) => {
                let index = u32::try_from(index).expect("checked at insert");
                Some((Slot { index, generation: *generation }, value))
            }
            Place::Free { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_slot_stays_invalid_when_its_place_is_used_again() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(Slot::from_bits(second.to_bits()), second);
    }

    #[test]
    fn places_are_reused_before_the_slab_grows() {
        let mut slots = Slots::default();
        let kept: Vec<_> = (0..10).map(|n| slots.insert(n)).collect();
        kept.iter().for_each(|slot| assert!(slots.remove(*slot).is_some()));
        (0..10).for_each(|n| assert!(slots.insert(n).index() < 10));
        assert_eq!((slots.len(), slots.iter().count()), (10, 10));
    }
}
