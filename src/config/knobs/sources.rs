//! Where mail leaves from: sources, pools of them, and whose mail is whose.

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const SOURCE_NAME: Knob = Knob {
    path: "source[].name",
    kind: Kind::Text { form: "name", default: "its address" },
    help: "What pools and shaping rules call it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_ADDRESS: Knob = Knob {
    path: "source[].address",
    kind: Kind::Text { form: "IP address", default: "the kernel's choice" },
    help: "A local address that mail leaves from.",
    cost: "each needs a reputation of its own",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_HELLO: Knob = Knob {
    path: "source[].hello",
    kind: Kind::Text { form: "host name", default: "`hostname`" },
    help: "What EHLO says from there; its PTR record should agree.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_CERTIFICATE: Knob = Knob {
    path: "source[].certificate",
    kind: Kind::Text { form: "path", default: "none" },
    help: "PEM file: the certificate shown from there to peers that ask for one, then its chain.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_KEY: Knob = Knob {
    path: "source[].key",
    kind: Kind::Text { form: "path", default: "none" },
    help: "PEM file of its private key; nobody but its owner and group may read it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_PROXY: Knob = Knob {
    path: "source[].proxy",
    kind: Kind::Text { form: "proxy", default: "none" },
    help: "`socks5://ADDRESS:PORT` or `haproxy://ADDRESS:PORT`: what connects, from `address`.",
    cost: "a proxy on the way of each connection, and one or two round trips to it",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_PROXY_LOGIN: Knob = Knob {
    path: "source[].proxy_login",
    kind: Kind::Text { form: "path", default: "none" },
    help: "File with one line `name:password` for a SOCKS5 proxy; others may not read it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_WARM_UP: Knob = Knob {
    path: "source[].warm_up",
    kind: Kind::Text { form: "name", default: "none" },
    help: "The plan by which it is warmed up: `default` comes with the program.",
    cost: "what is more than the day's number leaves from other sources, or waits for the next day",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SOURCE_WARM_UP_FROM: Knob = Knob {
    path: "source[].warm_up_from",
    kind: Kind::Text { form: "date", default: "required with `warm_up`" },
    help: "Day 1 of its plan, as `2026-11-01`; before that nothing leaves from it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WARM_UP_NAME: Knob = Knob {
    path: "warm_up[].name",
    kind: Kind::Text { form: "name", default: "required" },
    help: "Of a plan to warm sources up by; of several of one name all but one have a `provider`.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WARM_UP_PROVIDER: Knob = Knob {
    path: "warm_up[].provider",
    kind: Kind::Text { form: "name", default: "all others" },
    help: "Whom these days are for: the name of a `[[provider]]` in the shaping rules.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const WARM_UP_DAYS: Knob = Knob {
    path: "warm_up[].days",
    kind: Kind::List { form: "messages", default: "required" },
    help: "Messages to each provider on day 1, 2 and so on: `[50, 100, 200]`; then it is warm.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const POOL_NAME: Knob = Knob {
    path: "pool[].name",
    kind: Kind::Text { form: "name", default: "required" },
    help: "Of a pool of sources. `default` is for mail of which nothing else says its pool.",
    cost: "for each pool whose mail goes to a site: connections of its own, and some 2 KiB",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const POOL_SOURCES: Knob = Knob {
    path: "pool[].sources",
    kind: Kind::List { form: "source[*weight]", default: "required" },
    help: "Names or addresses of its sources; connections are shared by weight, 1 if none is said.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ROUTE_POOL: Knob = Knob {
    path: "route[].pool",
    kind: Kind::Text { form: "name", default: "none" },
    help: "The pool that mail to these domains leaves from, unless its sender has one.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_POOL: Knob = Knob {
    path: "tenant[].pool",
    kind: Kind::Text { form: "name", default: "none" },
    help: "The pool that its mail leaves from, wherever it goes.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_POOL: Knob = Knob {
    path: "campaign[].pool",
    kind: Kind::Text { form: "name", default: "its tenant's" },
    help: "The pool that its mail leaves from, wherever it goes.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
