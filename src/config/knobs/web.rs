//! Links that lead back to this node, and where they are answered.

use crate::base::limits::WEB_SOON_MAX;
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{SECOND, duration};

pub(in crate::config) const WEB_LISTEN: Knob = Knob {
    path: "web.listen",
    kind: Kind::List { form: "address and port", default: "[]" },
    help: "Where links in messages are answered, apart from the admin address.",
    cost: "a thread, with less right to a CPU than mail; anyone may ask there",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const WEB_HOST: Knob = Knob {
    path: "web.host",
    kind: Kind::Text { form: "host name", default: "none: no links" },
    help: "The host of links, as https://HOST/…; `listen`, or a proxy of it, is there.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WEB_SECRETS: Knob = Knob {
    path: "web.secrets",
    kind: Kind::Text { form: "path", default: "none" },
    help: "File of what seals links, a secret a line: the first one seals, all of them open.",
    cost: "trust: who knows one can make links of this node, and read them",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WEB_CERTIFICATE: Knob = Knob {
    path: "web.certificate",
    kind: Kind::Text { form: "path", default: "none: a proxy speaks TLS" },
    help: "PEM file: the certificate for TLS at `listen`, then its chain.",
    cost: "a handshake a connection",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WEB_KEY: Knob = Knob {
    path: "web.key",
    kind: Kind::Text { form: "path", default: "none" },
    help: "PEM file of its private key; nobody but its owner and group may read it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WEB_SOON: Knob = Knob {
    path: "web.machine_within",
    kind: Kind::Duration { default: duration(5 * SECOND), least: duration(0), most: WEB_SOON_MAX },
    help: "Whatever opens a message or follows its links so soon after it was taken is a machine.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WEB_DO_NOT_TRACK: Knob = Knob {
    path: "web.do_not_track",
    kind: Kind::Choice { default: "honour", words: &["honour", "ignore"] },
    help: "Of a browser that says `DNT: 1` or `Sec-GPC: 1` no opening and no click is told.",
    cost: "events of people who ask for that",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_UNSUBSCRIBE: Knob = Knob {
    path: "tenant[].unsubscribe",
    kind: Kind::Choice { default: "off", words: &["off", "check", "add"] },
    help: "One-click unsubscribe (RFC 8058): refuse what lacks it, or add it to what is for one.",
    cost: "the header is held until it is whole; a seal a message",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_TRACKING: Knob = Knob {
    path: "tenant[].tracking",
    kind: Kind::Choice { default: "off", words: &["off", "opens", "clicks", "all"] },
    help: "Tell when its messages are opened, by a picture, and when their links are followed.",
    cost: "512 KiB of a message in memory until its end; CPU by the octet of HTML, a seal a link",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_TRACKING_HOST: Knob = Knob {
    path: "tenant[].tracking_host",
    kind: Kind::Text { form: "host name", default: "web.host" },
    help: "The host that its links name, in place of `web.host`; links are good there alone.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
