//! The figures that are kept of what became of mail.

use crate::base::limits::{
    KPI_BYTES_DEFAULT, KPI_DAYS_DEFAULT, KPI_HOURS_DEFAULT, KPI_KEYS_DEFAULT, KPI_KEYS_MAX,
    KPI_MINUTES_DEFAULT,
};
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{DAY, GIB, HOUR, MIB, duration};

pub(in crate::config) const KPI_COUNT: Knob = Knob {
    path: "kpis.count",
    kind: Kind::Choice { default: "no", words: &["no", "yes"] },
    help: "Count what became of mail, by tenant, campaign, domain, provider, source and upstream.",
    cost: "a thread of low priority that reads the event log: some 5 µs an event; disk",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const KPI_KEYS: Knob = Knob {
    path: "kpis.keys",
    kind: Kind::Count {
        unit: "keys",
        default: Some(KPI_KEYS_DEFAULT),
        least: 1,
        most: KPI_KEYS_MAX,
    },
    help: "Tenants, campaigns, domains and so on that are told apart in an interval: the biggest.",
    cost: "disk: some 100 bytes for each that something happened to, an interval",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const KPI_MINUTES: Knob = Knob {
    path: "kpis.keep_minutes",
    kind: Kind::Duration {
        default: KPI_MINUTES_DEFAULT,
        least: duration(HOUR),
        most: duration(7 * DAY),
    },
    help: "How long figures by the minute are kept.",
    cost: "disk",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const KPI_HOURS: Knob = Knob {
    path: "kpis.keep_hours",
    kind: Kind::Duration {
        default: KPI_HOURS_DEFAULT,
        least: duration(DAY),
        most: duration(366 * DAY),
    },
    help: "How long figures by the hour are kept.",
    cost: "disk",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const KPI_DAYS: Knob = Knob {
    path: "kpis.keep_days",
    kind: Kind::Duration {
        default: KPI_DAYS_DEFAULT,
        least: duration(7 * DAY),
        most: duration(3_660 * DAY),
    },
    help: "How long figures by the day are kept.",
    cost: "disk",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const KPI_SIZE: Knob = Knob {
    path: "kpis.size",
    kind: Kind::Size { default: KPI_BYTES_DEFAULT, least: MIB, most: 64 * GIB },
    help: "Octets of figures that are kept at most: the oldest minutes go first.",
    cost: "disk: the file may be twice as large",
    takes_effect: TakesEffect::Reload,
};
