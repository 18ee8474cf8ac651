//! Write a report: JSON (RFC 8460 §4.4), compressed, and the message that carries it (§5.3).

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use mail_auth::report::tlsrpt::{DateRange, TlsReport};
use serde_json::Value;

use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::policy::tls_report::ledger::Due;

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// Reports that go by mail are from it.
    pub from: Mailbox,
    /// In words.
    pub organization: Box<str>,
    /// Whom to ask. Its domain is whose report it is.
    pub contact: Mailbox,
}

/// A report as it goes out.
#[derive(Clone, Debug)]
pub struct Report {
    content: TlsReport,
    domain: String,
    reporter: Reporter,
    /// JSON, compressed by gzip.
    pub compressed: Vec<u8>,
}

impl Report {
    /// What is due, by this reporter. The same is always the same report: whoever gets it twice can
    /// tell by its id.
    pub fn new(due: &Due, reporter: &Reporter) -> io::Result<Self> {
        let seconds = |time: WallTime| time.0 / 1_000;
        let submitter = reporter.contact.domain();
        // The end is the last second within.
        let (begin, end) = (seconds(due.begin), seconds(due.end).saturating_sub(1));
        let content = TlsReport {
            organization_name: Some(reporter.organization.to_string()),
            date_range: DateRange::from_timestamps(begin, end.max(begin)),
            contact_info: Some(reporter.contact.as_str().to_owned()),
            report_id: format!("{begin}.{}@{submitter}", due.domain),
            policies: due.policies.clone(),
        };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(json(&content)?.as_bytes())?;
        let compressed = encoder.finish()?;
        let (domain, reporter) = (due.domain.clone(), reporter.clone());
        Ok(Self { content, domain, reporter, compressed })
    }

    //= RFC 8460 §5.3
    //# The TLS-Report-Submitter value MUST match the value found in the [RFC5321] domain from the
    //# contact-info from the report body. … Note that, when sending failure reports via SMTP,
    //# sending MTAs MUST NOT honor MTA-STS or DANE TLSA failures.
    /// The message that carries it to `to`.
    pub fn message(&self, to: &str) -> io::Result<Vec<u8>> {
        let mut message = b"TLS-Required: No\r\n".to_vec();
        let submitter = self.reporter.contact.domain().as_str();
        let (from, to) = (self.reporter.from.as_str(), std::iter::once(to));
        let content = &self.content;
        content.write_rfc5322_from_bytes(
            &self.domain,
            submitter,
            from,
            to,
            &self.compressed,
            &mut message,
        )?;
        Ok(message)
    }
}

/// Without fields that have nothing to say: a reader by the letter of §4.4 has no `null`.
fn json(report: &TlsReport) -> io::Result<String> {
    let mut value = serde_json::to_value(report)?;
    drop_empty(&mut value);
    Ok(value.to_string())
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_empty = |field: &Value| {
                field.is_null() || field.as_array().is_some_and(|list| list.is_empty())
            };
            fields.retain(|name, field| name == "policies" || !is_empty(field));
            fields.values_mut().for_each(drop_empty);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_empty),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
