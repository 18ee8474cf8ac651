//! DKIM (RFC 6376): what DNS says of each key that signs here is what the key is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::policy::domain_check::Subject;
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::Known;
use crate::policy::domain_check::tags::Tags;
use crate::policy::signing::Signer;
use crate::policy::zone::Record;

const KEY_RECORD: &str = "RFC 6376 §3.6.1";
const ONE_RECORD: &str = "RFC 6376 §3.6.2.2";

/// The octets before an RSA key in a SubjectPublicKeyInfo, as far as they do not depend on it:
/// SEQUENCE, its length, the algorithm, BIT STRING, its length, no unused bits.
const RSA_INFO: usize = 24;

pub(super) fn check(subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
    if subject.keys.is_empty() {
        let found = format!(
            "no [[dkim]] key here signs for it: relay-fast dkim keygen {} makes one",
            subject.domain
        );
        let of = &subject.domain;
        return Some(vec![Finding::new(Topic::Dkim, of, Status::Warn, found, "RFC 6376 §5.1")]);
    }
    let findings: Vec<_> = subject.keys.iter().map(|key| of_key(key, known)).collect();
    findings.into_iter().collect()
}

fn of_key(key: &Signer, known: &Known) -> Option<Finding> {
    let name = key.selector.record_name(&key.domain).unwrap_or_default();
    let finding = |status, found: &str, rfc| Finding::new(Topic::Dkim, &*name, status, found, rfc);
    let right = || Record::txt(&name, &key.key.record());
    let records = match known.texts(&name)? {
        Err(reason) => return Some(finding(Status::Unchecked, reason, KEY_RECORD)),
        Ok(records) => records,
    };
    Some(match records.as_slice() {
        [] => finding(Status::Fail, "no key record: its signatures are not right", KEY_RECORD)
            .add([right()]),
        [one] => match judge(one, key) {
            (Status::Pass, found) => finding(Status::Pass, found, KEY_RECORD),
            (status, found) => finding(status, found, KEY_RECORD).instead(right()),
        },
        //= RFC 6376 §3.6.2.2
        //# TXT RRs MUST be unique for a particular selector name; that is, if there are multiple
        //# records in an RRset, the results are undefined.
        several => {
            let found = format!("{} records, of which verifiers take any", several.len());
            finding(Status::Fail, &found, ONE_RECORD).instead(right())
        }
    })
}

/// What a record says of the key, as verifiers read it.
fn judge(record: &[u8], key: &Signer) -> (Status, &'static str) {
    let own = key.key.record();
    let Ok(own) = Tags::parse(own.as_bytes()) else { return (Status::Fail, "it has no record") };
    let Ok(tags) = Tags::parse(record) else { return (Status::Fail, "the record is malformed") };
    let is_of_version = tags.find("v").is_none_or(|version| version == "DKIM1");
    let kind = |tags: &Tags<'_>| tags.find("k").unwrap_or("rsa").to_owned();
    let flags = |flag: &str| tags.find("t").is_some() && tags.lists("t", flag);
    match tags.find("p") {
        None => return (Status::Fail, "the record has no key in it"),
        //= RFC 6376 §3.6.1
        //# An empty value means that this public key has been revoked.
        Some("") => return (Status::Fail, "the key is revoked: p= is empty"),
        Some(_) if !is_of_version => return (Status::Fail, "the record is not of DKIM1"),
        Some(_) if kind(&tags) != kind(&own) => {
            return (Status::Fail, "the record is of another kind of key");
        }
        Some(p) if !is_same(p, own.find("p").unwrap_or_default()) => {
            return (Status::Fail, "the record has another key than the one here");
        }
        Some(_) => {}
    }
    if !tags.lists("h", "sha256") {
        return (Status::Fail, "the record does not allow sha256");
    }
    if !tags.lists("s", "email") && !tags.lists("s", "*") {
        return (Status::Fail, "the record is not for mail");
    }
    if flags("y") {
        return (Status::Warn, "the key is published as one under test: t=y");
    }
    (Status::Pass, "the key here")
}

/// Whether a published key is this one, given as SubjectPublicKeyInfo or, where it is RSA, as the
/// RSAPublicKey inside that, which is the letter of RFC 6376. White space in it means nothing.
fn is_same(published: &str, own: &str) -> bool {
    let octets = |text: &str| {
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        BASE64.decode(text)
    };
    let (Ok(published), Ok(own)) = (octets(published), octets(own)) else { return false };
    published == own || own.get(RSA_INFO..).is_some_and(|inside| inside == published)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::signing::{Algorithm, PrivateKey};

    #[test]
    fn a_key_is_the_same_in_either_form_and_broken_anywhere() {
        let record = PrivateKey::generate(Algorithm::Rsa).unwrap().record();
        let (_, own) = record.split_once("p=").unwrap();
        let inside = BASE64.encode(&BASE64.decode(own).unwrap()[RSA_INFO..]);
        assert!(is_same(own, own) && is_same(&inside, own));
        let (head, tail) = own.split_at(77);
        assert!(is_same(&format!("{head} \t {tail}"), own));
        let other = PrivateKey::generate(Algorithm::Rsa).unwrap().record();
        assert!(!is_same(other.split_once("p=").unwrap().1, own));
        assert!(!is_same("", own) && !is_same("!", own) && !is_same(&own[..own.len() - 4], own));
    }
}
