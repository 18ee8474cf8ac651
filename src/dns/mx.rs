//! From a destination domain to the hosts to try, in order (RFC 5321 §5.1, RFC 7505).
//!
//! In: a domain, what this node is called, answers. Out: an [`MxOutcome`].
//! Invariant: a host is never tried that is this node, or that this node, by its own place among
//! the MX hosts, should not hand mail to: that is how mail loops.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;

use crate::base::limits::MX_HOSTS_MAX;
use crate::base::prng::Prng;
use crate::base::time::Monotonic;
use crate::dns::answer::{Answer, Finding, Kind, MxRecord, Question, Records};
use crate::dns::host::{Holds, HostLookup, HostOutcome, is_usable};
use crate::dns::name::Name;
use crate::dns::resolver::Resolver;
use crate::mail::address::Domain;

/// What this node is called, to see itself among MX hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNames {
    /// The names that it greets with.
    pub names: Vec<Name>,
    /// The addresses on which it listens itself, at the port that mail goes out to. Addresses of
    /// other services of the machine do not belong here: mail for these is no loop.
    pub addresses: Vec<IpAddr>,
}

/// A host that takes mail for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxHost {
    /// Its name, or the address literal that was the domain.
    pub name: Box<str>,
    /// Lower is tried first; 0 without MX records.
    pub preference: u16,
    /// At least one, in the order to try; see `HostLookup`.
    pub addresses: Vec<IpAddr>,
    /// DNSSEC vouches for all that led here, from the domain to the addresses (RFC 7672 §2.2).
    pub authenticated: bool,
}

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MxOutcome {
    /// Try these in this order: by preference, at random among equals. At least one, at most
    /// `MX_HOSTS_MAX`.
    Hosts(Vec<MxHost>),
    /// The domain does not exist, or has neither MX nor address, or MX records of which none
    /// leads to an address: will not work as it is (5.1.2).
    NoSuchDomain,
    /// It takes no mail (RFC 7505; 5.1.10).
    NullMx,
    /// Its mail should be here, or nowhere better (5.4.6).
    Loop,
    /// May work later: the reason.
    Temporary(Box<str>),
}

/// The lookup of one domain. Make it, `advance` it; then `handle_answer` for each answer that comes
/// for its waiter, and `advance` again, until that gives the outcome.
#[derive(Clone, Debug)]
pub struct MxLookup {
    own: Arc<OwnNames>,
    stage: Stage,
    holds: Holds,
    /// The answer to the MX question is authenticated.
    authenticated: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The MX question is to be asked.
    Unasked(Name),
    /// It is asked.
    Asked(Name),
    /// Hosts are known, addresses are asked for.
    Addresses {
        /// In the order to try.
        hosts: Vec<Candidate>,
        /// This node was among the MX hosts, by name; it and all that is no better is gone.
        was_listed: bool,
    },
    /// No question was or is needed any more.
    Known(MxOutcome),
}

#[derive(Clone, Debug)]
struct Candidate {
    preference: u16,
    lookup: HostLookup,
}

impl MxLookup {
    /// The lookup of `domain`; an address literal is its own host (RFC 5321 §4.1.3).
    pub fn new(domain: &Domain, own: Arc<OwnNames>) -> Self {
        let stage = match (domain.literal(), Name::try_from(domain)) {
            (Some(address), _) => Stage::Known(literal(domain, address, &own)),
            (None, Ok(name)) => Stage::Unasked(name),
            // What cannot be asked for cannot exist.
            (None, Err(_)) => Stage::Known(MxOutcome::NoSuchDomain),
        };
        Self { own, stage, holds: Holds::default(), authenticated: false }
    }

    /// Ask `resolver` what is not known yet. The outcome, once it is known; ask for it once, since
    /// it is shuffled anew each time.
    pub fn advance<W: Copy>(
        &mut self,
        resolver: &mut Resolver<W>,
        prng: &mut Prng,
        waiter: W,
        now: Monotonic,
    ) -> Option<MxOutcome> {
        while let Some(question) = self.poll_question() {
            if let Some(answer) = resolver.lookup(question, waiter, now) {
                self.handle_answer(&answer, prng);
            }
        }
        self.outcome(prng)
    }

    /// The next question to ask; more may come after an answer.
    pub fn poll_question(&mut self) -> Option<Question> {
        match &mut self.stage {
            Stage::Unasked(name) => {
                let question = Question { name: name.clone(), kind: Kind::Mx };
                self.stage = Stage::Asked(question.name.clone());
                Some(question)
            }
            Stage::Addresses { hosts, .. } => {
                hosts.iter_mut().find_map(|host| host.lookup.poll_question())
            }
            Stage::Asked(_) | Stage::Known(_) => None,
        }
    }

    /// An answer came; one that is not to an open question of this lookup changes nothing.
    pub fn handle_answer(&mut self, answer: &Answer, prng: &mut Prng) {
        match &mut self.stage {
            Stage::Asked(name)
                if *name == answer.question.name && answer.question.kind == Kind::Mx =>
            {
                let name = name.clone();
                self.holds.and(answer);
                self.authenticated = answer.authenticated;
                self.stage = self.after_mx(name, &answer.finding, prng);
            }
            Stage::Addresses { hosts, .. } => {
                hosts.iter_mut().for_each(|host| host.lookup.handle_answer(answer));
            }
            Stage::Unasked(_) | Stage::Asked(_) | Stage::Known(_) => {}
        }
    }

    /// The outcome, once all questions are answered.
    pub fn outcome(&self, prng: &mut Prng) -> Option<MxOutcome> {
        let (hosts, was_listed) = match &self.stage {
            Stage::Unasked(_) | Stage::Asked(_) => return None,
            Stage::Known(outcome) => return Some(outcome.clone()),
            Stage::Addresses { hosts, was_listed } => (hosts, *was_listed),
        };
        let resolved: Option<Vec<Resolved>> = hosts
            .iter()
            .map(|host| {
                let name = host.lookup.name().as_str().into();
                let outcome = host.lookup.outcome(prng)?;
                let authenticated = self.authenticated && host.lookup.is_authenticated();
                Some(Resolved { name, preference: host.preference, outcome, authenticated })
            })
            .collect();
        Some(conclude(resolved?, &self.own, was_listed))
    }

    /// How long the outcome may be kept.
    pub fn holds_for(&self, now: Monotonic) -> Duration {
        let holds = match &self.stage {
            Stage::Addresses { hosts, .. } => {
                hosts.iter().fold(self.holds, |sum, host| sum.both(host.lookup.holds()))
            }
            Stage::Unasked(_) | Stage::Asked(_) | Stage::Known(_) => self.holds,
        };
        holds.until(now).since(now)
    }

    fn after_mx(&self, domain: Name, finding: &Finding, prng: &mut Prng) -> Stage {
        match finding {
            Finding::Records(Records::Mx(records)) => self.ranked(records, prng),
            //= RFC 5321 §5.1
            //# If an empty list of MXs is returned, the address is treated as if it was
            //# associated with an implicit MX RR, with a preference of 0, pointing to that host.
            Finding::NoRecords | Finding::Records(_) => {
                let implicit = MxRecord { preference: 0, exchange: Some(domain) };
                self.ranked(&[implicit], prng)
            }
            Finding::NoSuchName => Stage::Known(MxOutcome::NoSuchDomain),
            Finding::Temporary(reason) => Stage::Known(MxOutcome::Temporary(reason.clone())),
        }
    }

    /// The hosts of `records` in the order to try, without this node as far as names tell.
    fn ranked(&self, records: &[MxRecord], prng: &mut Prng) -> Stage {
        //= RFC 7505 §3
        //# To indicate that a domain does not accept email, it advertises a single MX RR [...] with
        //# an RDATA section consisting of preference number 0 and a zero-length label, [...] as the
        //# exchange domain
        if !records.is_empty() && records.iter().all(|mx| mx.exchange.is_none()) {
            return Stage::Known(MxOutcome::NullMx);
        }
        let is_own = |mx: &&MxRecord| mx.exchange.as_ref().is_some_and(|n| self.own.has_name(n));
        let own = records.iter().filter(is_own).map(|mx| mx.preference).min();
        let mut hosts: Vec<(u16, &Name)> = records
            .iter()
            .filter(|mx| own.is_none_or(|own| mx.preference < own))
            // RFC 5321 §5.1 wants names: an address there is a name that nobody has.
            .filter_map(|mx| Some((mx.preference, mx.exchange.as_ref()?)))
            .filter(|(_, name)| !name.is_address())
            .collect();
        //= RFC 5321 §5.1
        //# If there are multiple destinations with the same preference and there is no clear reason
        //# to favor one [...], then the sender-SMTP MUST randomize them to spread the load
        prng.shuffle(&mut hosts);
        hosts.sort_by_key(|(preference, _)| *preference);
        let mut seen = HashSet::new();
        hosts.retain(|(_, name)| seen.insert(*name));
        hosts.truncate(MX_HOSTS_MAX);
        match (hosts.is_empty(), own) {
            (true, Some(_)) => Stage::Known(MxOutcome::Loop),
            (true, None) => Stage::Known(MxOutcome::NoSuchDomain),
            (false, _) => Stage::Addresses {
                hosts: hosts.into_iter().map(Candidate::new).collect(),
                was_listed: own.is_some(),
            },
        }
    }
}

impl Candidate {
    fn new((preference, name): (u16, &Name)) -> Self {
        Self { preference, lookup: HostLookup::new(name.clone()) }
    }
}

impl OwnNames {
    fn has_name(&self, name: &Name) -> bool {
        self.names.contains(name)
    }

    fn has_any(&self, addresses: &[IpAddr]) -> bool {
        let canonical = |own: &IpAddr| own.to_canonical();
        addresses.iter().any(|a| self.addresses.iter().map(canonical).any(|own| own == *a))
    }
}

/// A candidate with its addresses.
struct Resolved {
    name: Box<str>,
    preference: u16,
    outcome: HostOutcome,
    authenticated: bool,
}

impl Resolved {
    fn addresses(&self) -> &[IpAddr] {
        match &self.outcome {
            HostOutcome::Addresses(addresses) => addresses,
            HostOutcome::NoAddress | HostOutcome::Temporary(_) => &[],
        }
    }
}

fn literal(domain: &Domain, address: IpAddr, own: &OwnNames) -> MxOutcome {
    let addresses = vec![address.to_canonical()];
    if own.has_any(&addresses) {
        return MxOutcome::Loop;
    }
    if !is_usable(&address) {
        return MxOutcome::NoSuchDomain;
    }
    let name = domain.as_str().into();
    MxOutcome::Hosts(vec![MxHost { name, preference: 0, addresses, authenticated: false }])
}

//= RFC 5321 §5.1
//# The relay host MUST then inspect the list for any of the names or addresses by which it might
//# be known in mail transactions. If a matching record is found, all records at that preference
//# level and higher-numbered ones MUST be discarded from consideration.
fn conclude(mut resolved: Vec<Resolved>, own: &OwnNames, was_listed: bool) -> MxOutcome {
    let is_own = |host: &&Resolved| own.has_any(host.addresses());
    let limit = resolved.iter().filter(is_own).map(|host| host.preference).min();
    resolved.retain(|host| limit.is_none_or(|limit| host.preference < limit));
    let mut hosts = Vec::new();
    let mut reason = None;
    for Resolved { name, preference, outcome, authenticated } in resolved {
        match outcome {
            HostOutcome::Addresses(addresses) => {
                hosts.push(MxHost { name, preference, addresses, authenticated });
            }
            HostOutcome::Temporary(why) => reason = reason.or(Some(why)),
            HostOutcome::NoAddress => {}
        }
    }
    match reason {
        _ if !hosts.is_empty() => MxOutcome::Hosts(hosts),
        Some(reason) => MxOutcome::Temporary(reason),
        None if was_listed || limit.is_some() => MxOutcome::Loop,
        // "If MX records are present, but none of them are usable [...] this situation MUST be
        // reported as an error" (RFC 5321 §5.1): as one that stays, like Postfix's default of
        // smtp_defer_if_no_mx_address_found.
        None => MxOutcome::NoSuchDomain,
    }
}
