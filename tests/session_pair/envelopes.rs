//! Envelopes: addresses and parameters arrive as they were given, or are refused before they leave.

use relay_fast::mail::address::ForwardPath;
use relay_fast::mail::envelope::{Envelope, Notify, OriginalRecipient, Ret};
use relay_fast::smtp::extension::Offered;

use crate::sender::{envelope, transaction};
use crate::session_pair::conversation::Conversation;
use crate::session_pair::pair::Outcome;

const TEXT: &str = "Subject: x\r\n\r\n.\r\n";

/// `envelope` is sent, and it arrives as it is.
#[track_caller]
fn arrives(envelope: Envelope, told: &[&str]) -> Outcome {
    let recipients: Vec<_> =
        envelope.recipients.iter().map(|it| it.forward_path.as_str()).collect();
    let outcome = Conversation::new()
        .begins_with(transaction(envelope.clone(), TEXT.as_bytes()), TEXT.as_bytes())
        .delivers(&recipients, TEXT)
        .tells(told);
    assert_eq!(outcome.messages[0].envelope, envelope);
    outcome
}

const STORED: &[&str] = &["ready", "settled 0 stored", "ready"];

//= RFC 5321 §2.4, type=test
//# SMTP implementations MUST take care to preserve the case of mailbox local-parts.
//= RFC 5321 §2.3.11, type=test
//# the local-part MUST be interpreted and assigned semantics only by the host specified in the
//# domain part of the address
#[test]
fn addresses_arrive_as_they_were_written() {
    let addresses = [
        "Joe.B@B.Example",
        "\"a b\"@b.example",
        "\"<x>@,;:\\\"\\\\\"@b.example",
        "\"\"@b.example",
        "a%evil.example@b.example",
        "\"a@evil.example\"@b.example",
        "!#$%&'*+-/=?^_`{|}~@b.example",
        "r@[192.0.2.1]",
        "r@[IPv6:2001:db8::1]",
        "r@localhost",
    ];
    let stored: Vec<String> = (0..addresses.len()).map(|n| format!("{n} stored")).collect();
    let settled = format!("settled {}", stored.join(", "));
    arrives(envelope(&addresses), &["ready", &settled, "ready"]);
}

#[test]
fn the_bare_postmaster_arrives() {
    let mut postmaster = envelope(&["r@b.example"]);
    postmaster.recipients[0].forward_path = ForwardPath::Postmaster;
    arrives(postmaster, STORED);
}

//= RFC 3461 §5.2.1, type=test
//# Any ENVID parameter included in the MAIL command when a message was received, MUST also appear
//# on the MAIL command with which the message is relayed, with the same associated esmtp-value.
//= RFC 3461 §5.2.1, type=test
//# If any ORCPT parameter was present in the RCPT command for a recipient when the message was
//# received, an ORCPT parameter with the identical original-recipient-address MUST appear in the
//# RCPT command issued for that recipient when relaying the message.
#[test]
fn delivery_status_parameters_arrive() {
    let original = |kind: &str, address: &str| {
        Some(OriginalRecipient { kind: kind.into(), address: address.into() })
    };
    let when = |success, failure, delay| Notify::When { success, failure, delay };
    let mut asked = envelope(&["a@b.example", "b@b.example", "c@b.example", "d@b.example"]);
    asked.ret = Some(Ret::Headers);
    asked.envelope_id = Some("id=1+2 ~!\\".into());
    asked.recipients[0].notify = Notify::Never;
    asked.recipients[0].original = original("rfc822", "\"a+b =c\"@b.example");
    asked.recipients[1].notify = when(true, false, true);
    asked.recipients[1].original = original("x400", "/C=us/;x");
    asked.recipients[2].notify = when(false, true, false);
    asked.recipients[2].original = original("utf-8", "\\x{159}eka@b.example");
    asked.recipients[3].notify = when(true, true, true);
    let told = "settled 0 stored, 1 stored, 2 stored, 3 stored";
    let outcome = arrives(asked, &["ready", told, "ready"]);
    assert!(outcome.up.contains(" RET=HDRS ENVID=id+3D1+2B2+20~!\\\r\n"), "{}", outcome.up);
    assert!(outcome.up.contains(" NOTIFY=SUCCESS,DELAY ORCPT=x400;/C+3Dus/;x\r\n"));
    assert!(outcome.up.contains(" NOTIFY=FAILURE ORCPT=utf-8;\\x{159}eka@b.example\r\n"));
}

//= RFC 6531 §3.4, type=test
//# If the envelope or message being sent requires the capabilities of the SMTPUTF8 extension, the
//# SMTPUTF8-aware SMTP client MUST supply the SMTPUTF8 parameter with the MAIL command.
#[test]
fn internationalized_addresses_arrive() {
    let mut wide = envelope(&["řeka@příklad.example", "\"ř k\"@b.example", "r@b.example"]);
    wide.smtp_utf8 = true;
    let told = "settled 0 stored, 1 stored, 2 stored";
    let outcome = arrives(wide, &["ready", told, "ready"]);
    assert!(outcome.up.contains(" SMTPUTF8\r\n"), "{}", outcome.up);
}

//= RFC 6531 §3.2, type=test
//# If the SMTPUTF8 SMTP extension is not offered by the SMTP server, the SMTPUTF8-aware SMTP client
//# MUST NOT transmit an internationalized email address
#[test]
fn internationalized_addresses_stay_where_they_are_not_understood() {
    let mut wide = envelope(&["řeka@b.example", "r@b.example"]);
    wide.smtp_utf8 = true;
    let outcome = Conversation::new()
        .server(|options| options.extensions = Offered { smtp_utf8: false, ..Offered::ALL })
        .begins_with(transaction(wide, TEXT.as_bytes()), TEXT.as_bytes())
        .delivers(&["r@b.example"], TEXT)
        .tells(&["ready", "settled 0 MAIL 5.6.7 does not offer SMTPUTF8, 1 stored", "ready"]);
    assert!(outcome.up.is_ascii() && !outcome.up.contains("SMTPUTF8"), "{}", outcome.up);
}

//= RFC 9422 §4.2, type=test
//# RCPTMAX … specifies … the maximum number of RCPT TO commands the server will accept in a single
//# transaction
#[test]
fn more_recipients_than_a_transaction_takes_go_in_several() {
    let names: Vec<String> = (0..5).map(|number| format!("r{number}@b.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stored: Vec<String> = (0..5).map(|number| format!("{number} stored")).collect();
    Conversation::new()
        .server(|options| options.recipients_max = 2)
        .begins("s@a.example", &names, TEXT)
        .delivers(&names[..2], TEXT)
        .delivers(&names[2..4], TEXT)
        .delivers(&names[4..], TEXT)
        .tells(&["ready", &format!("settled {}", stored.join(", ")), "ready"]);
}
