//! Which domain a recipient is in: each in turn, by Zipf's law, or from a list of names.
//!
//! Invariant: the answer depends on the message's number and the recipient's place alone, so that a
//! message sent again goes to the same recipients.

use std::io::Write;

use crate::dice::Dice;

/// The destination domains of a run.
#[derive(Debug)]
pub(crate) enum Domains {
    /// So many numbered domains, each in turn.
    Turns(u32),
    /// Numbered domains, the k-th with a share proportional to k^-s; cumulative shares.
    Zipf(Vec<f64>),
    /// These names, each in turn.
    Named(Vec<String>),
}

impl Domains {
    /// `count` numbered domains, by Zipf's law where an exponent is given.
    pub(crate) fn numbered(count: u32, zipf: Option<f64>) -> Self {
        match zipf {
            None => Self::Turns(count),
            Some(exponent) => Self::Zipf(cumulative(count, exponent)),
        }
    }

    /// Appends the address of recipient `place` of message `number`, behind the user's beginning.
    ///
    /// `recipients` is how many a message has.
    pub(crate) fn recipient(&self, number: u32, place: u32, recipients: u32, out: &mut Vec<u8>) {
        write!(out, "{number}.{place}@").expect("memory takes every write");
        let turn = u64::from(number) * u64::from(recipients) + u64::from(place);
        match self {
            Self::Turns(count) => numbered_name(turn % u64::from(*count), out),
            Self::Zipf(shares) => {
                let fraction = Dice::new(turn ^ 0x0D0A_11A5).fraction();
                let rank = shares.partition_point(|&share| share <= fraction);
                numbered_name(rank.min(shares.len() - 1) as u64, out);
            }
            Self::Named(names) => {
                let place = turn % names.len() as u64;
                let name = &names[usize::try_from(place).expect("below a length")];
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
}

/// `d0000001.example` is the first.
fn numbered_name(index: u64, out: &mut Vec<u8>) {
    write!(out, "d{:07}.example", index + 1).expect("memory takes every write");
}

fn cumulative(count: u32, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut shares = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    for rank in 1..=count {
        sum += f64::from(rank).powf(-exponent);
        shares.push(sum);
    }
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(domains: &Domains, number: u32) -> String {
        let mut out = Vec::new();
        domains.recipient(number, 0, 1, &mut out);
        String::from_utf8(out).unwrap().split_once('@').unwrap().1.to_owned()
    }

    #[test]
    fn turns_reach_every_domain_equally() {
        let domains = Domains::numbered(10, None);
        assert_eq!(domain(&domains, 0), "d0000001.example");
        assert_eq!(domain(&domains, 9), "d0000010.example");
        assert_eq!(domain(&domains, 10), "d0000001.example");
    }

    #[test]
    fn zipf_shares_follow_the_law() {
        let domains = Domains::numbered(1_000, Some(1.0));
        let mut first = 0_u32;
        let mut second = 0_u32;
        let total = 100_000;
        for number in 0..total {
            match domain(&domains, number).as_str() {
                "d0000001.example" => first += 1,
                "d0000002.example" => second += 1,
                _ => {}
            }
        }
        // H(1000) = 7.4855, so the first has 13.36% and the second half of that.
        let share = |count: u32| f64::from(count) / f64::from(total);
        assert!((share(first) - 0.1336).abs() < 0.005, "{first}");
        assert!((share(second) - 0.0668).abs() < 0.005, "{second}");
    }

    #[test]
    fn a_message_sent_again_has_the_same_recipient() {
        let domains = Domains::numbered(1_000, Some(0.8));
        for number in 0..100 {
            assert_eq!(domain(&domains, number), domain(&domains, number));
        }
    }

    #[test]
    fn recipients_of_a_message_are_in_different_domains() {
        let domains = Domains::numbered(10, None);
        let mut out = Vec::new();
        domains.recipient(1, 2, 3, &mut out);
        assert_eq!(out, b"1.2@d0000006.example");
    }

    #[test]
    fn named_domains_take_turns() {
        let domains = Domains::Named(vec!["a.example".into(), "b.example".into()]);
        assert_eq!(domain(&domains, 1), "b.example");
        assert_eq!(domain(&domains, 2), "a.example");
    }
}
