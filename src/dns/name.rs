//! Domain names as we ask for them: one form for each, so that equal names are equal text.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr;

use crate::base::limits::{DNS_NAME_MAX, LABEL_MAX};
use crate::mail::address::Domain;

/// A domain name: lower case, no trailing dot, at least one label; each label has 1 to 63 of
/// `a-z 0-9 - _ /`. Wider than a host name (`_dmarc`, and `0/25` of RFC 2317), still safe in logs.
///
/// Cheap to clone. RFC 4343: names that differ in case alone are the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Text or a name from the wire that is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name")]
pub struct NotAName;

impl Name {
    /// Read a name; its case and one trailing dot do not count. U-labels are refused.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let labels_fit = text.split('.').all(|label| is_label(label.as_bytes()));
        if text.len() > DNS_NAME_MAX || !labels_fit {
            return Err(NotAName);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name under which an address is looked up backwards (RFC 1035 §3.5, RFC 3596 §2.5).
    pub fn reverse_of(address: IpAddr) -> Self {
        Self::from_wire(&rr::Name::from(address)).expect("digits and two known labels")
    }

    /// `mx.example.com`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an IPv4 address that someone wrote where a name belongs.
    pub fn is_address(&self) -> bool {
        self.0.parse::<std::net::Ipv4Addr>().is_ok()
    }

    /// A name out of a message; refused where a label holds what [`Name`] does not, and the root.
    pub(super) fn from_wire(name: &rr::Name) -> Result<Self, NotAName> {
        let mut text = String::with_capacity(DNS_NAME_MAX);
        for label in name.iter() {
            if !is_label(label) {
                return Err(NotAName);
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
        Self::parse(&text)
    }

    /// The name for a message, each letter's case as `upper` says.
    pub(super) fn to_wire(&self, mut upper: impl FnMut() -> bool) -> rr::Name {
        let mut cased = |byte: u8| if upper() { byte.to_ascii_uppercase() } else { byte };
        let labels: Vec<Vec<u8>> =
            self.0.split('.').map(|label| label.bytes().map(&mut cased).collect()).collect();
        rr::Name::from_labels(labels.iter().map(Vec::as_slice)).expect("checked when it was made")
    }
}

impl TryFrom<&Domain> for Name {
    type Error = NotAName;

    /// Refused where the domain is an address literal.
    fn try_from(domain: &Domain) -> Result<Self, NotAName> {
        Self::parse(domain.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
    (1..=LABEL_MAX).contains(&label.len()) && label.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 4343 §3, type=test
    //# According to the original DNS design decision, comparisons on name lookup for DNS queries
    //# should be case insensitive.
    #[test]
    fn case_and_a_trailing_dot_make_no_other_name() {
        let name = Name::parse("MX.Example.COM.").unwrap();
        assert_eq!(name, Name::parse("mx.example.com").unwrap());
        assert_eq!(Name::from_wire(&name.to_wire(|| true)), Ok(name));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a.".repeat(127);
        for text in ["", ".", "a..b", ".a", "a b", "a\r\nb", "ü.de", "[192.0.2.1]", &long] {
            let expected = if text == long { 253 } else { 0 };
            assert_eq!(Name::parse(text).map_or(0, |name| name.0.len()), expected, "{text:?}");
        }
        assert_eq!(Name::parse(&format!("{long}ab")), Err(NotAName));
        assert_eq!(Name::parse(&"a".repeat(64)), Err(NotAName));
        assert_eq!(Name::from_wire(&rr::Name::root()), Err(NotAName));
        let dotted = rr::Name::from_labels([b"a.b".as_slice(), b"c"]).unwrap();
        assert_eq!(Name::from_wire(&dotted), Err(NotAName));
    }

    #[test]
    fn addresses_are_looked_up_backwards() {
        let v4 = Name::reverse_of("192.0.2.1".parse().unwrap());
        assert_eq!(v4.as_str(), "1.2.0.192.in-addr.arpa");
        let v6 = Name::reverse_of("2001:db8::1".parse().unwrap());
        assert!(v6.as_str().starts_with("1.0.0.0."), "{v6}");
        assert!(v6.as_str().ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
    }

    #[test]
    fn an_address_in_place_of_a_name_is_seen() {
        assert!(Name::parse("192.0.2.1").unwrap().is_address());
        assert!(!Name::parse("192.0.2.1.example").unwrap().is_address());
    }
}
