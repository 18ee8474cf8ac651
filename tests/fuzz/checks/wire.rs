//! DNS messages (RFC 1035 §4), read slowly and beside the relay's own reading.

use std::collections::BTreeSet;

use relay_fast::dns::Kind;

/// Aliases and records of all answer sections that came, by owner.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    aliases: BTreeSet<(String, String)>,
    records: BTreeSet<(String, u16, Vec<u8>)>,
}

const CNAME: u16 = 5;

impl Heard {
    /// Note the answer section, as far as it can be read.
    pub(crate) fn hear(&mut self, message: &[u8]) {
        let Some(count) = number(message, 6) else { return };
        let mut at = 12;
        if number(message, 4) == Some(1) {
            let Some((_, end)) = name(message, at) else { return };
            at = end + 4;
        }
        for _ in 0..count {
            let Some(end) = self.hear_record(message, at) else { return };
            at = end;
        }
    }

    /// Owner, type, class, TTL, length, data; where it ends.
    fn hear_record(&mut self, message: &[u8], at: usize) -> Option<usize> {
        let (owner, at) = name(message, at)?;
        let (kind, class) = (number(message, at)?, number(message, at + 2)?);
        let start = at + 10;
        let end = start + usize::from(number(message, at + 8)?);
        let data = message.get(start..end)?;
        if class == 1 && kind == CNAME {
            self.aliases.insert((owner, name(message, start)?.0));
        } else if class == 1 {
            // What is malformed is told by no one.
            if let Some(told) = told(message, kind, start, data) {
                self.records.insert((owner, kind, told));
            }
        }
        Some(end)
    }

    /// The records of this kind at the name, and at all names that aliases lead to from there.
    pub(crate) fn told(&self, start: &str, kind: Kind) -> BTreeSet<Vec<u8>> {
        let mut names = BTreeSet::from([start.to_owned()]);
        loop {
            let next = self.aliases.iter().filter(|(owner, _)| names.contains(owner));
            let next: Vec<_> = next.map(|(_, target)| target.clone()).collect();
            let before = names.len();
            names.extend(next);
            if names.len() == before {
                break;
            }
        }
        let wanted = number_of(kind);
        let records = self.records.iter();
        let reached = records.filter(|(owner, kind, _)| *kind == wanted && names.contains(owner));
        reached.map(|(_, _, data)| data.clone()).collect()
    }
}

fn number_of(kind: Kind) -> u16 {
    match kind {
        Kind::A => 1,
        Kind::Ptr => 12,
        Kind::Mx => 15,
        Kind::Txt => 16,
        Kind::Aaaa => 28,
        Kind::Tlsa => 52,
    }
}

/// What the data of a record say, in one form.
fn told(message: &[u8], kind: u16, start: usize, data: &[u8]) -> Option<Vec<u8>> {
    Some(match kind {
        12 => name(message, start)?.0.into_bytes(),
        15 => [data.get(..2)?, name(message, start + 2)?.0.as_bytes()].concat(),
        16 => strings(data)?,
        _ => data.to_vec(),
    })
}

fn strings(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        all.extend_from_slice(string);
        data = rest;
    }
    Some(all)
}

/// Where the question of a query of ours ends: it has no pointers.
pub(crate) fn question_end(query: &[u8]) -> usize {
    name(query, 12).expect("a name of ours").1 + 4
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let octets = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([octets[0], octets[1]]))
}

/// The name at `at` in lower case, and where it ends there (RFC 1035 §4.1.4).
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut text, mut end, mut jumps) = (String::new(), None, 0);
    loop {
        match *message.get(at)? {
            0 => return Some((text, end.unwrap_or(at + 1))),
            high @ 0xc0.. => {
                end = end.or(Some(at + 2));
                at = usize::from(high & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                jumps += 1;
                if jumps > 256 {
                    return None;
                }
            }
            length => {
                let label = message.get(at + 1..=at + usize::from(length))?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().map(|octet| char::from(octet.to_ascii_lowercase())));
                at += 1 + usize::from(length);
            }
        }
    }
}
