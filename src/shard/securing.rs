//! Find what a destination domain says of TLS with its MX hosts, before mail goes there.
//!
//! In: the MX hosts of a domain, the jobs that are for them; what was looked up or fetched. Out:
//! the hosts that may have the mail, and the TLS that each is to have.
//! Invariant: what a domain says is kept to or the mail waits; only where it says nothing, or
//! nothing that DNS vouches for, the mail may go out as if it had not been asked.
//! Lives on: the owner shard.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::base::limits::{STS_POLICIES_MAX, STS_RETRY};
use crate::base::time::WallTime;
use crate::dns::{Answer, Finding, MxHost, Name, Records as Found};
use crate::mail::address::Domain;
use crate::mail::outcome::Failure;
use crate::mail::route::{Host, TlsLevel};
use crate::mail::status::ENCRYPTION_NEEDED;
use crate::mail::tlsa::Tlsa;
use crate::policy::mta_sts::{self, Mode, Policy, PolicyTrouble};
use crate::policy::tls_report::{self, Trouble};
use crate::shard::context::Context;
use crate::shard::delivery::JobId;
use crate::shard::lookup::{Lookups, Target};
use crate::shard::platform::{FetchedPolicy, Platform, PolicyRequest};

/// By host: what signed DNS says of its certificate, where it says something that counts.
pub(super) type Records = HashMap<Box<str>, Arc<[Tlsa]>>;

/// MX hosts with what is known of the TLS that they are to have.
#[derive(Debug)]
pub(super) struct Secured {
    /// Whose hosts they are.
    pub(super) domain: Domain,
    /// Who waits.
    pub(super) jobs: Vec<JobId>,
    /// Hosts that may have the mail; or why there is none.
    pub(super) hosts: Result<Vec<MxHost>, Failure>,
    /// What their connections are to have.
    pub(super) level: TlsLevel,
    pub(super) tlsa: Records,
    /// For reports to the domain.
    pub(super) found: tls_report::Found,
    pub(super) holds_for: Duration,
}

/// Everything under way.
#[derive(Debug, Default)]
pub(super) struct Securing {
    gathering: HashMap<Seeker, Gathering>,
    /// Who waits for what.
    waiting: HashMap<Target, Vec<Seeker>>,
    /// By ticket: for whom a policy is being fetched.
    fetching: HashMap<u64, Seeker>,
    tickets: u64,
    policies: HashMap<Domain, Kept>,
}

/// A domain, and the TLS that mail for it is to have.
type Seeker = (Domain, TlsLevel);

/// A policy in memory.
#[derive(Debug)]
struct Kept {
    id: Box<str>,
    policy: Policy,
    until: WallTime,
}

#[derive(Debug)]
struct Gathering {
    jobs: Vec<JobId>,
    hosts: Vec<MxHost>,
    tlsa: Records,
    /// Hosts of which nobody knows now whether they have records: they get no mail.
    doubtful: Vec<(Box<str>, Box<str>)>,
    /// The policy that its record tells of.
    policy_id: Option<Box<str>>,
    /// The policy itself, and what is wrong with it, and with records.
    found: tls_report::Found,
    /// Answers that are to come.
    missing: usize,
    holds_for: Duration,
}

impl Securing {
    /// `hosts` are to have the mail of `jobs`, at such a level. What is known at once comes back.
    pub(super) fn begin<P: Platform>(
        &mut self,
        domain: Domain,
        jobs: Vec<JobId>,
        (hosts, holds_for): (Vec<MxHost>, Duration),
        level: TlsLevel,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) -> Option<Secured> {
        let mut targets = Vec::new();
        if level.asks_for_tlsa() {
            let vouched = hosts.iter().filter(|host| host.authenticated);
            targets.extend(vouched.map(|host| Target::Tlsa(host.name.clone())));
        }
        if level.asks_for_policy() {
            targets.push(Target::Sts(domain.clone()));
        }
        let gathering = |jobs| Gathering {
            jobs,
            hosts,
            tlsa: HashMap::new(),
            doubtful: Vec::new(),
            policy_id: None,
            found: tls_report::Found::default(),
            missing: targets.len(),
            holds_for,
        };
        let seeker = (domain, level);
        // They could not know before their hosts were: a rule says what TLS these have.
        if let Some(gathering) = self.gathering.get_mut(&seeker) {
            gathering.jobs.extend(jobs);
            return None;
        }
        if targets.is_empty() {
            return Some(gathering(jobs).conclude(&seeker));
        }
        self.gathering.insert(seeker.clone(), gathering(jobs));
        for target in targets {
            self.waiting.entry(target.clone()).or_default().push(seeker.clone());
            lookups.find(target, cx);
        }
        None
    }

    /// Whether this domain's hosts are being looked into: more jobs of it may join.
    pub(super) fn join(&mut self, domain: &Domain, level: TlsLevel, job: JobId) -> bool {
        if self.gathering.is_empty() {
            return false;
        }
        let gathering = self.gathering.get_mut(&(domain.clone(), level));
        gathering.map(|gathering| gathering.jobs.push(job)).is_some()
    }

    /// Jobs that wait here, to be given back.
    pub(super) fn take_jobs(&mut self) -> Vec<JobId> {
        self.waiting.clear();
        self.fetching.clear();
        self.gathering.drain().flat_map(|(_, gathering)| gathering.jobs).collect()
    }

    /// Whether a job waits here.
    pub(super) fn has(&self, job: JobId) -> bool {
        self.gathering.values().any(|gathering| gathering.jobs.contains(&job))
    }

    /// A question was answered. What came to its end with it comes back.
    pub(super) fn answered<P: Platform>(
        &mut self,
        target: &Target,
        answer: Option<&Answer>,
        holds_for: Duration,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) -> Vec<Secured> {
        let mut ended = Vec::new();
        for seeker in self.waiting.remove(target).unwrap_or_default() {
            let Some(gathering) = self.gathering.get_mut(&seeker) else { continue };
            gathering.holds_for = gathering.holds_for.min(holds_for);
            if let Target::Tlsa(host) = target {
                gathering.note_tlsa(host, answer);
            } else if self.seek_policy(&seeker, answer, lookups, cx) {
                continue;
            }
            ended.extend(self.advance(seeker));
        }
        ended
    }

    /// The addresses of a host that serves policies were found, or none.
    pub(super) fn found_host<P: Platform>(
        &mut self,
        target: &Target,
        hosts: Option<&[MxHost]>,
        cx: &mut Context<'_, P>,
    ) {
        for seeker in self.waiting.remove(target).unwrap_or_default() {
            let addresses = hosts.into_iter().flatten().flat_map(|host| host.addresses.clone());
            let id = self.gathering.get_mut(&seeker).and_then(|it| it.policy_id.clone());
            self.fetch(seeker, id, addresses.collect(), cx);
        }
    }

    /// A policy was fetched, or not.
    pub(super) fn fetched(
        &mut self,
        ticket: u64,
        result: Result<FetchedPolicy, PolicyTrouble>,
        now: WallTime,
    ) -> Option<Secured> {
        let seeker = self.fetching.remove(&ticket)?;
        let domain = &seeker.0;
        let read = result.and_then(|fetched| {
            let policy = Policy::parse(&fetched.text)?;
            let until = fetched.fetched + policy.max_age;
            Ok(Kept { id: fetched.id, policy, until })
        });
        let gathering = self.gathering.get_mut(&seeker)?;
        match read {
            Ok(kept) => {
                gathering.apply(&kept, now);
                if self.policies.len() >= STS_POLICIES_MAX {
                    self.policies.clear(); // They are on disk.
                }
                self.policies.insert(domain.clone(), kept);
            }
            // RFC 8461 §3.3: as if there were no policy, and tried again before long.
            Err(error) if gathering.policy_id.is_some() => {
                tracing::info!(%domain, %error, "MTA-STS: no policy could be fetched");
                gathering.holds_for = gathering.holds_for.min(STS_RETRY);
                gathering.note((&error).into(), "", &error.to_string());
            }
            Err(_) => {}
        }
        self.advance(seeker)
    }

    /// See what policy a domain has, by the record that says that it has one; whether that takes
    /// more than is known here.
    fn seek_policy<P: Platform>(
        &mut self,
        seeker: &Seeker,
        answer: Option<&Answer>,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) -> bool {
        let id = match answer.map(|answer| &answer.finding) {
            Some(Finding::Records(Found::Txt(texts))) => mta_sts::id(texts.iter().map(|it| &**it)),
            Some(
                Finding::Records(_)
                | Finding::NoRecords
                | Finding::NoSuchName
                | Finding::Temporary(_),
            )
            | None => None,
        };
        let domain = &seeker.0;
        let Some(gathering) = self.gathering.get_mut(seeker) else { return false };
        let kept = self.policies.get(domain).filter(|kept| kept.until > cx.now.wall);
        // RFC 8461 §5.1: what was fetched holds until it expires, even where the record is gone.
        if let Some(kept) = kept.filter(|kept| id.as_deref().is_none_or(|id| *id == *kept.id)) {
            gathering.apply(kept, cx.now.wall);
            return false;
        }
        gathering.policy_id.clone_from(&id);
        match id.map(|_| Name::parse(&format!("mta-sts.{domain}"))) {
            Some(Ok(name)) => {
                let target = Target::Host(Host::Name(name.as_str().into()));
                self.waiting.entry(target.clone()).or_default().push(seeker.clone());
                lookups.find(target, cx);
            }
            Some(Err(_)) => return false,
            None => self.fetch(seeker.clone(), None, Vec::new(), cx),
        }
        true
    }

    fn fetch<P: Platform>(
        &mut self,
        seeker: Seeker,
        id: Option<Box<str>>,
        addresses: Vec<IpAddr>,
        cx: &mut Context<'_, P>,
    ) {
        self.tickets += 1;
        let domain = seeker.0.clone();
        self.fetching.insert(self.tickets, seeker);
        let authorities = cx.settings.authorities.clone();
        let request = PolicyRequest { domain, id, addresses, authorities };
        cx.platform.fetch_policy(self.tickets, request);
    }

    fn advance(&mut self, seeker: Seeker) -> Option<Secured> {
        let gathering = self.gathering.get_mut(&seeker)?;
        gathering.missing -= 1;
        if gathering.missing > 0 {
            return None;
        }
        let gathering = self.gathering.remove(&seeker)?;
        Some(gathering.conclude(&seeker))
    }
}

impl Gathering {
    /// What DNS says of a host's certificate (RFC 7672 §2.2): nothing counts that it does not vouch
    /// for, and where it cannot be asked, the host gets no mail.
    fn note_tlsa(&mut self, host: &str, answer: Option<&Answer>) {
        let Some(answer) = answer else { return };
        match &answer.finding {
            Finding::Records(Found::Tlsa(records)) if answer.authenticated => {
                self.tlsa.insert(host.into(), records.as_slice().into());
            }
            Finding::Temporary(reason) => {
                self.doubtful.push((host.into(), reason.clone()));
                self.note(Trouble::Dnssec, host, reason);
            }
            Finding::Records(_) | Finding::NoRecords | Finding::NoSuchName => {}
        }
    }

    fn apply(&mut self, kept: &Kept, now: WallTime) {
        self.holds_for = self.holds_for.min(kept.until.since(now));
        self.found.policy = Some(kept.policy.clone());
    }

    fn note(&mut self, trouble: Trouble, host: &str, why: &str) {
        self.found.troubles.push((trouble, host.into(), why.into()));
    }

    /// What follows of all that was found. Where a host has records in signed DNS these decide, and
    /// the policy only of the others (RFC 8461 §2).
    fn conclude(mut self, (domain, level): &Seeker) -> Secured {
        let doubtful = mem::take(&mut self.doubtful);
        self.hosts.retain(|host| doubtful.iter().all(|(name, _)| *name != host.name));
        let doubt = doubtful.into_iter().next().map(|(_, reason)| Failure::Dns(reason));
        let (level, why) = if *level == TlsLevel::Required {
            (TlsLevel::Required, Some(self.keep_named(domain)))
        } else {
            self.keep_enforced(domain)
        };
        let Self { jobs, hosts, tlsa, found, holds_for, .. } = self;
        let hosts = match doubt.or(why) {
            Some(why) if hosts.is_empty() => Err(why),
            Some(_) | None => Ok(hosts),
        };
        Secured { domain: domain.clone(), jobs, hosts, level, tlsa, found, holds_for }
    }

    /// Keep the hosts that may have mail which requires nothing; and what is to be said where none
    /// is left.
    fn keep_enforced(&mut self, domain: &Domain) -> (TlsLevel, Option<Failure>) {
        let policy = self.found.policy.as_ref();
        let enforced = policy.filter(|policy| policy.mode == Mode::Enforce);
        let is_enforced = enforced.is_some();
        let mut why = None;
        if let Some(policy) = enforced {
            let first = self.hosts.first().map_or_else(Box::default, |host| host.name.clone());
            self.hosts
                .retain(|host| self.tlsa.contains_key(&host.name) || policy.names(&host.name));
            let words = "none of its MX hosts is one of its MTA-STS policy";
            why = Some(Failure::Tls(format!("{domain}: {words}").into()));
            if self.hosts.is_empty() {
                self.note(Trouble::NotNamed, &first, words);
            }
        }
        let level = match (self.tlsa.is_empty(), is_enforced) {
            (true, false) => TlsLevel::Opportunistic,
            (true, true) => TlsLevel::Verify,
            (false, false) => TlsLevel::Dane,
            (false, true) => TlsLevel::Policy,
        };
        (level, why)
    }

    //= RFC 8689 §4.2.1
    //# If the server lookup is accomplished via the recipient domain's MX record … and is not
    //# accompanied by a valid DNSSEC signature, the SMTP client MUST also validate the SMTP server
    //# name using MTA-STS
    /// Keep the hosts that may have mail which requires TLS; and what is to be said where none is
    /// left.
    fn keep_named(&mut self, domain: &Domain) -> Failure {
        let policy = self.found.policy.as_ref();
        let is_named =
            |host: &MxHost| policy.is_some_and(|it| it.mode != Mode::None && it.names(&host.name));
        self.hosts.retain(|host| host.authenticated || is_named(host));
        if self.policy_id.is_some() && policy.is_none() {
            let words = "REQUIRETLS: its MTA-STS policy could not be fetched";
            return Failure::Tls(format!("{domain}: {words}").into());
        }
        let words = "REQUIRETLS: neither signed DNS nor an MTA-STS policy names its MX hosts";
        Failure::RequireTls {
            status: ENCRYPTION_NEEDED,
            detail: format!("{domain}: {words}").into(),
        }
    }
}
