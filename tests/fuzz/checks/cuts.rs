//! Cut octets into pieces, as a network does, by a seed that is part of the input.

/// Where pieces end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cuts {
    /// Behind every LF.
    Lines,
    /// There, and in places that the seed says; of seed 0, everywhere.
    LinesAnd(u8),
    /// In places that the seed says alone.
    Free(u8),
}

impl Cuts {
    /// The pieces of `octets`; none is empty.
    pub(crate) fn pieces(self, octets: &[u8]) -> Vec<&[u8]> {
        let mut dice = Dice::new(self.seed());
        let mut pieces = Vec::new();
        let mut start = 0;
        for at in 1..=octets.len() {
            let line = octets[at - 1] == b'\n';
            let ends = match self {
                Self::Lines => line,
                Self::LinesAnd(seed) => line || seed == 0 || dice.one_in(7),
                Self::Free(_) => dice.one_in(90),
            };
            if ends || at == octets.len() {
                pieces.push(&octets[start..at]);
                start = at;
            }
        }
        pieces
    }

    fn seed(self) -> u8 {
        match self {
            Self::Lines => 0,
            Self::LinesAnd(seed) | Self::Free(seed) => seed,
        }
    }
}

/// Numbers from a seed: fast, and good enough to choose by (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u8) -> Self {
        Self(u64::from(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.next().is_multiple_of(bound)
    }
}
