//! Sign what is to come back, so that it says which message it is about, and nobody can make it up.
//!
//! In: secrets, a message's id, perhaps its tenant, its campaign and one of its recipients, the
//! day. Out: a token that fits in a local part beside `bounces+`; and of a token that came back,
//! what it is about, or that it is not ours. Invariant: what is not signed with one of the secrets,
//! for the same use and the same domain, is refused, in a time that does not depend on how much of
//! it is right. Lives on: all shards, shared; a reload makes another.
//!
//! ```text
//! octets  what is signed
//!      1  form: 16, and 1 where a recipient follows, 2 where a tenant does, 4 where a campaign does
//!      8  the message's id
//!      2  the day it was signed on, counted from 1970-01-01
//!      4  the first octets of SHA-256 over the recipient in lower case, if any
//!      4  the first octets of SHA-256 over `tenant`, NUL and its name, if any
//!      4  the first octets of SHA-256 over `campaign`, NUL and its name, if any
//!     10  the first octets of HMAC-SHA256 over: use, domain, and all of the above
//! ```
//! In base32 (RFC 4648 §6) of lower case, since hosts on the way back may change a local part's
//! case: 34 to 53 characters. 80 bits of signature: who guesses has one try a message. A local part
//! has 64 (RFC 5321 §4.5.3.1.1): behind one of more than 10 is no room for a campaign.

mod base32;
mod classic;
mod sealed;
mod secrets;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{constant_time, digest, hmac};

use crate::base::ids::MessageId;
use crate::base::limits::{VERP_DAY, VERP_LOCAL_MAX, VERP_LOCAL_SHORT_MAX, VERP_TOKEN_MAX};
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::handling::{CampaignName, TenantName};

pub use classic::original_recipient;
pub use sealed::Sealed;
pub use secrets::{Secrets, SecretsError};

/// What a token is for: one that serves for one thing serves for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A reverse-path.
    ReversePath,
    /// CFBL-Feedback-ID (RFC 9477 §4.2).
    FeedbackId,
}

impl Use {
    fn label(self) -> &'static [u8] {
        match self {
            Self::ReversePath => b"relay-fast reverse-path\0",
            Self::FeedbackId => b"relay-fast feedback-id\0",
        }
    }
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The message.
    pub message: MessageId,
    /// Stands for the recipient that it went to; `None`: the token is the same for all of them.
    pub recipient: Option<Mark>,
    /// Stands for whose it is.
    pub tenant: Option<Mark>,
    /// Stands for what it is sent for.
    pub campaign: Option<Mark>,
}

/// What stands for a recipient, a tenant or a campaign in a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark([u8; 4]);

impl Mark {
    /// Of an address, in whatever case.
    pub fn of(address: &str) -> Self {
        Self::of_octets(address.to_lowercase().as_bytes())
    }

    /// Of a tenant.
    pub fn of_tenant(name: &TenantName) -> Self {
        Self::of_octets(format!("tenant\0{}", name.as_str()).as_bytes())
    }

    /// Of a campaign of some tenant.
    pub fn of_campaign(name: &CampaignName) -> Self {
        Self::of_octets(format!("campaign\0{}", name.as_str()).as_bytes())
    }

    fn of_octets(octets: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, octets);
        let mut mark = [0; 4];
        mark.copy_from_slice(&hash.as_ref()[..4]);
        Self(mark)
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token, or not signed by us.
    #[error("not signed here")]
    Forged,
    /// Signed by us, too long ago.
    #[error("signed too long ago")]
    Expired,
}

const MESSAGE: u8 = 16;
const RECIPIENT: u8 = 1;
const TENANT: u8 = 2;
const CAMPAIGN: u8 = 4;
/// Of marks, in their order.
const FLAGS: [u8; 3] = [RECIPIENT, TENANT, CAMPAIGN];
const SIGNATURE: usize = 10;

/// Signs tokens, and checks those that come back.
#[derive(Debug)]
pub struct Verp {
    /// Reverse-paths are this one with `+TOKEN` behind its local part.
    address: Mailbox,
    secrets: Arc<Secrets>,
    /// Days that a token is good for.
    days: u16,
}

impl Verp {
    /// `None`: the local part of `address` is quoted, or longer than `VERP_LOCAL_MAX`.
    pub fn new(address: Mailbox, secrets: Arc<Secrets>, lifetime: Duration) -> Option<Self> {
        let fits = Self::fits(&address);
        let days = lifetime.as_secs().div_ceil(VERP_DAY.as_secs());
        let days = u16::try_from(days).unwrap_or(u16::MAX);
        fits.then_some(Self { address, secrets, days })
    }

    /// Whether a token fits behind this local part.
    pub fn fits(address: &Mailbox) -> bool {
        let local = address.local_part();
        local.len() <= VERP_LOCAL_MAX && !local.starts_with('"')
    }

    /// The address without a token.
    pub fn address(&self) -> &Mailbox {
        &self.address
    }

    /// Whether there is room for a campaign behind it.
    pub fn has_room_for_campaign(&self) -> bool {
        self.address.local_part().len() <= VERP_LOCAL_SHORT_MAX
    }

    /// The reverse-path for a message, without its campaign where there is no room.
    pub fn reverse_path(&self, trace: Trace, now: WallTime) -> Mailbox {
        let campaign = trace.campaign.filter(|_| self.has_room_for_campaign());
        let trace = Trace { campaign, ..trace };
        let (local, domain) = (self.address.local_part(), self.address.domain());
        let text = format!("{local}+{}@{domain}", self.token(Use::ReversePath, trace, now));
        Mailbox::parse(&text, true).expect("a token fits behind a local part that `new` took")
    }

    /// What mail to `recipient` is about; `None`: it is not one of our reverse-paths, whoever it
    /// is.
    pub fn read(&self, recipient: &Mailbox, now: WallTime) -> Option<Result<Trace, TokenError>> {
        if recipient.domain() != self.address.domain() {
            return None;
        }
        let own = self.address.local_part();
        let (local, rest) = recipient.local_part().split_at_checked(own.len())?;
        let token = rest.strip_prefix('+').filter(|_| local.eq_ignore_ascii_case(own))?;
        Some(self.check(Use::ReversePath, token, now))
    }

    /// A token by itself.
    pub fn token(&self, used: Use, trace: Trace, now: WallTime) -> String {
        let marks = [trace.recipient, trace.tenant, trace.campaign];
        let flags = marks.iter().zip(FLAGS).filter(|(mark, _)| mark.is_some());
        let mut octets = Vec::with_capacity(33);
        octets.push(flags.fold(MESSAGE, |form, (_, flag)| form | flag));
        octets.extend_from_slice(&trace.message.0.to_be_bytes());
        octets.extend_from_slice(&day(now).to_be_bytes());
        for Mark(mark) in marks.into_iter().flatten() {
            octets.extend_from_slice(&mark);
        }
        let signature = self.sign(self.secrets.first(), used, &octets);
        octets.extend_from_slice(&signature.as_ref()[..SIGNATURE]);
        base32::write(&octets)
    }

    /// What a token is about.
    pub fn check(&self, used: Use, token: &str, now: WallTime) -> Result<Trace, TokenError> {
        if token.len() > VERP_TOKEN_MAX {
            return Err(TokenError::Forged);
        }
        let octets = base32::read(token).ok_or(TokenError::Forged)?;
        let at = octets.len().checked_sub(SIGNATURE).ok_or(TokenError::Forged)?;
        let (signed, signature) = octets.split_at(at);
        let is_ours = |secret: &hmac::Key| {
            let right = self.sign(secret, used, signed);
            constant_time::verify_slices_are_equal(&right.as_ref()[..SIGNATURE], signature).is_ok()
        };
        // Every secret is tried, so that nothing tells which one it was.
        let hits = self.secrets.all().filter(|secret| is_ours(secret)).count();
        if hits == 0 {
            return Err(TokenError::Forged);
        }
        let (trace, signed_on) = read_signed(signed).ok_or(TokenError::Forged)?;
        // A clock that was a little ahead when it signed makes nothing worse.
        let age = day(now).saturating_sub(signed_on);
        if age > self.days { Err(TokenError::Expired) } else { Ok(trace) }
    }

    fn sign(&self, secret: &hmac::Key, used: Use, signed: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(secret);
        context.update(used.label());
        context.update(self.address.domain().as_str().as_bytes());
        context.update(b"\0");
        context.update(signed);
        context.sign()
    }
}

/// Counted from 1970-01-01.
pub(in crate::policy) fn day(now: WallTime) -> u16 {
    let days = now.since(WallTime(0)).as_secs() / VERP_DAY.as_secs();
    u16::try_from(days).unwrap_or(u16::MAX)
}

/// What was signed, and on which day.
fn read_signed(signed: &[u8]) -> Option<(Trace, u16)> {
    let (form, rest) = signed.split_first()?;
    let (message, rest) = rest.split_first_chunk::<8>()?;
    let (day, rest) = rest.split_first_chunk::<2>()?;
    let message = MessageId(u64::from_be_bytes(*message));
    let mut marks = rest.chunks(4).map(|mark| mark.try_into().ok().map(Mark));
    let mut mark = |flag| if form & flag == 0 { Some(None) } else { marks.next()?.map(Some) };
    let (recipient, tenant, campaign) = (mark(RECIPIENT)?, mark(TENANT)?, mark(CAMPAIGN)?);
    let trace = Trace { message, recipient, tenant, campaign };
    let is_whole = form & !(RECIPIENT | TENANT | CAMPAIGN) == MESSAGE && marks.next().is_none();
    is_whole.then_some((trace, u16::from_be_bytes(*day)))
}
