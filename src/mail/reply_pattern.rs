//! Patterns of reply codes and enhanced statuses, as rules of an operator's write them.

use crate::mail::status::EnhancedStatus;

/// Three numbers, any of which may be any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyPattern([Option<u16>; 3]);

impl ReplyPattern {
    /// `550`, `5xx`, `45x`.
    pub fn code(text: &str) -> Option<Self> {
        let mut digits = text.chars().map(|one| match one {
            'x' => Some(None),
            digit => digit.to_digit(10).and_then(|digit| u16::try_from(digit).ok()).map(Some),
        });
        let code = [digits.next()??, digits.next()??, digits.next()??];
        digits.next().is_none().then_some(Self(code))
    }

    /// `5.1.1`, `x.1.1`, `5.1.x`.
    pub fn status(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| match part {
            "x" => Some(None),
            digits => digits.parse().ok().map(Some),
        });
        let status = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(Self(status))
    }

    /// Whether a reply code is one of these; none is not.
    pub fn fits_code(self, code: Option<u16>) -> bool {
        code.is_some_and(|code| self.fits([code / 100, code / 10 % 10, code % 10]))
    }

    /// Whether an enhanced status is one of these; none is not.
    pub fn fits_status(self, status: Option<EnhancedStatus>) -> bool {
        status.is_some_and(|it| self.fits([it.class.into(), it.subject, it.detail]))
    }

    fn fits(self, numbers: [u16; 3]) -> bool {
        self.0.iter().zip(numbers).all(|(it, number)| it.is_none_or(|it| it == number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_x_is_any_number() {
        let code = |text| ReplyPattern::code(text).expect("a pattern");
        assert!(code("45x").fits_code(Some(451)) && !code("45x").fits_code(Some(421)));
        assert!(code("xxx").fits_code(Some(250)) && !code("xxx").fits_code(None));
        let status = ReplyPattern::status("4.x.28").expect("a pattern");
        assert!(status.fits_status(Some(EnhancedStatus::new(4, 7, 28))));
        assert!(!status.fits_status(Some(EnhancedStatus::new(5, 7, 28))));
        assert!(!status.fits_status(None));
        for text in ["", "45", "4511", "4.5", "y11"] {
            assert_eq!(ReplyPattern::code(text), None, "{text}");
        }
        for text in ["", "4.5", "4.5.6.7", "a.b.c", "x.x."] {
            assert_eq!(ReplyPattern::status(text), None, "{text}");
        }
    }
}
