//! What is signed: keys and the domains that they sign for.

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const DKIM_DOMAIN: Knob = Knob {
    path: "dkim[].domain",
    kind: Kind::Text { form: "domain", default: "required" },
    help: "Mail from this domain (its `From:`, else its reverse-path) is signed for it.",
    cost: "CPU: 0.2 ms a message for RSA, 0.02 ms for Ed25519; two keys make two signatures",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DKIM_SELECTOR: Knob = Knob {
    path: "dkim[].selector",
    kind: Kind::Text { form: "name", default: "required" },
    help: "The public key stands in DNS at `selector._domainkey.domain`: `relay-fast dkim record`.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DKIM_KEY: Knob = Knob {
    path: "dkim[].key",
    kind: Kind::Text { form: "path", default: "required" },
    help: "PEM file of the private key; nobody but its owner and group may read it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DKIM_IDENTITIES: Knob = Knob {
    path: "dkim[].identities",
    kind: Kind::List { form: "name", default: "[]" },
    help: "Sign only what clients send who have logged in under one of these names.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DKIM_TENANTS: Knob = Knob {
    path: "dkim[].tenants",
    kind: Kind::List { form: "name", default: "[]" },
    help: "Sign only what is sent for one of these tenants, however that is known.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ARC_DOMAIN: Knob = Knob {
    path: "arc.domain",
    kind: Kind::Text { form: "domain", default: "none: nothing is sealed" },
    help: "Mail that is verified is sealed for it (ARC), by its key of `[[dkim]]`.",
    cost: "CPU: two signatures a message, 0.4 ms for RSA",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DKIM_SUBDOMAINS: Knob = Knob {
    path: "dkim[].subdomains",
    kind: Kind::Choice { default: "no", words: &["no", "yes"] },
    help: "Whether it signs for domains below too, where those have no key of their own.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
