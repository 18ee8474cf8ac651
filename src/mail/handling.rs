//! How a sender wants a message handled: for whom it is, before what else it goes, and when.
//!
//! Most messages say nothing of this, and carry nothing for it.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::base::limits::{
    CAMPAIGN_NAME_MAX, DELIVER_BY_SECONDS_MAX, PRIORITY_MAX, TENANT_NAME_MAX,
};
use crate::base::time::WallTime;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// More octets than are taken.
    #[error("it is longer than {0} octets")]
    TooLong(usize),
    /// An octet that names do not have.
    #[error("it has something else than letters, digits and one of `._-+@:/=`")]
    Character,
    /// `global`, which is all tenants together.
    #[error("it stands for all tenants together")]
    Everyone,
}

/// Whether a name may have this octet: what needs no quoting in a header, a URL's path, a log
/// line or a metric.
fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"._-+@:/=".contains(&octet)
}

fn parse(text: &str, octets_max: usize) -> Result<Box<str>, NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        octets if octets > octets_max => Err(NameError::TooLong(octets_max)),
        _ if !text.bytes().all(is_of_name) => Err(NameError::Character),
        _ => Ok(text.into()),
    }
}

/// Who sends: a customer of the node. 1 to `TENANT_NAME_MAX` octets; case counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(Box<str>);

/// What it is sent for, of one tenant. 1 to `CAMPAIGN_NAME_MAX` octets; case counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CampaignName(Box<str>);

impl TenantName {
    /// The name that `text` is.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match parse(text, TENANT_NAME_MAX)? {
            // As lists of addresses are called that hold for everyone.
            name if name.eq_ignore_ascii_case("global") => Err(NameError::Everyone),
            name => Ok(Self(name)),
        }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CampaignName {
    /// The name that `text` is.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse(text, CAMPAIGN_NAME_MAX).map(Self)
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CampaignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TenantName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// How much a message's time counts (RFC 6710 §5): from -9 to 9, 0 where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(i8);

impl Priority {
    /// `None`: out of range.
    pub fn new(value: i8) -> Option<Self> {
        (-PRIORITY_MAX..=PRIORITY_MAX).contains(&value).then_some(Self(value))
    }

    /// From -9 to 9.
    pub fn value(self) -> i8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long a message is to be held before anyone has it (RFC 4865 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// `HOLDFOR`: so long from when it came in.
    For(Duration),
    /// `HOLDUNTIL`: up to this time.
    Until(WallTime),
}

impl Hold {
    /// Until when, of a message that came in at `now`.
    pub fn until(self, now: WallTime) -> WallTime {
        match self {
            Self::For(duration) => now + duration,
            Self::Until(time) => time,
        }
    }
}

/// What becomes of a message that is not delivered by its time (RFC 2852 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Late {
    /// `R`: it is returned.
    Return,
    /// `N`: its sender is told, and it goes on.
    Notify,
}

/// By when a client wants a message delivered (RFC 2852 §4), as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct By {
    /// So long from now; what is late already has none left, or less. At least 1 where it is
    /// returned then.
    pub seconds: i32,
    /// What then.
    pub late: Late,
    /// Each relay that takes it tells of that.
    pub trace: bool,
}

impl By {
    /// The same, of a message that came in at `now`.
    pub fn at(self, now: WallTime) -> DeliverBy {
        let Self { seconds, late, trace } = self;
        DeliverBy { at: WallTime(now.0.saturating_add(i64::from(seconds) * 1_000)), late, trace }
    }
}

/// By when a message is to be delivered (RFC 2852).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    /// The time.
    pub at: WallTime,
    /// What then.
    pub late: Late,
    /// `T`: each relay that takes it tells of that.
    pub trace: bool,
}

impl DeliverBy {
    /// What the next hop is told at `now`: what is left of the time.
    pub fn left(self, now: WallTime) -> By {
        let Self { at, late, trace } = self;
        let seconds = at.0.saturating_sub(now.0).div_euclid(1_000);
        let least = if late == Late::Return { 1 } else { -DELIVER_BY_SECONDS_MAX };
        let seconds = seconds.clamp(i64::from(least), i64::from(DELIVER_BY_SECONDS_MAX));
        By { seconds: i32::try_from(seconds).expect("nine digits"), late, trace }
    }

    /// Whether it is too late to deliver it at all.
    pub fn is_over(self, now: WallTime) -> bool {
        self.late == Late::Return && self.at <= now
    }
}

/// All that a sender says of this. The default says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// Who sends.
    pub tenant: Option<TenantName>,
    /// What for; `None` where there is no tenant.
    pub campaign: Option<CampaignName>,
    /// Before what else of its tenant it goes.
    pub priority: Priority,
    /// Nobody is to have it before (RFC 4865).
    pub hold_until: Option<WallTime>,
    /// By when it is to be delivered.
    pub deliver_by: Option<DeliverBy>,
}

impl Handling {
    /// Tenant and campaign as text, empty where there is none.
    pub fn labels(&self) -> (&str, &str) {
        let tenant = self.tenant.as_ref().map_or("", TenantName::as_str);
        (tenant, self.campaign.as_ref().map_or("", CampaignName::as_str))
    }

    /// [`sender`] of this.
    pub fn sender(&self) -> u64 {
        sender(self.tenant.as_ref(), self.campaign.as_ref())
    }

    /// As an envelope has it: `None` where nothing is said.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// A number by which tenants and their campaigns are told apart; 0: nobody's.
pub fn sender(tenant: Option<&TenantName>, campaign: Option<&CampaignName>) -> u64 {
    let hash = |name: &str| xxh3_64(name.as_bytes());
    let tenant = tenant.map_or(0, |name| hash(name.as_str()));
    let campaign = campaign.map_or(0, |name| hash(name.as_str()));
    tenant ^ campaign.rotate_left(17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_needs_no_quoting() {
        let long = "a".repeat(TENANT_NAME_MAX);
        for right in ["a", "acme", "Acme-2.eu_1", "app@acme.example", "2026/11:news+x=y", &long] {
            assert_eq!(TenantName::parse(right).map(|name| name.to_string()), Ok(right.into()));
        }
        assert_eq!(TenantName::parse(""), Err(NameError::Empty));
        assert_eq!(TenantName::parse("Global"), Err(NameError::Everyone));
        assert!(TenantName::parse("global2").is_ok() && CampaignName::parse("global").is_ok());
        let longer = long + "a";
        assert_eq!(TenantName::parse(&longer), Err(NameError::TooLong(TENANT_NAME_MAX)));
        assert!(CampaignName::parse(&longer).is_ok());
        for wrong in ["a b", "a\r\n", "a\0", "\u{e4}", "a,b", "a\"", "a<b>", "a;b", "a\\b", "a%"] {
            assert_eq!(TenantName::parse(wrong), Err(NameError::Character), "{wrong:?}");
            assert_eq!(CampaignName::parse(wrong), Err(NameError::Character), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_left_of_a_time_is_told_and_never_too_little_to_be_said() {
        let by = |late| By { seconds: 60, late, trace: true }.at(WallTime(5_000));
        let (back, told) = (by(Late::Return), by(Late::Notify));
        let left = |by: DeliverBy, now| by.left(WallTime(now)).seconds;
        assert_eq!([left(back, 5_000), left(back, 5_001), left(back, 64_001)], [60, 59, 1]);
        assert_eq!([left(back, 65_000), left(back, 99_000), left(told, 99_000)], [1, 1, -34]);
        assert_eq!(left(told, i64::MAX), -DELIVER_BY_SECONDS_MAX);
        assert!(back.is_over(WallTime(65_000)) && !back.is_over(WallTime(64_999)));
        assert!(!told.is_over(WallTime(65_000)));
    }

    #[test]
    fn priorities_end_at_nine() {
        let values = [-128, -10, -9, 0, 9, 10, 127].map(Priority::new);
        let values = values.map(|priority| priority.map(Priority::value));
        assert_eq!(values, [None, None, Some(-9), Some(0), Some(9), None, None]);
    }
}
