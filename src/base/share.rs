//! A part of what there is, or so many.

use std::fmt;

/// What somebody may have of a number of things; one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many hundredths: 1 to 100.
    Percent(u32),
    /// So many: 1 or more.
    Count(u32),
}

impl Share {
    /// How many that is, of `all`.
    pub fn of(self, all: u32) -> u32 {
        let count = match self {
            Self::Percent(percent) => {
                u32::try_from(u64::from(all) * u64::from(percent) / 100).unwrap_or(u32::MAX)
            }
            Self::Count(count) => count,
        };
        count.max(1)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_one_at_least() {
        let half = |all| Share::Percent(50).of(all);
        assert_eq!([half(20), half(5), half(1), half(0)], [10, 2, 1, 1]);
        assert_eq!([Share::Percent(100).of(7), Share::Percent(1).of(u32::MAX)], [7, 42_949_672]);
        assert_eq!([Share::Count(3).of(20), Share::Count(30).of(20)], [3, 30]);
        assert_eq!([Share::Percent(50), Share::Count(3)].map(|it| it.to_string()), ["50%", "3"]);
    }
}
