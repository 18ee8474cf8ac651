//! Seeded dice: the same number for the same seed, so that a message sent again is the same
//! message.

/// A sequence of pseudo-random numbers (SplitMix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn fraction(&mut self) -> f64 {
        // The upper 32 bits are exact in a double, and fine enough for a probability.
        let high = u32::try_from(self.roll() >> 32).expect("32 bits remain");
        f64::from(high) / 4_294_967_296.0
    }

    /// Uniform in `low..=high`; `low` when the range is empty.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.checked_sub(low).and_then(|span| span.checked_add(1)) {
            Some(span) => low + self.roll() % span,
            None if high < low => low,
            None => self.roll(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_rolls() {
        let (mut one, mut two) = (Dice::new(7), Dice::new(7));
        for _ in 0..100 {
            assert_eq!(one.roll(), two.roll());
        }
    }

    #[test]
    fn fractions_and_ranges_stay_inside() {
        let mut dice = Dice::new(1);
        for _ in 0..10_000 {
            let fraction = dice.fraction();
            assert!((0.0..1.0).contains(&fraction));
            assert!((5..=9).contains(&dice.between(5, 9)));
        }
        assert_eq!(dice.between(3, 3), 3);
        assert_eq!(dice.between(4, 3), 4);
    }
}
