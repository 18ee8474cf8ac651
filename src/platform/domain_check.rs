//! Check a domain: ask its name servers and its policy host, and wait for them.
//!
//! In: a configuration, a domain. Out: a report. Lives on: threads that may wait; a check takes no
//! longer than `CHECK_DEADLINE` and one `STS_FETCH_MAX`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::base::limits::{CHECK_DEADLINE, CHECK_IN_FLIGHT_MAX};
use crate::config::Config;
use crate::config::options::DomainPattern;
use crate::dns::Name;
use crate::mail::address::Domain;
use crate::platform::files::{self, FileError};
use crate::platform::name_servers::NameServers;
use crate::platform::{clock, machine, policies};
use crate::policy::authenticity::Verifier;
use crate::policy::domain_check::{
    DomainCheck, PolicyTrouble, PolicyWanted, Report, Source, Subject, Want,
};
use crate::policy::signing::Signers;
use crate::shard::platform::PolicyRequest;
use crate::shard::settings::dns_options;
use crate::tls::Chain;

/// What is asked of a domain.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The domain.
    pub domain: Domain,
    /// The addresses that its mail leaves from, where they are others than the configured ones.
    pub sources: Vec<IpAddr>,
    /// Whether to look at what sends for it, though it is a relay domain without keys.
    pub sends: bool,
}

/// Why a domain cannot be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is an address.
    #[error("{0} is an address: only of domains there is something in DNS")]
    Literal(Domain),
    /// A file that the configuration names is of no use.
    #[error(transparent)]
    File(#[from] FileError),
    /// The library that knows SPF is not there.
    #[error("SPF cannot be checked here")]
    Verifier,
}

/// What a node is to the domains that it is asked about: read once, for any number of checks.
#[derive(Debug)]
pub struct Surroundings {
    signers: Signers,
    certificates: Arc<[Chain]>,
    addresses: Vec<IpAddr>,
    verifier: Arc<Verifier>,
}

/// The library that knows SPF. Dear to make, and it looks for files that a confined process does
/// not see.
pub fn verifier() -> Result<Arc<Verifier>, CheckError> {
    Verifier::new().map(Arc::new).ok_or(CheckError::Verifier)
}

impl Surroundings {
    /// Of this machine, by `config`.
    pub fn new(config: &Config, verifier: Arc<Verifier>) -> Result<Self, CheckError> {
        let own = machine::addresses().into_iter().filter(|one| !one.is_loopback());
        let sources = config.sources.iter().map(|source| source.address);
        Ok(Self {
            signers: files::signers(config)?,
            certificates: files::chains(config)?.into(),
            addresses: own.chain(sources).collect(),
            verifier,
        })
    }

    fn subject(&self, config: &Config, ask: &Ask) -> Subject {
        let keys = self.signers.of(&ask.domain).to_vec();
        let takes = config.relay_domains.iter().any(|one| is_in(&ask.domain, &one.domain));
        Subject {
            domain: ask.domain.clone(),
            sends: ask.sends || !keys.is_empty() || !takes,
            takes,
            hostname: config.hostname.clone(),
            sources: self.sources(config, &ask.sources),
            keys,
            addresses: self.addresses.clone(),
            certificates: self.certificates.clone(),
            now: clock::now().wall,
        }
    }

    /// Those that are named for this check, else those that are configured, else the addresses of
    /// this machine that the internet knows.
    fn sources(&self, config: &Config, named: &[IpAddr]) -> Vec<Source> {
        let hello = |address: IpAddr| {
            let configured = config.sources.iter().find(|source| source.address == address);
            configured.map_or(&config.hostname, |source| &source.hello).clone()
        };
        let configured = config.sources.iter().map(|source| source.address);
        let mut addresses = match (named, config.sources.is_empty()) {
            ([], false) => configured.collect(),
            ([], true) => self.addresses.iter().copied().filter(is_public).collect(),
            (named, _) => named.to_vec(),
        };
        let mut seen = hashbrown::HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        let source = |address| Source { address, hello: hello(address) };
        addresses.into_iter().map(source).collect()
    }
}

/// Check a domain, however long that takes within its bounds.
pub fn check(config: &Config, around: &Surroundings, ask: &Ask) -> Result<Report, CheckError> {
    if ask.domain.literal().is_some() || Name::try_from(&ask.domain).is_err() {
        return Err(CheckError::Literal(ask.domain.clone()));
    }
    let mut check = DomainCheck::new(&around.verifier, around.subject(config, ask));
    let mut servers = NameServers::new(dns_options(config, &files::resolv_conf()));
    let until = clock::now().mono + CHECK_DEADLINE;
    let mut in_flight: usize = 0;
    let mut policy = None;
    loop {
        while in_flight < CHECK_IN_FLIGHT_MAX {
            match check.poll_want() {
                None => break,
                Some(Want::Policy(wanted)) => policy = Some(wanted),
                Some(Want::Answer(question)) => match servers.ask(question) {
                    Some(answer) => check.handle_answer(&answer),
                    None => in_flight += 1,
                },
            }
        }
        if let Some(report) = check.report() {
            return Ok(report.clone());
        }
        if in_flight > 0 {
            let answers = servers.wait(until);
            if answers.is_empty() {
                check.give_up();
            }
            in_flight = in_flight.saturating_sub(answers.len());
            answers.iter().for_each(|answer| check.handle_answer(answer));
        } else if let Some(wanted) = policy.take() {
            let text = fetch(config, &wanted);
            check.handle_policy(&wanted, text);
        } else {
            check.give_up();
        }
    }
}

fn fetch(config: &Config, wanted: &PolicyWanted) -> Result<Box<str>, PolicyTrouble> {
    let authorities = files::roots(&config.tls_authorities)
        .map_err(|error| PolicyTrouble::Unknown(error.to_string().into()))?;
    let request = PolicyRequest {
        domain: wanted.domain.clone(),
        id: None,
        addresses: wanted.addresses.clone(),
        authorities: Some(authorities),
    };
    policies::fetch(&request).map(Into::into)
}

fn is_in(domain: &Domain, pattern: &DomainPattern) -> bool {
    match pattern {
        DomainPattern::Exact(exact) => domain == exact,
        DomainPattern::Suffix(above) => {
            domain.suffixes().skip(1).any(|suffix| suffix == above.as_str())
        }
    }
}

/// Whether the internet could know this address: nobody's own network has it.
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second); // RFC 6598
            !(v4.is_private() || v4.is_link_local() || v4.is_loopback() || is_shared || first == 0)
        }
        // RFC 4291 §2.4: what is assigned so far.
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    }
}
