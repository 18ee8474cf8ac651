//! For whom the node sends: tenants, and their campaigns.

use crate::base::limits::{
    CAMPAIGN_WEIGHT_DEFAULT, CAMPAIGN_WEIGHT_MAX, TENANT_QUEUED_DEFAULT, TENANT_QUEUED_MAX,
    TENANT_WEIGHT_DEFAULT, TENANT_WEIGHT_MAX,
};
use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const SENDERS_FIELDS: Knob = Knob {
    path: "senders.fields",
    kind: Kind::Choice { default: "ignore", words: &["ignore", "remove", "keep"] },
    help: "Header fields of clients that may relay say tenant and campaign; then they are removed.",
    cost: "a copy of the header; who may relay is believed, unless its login is a tenant's",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SENDERS_TENANT_FIELD: Knob = Knob {
    path: "senders.tenant_field",
    kind: Kind::Text { form: "field name", default: "X-Tenant" },
    help: "What the field with the tenant's name is called.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SENDERS_CAMPAIGN_FIELD: Knob = Knob {
    path: "senders.campaign_field",
    kind: Kind::Text { form: "field name", default: "X-Campaign" },
    help: "What the field with the campaign's name is called.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_NAME: Knob = Knob {
    path: "tenant[].name",
    kind: Kind::Text { form: "name", default: "required" },
    help: "A customer's name, as header, events and `--tenant` have it. Others may send too.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_WEIGHT: Knob = Knob {
    path: "tenant[].weight",
    kind: Kind::Count {
        unit: "recipients",
        default: Some(TENANT_WEIGHT_DEFAULT as u64),
        least: 1,
        most: TENANT_WEIGHT_MAX as u64,
    },
    help: "Its share of a destination beside other tenants: recipients a turn.",
    cost: "others wait for so many",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_LOGINS: Knob = Knob {
    path: "tenant[].logins",
    kind: Kind::List { form: "login", default: "none" },
    help: "Who logs in as one of these sends for it, and for nobody else.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_LISTENERS: Knob = Knob {
    path: "tenant[].listeners",
    kind: Kind::List { form: "address and port", default: "none" },
    help: "What clients that may relay hand in here is its, unless login or header say otherwise.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_QUEUED: Knob = Knob {
    path: "tenant[].queued",
    kind: Kind::Count {
        unit: "recipients",
        default: Some(TENANT_QUEUED_DEFAULT),
        least: 1,
        most: TENANT_QUEUED_MAX,
    },
    help: "Recipients in the queue, a shard; with more, it gets 452 4.3.1 and others nothing.",
    cost: "128 bytes of memory a recipient, and disk",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_LIFETIME: Knob = Knob {
    path: "tenant[].lifetime",
    kind: Kind::Text { form: "duration", default: "queue.lifetime" },
    help: "From acceptance to the bounce of what could not be delivered: 1s to 30d.",
    cost: "60 bytes of memory a message; what is in the queue keeps the lifetime that it has",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_DURABILITY: Knob = Knob {
    path: "tenant[].durability",
    kind: Kind::Choice { default: "inherit", words: &["inherit", "commit", "memory"] },
    help: "When its messages get their 250, whatever the listener's `durability` is.",
    cost: "as `listener[].durability`",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_RATE: Knob = Knob {
    path: "tenant[].rate",
    kind: Kind::Rate { default: None },
    help: "Its messages that leave the queue, over all shards and destinations.",
    cost: "what is above waits in the queue",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TENANT_SHARE: Knob = Knob {
    path: "tenant[].share",
    kind: Kind::Text { form: "50%, or a number", default: "all" },
    help: "Its messages under way at a time, at each site: a part of the connections, or so many.",
    cost: "what is above waits, also where nobody else sends",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_NAME: Knob = Knob {
    path: "campaign[].name",
    kind: Kind::Text { form: "name, or beginning and *", default: "required" },
    help: "What it is called, or how; of several rows the one that fits best counts, and it alone.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_TENANT: Knob = Knob {
    path: "campaign[].tenant",
    kind: Kind::Text { form: "name", default: "all" },
    help: "Whose it is; its row goes before one for all tenants.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_WEIGHT: Knob = Knob {
    path: "campaign[].weight",
    kind: Kind::Count {
        unit: "weight",
        default: Some(CAMPAIGN_WEIGHT_DEFAULT as u64),
        least: 1,
        most: CAMPAIGN_WEIGHT_MAX as u64,
    },
    help: "Its part of its tenant's share of a destination, beside other campaigns of it.",
    cost: "others of the tenant wait",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_RATE: Knob = Knob {
    path: "campaign[].rate",
    kind: Kind::Rate { default: None },
    help: "Messages of each such campaign that leave the queue; its tenant's rate counts too.",
    cost: "as `tenant[].rate`",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_SHARE: Knob = Knob {
    path: "campaign[].share",
    kind: Kind::Text { form: "50%, or a number", default: "its tenant's" },
    help: "The same of each such campaign; its tenant's share counts too.",
    cost: "as `tenant[].share`",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_WINDOW: Knob = Knob {
    path: "campaign[].window",
    kind: Kind::Text { form: "days and times", default: "always" },
    help: "`Mon-Fri 09:00-18:00; Sat 10:00-14:00`: its mail is tried then alone. Lifetimes go on.",
    cost: "what comes in between waits in the queue",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_TIME_ZONE: Knob = Knob {
    path: "campaign[].time_zone",
    kind: Kind::Text { form: "IANA name", default: "UTC" },
    help: "By whose clocks the window is, as `Europe/Berlin`; known without the machine's tzdata.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_LIFETIME: Knob = Knob {
    path: "campaign[].lifetime",
    kind: Kind::Text { form: "duration", default: "its tenant's" },
    help: "From acceptance to the bounce of what could not be delivered: 1s to 30d.",
    cost: "as `tenant[].lifetime`",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CAMPAIGN_DURABILITY: Knob = Knob {
    path: "campaign[].durability",
    kind: Kind::Choice { default: "inherit", words: &["inherit", "commit", "memory"] },
    help: "When its messages get their 250, whatever its tenant's `durability` is.",
    cost: "as `listener[].durability`",
    takes_effect: TakesEffect::Reload,
};
