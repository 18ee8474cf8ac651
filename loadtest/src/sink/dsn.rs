//! Read a DSN (RFC 3464) for what became of a load message.
//!
//! In: the whole message. Out: one line a recipient group, with the id that stands in the returned
//! header. A message that is no report, or returns no load header, gives nothing.

use crate::message::{ID_FIELD, ID_LEN};

/// One recipient's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) id: String,
    pub(crate) recipient: String,
    /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
    pub(crate) action: String,
    pub(crate) status: String,
}

/// The reports in `content`.
pub(crate) fn reports(content: &[u8]) -> Vec<Report> {
    let Some(id) = returned_id(content) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut group = Group::default();
    for line in content.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"--") {
            found.extend(std::mem::take(&mut group).report(&id));
            continue;
        }
        group.note(line);
    }
    found.extend(group.report(&id));
    found
}

/// Fields of a group of a message/delivery-status part.
#[derive(Default)]
struct Group {
    recipient: Option<String>,
    action: Option<String>,
    status: Option<String>,
}

impl Group {
    fn note(&mut self, line: &[u8]) {
        if let Some(value) = field(line, "Final-Recipient") {
            let address = value.split_once(';').map_or(value.as_str(), |(_, address)| address);
            self.recipient = Some(address.trim().replace(char::is_whitespace, ""));
        } else if let Some(value) = field(line, "Action") {
            self.action = Some(value.to_ascii_lowercase());
        } else if let Some(value) = field(line, "Status") {
            self.status = value.split_ascii_whitespace().next().map(str::to_owned);
        }
    }

    fn report(self, id: &str) -> Option<Report> {
        Some(Report {
            id: id.to_owned(),
            recipient: self.recipient?,
            action: self.action?,
            status: self.status?,
        })
    }
}

/// The value of field `name` if `line` is it.
fn field(line: &[u8], name: &str) -> Option<String> {
    let (head, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    head.eq_ignore_ascii_case(name.as_bytes())
        .then(|| String::from_utf8_lossy(value).trim().to_owned())
}

/// The id in the returned header: the last one, since the report's own header comes first.
fn returned_id(content: &[u8]) -> Option<String> {
    let at = memchr::memmem::rfind(content, ID_FIELD)? + ID_FIELD.len();
    let id = content.get(at..at + ID_LEN)?;
    id.iter()
        .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
        .then(|| String::from_utf8_lossy(id).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DSN: &str = "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nSorry\r\n\
        --b\r\nContent-Type: message/delivery-status\r\n\r\n\
        Reporting-MTA: dns; relay.example\r\n\r\n\
        Final-Recipient: rfc822; u1@d.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
        final-recipient: RFC822;u2@d.example\r\nAction: Delayed\r\nStatus: 4.4.1 (no)\r\n\r\n\
        --b\r\nContent-Type: text/rfc822-headers\r\n\r\n\
        From: a@b\r\nX-Load-Id: abcdefgh-00000042\r\n\r\n--b--\r\n";

    #[test]
    fn each_recipient_group_is_one_report() {
        let found = reports(DSN.as_bytes());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].id, "abcdefgh-00000042");
        assert_eq!(found[0].recipient, "u1@d.example");
        assert_eq!((found[0].action.as_str(), found[0].status.as_str()), ("failed", "5.1.1"));
        assert_eq!(found[1].recipient, "u2@d.example");
        assert_eq!((found[1].action.as_str(), found[1].status.as_str()), ("delayed", "4.4.1"));
    }

    #[test]
    fn a_report_about_something_else_gives_nothing() {
        let other = DSN.replace("X-Load-Id", "X-Other");
        assert!(reports(other.as_bytes()).is_empty());
        assert!(reports(b"").is_empty());
        assert!(reports(b"X-Load-Id: short").is_empty());
    }

    #[test]
    fn no_prefix_of_a_report_panics() {
        for end in 0..DSN.len() {
            reports(&DSN.as_bytes()[..end]);
        }
    }
}
