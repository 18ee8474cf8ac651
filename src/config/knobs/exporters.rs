//! Who is handed the event log.

use crate::base::limits::{EXPORT_BATCH_DEFAULT, EXPORT_BATCH_MAX};
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{MINUTE, SECOND, duration};

pub(in crate::config) const EXPORTER_NAME: Knob = Knob {
    path: "exporter[].name",
    kind: Kind::Text { form: "name", default: "required" },
    help: "What it is called: in metrics, and where it is kept how far it came.",
    cost: "another name begins anew",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_KIND: Knob = Knob {
    path: "exporter[].kind",
    kind: Kind::Text { form: "`file`, `webhook`, `nats`, `amqp` or `kafka`", default: "required" },
    help: "How events are handed over, each at least once.",
    cost: "reading the event log; no mail waits for it",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_TO: Knob = Knob {
    path: "exporter[].to",
    kind: Kind::Text { form: "path, URL or list of servers", default: "required" },
    help: "Where to: a path, `https://…`, `tls://…` (NATS and Kafka), `amqps://…`.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_WHERE: Knob = Knob {
    path: "exporter[].where",
    kind: Kind::Text { form: "terms", default: "all events" },
    help: "Which events, as `relay-fast events --where` has it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_FROM: Knob = Knob {
    path: "exporter[].from",
    kind: Kind::Choice { default: "start", words: &["start", "end"] },
    help: "Where it begins when it is new: with the oldest event there is, or with new ones alone.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_BATCH: Knob = Knob {
    path: "exporter[].batch",
    kind: Kind::Count {
        unit: "events",
        default: Some(EXPORT_BATCH_DEFAULT as u64),
        least: 1,
        most: EXPORT_BATCH_MAX as u64,
    },
    help: "Events that are handed over together at most.",
    cost: "more come again after a crash",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_TIMEOUT: Knob = Knob {
    path: "exporter[].timeout",
    kind: Kind::Duration {
        default: duration(30 * SECOND),
        least: duration(SECOND),
        most: duration(5 * MINUTE),
    },
    help: "How long a batch may take before it is tried again.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_SECRET: Knob = Knob {
    path: "exporter[].secret",
    kind: Kind::Text { form: "path", default: "required for `webhook`" },
    help: "The file of what a webhook is signed with: lines of `whsec_` and base64.",
    cost: "each line is another signature: the old one and the new, while it changes",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_SUBJECT: Knob = Knob {
    path: "exporter[].subject",
    kind: Kind::Text { form: "NATS subject", default: "relay-fast.events" },
    help: "What events are published under in NATS; `{kind}` stands for each one's kind.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_CREDENTIALS: Knob = Knob {
    path: "exporter[].credentials",
    kind: Kind::Text { form: "path", default: "required for `amqp`" },
    help: "The file of who this node is: to NATS its `.creds`, else one line `name:password`.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_TOPIC: Knob = Knob {
    path: "exporter[].topic",
    kind: Kind::Text { form: "Kafka topic", default: "relay-fast.events" },
    help: "The topic of Kafka that events are published to, there already; `{kind}` is each one's.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_VHOST: Knob = Knob {
    path: "exporter[].vhost",
    kind: Kind::Text { form: "name", default: "/" },
    help: "The virtual host of AMQP that the exchange is in.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_EXCHANGE: Knob = Knob {
    path: "exporter[].exchange",
    kind: Kind::Text { form: "name", default: "required for `amqp`" },
    help: "The exchange of AMQP that events are published to; it is there already.",
    cost: "an event that it routes to no queue is a failure, and is tried again",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const EXPORTER_ROUTING_KEY: Knob = Knob {
    path: "exporter[].routing_key",
    kind: Kind::Text { form: "AMQP routing key", default: "relay-fast.{kind}" },
    help: "What events are routed by in AMQP; `{kind}` stands for each one's kind.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
