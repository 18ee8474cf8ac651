//! What comes back about mail that has left.

use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{DAY, duration};

pub(in crate::config) const BOUNCE_ADDRESS: Knob = Knob {
    path: "bounces.address",
    kind: Kind::Text { form: "mail address", default: "none: reverse-paths leave as they came" },
    help: "Reverse-paths lead to it, as `bounces+TOKEN@…`; what comes back there is taken in.",
    cost: "an HMAC a transaction out",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BOUNCE_SECRETS: Knob = Knob {
    path: "bounces.secrets",
    kind: Kind::Text { form: "path", default: "required with `address`" },
    help: "File of what signs tokens: the first line does, the others are of before.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BOUNCE_VERP: Knob = Knob {
    path: "bounces.verp",
    kind: Kind::Choice { default: "message", words: &["off", "message", "recipient"] },
    help: "What a token says: the message (its recipient too, where it has one), or always both.",
    cost: "`recipient`: a transaction for each recipient",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BOUNCE_LIFETIME: Knob = Knob {
    path: "bounces.lifetime",
    kind: Kind::Duration {
        default: duration(30 * DAY),
        least: duration(DAY),
        most: duration(365 * DAY),
    },
    help: "A token is good for so long; later, RCPT is answered 550.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BOUNCE_CLASSIC: Knob = Knob {
    path: "bounces.classic",
    kind: Kind::Choice { default: "no", words: &["no", "yes"] },
    help: "Take in `list+user=example.com@` of that domain too, which anyone can make up.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BOUNCE_FORWARD: Knob = Knob {
    path: "bounces.forward_to",
    kind: Kind::Text { form: "mail address", default: "none: it ends as an event" },
    help: "What comes back goes there too, as it came.",
    cost: "a delivery each",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const COMPLAINT_ADDRESSES: Knob = Knob {
    path: "complaints.addresses",
    kind: Kind::List { form: "mail address", default: "[]" },
    help: "Feedback reports (ARF) to these are taken in.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const COMPLAINT_CFBL: Knob = Knob {
    path: "complaints.cfbl",
    kind: Kind::Choice { default: "no", words: &["no", "yes"] },
    help: "Clients' messages get CFBL-Address, the first of these, and CFBL-Feedback-ID.",
    cost: "an HMAC and 120 bytes a message",
    takes_effect: TakesEffect::Reload,
};
