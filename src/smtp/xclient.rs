//! Read what a trusted client says of the client behind it: XCLIENT, as Postfix's XCLIENT_README
//! has it.
//!
//! In: the arguments of the command. Out: what is known by it, or nothing where any part of it is
//! malformed.
//! Invariant: what is said to be unknown is not what was known before: an address that is
//! `[UNAVAILABLE]` has no rights, least of all those of the one who says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::limits::XCLIENT_VALUE_MAX;
use crate::smtp::command::Hello;
use crate::smtp::parameter::octets_of_xtext;
use crate::smtp::sasl::Name;

/// What EHLO says of it.
pub const KEYWORD: &str = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT";

/// Nobody's address: that of a client of whom none is known.
pub const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What was said of the client behind. `None` is what was not spoken of: that stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// ADDR: its address, [`NOWHERE`] if that is unknown.
    pub address: Option<IpAddr>,
    /// PORT: 0 if that is unknown.
    pub port: Option<u16>,
    /// PROTO: it speaks ESMTP, not SMTP.
    pub esmtp: Option<bool>,
    /// HELO: what it calls itself; empty if it has not said so, or nothing that could be repeated.
    pub hello: Option<Box<str>>,
    /// LOGIN: who it has proved to be, if anyone.
    pub login: Option<Option<Name>>,
}

/// A value: xtext, decoded.
enum Value {
    /// `[UNAVAILABLE]`, or `[TEMPUNAVAIL]`.
    Unknown,
    Known(Vec<u8>),
}

impl Attributes {
    /// Read the arguments of XCLIENT: one or more `name=value`, in either case.
    pub fn parse(arguments: &str) -> Option<Self> {
        let mut attributes = Self::default();
        for argument in arguments.split(' ') {
            let (name, value) = argument.split_once('=')?;
            attributes.set(&name.to_ascii_uppercase(), Value::parse(value)?)?;
        }
        Some(attributes)
    }

    /// Know what `later` says too; where both say something, it is right.
    pub fn and(self, later: Self) -> Self {
        Self {
            address: later.address.or(self.address),
            port: later.port.or(self.port),
            esmtp: later.esmtp.or(self.esmtp),
            hello: later.hello.or(self.hello),
            login: later.login.or(self.login),
        }
    }

    fn set(&mut self, name: &str, value: Value) -> Option<()> {
        match name {
            // A name that the other one has found in DNS; nothing here goes by it.
            "NAME" => value.known().map_or(Some(()), |name| is_name(&name).then_some(()))?,
            "ADDR" => self.address = Some(address(value)?),
            "DESTADDR" => drop(address(value)?),
            "PORT" => self.port = Some(port(value)?),
            "DESTPORT" => drop(port(value)?),
            "PROTO" => self.esmtp = Some(is_esmtp(value)?),
            "HELO" => {
                let said = value.known().and_then(|said| String::from_utf8(said).ok());
                let said = said.and_then(|said| Hello::parse(&said, true).ok());
                self.hello = Some(said.map_or_else(Box::default, |hello| hello.name));
            }
            "LOGIN" => {
                let name = value.known().map(|name| Name::prepare(&name)).transpose();
                self.login = Some(name.ok()?);
            }
            _ => return None,
        }
        Some(())
    }
}

impl Value {
    fn parse(text: &str) -> Option<Self> {
        let octets = octets_of_xtext(text)?;
        let is = |word: &[u8]| octets.eq_ignore_ascii_case(word);
        if octets.is_empty() || octets.len() > XCLIENT_VALUE_MAX {
            None
        } else if is(b"[UNAVAILABLE]") || is(b"[TEMPUNAVAIL]") {
            Some(Self::Unknown)
        } else {
            Some(Self::Known(octets))
        }
    }

    fn known(self) -> Option<Vec<u8>> {
        match self {
            Self::Unknown => None,
            Self::Known(octets) => Some(octets),
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    name.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(octet))
}

/// An IPv4 address, or `IPV6:` and an IPv6 address.
fn address(value: Value) -> Option<IpAddr> {
    let Some(octets) = value.known() else { return Some(NOWHERE) };
    let text = std::str::from_utf8(&octets).ok()?;
    match text.split_at_checked(5) {
        Some((prefix, address)) if prefix.eq_ignore_ascii_case("IPV6:") => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::from)
        }
        Some(_) | None => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    }
}

fn port(value: Value) -> Option<u16> {
    let Some(octets) = value.known() else { return Some(0) };
    let plain = octets.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(&octets).ok().filter(|_| plain)?.parse().ok()
}

fn is_esmtp(value: Value) -> Option<bool> {
    let protocol = value.known()?;
    if protocol.eq_ignore_ascii_case(b"ESMTP") {
        Some(true)
    } else if protocol.eq_ignore_ascii_case(b"SMTP") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Attributes {
        Attributes::parse(arguments).unwrap_or_else(|| panic!("{arguments}"))
    }

    //= XCLIENT_README, type=test
    //# XCLIENT NAME=spike.porcupine.org ADDR=168.100.189.2; attribute names are case insensitive,
    //# values are xtext
    #[test]
    fn attributes_are_read() {
        let all = "name=spike.porcupine.org ADDR=168.100.189.2 PORT=1234 PROTO=smtp \
            HELO=spike+2Eporcupine.org Login=t+C3+BCm DESTADDR=IPV6:2001:db8::1 DESTPORT=25";
        let expected = Attributes {
            address: Some(IpAddr::from([168, 100, 189, 2])),
            port: Some(1234),
            esmtp: Some(false),
            hello: Some("spike.porcupine.org".into()),
            login: Some(Name::prepare("tüm".as_bytes()).ok()),
        };
        assert_eq!(parse(all), expected);
        let v6 = parse("ADDR=IPv6:2001:db8::7").address;
        assert_eq!(v6, "2001:db8::7".parse().ok());
        assert_eq!(parse("PROTO=ESMTP").esmtp, Some(true));
    }

    //= XCLIENT_README, type=test
    //# [UNAVAILABLE]: the information is unavailable. [TEMPUNAVAIL]: it is so for now.
    #[test]
    fn what_is_unavailable_is_nobodys() {
        let unknown = parse(
            "NAME=[TEMPUNAVAIL] ADDR=[UNAVAILABLE] PORT=[unavailable] HELO=[UNAVAILABLE] \
             LOGIN=+5BUNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]",
        );
        assert_eq!((unknown.address, unknown.port), (Some(NOWHERE), Some(0)));
        assert_eq!((unknown.hello.as_deref(), unknown.login), (Some(""), Some(None)));
    }

    #[test]
    fn a_name_at_hello_that_could_not_be_repeated_is_none() {
        assert_eq!(parse("HELO=a+20(b)").hello.as_deref(), Some(""));
        assert_eq!(parse("HELO=[192.0.2.1]").hello.as_deref(), Some("[192.0.2.1]"));
    }

    #[test]
    fn what_is_malformed_in_any_part_is_nothing() {
        let long = format!("NAME={}", "x".repeat(XCLIENT_VALUE_MAX + 1));
        for arguments in [
            "",
            "ADDR",
            "ADDR=",
            "=192.0.2.1",
            "ADDR=192.0.2.1 ",
            "ADDR=192.0.2.1  PORT=1",
            "ADDR=192.0.2.1 PORT",
            "ADDR=2001:db8::7",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=[192.0.2.1]",
            "ADDR=192.0.2.1=",
            "ADDR=192.0.2.1+",
            "ADDR=192.0.2.1+2f",
            "PORT=+31+32x",
            "PORT=65536",
            "PORT=-1",
            "PROTO=[UNAVAILABLE]",
            "PROTO=LMTP",
            "NAME=a(b)",
            "LOGIN=a+00b",
            "DESTADDR=example",
            "DESTPORT=smtp",
            "XADDR=192.0.2.1",
            &long,
        ] {
            assert_eq!(Attributes::parse(arguments), None, "{arguments}");
        }
    }

    //= XCLIENT_README, type=test
    //# a client may send several XCLIENT commands; attributes of the last one are not reset
    #[test]
    fn commands_add_up() {
        let first = parse("ADDR=192.0.2.1 PORT=1 LOGIN=a");
        let both = first.clone().and(parse("PORT=2 HELO=h LOGIN=[UNAVAILABLE]"));
        assert_eq!((both.address, both.port), (first.address, Some(2)));
        assert_eq!((both.hello.as_deref(), both.login), (Some("h"), Some(None)));
    }
}
