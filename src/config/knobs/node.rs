//! The node itself: name, cores, spool, stop, logs.

use crate::base::limits::{COMMIT_GROUP_MAX, HOT_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT, SHARDS_MAX};
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{GIB, HOUR, MIB, SECOND, duration};

pub(in crate::config) const HOSTNAME: Knob = Knob {
    path: "hostname",
    kind: Kind::Text { form: "host name", default: "the machine's name" },
    help: "What this node calls itself: greeting, EHLO, `Received:`.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const POSTMASTER: Knob = Knob {
    path: "postmaster",
    kind: Kind::Text { form: "address", default: "none: refused" },
    help: "Who gets mail for `<Postmaster>` without a domain.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CORES: Knob = Knob {
    path: "cores",
    kind: Kind::Count { unit: "shards", default: None, least: 1, most: SHARDS_MAX as u64 },
    help: "Shards; one a CPU is pinned, more share.",
    cost: "16 MiB of memory a shard, and its hot memory",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const USER: Knob = Knob {
    path: "user",
    kind: Kind::Text { form: "name or uid:gid", default: "whoever starts it" },
    help: "Started as root: whom to become once ports are bound. No capability is kept.",
    cost: "this user must be able to read every file that is named; it gets the spool",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const SANDBOX: Knob = Knob {
    path: "sandbox",
    kind: Kind::Choice { default: "on", words: &["on", "off"] },
    help: "Landlock and seccomp, where the kernel has them, and no core dumps.",
    cost: "on: files in folders that were not named at the start need a restart",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const LOG_LEVEL: Knob = Knob {
    path: "log_level",
    kind: Kind::Choice { default: "info", words: &["error", "warn", "info", "debug", "trace"] },
    help: "The least severe log lines that are written.",
    cost: "debug and trace write several lines a message",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const DOMAIN_CHECK: Knob = Knob {
    path: "domain_check",
    kind: Kind::Choice { default: "off", words: &["off", "warn", "enforce"] },
    help: "Check signing and relay domains as `check-domain` does: tell who fails, or not use it.",
    cost: "some 30 questions to DNS a domain and hour; enforce: mail waits while DNS is wrong",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DRAIN_DEADLINE: Knob = Knob {
    path: "drain_deadline",
    kind: Kind::Duration {
        default: duration(30 * SECOND),
        least: duration(SECOND),
        most: duration(HOUR),
    },
    help: "How long a stop waits for transactions in flight.",
    cost: "a stop takes up to so long",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DEFAULT_ROUTE: Knob = Knob {
    path: "default_route",
    kind: Kind::Text { form: "`mx` or upstream name", default: "mx" },
    help: "Where mail goes that no route names.",
    cost: "MX delivery needs a DNS server near",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SPOOL_DIRECTORY: Knob = Knob {
    path: "spool.directory",
    kind: Kind::Text {
        form: "path",
        default: "$XDG_STATE_HOME/relay-fast or ~/.local/state/relay-fast",
    },
    help: "Where messages and event logs are kept.",
    cost: "its disk's sync time is in every 250",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const SEGMENT_SIZE: Knob = Knob {
    path: "spool.segment_size",
    kind: Kind::Size {
        default: SEGMENT_BYTES_DEFAULT as u64,
        least: 4 * COMMIT_GROUP_MAX as u64,
        most: GIB,
    },
    help: "Size of a spool file.",
    cost: "disk in steps of it, a few a shard even when idle",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const HOT_MEMORY: Knob = Knob {
    path: "spool.hot_memory",
    kind: Kind::Size { default: HOT_BYTES_DEFAULT as u64, least: 0, most: 64 * GIB },
    help: "Messages that a shard keeps in memory for their first attempt.",
    cost: "memory, for each shard; less reads the disk more",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SPOOL_RESERVE: Knob = Knob {
    path: "spool.reserve",
    kind: Kind::Size { default: 256 * MIB, least: 16 * MIB, most: 1024 * GIB },
    help: "Free disk that is left: MAIL is answered 452 4.3.1 once the current segments are full.",
    cost: "disk that mail cannot use",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const BOUNCE_RULES: Knob = Knob {
    path: "bounces.rules",
    kind: Kind::Text { form: "path", default: "none: the shipped rules alone" },
    help: "Your own rules of what class a reply is, tried before the shipped ones.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
