//! Know what comes back to us, and see that it can: bounces and complaints about what was sent.
//!
//! In: reverse-paths on their way out, recipients of mail that comes in. Out: a reverse-path that
//! says which message it is of; and whether a recipient is one of these, or looks like one and is
//! not. Invariant: what is not ours is refused at RCPT, so that nobody is answered whose address
//! was forged; the null reverse-path is never given another; whom a report speaks of is only
//! believed where its token says the same.
//! Lives on: all shards, shared; a reload makes another.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::{Domain, ForwardPath, Mailbox};
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::handling::{CampaignName, Handling, TenantName};
use crate::mail::status::Reply;
use crate::policy::reply;
use crate::policy::verp::{self, Mark, Sealed, TokenError, Trace, Use, Verp};

pub mod campaigns;

use campaigns::KnownCampaigns;

/// What is signed into reverse-paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: they leave as they came.
    #[default]
    Off,
    /// The message; and the recipient, where there is but one.
    Message,
    /// The message and the recipient: each recipient has a transaction of its own.
    Recipient,
}

/// What comes back, and where to.
#[derive(Debug)]
pub struct Returns {
    /// Signs and checks.
    pub verp: Verp,
    /// What is signed.
    pub mode: Mode,
    /// Reverse-paths at the same domain that sending platforms have made are taken too.
    pub classic: bool,
    /// Where complaints are sent to.
    pub complaints: Vec<Mailbox>,
    /// Whether messages say so in their header (RFC 9477).
    pub announces: bool,
    /// Who gets to see all of it.
    pub forward_to: Option<Mailbox>,
    /// Whose messages say whose they are.
    pub tenants: Tenants,
    /// What they say what they are sent for.
    pub campaigns: Arc<KnownCampaigns>,
}

/// Tenants, by what stands for them in tokens.
#[derive(Debug, Default)]
pub struct Tenants(HashMap<Mark, TenantName>);

impl Tenants {
    /// These.
    pub fn new<'a>(names: impl Iterator<Item = &'a TenantName>) -> Self {
        Self(names.map(|name| (Mark::of_tenant(name), name.clone())).collect())
    }

    fn mark(&self, name: Option<&TenantName>) -> Option<Mark> {
        let mark = name.filter(|_| !self.0.is_empty()).map(Mark::of_tenant)?;
        self.0.contains_key(&mark).then_some(mark)
    }
}

/// Whose a message is, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whose<'a> {
    /// Who sends.
    pub tenant: Option<&'a TenantName>,
    /// What for.
    pub campaign: Option<&'a CampaignName>,
}

impl<'a> From<&'a Handling> for Whose<'a> {
    fn from(handling: &'a Handling) -> Self {
        Self { tenant: handling.tenant.as_ref(), campaign: handling.campaign.as_ref() }
    }
}

/// What a recipient of ours is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Bounces of this message.
    Bounces(Trace),
    /// Bounces of what a platform has sent to this recipient, as its unsigned reverse-path says.
    Unsigned(Mailbox),
    /// Complaints.
    Complaints,
}

/// How much of a report is vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// The message and the recipient.
    Recipient,
    /// The message; whoever has had it may have written the report.
    Message,
}

impl Vouched {
    /// As events write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::Message => "message",
        }
    }
}

/// What tokens say of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The message, and what stands for its recipient.
    pub trace: Option<Trace>,
    /// The recipient, where it is in the token itself.
    pub recipient: Option<Mailbox>,
    /// Whose message it was.
    pub tenant: Option<TenantName>,
    /// What it was sent for.
    pub campaign: Option<CampaignName>,
}

/// Whom a report is about, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The message.
    pub message: Option<MessageId>,
    /// The recipient.
    pub recipient: Option<&'a Mailbox>,
    /// What a token vouches for of this.
    pub vouched: Option<Vouched>,
}

impl Returns {
    /// The reverse-path that a message leaves with; `None`: its own. `recipients`: places in its
    /// envelope of those that it leaves for.
    pub fn reverse_path(
        &self,
        message: MessageId,
        envelope: &Envelope,
        recipients: &[u16],
        now: WallTime,
    ) -> Option<Mailbox> {
        // What has none is not to be answered (RFC 5321 §4.5.5), by nobody.
        if self.mode == Mode::Off || envelope.reverse_path.is_null() {
            return None;
        }
        let recipient = match recipients {
            [only] if self.mode == Mode::Recipient || envelope.recipients.len() == 1 => Some(only),
            _ => None,
        };
        let path = |place: &u16| &envelope.recipients[usize::from(*place)].forward_path;
        let recipient = recipient.map(|place| Mark::of(path(place).as_str()));
        let whose = envelope.handling.as_deref().map(Whose::from).unwrap_or_default();
        let (tenant, campaign) = self.marks(whose, now);
        Some(self.verp.reverse_path(Trace { message, recipient, tenant, campaign }, now))
    }

    /// What stands for whose a message is; nothing, where the node does not know the tenant.
    fn marks(&self, whose: Whose<'_>, now: WallTime) -> (Option<Mark>, Option<Mark>) {
        let Whose { tenant: name, campaign } = whose;
        let tenant = self.tenants.mark(name);
        let known = name.filter(|_| tenant.is_some()).zip(campaign);
        (tenant, known.and_then(|(name, campaign)| self.campaigns.note(name, campaign, now)))
    }

    /// Whether mail to this domain may be ours.
    pub fn is_at(&self, domain: &Domain) -> bool {
        self.verp.address().domain() == domain
            || self.complaints.iter().any(|address| address.domain() == domain)
    }

    /// What a recipient is for; `None`: it is none of ours. An error is what its client is told.
    pub fn judge(&self, recipient: &Mailbox, now: WallTime) -> Option<Result<Address, Reply>> {
        let is_complaints = |address: &&Mailbox| is_same(address, recipient);
        if self.complaints.iter().find(is_complaints).is_some() {
            return Some(Ok(Address::Complaints));
        }
        match self.verp.read(recipient, now) {
            Some(Ok(trace)) => Some(Ok(Address::Bounces(trace))),
            Some(Err(error)) => Some(Err(refusal(error))),
            None if recipient.domain() != self.verp.address().domain() => None,
            None if is_same(self.verp.address(), recipient) => {
                Some(Err(refusal(TokenError::Forged)))
            }
            None if self.classic => {
                verp::original_recipient(recipient).map(|of| Ok(Address::Unsigned(of)))
            }
            None => None,
        }
    }

    /// Whose message a token is of, where the node knows tenants.
    fn tenant(&self, trace: Option<Trace>) -> Option<&TenantName> {
        self.tenants.0.get(&trace?.tenant?)
    }

    fn campaign(&self, trace: Option<Trace>) -> Option<CampaignName> {
        self.campaigns.find(self.tenant(trace)?, trace?.campaign?)
    }

    /// Fields that tell providers where to send complaints, and about which message (RFC 9477).
    pub fn announcement(
        &self,
        message: MessageId,
        envelope: &Envelope,
        whose: Whose<'_>,
        now: WallTime,
    ) -> Option<String> {
        let address = self.complaints.first().filter(|_| self.announces)?;
        if envelope.reverse_path.is_null() {
            return None;
        }
        let token = match envelope.recipients.as_slice() {
            [Recipient { forward_path: ForwardPath::Mailbox(only), .. }] => {
                let (recipient, Whose { tenant, campaign }) = (only.clone(), whose);
                let (tenant, campaign) = (tenant.cloned(), campaign.cloned());
                let sealed = Sealed { message, recipient, tenant, campaign };
                self.verp.seal(Use::FeedbackId, &sealed, now)
            }
            _ => {
                let (tenant, campaign) = self.marks(whose, now);
                let trace = Trace { message, recipient: None, tenant, campaign };
                self.verp.token(Use::FeedbackId, trace, now)
            }
        };
        Some(format!("CFBL-Address: {address}; report=arf\r\nCFBL-Feedback-ID: {token}\r\n"))
    }

    /// What a report to `Address::Complaints` is about: by the id, or else the reverse-path, that
    /// it gives back.
    pub fn known(
        &self,
        reverse_path: Option<&Mailbox>,
        feedback_id: Option<&str>,
        now: WallTime,
    ) -> Known {
        let sealed = feedback_id.and_then(|id| self.verp.open(Use::FeedbackId, id, now).ok());
        let by_path = reverse_path.and_then(|path| self.verp.read(path, now)?.ok());
        if let Some(Sealed { message, recipient, tenant, campaign }) = sealed {
            let mark = Some(Mark::of(recipient.as_str()));
            let trace = Trace { message, recipient: mark, tenant: None, campaign: None };
            // An id is made before the header of a message says whose it is.
            let of_same = by_path.filter(|by_path| by_path.message == message);
            let tenant = tenant.or_else(|| self.tenant(of_same).cloned());
            let campaign = campaign.or_else(|| self.campaign(of_same));
            return Known { trace: Some(trace), recipient: Some(recipient), tenant, campaign };
        }
        let by_id = || self.verp.check(Use::FeedbackId, feedback_id?, now).ok();
        self.traced(by_path.or_else(by_id))
    }

    /// What a token says.
    pub fn traced(&self, trace: Option<Trace>) -> Known {
        let (tenant, campaign) = (self.tenant(trace).cloned(), self.campaign(trace));
        Known { trace, recipient: None, tenant, campaign }
    }

    /// What a bounce is about whose address was this token, and which gives back this id.
    pub fn bounced(&self, trace: Trace, feedback_id: Option<&str>, now: WallTime) -> Known {
        let known = self.traced(Some(trace));
        let sealed = feedback_id.and_then(|id| self.verp.open(Use::FeedbackId, id, now).ok());
        // Behind a long local part was no room for it.
        let of_same = sealed.filter(|sealed| sealed.message == trace.message);
        let campaign = known.campaign.or_else(|| of_same?.campaign);
        Known { campaign, ..known }
    }

    /// Whom something is about that came back. `named`: the recipient that it speaks of, or whom
    /// the sender wrote to, where it says that; `others`: whom the message may have been for.
    pub fn subject<'a>(
        trace: Option<Trace>,
        named: impl Iterator<Item = &'a Mailbox> + Clone,
        others: impl Iterator<Item = &'a Mailbox>,
    ) -> Subject<'a> {
        let first = named.clone().next();
        let Some(Trace { message, recipient: mark, .. }) = trace else {
            return Subject { message: None, recipient: first, vouched: None };
        };
        let message = Some(message);
        let is_marked = |one: &&Mailbox| Some(Mark::of(one.as_str())) == mark;
        // Who was written to may have sent it on, to somebody whom the report names.
        match named.chain(others).find(is_marked) {
            Some(marked) => {
                let vouched = Some(Vouched::Recipient);
                Subject { message, recipient: Some(marked), vouched }
            }
            None => Subject { message, recipient: first, vouched: Some(Vouched::Message) },
        }
    }
}

/// What is said to a second address of ours in a transaction: a report is about one.
pub fn one_at_a_time() -> Reply {
    reply(452, (4, 5, 3), "One of these at a time")
}

fn is_same(one: &Mailbox, other: &Mailbox) -> bool {
    one.domain() == other.domain() && one.local_part().eq_ignore_ascii_case(other.local_part())
}

fn refusal(error: TokenError) -> Reply {
    match error {
        TokenError::Forged => reply(550, (5, 1, 1), "No such recipient here"),
        TokenError::Expired => reply(550, (5, 1, 6), "That was sent too long ago"),
    }
}

#[cfg(test)]
mod tests;
