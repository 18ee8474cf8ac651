//! Write DNS records as zone files have them (RFC 1035 §5.1).
//!
//! In: a name, a type, data. Out: one line that can be put into a zone as it is.

use std::fmt;
use std::net::IpAddr;

use crate::dns::Name;
use crate::mail::tlsa::Tlsa;

/// Octets of one character string of a TXT record (RFC 1035 §3.3).
const STRING: usize = 255;

/// A record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is, without the dot at its end.
    pub name: Box<str>,
    /// Its type: `TXT`.
    pub kind: &'static str,
    /// Its data, as it stands in a zone file.
    pub data: Box<str>,
}

impl Record {
    /// Text, in as many strings as it takes; whoever reads it joins them (RFC 7208 §3.3).
    pub fn txt(name: &str, text: &str) -> Self {
        let data = strings(text).collect::<Vec<_>>().join(" ");
        Self { name: name.into(), kind: "TXT", data: data.into() }
    }

    /// The address of a host.
    pub fn address(name: &str, address: IpAddr) -> Self {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        Self { name: name.into(), kind, data: address.to_string().into() }
    }

    /// The name of an address.
    pub fn ptr(address: IpAddr, host: &str) -> Self {
        let name = Name::reverse_of(address).as_str().into();
        Self { name, kind: "PTR", data: format!("{host}.").into() }
    }

    /// The one host that takes a domain's mail.
    pub fn mx(name: &str, host: &str) -> Self {
        Self { name: name.into(), kind: "MX", data: format!("10 {host}.").into() }
    }

    /// What a host's certificate is, at the port of mail.
    pub fn tlsa(host: &str, tlsa: &Tlsa) -> Self {
        let hex: String = tlsa.data.iter().map(|octet| format!("{octet:02x}")).collect();
        let data = format!("{} {} {} {hex}", tlsa.usage, tlsa.selector, tlsa.matching);
        Self { name: format!("_25._tcp.{host}").into(), kind: "TLSA", data: data.into() }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. IN {} {}", self.name, self.kind, self.data)
    }
}

/// The quoted character strings that hold `text`.
pub fn strings(text: &str) -> impl Iterator<Item = String> {
    text.as_bytes().chunks(STRING).map(|chunk| {
        let octets = chunk.iter().map(|octet| match octet {
            b'"' | b'\\' => format!("\\{}", char::from(*octet)),
            b' '..=b'~' => char::from(*octet).to_string(),
            _ => format!("\\{octet:03}"),
        });
        format!("\"{}\"", octets.collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 6376 §3.6.2.2, type=test
    //# Strings in a TXT RR MUST be concatenated together before use with no intervening whitespace.
    #[test]
    fn a_text_is_split_into_strings_that_dns_can_hold() {
        let text = format!("v=DKIM1; k=rsa; p={}", "A".repeat(392));
        let record = Record::txt("s._domainkey.example.com", &text).to_string();
        let start = "s._domainkey.example.com. IN TXT \"v=DKIM1; k=rsa; p=AA";
        assert!(record.starts_with(start), "{record}");
        let inside: Vec<&str> = record.split('"').skip(1).step_by(2).collect();
        assert!(inside.len() == 2 && inside.iter().all(|string| string.len() <= STRING));
        assert_eq!(inside.concat(), text);
    }

    //= RFC 1035 §5.1, type=test
    //# \DDD where each D is a digit is the octet corresponding to the decimal number described by
    //# DDD.
    #[test]
    fn what_means_something_in_a_zone_file_is_escaped() {
        let record = Record::txt("a.example", "a\"b\\c;\u{fc}\n").to_string();
        assert_eq!(record, "a.example. IN TXT \"a\\\"b\\\\c;\\195\\188\\010\"");
    }

    #[test]
    fn each_type_is_written_with_whole_names() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let tlsa = Tlsa { usage: 3, selector: 1, matching: 1, data: [0xab, 0x01].into() };
        for (record, line) in [
            (Record::address("a.example", v4), "a.example. IN A 192.0.2.1"),
            (Record::address("a.example", v6), "a.example. IN AAAA 2001:db8::1"),
            (Record::ptr(v4, "a.example"), "1.2.0.192.in-addr.arpa. IN PTR a.example."),
            (Record::mx("example", "a.example"), "example. IN MX 10 a.example."),
            (Record::tlsa("a.example", &tlsa), "_25._tcp.a.example. IN TLSA 3 1 1 ab01"),
        ] {
            assert_eq!(record.to_string(), line);
        }
    }
}
