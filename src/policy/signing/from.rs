//! Whom a message says it is from: the domain that its `From:` field names.

use mail_parser::parsers::MessageStream;

use crate::mail::address::Domain;
use crate::policy::canonical::header::fields;

/// The domain of the first mailbox of the `From:` field, if it is one; `None` where there is no
/// such field, or more than one (RFC 5322 §3.6: exactly one).
pub(super) fn from_domain(header: &[u8]) -> Option<Option<Domain>> {
    let mut all = fields(header).filter(|field| field.is("From"));
    let from = all.next()?;
    if all.next().is_some() {
        return None;
    }
    let value = MessageStream::new(from.value).parse_address();
    let mailbox = value.as_address().and_then(|list| list.first());
    let text = mailbox.and_then(|mailbox| mailbox.address());
    let domain = text.and_then(|text| text.rsplit_once('@'));
    Some(domain.and_then(|(_, domain)| Domain::parse(domain).ok()))
}
