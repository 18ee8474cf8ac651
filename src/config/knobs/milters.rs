//! Who is asked about what comes in: milters.

use crate::base::limits::MILTER_CONNECTIONS_MAX;
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{MINUTE, SECOND, duration};

pub(in crate::config) const MILTER_NAME: Knob = Knob {
    path: "milter[].name",
    kind: Kind::Text { form: "name", default: "required" },
    help: "What the event log and the log call it. Milters are asked in the file's order.",
    cost: "a message is kept in memory until all of them have spoken",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_ADDRESS: Knob = Knob {
    path: "milter[].address",
    kind: Kind::Text { form: "milter address", default: "required" },
    help: "Where it listens: `127.0.0.1:11332`, `inet:8891@127.0.0.1` or `unix:/run/x.sock`.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_LISTENERS: Knob = Knob {
    path: "milter[].listeners",
    kind: Kind::List { form: "address and port", default: "all listeners" },
    help: "The listeners, by their addresses, whose messages it is asked about.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_ON_FAILURE: Knob = Knob {
    path: "milter[].on_failure",
    kind: Kind::Choice { default: "tempfail", words: &["accept", "tempfail", "reject"] },
    help: "Where it cannot be asked: go on without it, answer 451 4.7.1, or answer 550 5.7.1.",
    cost: "accept lets pass what it would refuse; tempfail stops mail while it is down",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_NULL_REVERSE_PATH: Knob = Knob {
    path: "milter[].null_reverse_path",
    kind: Kind::Choice { default: "filter", words: &["filter", "pass"] },
    help: "Messages from `<>` are shown to it like others, or pass it unseen.",
    cost: "pass: whoever writes `<>` gets past it",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_CONNECTIONS: Knob = Knob {
    path: "milter[].connections",
    kind: Kind::Count {
        unit: "connections",
        default: Some(16),
        least: 1,
        most: MILTER_CONNECTIONS_MAX as u64,
    },
    help: "Connections to it, a shard: messages that it is asked about at a time.",
    cost: "a thread or a process each, in many milters",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_CONNECT: Knob = Knob {
    path: "milter[].connect_timeout",
    kind: Kind::Duration {
        default: duration(5 * SECOND),
        least: duration(SECOND),
        most: duration(MINUTE),
    },
    help: "For a connection, and for its options to be agreed on.",
    cost: "clients wait so long while it is down",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_COMMAND: Knob = Knob {
    path: "milter[].command_timeout",
    kind: Kind::Duration {
        default: duration(30 * SECOND),
        least: duration(SECOND),
        most: duration(5 * MINUTE),
    },
    help: "For each of its answers before the end of the message.",
    cost: "clients wait so long while it hangs",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MILTER_END: Knob = Knob {
    path: "milter[].end_timeout",
    kind: Kind::Duration {
        default: duration(2 * MINUTE),
        least: duration(SECOND),
        most: duration(8 * MINUTE),
    },
    help: "For its answer to the end of the message, and from one sign of life to the next.",
    cost: "clients wait so long while it hangs; all milters of a message have 9m",
    takes_effect: TakesEffect::Reload,
};
