//! Where routing points a destination domain.

use std::fmt;

use crate::mail::envelope::TlsWish;

/// An upstream group of the configuration in force, by its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u16);

/// One upstream relay of a group, by its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId {
    /// The group.
    pub group: GroupId,
    /// The place in the group, counted from 0 through all preferences.
    pub member: u16,
}

/// A pool of egress sources of the configuration in force, by its place there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u16);

impl PoolId {
    /// The one for mail of which nothing says another.
    pub const DEFAULT: Self = Self(0);
}

/// What TLS a connection out is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsLevel {
    /// None, whatever the peer offers.
    None,
    /// Where the peer offers it, whoever that is; in clear where it does not come about (RFC 7435).
    #[default]
    Opportunistic,
    /// As the domain's MTA-STS policy wants it (RFC 8461); without one, as `Opportunistic`.
    MtaSts,
    /// As signed DNS says of each host (RFC 7672); where it says nothing, as `Opportunistic`.
    Dane,
    /// As the domain wants it in either way.
    Policy,
    /// With a certificate of the peer's name by a trusted authority, or not at all.
    Verify,
    /// As a message wants it that requires TLS (RFC 8689 §4.2.1): to hosts that signed DNS or the
    /// domain's MTA-STS policy names, with a certificate as either has it, and only if they promise
    /// the same. No knob says it.
    Required,
}

impl TlsLevel {
    /// Every level that a knob may name, the weakest first.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Opportunistic, Self::MtaSts, Self::Dane, Self::Policy, Self::Verify];

    /// Whether it depends on what the destination domain says of itself.
    pub fn asks_the_domain(self) -> bool {
        self.asks_for_tlsa() || self.asks_for_policy()
    }

    /// Whether it depends on TLSA records.
    pub fn asks_for_tlsa(self) -> bool {
        matches!(self, Self::Dane | Self::Policy | Self::Required)
    }

    /// Whether it depends on an MTA-STS policy.
    pub fn asks_for_policy(self) -> bool {
        matches!(self, Self::MtaSts | Self::Policy | Self::Required)
    }

    /// What it is for a message whose sender has a wish (RFC 8689 §4.2).
    pub fn with(self, wish: TlsWish) -> Self {
        match wish {
            TlsWish::Unsaid => self,
            TlsWish::Required => Self::Required,
            TlsWish::Waived if self.asks_the_domain() => Self::Opportunistic,
            TlsWish::Waived => self,
        }
    }

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::MtaSts => "mta-sts",
            Self::Dane => "dane",
            Self::Policy => "policy",
            Self::Verify => "verify",
            Self::Required => "required",
        }
    }
}

impl fmt::Display for TlsLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to do with a destination domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Look up its MX hosts and deliver there (RFC 5321 §5.1), with this TLS.
    Mx(TlsLevel),
    /// Hand it to one of the group's upstream relays.
    Group(GroupId),
}

/// A host to connect to: a name or an address literal, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A host name, or an IP address.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

/// A host by name or by address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// To be looked up; lower case, without a trailing dot.
    Name(Box<str>),
    /// Known.
    Address(std::net::IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(std::net::IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 8689 §4.2.2, type=test
    //# … SHOULD … use … TLS … without regard to … MTA-STS or DANE
    #[test]
    fn a_waiver_outdoes_what_domains_say_and_not_what_the_operator_does() {
        for (level, waived) in [
            (TlsLevel::None, TlsLevel::None),
            (TlsLevel::Opportunistic, TlsLevel::Opportunistic),
            (TlsLevel::MtaSts, TlsLevel::Opportunistic),
            (TlsLevel::Dane, TlsLevel::Opportunistic),
            (TlsLevel::Policy, TlsLevel::Opportunistic),
            (TlsLevel::Verify, TlsLevel::Verify),
        ] {
            assert_eq!(level.with(TlsWish::Waived), waived);
            assert_eq!(level.with(TlsWish::Unsaid), level);
            assert_eq!(level.with(TlsWish::Required), TlsLevel::Required);
        }
    }
}
