//! What comes back: whatever it is, it is read within bounds, and nothing in it passes for a token.
//!
//! Input: a message; its lines may be tokens too.

use std::time::Duration;

use relay_fast::base::limits::{
    FEEDBACK_CANDIDATES_MAX, FEEDBACK_ID_MAX, FEEDBACK_TOLD_MAX, FEEDBACK_WORDS_MAX,
};
use relay_fast::base::time::WallTime;
use relay_fast::mail::address::Mailbox;
use relay_fast::outcome::feedback::{self, Feedback, Form, Kind};
use relay_fast::policy::verp::{Secrets, Use, Verp};

use super::taken::assert_clean;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let read = feedback::read(data);
    assert_bounded(&read);
    assert_eq!(read, feedback::read(data), "the same octets, the same result");
    // What follows a report adds nothing to what it says in fields of its own.
    assert_bounded(&feedback::read(&data[..data.len() / 2]));
    assert_no_token(&String::from_utf8_lossy(data));
}

fn assert_bounded(read: &Feedback) {
    assert!((1..=FEEDBACK_TOLD_MAX).contains(&read.told.len()));
    for told in &read.told {
        assert!(told.text.len() <= FEEDBACK_WORDS_MAX && told.peer.len() <= FEEDBACK_ID_MAX);
        assert_clean(&told.text);
        assert_clean(&told.peer);
        told.recipient.iter().chain(&told.original).for_each(assert_address);
        assert!(told.code.is_none_or(|code| (400..=599).contains(&code)));
        let is_complaint = matches!(told.kind, Kind::Complaint(_));
        assert_eq!(is_complaint, read.form == Form::Arf);
    }
    let traces = &read.traces;
    assert!(traces.recipients.len() <= FEEDBACK_CANDIDATES_MAX);
    traces.recipients.iter().chain(&traces.reverse_path).for_each(assert_address);
    for id in [&traces.message_id, &traces.envelope_id, &traces.feedback_id].into_iter().flatten() {
        assert!(id.len() <= FEEDBACK_ID_MAX);
        assert_clean(id);
    }
}

fn assert_address(address: &Mailbox) {
    assert_clean(address.as_str());
    assert_eq!(Mailbox::parse(address.as_str(), true).as_ref(), Ok(address));
}

/// Nobody guesses 80 bits.
fn assert_no_token(text: &str) {
    let address = Mailbox::parse("bounces@b.example", false).expect("an address");
    let secrets = Secrets::parse(&"x".repeat(40)).expect("secrets").into();
    let verp = Verp::new(address, secrets, Duration::from_secs(86_400)).expect("it fits");
    for line in text.lines().take(16) {
        let checked = verp.check(Use::ReversePath, line, WallTime(0));
        assert!(checked.is_err(), "{line}");
        if let Ok(address) = Mailbox::parse(&format!("bounces+{line}@b.example"), true) {
            assert!(verp.read(&address, WallTime(0)).is_none_or(|read| read.is_err()), "{line}");
        }
    }
}
