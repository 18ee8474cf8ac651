//! TLS-RPT (RFC 8460): somebody is told where TLS to the domain's MX hosts fails.

use crate::policy::domain_check::Subject;
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::Known;
use crate::policy::domain_check::mx::{Mail, mail};
use crate::policy::domain_check::reports::{Target, targets};
use crate::policy::domain_check::tags::{Tags, begins};
use crate::policy::zone::Record;

const RECORD: &str = "RFC 8460 §3";

pub(super) fn check(subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
    let name = format!("_smtp._tls.{}", subject.domain);
    let finding = |status, found: &str| Finding::new(Topic::TlsRpt, &name, status, found, RECORD);
    let right = || {
        let text = format!("v=TLSRPTv1; rua=mailto:postmaster@{}", subject.domain);
        Record::txt(&name, &text)
    };
    let (mail, texts) = (mail(subject, known), known.texts(&name));
    let (mail, texts) = (mail?, texts?);
    if matches!(mail, Mail::Null) {
        return Some(vec![finding(Status::Info, "not needed: it takes no mail")]);
    }
    let texts = match texts {
        Err(reason) => return Some(vec![finding(Status::Unchecked, reason)]),
        Ok(texts) => texts,
    };
    let records: Vec<_> = texts.into_iter().filter(|text| begins(text, "v", "TLSRPTv1")).collect();
    Some(vec![match records.as_slice() {
        [] => finding(Status::Warn, "nobody is told where TLS to it fails").add([right()]),
        [one] => match trouble(one) {
            None => finding(Status::Pass, &String::from_utf8_lossy(one)),
            Some(trouble) => finding(Status::Fail, &trouble).instead(right()),
        },
        //= RFC 8460 §3
        //# If the number of resulting records is not one, senders MUST assume the recipient domain
        //# does not implement TLSRPT.
        several => {
            let found = format!("{} records, so none counts", several.len());
            finding(Status::Fail, &found).instead(right())
        }
    }])
}

/// What is wrong with a record.
fn trouble(record: &[u8]) -> Option<String> {
    let tags = match Tags::parse(record) {
        Err(error) => return Some(format!("the record is malformed: {error}")),
        Ok(tags) => tags,
    };
    let Some(rua) = tags.find("rua") else { return Some("the record has no rua=".to_owned()) };
    targets(rua).find_map(|target| match target {
        Target::Other(uri) => Some(format!("rua={uri} is neither mailto: nor https:")),
        Target::Mail(_) | Target::Web => None,
    })
}
