//! For whom the node sends: tenants.

use crate::base::limits::{
    TENANT_QUEUED_DEFAULT, TENANT_QUEUED_MAX, TENANT_WEIGHT_DEFAULT, TENANT_WEIGHT_MAX,
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
