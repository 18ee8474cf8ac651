//! What has to be said by those who may do less than everything.

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const TOKEN_NAME: Knob = Knob {
    path: "token[].name",
    kind: Kind::Text { form: "name", default: "required" },
    help: "What the log calls who says this token.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TOKEN_FILE: Knob = Knob {
    path: "token[].file",
    kind: Kind::Text { form: "path", default: "required" },
    help: "File with a secret, said over TCP as `Authorization: Bearer` like `[admin] token`.",
    cost: "trust: who knows it may do what `role` says",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TOKEN_ROLE: Knob = Knob {
    path: "token[].role",
    kind: Kind::Choice { default: "read", words: &["read", "inject", "operate"] },
    help: "`read`: look at everything; `inject`: hand in mail, nothing else; `operate`: all.",
    cost: "trust",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TOKEN_TENANT: Knob = Knob {
    path: "token[].tenant",
    kind: Kind::Text { form: "name", default: "none: the request says it" },
    help: "Whose mail it is that comes in by this token, and nobody else's; with `inject` alone.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
