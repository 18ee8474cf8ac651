//! How traffic is shaped.

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const SHAPING_FILE: Knob = Knob {
    path: "shaping.file",
    kind: Kind::Text { form: "path", default: "none" },
    help: "Connections, rates and what follows from replies, by provider, site, domain, source.",
    cost: "a lock for each refusal; with it `site.connections` and `site.rate` are a source's",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SHAPING_SHIPPED: Knob = Knob {
    path: "shaping.shipped",
    kind: Kind::Choice { default: "off", words: &["on", "off"] },
    help: "Use the rules that are shipped for large providers, beneath those of the file.",
    cost: "they are cautious: 2 to 10 connections a source to each of these providers",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SHAPING_TIME_ZONE: Knob = Knob {
    path: "shaping.time_zone",
    kind: Kind::Text { form: "IANA name", default: "UTC" },
    help: "By whose clocks a day of a source's warm-up begins and ends, as `Europe/Berlin`.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
