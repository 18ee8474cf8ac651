//! Whom domains hear from about TLS with their MX hosts (RFC 8460).

use crate::config::knob::{Kind, Knob, TakesEffect};

pub(in crate::config) const TLS_REPORT_FROM: Knob = Knob {
    path: "tls_report.from",
    kind: Kind::Text { form: "mail address", default: "none: nothing is counted or reported" },
    help: "Tell domains each day how TLS with their MX hosts did (TLS-RPT), by mail from here.",
    cost: "memory: 16 MiB at most; a lookup and a report for each domain that wants one",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TLS_REPORT_ORGANIZATION: Knob = Knob {
    path: "tls_report.organization",
    kind: Kind::Text { form: "text", default: "the domain of `from`" },
    help: "Who reports, in words.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TLS_REPORT_CONTACT: Knob = Knob {
    path: "tls_report.contact",
    kind: Kind::Text { form: "mail address", default: "`from`" },
    help: "Whom to ask about a report; its domain is the one that reports.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};
