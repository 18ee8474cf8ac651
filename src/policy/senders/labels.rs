//! Read the header fields that say who sends, and take them out: they are between client and node.
//!
//! In: content after dot-stuffing is undone, in pieces cut anywhere. Out: the same without these
//! fields, and what they say. Invariant: what comes out is the same wherever the pieces are cut;
//! everything else passes unchanged, in order; no more is held back than a field's name and value
//! of `CAMPAIGN_NAME_MAX` octets. Lives on: the home shard, one a transaction.

use memchr::memchr;

use crate::base::limits::{CAMPAIGN_NAME_MAX, LABEL_FIELD_NAME_MAX};
use crate::mail::handling::{CampaignName, NameError, TenantName};
use crate::mail::status::Reply;
use crate::policy::reply;

/// White space and line ends that a value may have around it, folded once.
const AROUND: usize = 16;

/// What the fields are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldNames {
    /// As `X-Tenant`; 1 to `LABEL_FIELD_NAME_MAX` octets.
    pub tenant: Box<str>,
    /// As `X-Campaign`.
    pub campaign: Box<str>,
    /// They pass on, as anything else does.
    pub keep: bool,
}

impl FieldNames {
    /// Whether a field of this name is one of them.
    pub fn has(&self, name: &str) -> bool {
        [&self.tenant, &self.campaign].iter().any(|one| one.eq_ignore_ascii_case(name))
    }
}

/// What they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Who sends.
    pub tenant: Option<TenantName>,
    /// What for.
    pub campaign: Option<CampaignName>,
}

/// What is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The value of this field is no name.
    #[error("{0}: {1}")]
    Name(Box<str>, NameError),
    /// This field is there twice.
    #[error("{0} is there twice")]
    Twice(Box<str>),
}

impl LabelError {
    /// What is said to the end of content.
    pub fn reply(&self) -> Reply {
        reply(554, (5, 6, 0), &self.to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Tenant,
    Campaign,
}

/// Where in the content the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In what may become a field of ours: `held` has its line so far.
    Name,
    /// In the value of a field of ours.
    Ours(Field),
    /// At the start of a line after one of ours: white space goes on with it.
    AfterOurs(Field),
    /// In a line of another field.
    Other,
    /// After the header section.
    Body,
}

/// Reads content as it comes.
#[derive(Clone, Debug)]
pub struct LabelReader {
    names: FieldNames,
    place: Place,
    /// The line so far, where it may be one of ours.
    held: Vec<u8>,
    /// The value so far.
    value: Vec<u8>,
    labels: Labels,
    error: Option<LabelError>,
}

impl LabelReader {
    /// At the start of content.
    pub fn new(names: FieldNames) -> Self {
        let (held, value) = (Vec::new(), Vec::new());
        Self { names, place: Place::Name, held, value, labels: Labels::default(), error: None }
    }

    /// Take a piece; what of it, and of what was held back, passes on now.
    pub fn push(&mut self, piece: Vec<u8>) -> Vec<u8> {
        if self.place == Place::Body {
            return piece;
        }
        let mut out = Vec::with_capacity(piece.len() + self.held.len());
        let mut at = 0;
        while at < piece.len() && self.place != Place::Body {
            at += self.step(&piece[at..], &mut out);
        }
        out.extend_from_slice(&piece[at..]);
        out
    }

    /// What the fields have said, once the header section has ended.
    pub fn said(&self) -> Option<&Labels> {
        (self.place == Place::Body).then_some(&self.labels)
    }

    /// All has come: what was held back, and what the fields said.
    pub fn end(mut self) -> (Vec<u8>, Result<Labels, LabelError>) {
        if let Place::Ours(field) | Place::AfterOurs(field) = self.place {
            self.say(field);
        }
        (self.held, self.error.map_or(Ok(self.labels), Err))
    }

    /// The tenant that was named so far.
    pub fn tenant(&self) -> Option<&TenantName> {
        self.labels.tenant.as_ref()
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        self.held.capacity() + self.value.capacity()
    }

    /// Take some of `rest`, which is not empty; how many octets.
    fn step(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        match self.place {
            Place::Body => 0,
            Place::Other => {
                let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                out.extend_from_slice(&rest[..end]);
                if rest[..end].ends_with(b"\n") {
                    self.place = Place::Name;
                }
                end
            }
            Place::Name => {
                self.name(rest[0], out);
                1
            }
            Place::Ours(field) => {
                let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                self.take(&rest[..end], out);
                if rest[..end].ends_with(b"\n") {
                    self.place = Place::AfterOurs(field);
                }
                end
            }
            Place::AfterOurs(field) if matches!(rest[0], b' ' | b'\t') => {
                self.place = Place::Ours(field);
                0
            }
            Place::AfterOurs(field) => {
                self.say(field);
                self.place = Place::Name;
                0
            }
        }
    }

    /// Take an octet of a line that may be one of ours.
    fn name(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.held.push(octet);
        let name = self.held.strip_suffix(b":").map(|name| name.trim_ascii_end());
        let is = |of: &str, name: &[u8]| name.eq_ignore_ascii_case(of.as_bytes());
        match name {
            Some(name) if is(&self.names.tenant, name) => self.begin(Field::Tenant, out),
            Some(name) if is(&self.names.campaign, name) => self.begin(Field::Campaign, out),
            Some(_) => self.pass(Place::Other, out),
            None if self.held == b"\r\n" || self.held == b"\n" => self.pass(Place::Body, out),
            None if octet == b'\n' => self.pass(Place::Name, out),
            None if !self.may_be_ours() => self.pass(Place::Other, out),
            None => {}
        }
    }

    /// Whether what is held could begin a field of ours, or the line that ends the header.
    fn may_be_ours(&self) -> bool {
        let held = self.held.trim_ascii_end();
        let begins = |of: &str| {
            let spaces = self.held.len() - held.len();
            let of = of.as_bytes();
            held.len() <= of.len()
                && of[..held.len()].eq_ignore_ascii_case(held)
                && (spaces == 0 || (held.len() == of.len() && spaces <= AROUND))
        };
        let is_end = self.held == b"\r";
        is_end || (!held.is_empty() && (begins(&self.names.tenant) || begins(&self.names.campaign)))
    }

    fn pass(&mut self, place: Place, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.place = place;
    }

    fn begin(&mut self, field: Field, out: &mut Vec<u8>) {
        if self.names.keep {
            out.append(&mut self.held);
        }
        self.held.clear();
        self.value.clear();
        self.place = Place::Ours(field);
    }

    /// Take octets of a value of ours.
    fn take(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        if self.names.keep {
            out.extend_from_slice(octets);
        }
        let room = (CAMPAIGN_NAME_MAX + AROUND).saturating_sub(self.value.len());
        self.value.extend_from_slice(&octets[..octets.len().min(room)]);
    }

    /// A value is complete.
    fn say(&mut self, field: Field) {
        let value = String::from_utf8_lossy(&self.value);
        let value = value.trim_matches([' ', '\t', '\r', '\n']);
        let (name, twice, wrong) = match field {
            Field::Tenant => {
                let (twice, read) = (self.labels.tenant.is_some(), TenantName::parse(value));
                let wrong = read.map(|read| self.labels.tenant = Some(read)).err();
                (&self.names.tenant, twice, wrong)
            }
            Field::Campaign => {
                let (twice, read) = (self.labels.campaign.is_some(), CampaignName::parse(value));
                let wrong = read.map(|read| self.labels.campaign = Some(read)).err();
                (&self.names.campaign, twice, wrong)
            }
        };
        let error = wrong.map(|wrong| LabelError::Name(name.clone(), wrong));
        let error = error.or_else(|| twice.then(|| LabelError::Twice(name.clone())));
        self.error = self.error.take().or(error);
    }
}

// A name that is held back is short, whatever an operator calls the fields.
const _: () = assert!(LABEL_FIELD_NAME_MAX + AROUND <= 128);

#[cfg(test)]
mod tests;
