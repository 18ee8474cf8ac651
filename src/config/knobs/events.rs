//! What is told of mail: the event log.

use crate::base::limits::{
    EVENT_FILE_AGE_DEFAULT, EVENT_FILE_BYTES_DEFAULT, EVENT_LOG_BYTES_DEFAULT,
    EVENT_RETENTION_DEFAULT,
};
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{DAY, GIB, HOUR, KIB, MIB, MINUTE, duration};

pub(in crate::config) const EVENT_RETENTION: Knob = Knob {
    path: "events.retention",
    kind: Kind::Duration {
        default: EVENT_RETENTION_DEFAULT,
        least: duration(HOUR),
        most: duration(365 * DAY),
    },
    help: "How long event logs are kept, up to `events.size`.",
    cost: "about 400 bytes of disk an event",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const EVENT_SIZE: Knob = Knob {
    path: "events.size",
    kind: Kind::Size { default: EVENT_LOG_BYTES_DEFAULT, least: MIB, most: 1024 * GIB },
    help: "Events that a shard keeps at most; two files are always kept.",
    cost: "disk, for each shard",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const EVENT_FILE_SIZE: Knob = Knob {
    path: "events.file_size",
    kind: Kind::Size { default: EVENT_FILE_BYTES_DEFAULT, least: 64 * KIB, most: GIB },
    help: "Size after which a file of events is ended: what is too old goes file by file.",
    cost: "nothing",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const EVENT_FILE_AGE: Knob = Knob {
    path: "events.file_age",
    kind: Kind::Duration {
        default: EVENT_FILE_AGE_DEFAULT,
        least: duration(MINUTE),
        most: duration(30 * DAY),
    },
    help: "Age after which a file of events is ended.",
    cost: "nothing",
    takes_effect: TakesEffect::Restart,
};
