//! Read whom a domain wants its reports to go to: the record at `_smtp._tls.DOMAIN`.

use serde::{Deserialize, Serialize};

use crate::base::limits::{TLS_REPORT_TARGET_MAX, TLS_REPORT_TARGETS_MAX};
use crate::mail::address::Mailbox;
use crate::policy::domain_check::tags::{Tags, begins};

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// By mail, to this address.
    Mail(String),
    /// By an HTTPS POST to this address.
    Web(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Mail(to) | Self::Web(to)) = self;
        f.write_str(to)
    }
}

//= RFC 8460 §3
//# If multiple TXT records for "_smtp._tls" are returned by the resolver, records that do not begin
//# with "v=TLSRPTv1;" are discarded. If the number of resulting records is not one, senders MUST
//# assume the recipient domain does not implement TLSRPT.
/// Whom the records name, at most `TLS_REPORT_TARGETS_MAX`; none where the domain wants no reports.
pub fn targets<'r>(records: impl Iterator<Item = &'r [u8]>) -> Vec<Target> {
    let mut ours = records.filter(|record| begins(record, "v", "TLSRPTv1"));
    let (Some(record), None) = (ours.next(), ours.next()) else { return Vec::new() };
    let Some(rua) = Tags::parse(record).ok().and_then(|tags| tags.find("rua")) else {
        return Vec::new();
    };
    let uris = rua.split(',').map(str::trim).filter(|uri| uri.len() <= TLS_REPORT_TARGET_MAX);
    uris.filter_map(target).take(TLS_REPORT_TARGETS_MAX).collect()
}

fn target(uri: &str) -> Option<Target> {
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.eq_ignore_ascii_case("https") {
        let is_one = rest.starts_with("//") && uri.bytes().all(|octet| octet.is_ascii_graphic());
        return is_one.then(|| Target::Web(uri.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("mailto") {
        return None;
    }
    let address = unescaped(rest.split('?').next().unwrap_or_default())?;
    let mailbox = Mailbox::parse(&address, false).ok()?;
    Some(Target::Mail(mailbox.as_str().to_owned()))
}

/// RFC 3986 §2.1: `%` and two hexadecimal digits stand for an octet. An address needs that for
/// commas and semicolons, which have a meaning of their own in the record.
fn unescaped(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let octet = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?;
        plain.push(char::from(octet));
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: &[&str]) -> Vec<String> {
        let found = targets(records.iter().map(|record| record.as_bytes()));
        found.iter().map(ToString::to_string).collect()
    }

    //= RFC 8460 §3.1, type=test
    //# "v=TLSRPTv1;rua=mailto:reports@example.com"
    #[test]
    fn the_record_names_addresses_of_either_kind() {
        assert_eq!(of(&["v=TLSRPTv1;rua=mailto:reports@example.com"]), ["reports@example.com"]);
        let both =
            "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt, mailto:%22t%2Cr%22@e.example";
        assert_eq!(of(&[both]), ["https://reporting.example.com/v1/tlsrpt", "\"t,r\"@e.example"]);
        assert_eq!(of(&["v=spf1 -all", "v=TLSRPTv1;rua=MAILTO:a@e.example?x=y"]), ["a@e.example"]);
        let many = format!("v=TLSRPTv1;rua={}", ["mailto:a@e.example"; 9].join(","));
        assert_eq!(of(&[&many]).len(), TLS_REPORT_TARGETS_MAX);
    }

    #[test]
    fn what_is_no_record_of_this_kind_names_nobody() {
        for none in [
            &[][..],
            &["v=TLSRPTv1;rua=mailto:a@e.example", "v=TLSRPTv1;rua=mailto:b@e.example"],
            &["v=TLSRPTv2;rua=mailto:a@e.example"],
            &["rua=mailto:a@e.example;v=TLSRPTv1"],
            &["v=TLSRPTv1"],
            &["v=TLSRPTv1;rua="],
            &["v=TLSRPTv1;rua=http://e.example/x"],
            &["v=TLSRPTv1;rua=https:e.example"],
            &["v=TLSRPTv1;rua=https://e.example/a b"],
            &["v=TLSRPTv1;rua=mailto:a"],
            &["v=TLSRPTv1;rua=mailto:a%4"],
            &["v=TLSRPTv1;rua=mailto:a%0d%0ab@e.example"],
            &["v=TLSRPTv1;rua=mailto:a%ff@e.example"],
        ] {
            assert!(of(none).is_empty(), "{none:?}");
        }
        let long = format!("v=TLSRPTv1;rua=https://e.example/{}", "x".repeat(1_100));
        assert!(of(&[&long]).is_empty());
    }
}
