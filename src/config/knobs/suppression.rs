//! To whom nothing is sent.

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const SUPPRESSION_AT: Knob = Knob {
    path: "suppression.at",
    kind: Kind::Choice { default: "off", words: &["off", "rcpt", "queue"] },
    help: "Refuse recipients on a suppression list at RCPT, or take them and give them up unsent.",
    cost: "memory: 4 octets an entry at most, and 64 MiB of the store's pages; a thread",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SUPPRESSION_COMPLAINTS: Knob = Knob {
    path: "suppression.complaints",
    kind: Kind::Choice { default: "add", words: &["add", "ignore"] },
    help: "Whoever complains is put on the list, where the report's token says of which recipient.",
    cost: "where complaints come back (`[complaints]`), the event log is read as it is written",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SUPPRESSION_HARD_BOUNCES: Knob = Knob {
    path: "suppression.hard_bounces",
    kind: Kind::Text { form: "`N in` duration", default: "off" },
    help: "An address is put on the list once it bounced so often in so long, as `3 in 30d`.",
    cost: "the event log is read as it is written; some 60 octets of disk for each that bounced",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SUPPRESSION_UNSUBSCRIBES: Knob = Knob {
    path: "suppression.unsubscribes",
    kind: Kind::Choice { default: "add", words: &["add", "ignore"] },
    help: "Whoever unsubscribes by a link of ours is put on the list of the message's tenant.",
    cost: "where there are links (`[web]`), the event log is read as it is written",
    takes_effect: TakesEffect::Reload,
};
