//! Who may ask and steer a node.

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const ADMIN_LISTEN: Knob = Knob {
    path: "admin.listen",
    kind: Kind::List {
        form: "address and port, or `unix:` and a path",
        default: "[\"127.0.0.1:8025\"]",
    },
    help: "Where metrics, health and `relay-fast queue` are answered.",
    cost: "whoever may ask can empty the queue; beyond loopback a token or `client_ca` is needed",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const ADMIN_GROUP: Knob = Knob {
    path: "admin.group",
    kind: Kind::Text { form: "name", default: "none: the owner alone" },
    help: "The group that may use the Unix sockets.",
    cost: "trust: each of them can empty the queue",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const ADMIN_TOKEN: Knob = Knob {
    path: "admin.token",
    kind: Kind::Text { form: "path", default: "none" },
    help: "File with a secret, asked for over TCP as `Authorization: Bearer`, loopback included.",
    cost: "trust: who knows it can empty the queue",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ADMIN_HOSTS: Knob = Knob {
    path: "admin.hosts",
    kind: Kind::List { form: "host names, addresses", default: "[]" },
    help: "What `Host` may say beside `localhost`, `hostname` and the address that was connected.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ADMIN_CERTIFICATE: Knob = Knob {
    path: "admin.certificate",
    kind: Kind::Text { form: "path", default: "none: no TLS" },
    help: "PEM file: the certificate for TLS beyond loopback, then its chain.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ADMIN_KEY: Knob = Knob {
    path: "admin.key",
    kind: Kind::Text { form: "path", default: "none" },
    help: "PEM file of its private key; nobody but its owner and group may read it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ADMIN_CLIENT_CA: Knob = Knob {
    path: "admin.client_ca",
    kind: Kind::Text { form: "path", default: "nobody" },
    help: "PEM file of authorities: beyond loopback a certificate of theirs is required.",
    cost: "trust: who has such a certificate can empty the queue",
    takes_effect: TakesEffect::Reload,
};
