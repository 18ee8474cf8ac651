//! A group of upstream relays: read it as people write it, choose a member for a domain.
//!
//! `host[:port][*weight]`, separated by `,` (they share by weight) and `;` (what follows is used
//! only when all before it fail). An IPv6 address stands in brackets: `[2001:db8::1]:25`.
//!
//! Choice: weighted rendezvous by destination domain over the first preference of which a member
//! works. When one fails only its domains move, and they come back when it does. When none works
//! each domain goes to the member that it is with when all do.

use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64;

use crate::base::limits::WEIGHT_MAX;
use crate::base::limits::{DOMAIN_MAX, UPSTREAMS_MAX};
use crate::base::time::Monotonic;
use crate::egress::health::{GroupHealth, Purpose, Standing};
use crate::egress::rendezvous::weighted;
use crate::mail::route::{Host, HostPort};

/// Where SMTP listens (RFC 5321 §4.5.4.2).
const SMTP_PORT: u16 = 25;

/// One upstream relay of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Host and port.
    pub host: HostPort,
    /// Its share among those of its preference; at least 1.
    pub weight: u32,
    /// 0 first; a higher one only while all lower ones fail.
    pub preference: u16,
    /// Its own number in the rendezvous, from host and port: a list that grows or is put in another
    /// order moves no other member's domains.
    number: u64,
}

impl Member {
    /// A member.
    pub fn new(host: HostPort, weight: u32, preference: u16) -> Self {
        let number = xxh3_64(host.to_string().as_bytes());
        Self { host, weight, preference, number }
    }

    fn score(&self, domain_hash: u64) -> f64 {
        weighted(domain_hash, self.number, self.weight)
    }
}

/// Upstream relays that stand in for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// In the order of the list: by preference. A member's place is its number in `UpstreamId`.
    members: Vec<Member>,
}

/// What is wrong with a list, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at} of the list of upstream relays: {what}")]
pub struct ListError {
    /// Counted from 1.
    pub at: usize,
    /// In words.
    pub what: String,
}

/// Which member is to take a domain's mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its place in the group.
    pub member: u16,
    /// Why it was chosen.
    pub choice: Choice,
}

/// Why a member was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It works.
    Works,
    /// It was ejected, and this is to find out whether it works again: one job is sent.
    Probe,
    /// Every member is ejected.
    NoneWorks,
}

impl Choice {
    /// What a job that is sent for this reason tells of the member.
    pub fn purpose(self) -> Purpose {
        match self {
            Self::Works => Purpose::Delivery,
            Self::Probe | Self::NoneWorks => Purpose::Trial,
        }
    }
}

impl Group {
    /// A group of these members, at least one and at most `UPSTREAMS_MAX`.
    pub fn new(mut members: Vec<Member>) -> Self {
        assert!((1..=UPSTREAMS_MAX).contains(&members.len()), "{} members", members.len());
        members.sort_by_key(|member| member.preference);
        Self { members }
    }

    /// The members by their places.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Read a list.
    pub fn parse(list: &str) -> Result<Self, ListError> {
        let mut members: Vec<Member> = Vec::new();
        let mut at = 1;
        for (preference, part) in (0u16..).zip(list.split(';')) {
            for text in part.split(',') {
                let member = parse_member(text, preference).map_err(|(offset, what)| {
                    let before = text.get(..offset).unwrap_or(text).chars().count();
                    ListError { at: at + before, what }
                })?;
                if members.iter().any(|other| other.host == member.host) {
                    return Err(ListError { at, what: format!("{} is listed twice", member.host) });
                }
                members.push(member);
                if members.len() > UPSTREAMS_MAX {
                    return Err(ListError {
                        at,
                        what: format!("more than {UPSTREAMS_MAX} relays"),
                    });
                }
                at += text.chars().count() + 1;
            }
        }
        Ok(Self { members })
    }

    /// The member for the domain with this hash, by what `health` knows of them at `now`.
    pub fn choose(&self, domain_hash: u64, health: &mut GroupHealth, now: Monotonic) -> Chosen {
        let mut start = 0;
        for level in self.members.chunk_by(|a, b| a.preference == b.preference) {
            let places = start..start + level.len();
            start = places.end;
            let usable = places.filter(|place| health.standing(*place, now) != Standing::Ejected);
            if let Some(place) = self.best(domain_hash, usable) {
                let choice = match health.standing(place, now) {
                    Standing::Probe => {
                        health.on_probe(place, now);
                        Choice::Probe
                    }
                    Standing::Healthy | Standing::Ejected => Choice::Works,
                };
                return Chosen { member: member_number(place), choice };
            }
        }
        let first = self.members[0].preference;
        let first = self.members.iter().take_while(|member| member.preference == first).count();
        let place = self.best(domain_hash, 0..first).expect("a group has a member");
        Chosen { member: member_number(place), choice: Choice::NoneWorks }
    }

    /// The one among `places` that the domain goes to.
    fn best(&self, domain_hash: u64, places: impl Iterator<Item = usize>) -> Option<usize> {
        let scored = places.map(|place| (self.members[place].score(domain_hash), place));
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place)
    }
}

fn member_number(place: usize) -> u16 {
    u16::try_from(place).expect("at most UPSTREAMS_MAX")
}

/// One member; on failure the octet of `text` where it is, and what.
fn parse_member(text: &str, preference: u16) -> Result<Member, (usize, String)> {
    let start = text.len() - text.trim_start().len();
    let body = text.trim();
    let (address, weight) = match body.split_once('*') {
        Some((address, weight)) => (address.trim_end(), Some((address.len() + 1, weight.trim()))),
        None => (body, None),
    };
    let weight = match weight {
        Some((at, digits)) => parse_weight(digits).map_err(|what| (start + at, what))?,
        None => 1,
    };
    let (host, port) = split_port(address).map_err(|(at, what)| (start + at, what))?;
    let host = parse_host(host).map_err(|what| (start, what))?;
    Ok(Member::new(HostPort { host, port }, weight, preference))
}

fn parse_weight(digits: &str) -> Result<u32, String> {
    let weight = number_of(digits).filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    weight.ok_or_else(|| format!("the weight is a number from 1 to {WEIGHT_MAX}, not {digits:?}"))
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number_of(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The host, still in brackets if it was, and the port.
fn split_port(address: &str) -> Result<(&str, u16), (usize, String)> {
    let end = match address.strip_prefix('[') {
        Some(inside) => inside.find(']').ok_or((0, "a bracket is not closed".into()))? + 2,
        None => address.find(':').unwrap_or(address.len()),
    };
    let (host, rest) = address.split_at(end);
    if rest.is_empty() {
        return Ok((host, SMTP_PORT));
    }
    if host.starts_with(|c: char| c != '[') && rest.matches(':').count() > 1 {
        return Err((0, format!("an IPv6 address stands in brackets: [{address}]")));
    }
    let digits = rest.strip_prefix(':').ok_or((end, format!("expected :port, not {rest:?}")))?;
    let port = number_of(digits).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let port =
        port.ok_or((end + 1, format!("the port is a number from 1 to 65535, not {digits:?}")))?;
    Ok((host, port))
}

fn parse_host(text: &str) -> Result<Host, String> {
    if text.is_empty() {
        return Err("a host is missing".into());
    }
    if let Some(inside) = text.strip_prefix('[') {
        let literal = inside.strip_suffix(']').unwrap_or(inside);
        return match literal.parse::<IpAddr>() {
            Ok(address) => Ok(Host::Address(address)),
            Err(_) => Err(format!("{literal:?} in brackets is no IP address")),
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Host::Address(address));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if is_host_name(name) {
        Ok(Host::Name(name.to_ascii_lowercase().into()))
    } else {
        Err(format!("{text:?} is neither a host name nor an IP address"))
    }
}

/// RFC 1123 §2.1, and underscores, which private names use. All digits and dots is a broken
/// address, not a name.
fn is_host_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        let edges = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && !edges && label.bytes().all(letter)
    };
    let numeric = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.len() <= DOMAIN_MAX && !numeric && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
