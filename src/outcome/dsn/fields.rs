//! Write the part of a DSN that machines read (RFC 3464 §2, RFC 6533 §3).

use crate::outcome::dsn::lines::Lines;
use crate::outcome::dsn::{Action, DsnRecipient, DsnRequest};

/// The per-message fields, then a block for each recipient.
pub(super) fn write(request: &DsnRequest<'_>, utf8: bool) -> Vec<u8> {
    let mut lines = Lines::new(utf8);
    //= RFC 3461 §6.3
    //# if an ENVID … was present … an Original-Envelope-Id field MUST be supplied
    if let Some(envelope_id) = &request.envelope.envelope_id {
        lines.field("Original-Envelope-Id", envelope_id);
    }
    lines.field("Reporting-MTA", &format!("dns; {}", request.hostname));
    lines.field("X-Relay-Fast-Message-ID", &request.original_id.to_string());
    lines.field("Arrival-Date", &request.arrival.to_rfc5322());
    // RFC 2852.
    let handling = request.envelope.handling.as_ref();
    if let Some(by) = handling.and_then(|handling| handling.deliver_by) {
        lines.field("Deliver-By-Date", &by.at.to_rfc5322());
    }
    for about in request.recipients {
        lines.blank();
        write_recipient(request, about, &mut lines);
    }
    lines.into_octets()
}

fn write_recipient(request: &DsnRequest<'_>, about: &DsnRecipient<'_>, lines: &mut Lines) {
    //= RFC 3461 §6.3
    //# if no ORCPT … was present, the Original-Recipient field MUST NOT appear
    if let Some(original) = &about.recipient.original {
        lines.field("Original-Recipient", &format!("{}; {}", original.kind, original.address));
    }
    let address = about.recipient.forward_path.as_str();
    let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
    lines.field("Final-Recipient", &format!("{kind}; {address}"));
    let action = match request.action {
        Action::Failed => "failed",
        Action::Delayed => "delayed",
        Action::Relayed => "relayed",
        Action::Delivered => "delivered",
    };
    lines.field("Action", action);
    lines.field("Status", &about.reason.status.to_string());
    if let Some(host) = remote_host(&about.reason.peer) {
        lines.field("Remote-MTA", &format!("dns; {host}"));
    }
    match &about.reason.reply {
        Some(reply) => {
            // As it came, line by line; Display would join the lines.
            let status = reply.enhanced.map(|status| format!("{status} ")).unwrap_or_default();
            let text = format!("smtp; {} {status}{}", reply.code, reply.text);
            lines.field("Diagnostic-Code", &text);
        }
        None if about.reason.detail.is_empty() => {}
        None => lines.field("Diagnostic-Code", &format!("X-relay-fast; {}", about.reason.detail)),
    }
    lines.field("Last-Attempt-Date", &about.attempted.to_rfc5322());
    if request.action == Action::Delayed {
        lines.field("Will-Retry-Until", &request.expires.to_rfc5322());
    }
}

/// The host's name in `name[address]:port`; its address where it has none.
fn remote_host(peer: &str) -> Option<&str> {
    let name = peer.split('[').next().unwrap_or(peer);
    let host =
        if name.is_empty() { peer.rsplit_once(':').map_or(peer, |(host, _)| host) } else { name };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remote_host_is_its_name_or_else_its_address() {
        assert_eq!(remote_host("mx1.example.net[192.0.2.1]:25"), Some("mx1.example.net"));
        assert_eq!(remote_host("[192.0.2.1]:25"), Some("[192.0.2.1]"));
        assert_eq!(remote_host("mx1.example.net"), Some("mx1.example.net"));
        assert_eq!(remote_host(""), None);
    }
}
