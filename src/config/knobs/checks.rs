//! What a relay checks by itself before milters see anything.

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const LISTENER_CHECKS: Knob = Knob {
    path: "listener[].checks",
    kind: Kind::Choice { default: "off", words: &["off", "log", "reject"] },
    help: "Check the form of each message's header section (RFC 5322), and types of attachments.",
    cost: "reject: mail of careless programs is refused, with a reply that says why",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const REFUSE_ATTACHMENTS: Knob = Knob {
    path: "checks.refuse_attachments",
    kind: Kind::List { form: "extension", default: "[]" },
    help: "Types of attachments that `listener[].checks` is against: `exe`, `js`, by file name.",
    cost: "each part's header is read",
    takes_effect: TakesEffect::Reload,
};
