//! Decide whether this client may hand us mail for that recipient.
//!
//! In: listener, client address, forward-path. Out: accept, accept for another mailbox, or refuse
//! with a reply. A client that may relay may name any domain; anyone else only a relay domain.
//! Invariant: the local part takes no part, so `"a@evil"@ours`, `a%evil@ours` and `evil!a@ours` are
//! mailboxes of `ours` and nothing else (RFC 5321 §2.3.11: only the destination interprets it).
//! Lives on: every shard, the same value.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::mail::address::{Domain, ForwardPath, Mailbox};
use crate::mail::status::Reply;
use crate::policy::reply;

/// Who may relay where. Cheap to ask: a few address ranges, one hash for each label of a domain.
#[derive(Clone, Debug, Default)]
pub struct RelayPolicy {
    /// By listener, in the configuration's order.
    relay_for: Vec<AddressSet>,
    relay_domains: DomainSet,
    postmaster: Option<Mailbox>,
}

/// What becomes of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientVerdict<'a> {
    /// Taken as given.
    Accept,
    /// Taken, for this mailbox instead: the node's own postmaster.
    AcceptFor(&'a Mailbox),
    /// Not taken; nothing else happens.
    Refuse(Reply),
}

impl RecipientVerdict<'_> {
    /// What the client is told.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Accept | Self::AcceptFor(_) => reply(250, (2, 1, 5), "Recipient ok"),
            Self::Refuse(reply) => reply.clone(),
        }
    }
}

impl RelayPolicy {
    /// A policy for listeners in the configuration's order. `postmaster` takes mail for
    /// `<Postmaster>` without a domain.
    pub fn new(
        relay_for: Vec<AddressSet>,
        relay_domains: DomainSet,
        postmaster: Option<Mailbox>,
    ) -> Self {
        Self { relay_for, relay_domains, postmaster }
    }

    /// The mailbox that takes mail for `<Postmaster>` without a domain.
    pub fn postmaster_mailbox(&self) -> Option<&Mailbox> {
        self.postmaster.as_ref()
    }

    /// Whether a client of this listener may name any domain. False for a listener that is not.
    pub fn may_relay(&self, listener: u16, client: IpAddr) -> bool {
        let set = self.relay_for.get(usize::from(listener));
        set.is_some_and(|set| set.contains(client))
    }

    /// Whether mail for this domain is passed on for anyone.
    pub fn is_relay_domain(&self, domain: &Domain) -> bool {
        self.relay_domains.contains(domain)
    }

    /// Judge RCPT. `vouched`: the client may name any domain, whatever its address, for what it has
    /// shown: a certificate of an authority that the listener names, or who it is.
    pub fn recipient(
        &self,
        listener: u16,
        client: IpAddr,
        vouched: bool,
        forward_path: &ForwardPath,
    ) -> RecipientVerdict<'_> {
        match forward_path {
            ForwardPath::Postmaster => self.postmaster(),
            ForwardPath::Mailbox(mailbox) => {
                if vouched
                    || self.may_relay(listener, client)
                    || self.is_relay_domain(mailbox.domain())
                {
                    RecipientVerdict::Accept
                } else {
                    RecipientVerdict::Refuse(reply(550, (5, 7, 1), "Relaying denied"))
                }
            }
        }
    }

    fn postmaster(&self) -> RecipientVerdict<'_> {
        match &self.postmaster {
            Some(mailbox) => RecipientVerdict::AcceptFor(mailbox),
            None => RecipientVerdict::Refuse(reply(550, (5, 1, 1), "No postmaster mailbox here")),
        }
    }
}

/// A set of client addresses. An IPv4 address that arrives mapped into IPv6 is the IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet(Vec<IpNet>);

impl AddressSet {
    /// The addresses in any of `ranges`.
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self(ranges)
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// A set of domains: some exactly, and all below others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainSet {
    exact: HashSet<Domain>,
    /// Without the leading dot.
    suffixes: HashSet<Box<str>>,
}

impl DomainSet {
    /// Add this domain, not those below it.
    pub fn insert(&mut self, domain: Domain) {
        self.exact.insert(domain);
    }

    /// Add every domain below this one, not itself.
    pub fn insert_below(&mut self, domain: &Domain) {
        self.suffixes.insert(domain.as_str().into());
    }

    /// Whether `domain` is in it. An address literal only exactly.
    pub fn contains(&self, domain: &Domain) -> bool {
        self.exact.contains(domain) || (domain.literal().is_none() && self.is_below(domain))
    }

    fn is_below(&self, domain: &Domain) -> bool {
        if self.suffixes.is_empty() {
            return false;
        }
        let mut rest = domain.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if self.suffixes.contains(parent) {
                return true;
            }
            rest = parent;
        }
        false
    }
}
