//! Where routing points a destination domain.

use std::fmt;

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
}

impl TlsLevel {
    /// Every level, the weakest first.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Opportunistic, Self::MtaSts, Self::Dane, Self::Policy, Self::Verify];

    /// Whether it depends on what the destination domain says of itself.
    pub fn asks_the_domain(self) -> bool {
        matches!(self, Self::MtaSts | Self::Dane | Self::Policy)
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
