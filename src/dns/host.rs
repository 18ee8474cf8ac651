//! From a host name to the addresses to try, in order.
//!
//! In: the answers to two questions, A and AAAA. Out: a [`HostOutcome`].
//!
//! Order: IPv4 and IPv6 take turns, IPv4 first; within a family at random. So a family without a
//! route costs one attempt, not all of them; a node's IPv4 address is the one that large receivers
//! know; and the addresses of a host share the load though its answer stays in the cache.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::limits::{DNS_TTL_MAX, MX_ADDRESSES_MAX};
use crate::base::prng::Prng;
use crate::base::time::Monotonic;
use crate::dns::answer::{Answer, Finding, Kind, Question};
use crate::dns::name::Name;
use crate::dns::resolver::Resolver;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOutcome {
    /// Try these in this order: at least one, at most `MX_ADDRESSES_MAX`.
    Addresses(Vec<IpAddr>),
    /// The name does not exist, or has no address.
    NoAddress,
    /// Neither family gave an address, and one of them may do so later: the reason.
    Temporary(Box<str>),
}

/// The lookup of one host. Make it, `advance` it; then `handle_answer` for each answer that comes
/// for its waiter, and `advance` again, until that gives the outcome.
#[derive(Clone, Debug)]
pub struct HostLookup {
    name: Name,
    v4: Family,
    v6: Family,
    holds: Holds,
    /// All answers so far are authenticated.
    authenticated: bool,
}

/// One of the two questions.
#[derive(Clone, Debug)]
enum Family {
    Unasked,
    Asked,
    Answered(Vec<IpAddr>),
    Temporary(Box<str>),
}

/// Until when all answers that a lookup used hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holds(Option<Monotonic>);

impl Holds {
    pub(super) fn and(&mut self, answer: &Answer) {
        self.0 = Some(self.0.map_or(answer.expires, |until| until.min(answer.expires)));
    }

    /// Where no answer was needed, nothing expires soon.
    pub(super) fn until(self, now: Monotonic) -> Monotonic {
        self.0.unwrap_or(now + DNS_TTL_MAX)
    }

    pub(super) fn both(self, other: Self) -> Self {
        Self([self.0, other.0].into_iter().flatten().min())
    }
}

impl HostLookup {
    /// The lookup of `name`.
    pub fn new(name: Name) -> Self {
        let (v4, v6) = (Family::Unasked, Family::Unasked);
        Self { name, v4, v6, holds: Holds::default(), authenticated: true }
    }

    /// The name that is looked up.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Ask `resolver` what is not known yet. The outcome, once it is known; ask for it once, since
    /// it is shuffled anew each time.
    pub fn advance<W: Copy>(
        &mut self,
        resolver: &mut Resolver<W>,
        prng: &mut Prng,
        waiter: W,
        now: Monotonic,
    ) -> Option<HostOutcome> {
        while let Some(question) = self.poll_question() {
            if let Some(answer) = resolver.lookup(question, waiter, now) {
                self.handle_answer(&answer);
            }
        }
        self.outcome(prng)
    }

    /// The next question to ask.
    pub fn poll_question(&mut self) -> Option<Question> {
        for (family, kind) in [(&mut self.v4, Kind::A), (&mut self.v6, Kind::Aaaa)] {
            if matches!(family, Family::Unasked) {
                *family = Family::Asked;
                return Some(Question { name: self.name.clone(), kind });
            }
        }
        None
    }

    /// An answer came; one that is not to an open question of this lookup changes nothing.
    pub fn handle_answer(&mut self, answer: &Answer) {
        let family = match answer.question.kind {
            Kind::A => &mut self.v4,
            Kind::Aaaa => &mut self.v6,
            Kind::Mx | Kind::Txt | Kind::Ptr | Kind::Tlsa => return,
        };
        if answer.question.name != self.name || !matches!(family, Family::Asked) {
            return;
        }
        self.holds.and(answer);
        self.authenticated &= answer.authenticated;
        *family = match &answer.finding {
            Finding::Temporary(reason) => Family::Temporary(reason.clone()),
            Finding::Records(_) | Finding::NoRecords | Finding::NoSuchName => {
                let canonical = answer.addresses().into_iter().map(|a| a.to_canonical());
                let usable = canonical.filter(is_usable);
                Family::Answered(usable.collect())
            }
        };
    }

    /// The outcome, once both questions are answered.
    pub fn outcome(&self, prng: &mut Prng) -> Option<HostOutcome> {
        let (v4, v4_fault) = self.v4.result()?;
        let (v6, v6_fault) = self.v6.result()?;
        let addresses = take_turns(shuffled(v4, prng), shuffled(v6, prng));
        Some(match v4_fault.or(v6_fault) {
            _ if !addresses.is_empty() => HostOutcome::Addresses(addresses),
            Some(reason) => HostOutcome::Temporary(reason.into()),
            None => HostOutcome::NoAddress,
        })
    }

    /// How long the outcome may be kept.
    pub fn holds_for(&self, now: Monotonic) -> Duration {
        self.holds.until(now).since(now)
    }

    /// Whether every answer so far is authenticated: nobody between has chosen the addresses.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    pub(super) fn holds(&self) -> Holds {
        self.holds
    }
}

impl Family {
    /// Addresses, or why there are none now; `None` until the answer is here.
    fn result(&self) -> Option<(&[IpAddr], Option<&str>)> {
        match self {
            Self::Unasked | Self::Asked => None,
            Self::Answered(addresses) => Some((addresses, None)),
            Self::Temporary(reason) => Some((&[], Some(reason))),
        }
    }
}

/// Whether a host can have this address. `0.0.0.0` and `::` would reach this machine itself.
pub(super) fn is_usable(address: &IpAddr) -> bool {
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

fn shuffled(addresses: &[IpAddr], prng: &mut Prng) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    prng.shuffle(&mut addresses);
    addresses
}

fn take_turns(v4: Vec<IpAddr>, v6: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    let turns = std::iter::from_fn(|| match (v4.next(), v6.next()) {
        (None, None) => None,
        pair => Some(pair),
    });
    turns.flat_map(|(v4, v6)| v4.into_iter().chain(v6)).take(MX_ADDRESSES_MAX).collect()
}
