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

pub(in crate::config) const BLOCK_LIST_ZONE: Knob = Knob {
    path: "block_list[].zone",
    kind: Kind::Text { form: "domain", default: "required" },
    help: "A block list (RFC 5782) that is asked about clients which may not relay.",
    cost: "a question to DNS a list and stranger; RCPT waits for it, 5s at most",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BLOCK_LIST_OF: Knob = Knob {
    path: "block_list[].of",
    kind: Kind::Choice { default: "client", words: &["client", "sender", "hello", "url"] },
    help: "Asked for the client's address, the reverse-path, EHLO's name, or domains of URLs.",
    cost: "sender, url: strangers choose what is asked; url: text is decoded and looked through",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BLOCK_LIST_ANSWERS: Knob = Knob {
    path: "block_list[].answers",
    kind: Kind::List {
        form: "addresses or ranges in 127.0.0.0/8",
        default: "[\"127.0.0.2-127.254.255.255\"]",
    },
    help: "Answers that mean that somebody is on it; any other means nothing.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BLOCK_LIST_ACTION: Knob = Knob {
    path: "block_list[].action",
    kind: Kind::Choice { default: "reject", words: &["reject", "log"] },
    help: "Answer each RCPT of who is on it with 550, but those of a postmaster, or only tell.",
    cost: "reject: trust in whoever keeps the list",
    takes_effect: TakesEffect::Reload,
};
