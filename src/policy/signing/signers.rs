//! Which keys sign for a domain.
//!
//! In: keys, each with its domain and selector. Out: those for a domain: its own, or where it has
//! none those of the nearest domain above that sign for subdomains too.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::limits::{DOMAIN_NAME_MAX, LABEL_MAX};
use crate::mail::address::Domain;
use crate::mail::handling::TenantName;
use crate::policy::signing::key::{Algorithm, PrivateKey};
use crate::smtp::sasl::Name;

/// The name of a key below `_domainkey` of its domain (RFC 6376 §3.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector(Box<str>);

impl Selector {
    /// Read labels joined by dots; underscores are not of the standard, but in use.
    pub fn parse(text: &str) -> Option<Self> {
        let is_octet = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        let is_label =
            |label: &str| (1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(is_octet);
        let is_selector = text.len() <= DOMAIN_NAME_MAX && text.split('.').all(is_label);
        is_selector.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// As it stands in a signature.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the TXT record for `domain`; `None` if DNS has no names so long.
    pub fn record_name(&self, domain: &Domain) -> Option<String> {
        let name = format!("{self}._domainkey.{domain}");
        (name.len() <= DOMAIN_NAME_MAX).then_some(name)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key and what it signs for.
#[derive(Debug)]
pub struct Signer {
    /// The `d=` of its signatures.
    pub domain: Domain,
    /// The `s=` of its signatures.
    pub selector: Selector,
    /// Whether it signs for domains below its own too.
    pub subdomains: bool,
    /// Whose mail alone it signs: clients who logged in so. Everybody's where there are none.
    pub identities: Box<[Name]>,
    /// Whose mail alone it signs: these tenants'. Everybody's where there are none.
    pub tenants: Box<[TenantName]>,
    /// What it signs with.
    pub key: Arc<PrivateKey>,
}

impl Signer {
    /// Whether it signs the mail of who logged in so, or did not, for such a tenant, or for none.
    pub(super) fn is_for(&self, identity: Option<&Name>, tenant: Option<&TenantName>) -> bool {
        let is_one_of = |identity| self.identities.contains(identity);
        let is_whose = |tenant| self.tenants.contains(tenant);
        (self.identities.is_empty() || identity.is_some_and(is_one_of))
            && (self.tenants.is_empty() || tenant.is_some_and(is_whose))
    }
}

/// All keys of a node.
#[derive(Debug, Default)]
pub struct Signers {
    /// By domain, in the configuration's order.
    own: HashMap<Box<str>, Vec<Arc<Signer>>>,
    /// The same, of those that sign for subdomains.
    below: HashMap<Box<str>, Vec<Arc<Signer>>>,
}

impl Signers {
    /// Of these keys.
    pub fn new(signers: impl IntoIterator<Item = Signer>) -> Self {
        let mut all = Self::default();
        for signer in signers {
            let signer = Arc::new(signer);
            let domain = signer.domain.as_str();
            if signer.subdomains {
                all.below.entry(domain.into()).or_default().push(signer.clone());
            }
            all.own.entry(domain.into()).or_default().push(signer.clone());
        }
        all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// All of them, by domain.
    pub fn iter(&self) -> impl Iterator<Item = &Signer> {
        let mut domains: Vec<_> = self.own.iter().collect();
        domains.sort_unstable_by_key(|(domain, _)| *domain);
        domains.into_iter().flat_map(|(_, signers)| signers.iter().map(|signer| &**signer))
    }

    /// The one that seals for `domain`: its own that most who verify can read.
    pub fn sealer(&self, domain: &Domain) -> Option<Arc<Signer>> {
        let own = self.own.get(domain.as_str())?;
        let rsa = own.iter().find(|signer| signer.key.algorithm() == Algorithm::Rsa);
        rsa.or(own.first()).cloned()
    }

    /// Those that sign for `domain`.
    pub fn of(&self, domain: &Domain) -> &[Arc<Signer>] {
        let mut suffixes = domain.suffixes();
        let own = suffixes.next().and_then(|own| self.own.get(own));
        own.or_else(|| suffixes.find_map(|above| self.below.get(above))).map_or(&[], Vec::as_slice)
    }
}
