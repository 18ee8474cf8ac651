//! Which upstream took which domains, before, during and after one of them was down.
//!
//! In: (phase, upstream, domain) of each message received. Out: shares and moves. Pure. A domain
//! belongs, in a phase, to the upstream that took most of its messages then.

use hashbrown::HashMap;

/// Part of a run, seen from the upstream that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Before,
    Down,
    After,
}

const SPANS: usize = 3;
/// A share may be off by so much, or by three standard deviations where domains are few.
const TOLERANCE: f64 = 0.05;

/// Messages by domain, span and upstream.
#[derive(Debug)]
pub(crate) struct Shares {
    upstreams: usize,
    domains: HashMap<String, Vec<u32>>,
}

/// What happened to domains while one upstream was down.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Domains of the dead upstream that others took meanwhile.
    pub(crate) moved: u64,
    /// Domains of the living ones that moved all the same.
    pub(crate) moved_without_need: Vec<String>,
    /// Domains of the dead upstream that were back at the end.
    pub(crate) back: u64,
    /// Domains of it that were elsewhere at the end.
    pub(crate) not_back: Vec<String>,
    /// Domains that had no mail in one of the spans.
    pub(crate) unseen: u64,
}

impl Shares {
    pub(crate) fn new(upstreams: usize) -> Self {
        Self { upstreams, domains: HashMap::new() }
    }

    pub(crate) fn note(&mut self, span: Span, upstream: usize, domain: &str) {
        let counts =
            self.domains.entry_ref(domain).or_insert_with(|| vec![0; SPANS * self.upstreams]);
        counts[span as usize * self.upstreams + upstream] += 1;
    }

    /// Share of each upstream in the domains of a span, and how many domains that were.
    pub(crate) fn of(&self, span: Span) -> (Vec<f64>, u64) {
        let mut owned = vec![0_u64; self.upstreams];
        for counts in self.domains.values() {
            if let Some(owner) = self.owner(counts, span) {
                owned[owner] += 1;
            }
        }
        let total: u64 = owned.iter().sum();
        (owned.iter().map(|&count| count as f64 / total.max(1) as f64).collect(), total)
    }

    /// Domains that more than one upstream took in a span.
    pub(crate) fn split(&self, span: Span) -> u64 {
        let several = |counts: &&Vec<u32>| {
            self.counts(counts, span).iter().filter(|&&count| count > 0).count() > 1
        };
        self.domains.values().filter(several).count() as u64
    }

    /// Who moved while `dead` was down, and who came back.
    pub(crate) fn moves(&self, dead: usize) -> Moves {
        let mut moves = Moves::default();
        for (domain, counts) in &self.domains {
            let owner = |span| self.owner(counts, span);
            let (Some(before), Some(down)) = (owner(Span::Before), owner(Span::Down)) else {
                moves.unseen += 1;
                continue;
            };
            let strays = self.counts(counts, Span::Down);
            let strays = strays.iter().enumerate().any(|(at, &count)| at != before && count > 0);
            if before != dead && strays {
                moves.moved_without_need.push(domain.clone());
            }
            moves.moved += u64::from(before == dead && down != dead);
            match owner(Span::After) {
                None => moves.unseen += 1,
                Some(after) if before == dead && after == dead => moves.back += 1,
                Some(after) if after != before => moves.not_back.push(domain.clone()),
                Some(_) => {}
            }
        }
        moves.moved_without_need.sort_unstable();
        moves.not_back.sort_unstable();
        moves
    }

    fn counts<'a>(&self, counts: &'a [u32], span: Span) -> &'a [u32] {
        &counts[span as usize * self.upstreams..][..self.upstreams]
    }

    /// The upstream with most messages; nothing where there were none.
    fn owner(&self, counts: &[u32], span: Span) -> Option<usize> {
        let counts = self.counts(counts, span);
        let most = counts.iter().enumerate().max_by_key(|&(at, &count)| (count, usize::MAX - at));
        most.filter(|&(_, &count)| count > 0).map(|(at, _)| at)
    }
}

/// What each weight's share of the domains should be, and how far it may be off.
pub(crate) fn expected(weights: &[u32], domains: u64) -> Vec<(f64, f64)> {
    let total: u32 = weights.iter().sum();
    let expected = |&weight: &u32| {
        let share = f64::from(weight) / f64::from(total.max(1));
        let deviation = (share * (1.0 - share) / domains.max(1) as f64).sqrt();
        (share, TOLERANCE.max(3.0 * deviation))
    };
    weights.iter().map(expected).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_domains_and_not_messages() {
        let mut shares = Shares::new(2);
        (0..9).for_each(|_| shares.note(Span::Before, 0, "a"));
        shares.note(Span::Before, 1, "b");
        shares.note(Span::Before, 1, "c");
        shares.note(Span::Before, 0, "c");
        shares.note(Span::Before, 1, "c");
        let (of, total) = shares.of(Span::Before);
        assert_eq!(total, 3);
        assert!((of[0] - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(shares.split(Span::Before), 1);
        assert_eq!(shares.of(Span::After), (vec![0.0, 0.0], 0));
    }

    #[test]
    fn moves_tell_the_dead_ones_domains_from_the_others() {
        let mut shares = Shares::new(3);
        for (domain, before, down, after) in [
            ("back", 0, 1, Some(0)),
            ("stays", 1, 1, Some(1)),
            ("away", 0, 2, Some(2)),
            ("needless", 2, 1, Some(2)),
            ("late", 0, 1, None),
        ] {
            shares.note(Span::Before, before, domain);
            shares.note(Span::Down, down, domain);
            if let Some(after) = after {
                shares.note(Span::After, after, domain);
            }
        }
        shares.note(Span::Before, 0, "quiet");
        let moves = shares.moves(0);
        assert_eq!((moves.moved, moves.back, moves.unseen), (3, 1, 2));
        assert_eq!(moves.moved_without_need, ["needless"]);
        assert_eq!(moves.not_back, ["away"]);
    }

    #[test]
    fn few_domains_have_a_wider_tolerance() {
        let many = expected(&[3, 2, 1], 1_000);
        assert!((many[0].0 - 0.5).abs() < 1e-9 && (many[0].1 - 0.05).abs() < 1e-9);
        assert!(expected(&[3, 2, 1], 10)[0].1 > 0.4);
    }
}
