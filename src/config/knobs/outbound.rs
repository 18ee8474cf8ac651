//! What goes out: upstream relays, routes, sites, retries, DNS.

use crate::base::limits::{LIFETIME_LEAST, LIFETIME_MOST};
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{DAY, HOUR, MINUTE, SECOND, duration};

pub(in crate::config) const UPSTREAM_NAME: Knob = Knob {
    path: "upstream[].name",
    kind: Kind::Text { form: "name", default: "required" },
    help: "What routes and relay domains call the group.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const UPSTREAM_HOSTS: Knob = Knob {
    path: "upstream[].hosts",
    kind: Kind::Text { form: "upstream list", default: "required" },
    help: "`host[:port][*weight]`; `,` shares by weight, `;` only when those before fail.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const UPSTREAM_CONNECTIONS: Knob = Knob {
    path: "upstream[].connections",
    kind: Kind::Count { unit: "connections", default: Some(100), least: 1, most: 100_000 },
    help: "Connections to each of them, over all shards.",
    cost: "16 KiB of memory each",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const UPSTREAM_MESSAGES: Knob = Knob {
    path: "upstream[].messages_per_connection",
    kind: Kind::Count { unit: "messages", default: Some(1_000), least: 1, most: 1_000_000 },
    help: "Messages before a connection is closed.",
    cost: "few make many connections",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const UPSTREAM_RATE: Knob = Knob {
    path: "upstream[].rate",
    kind: Kind::Rate { default: None },
    help: "Messages to each of them, over all shards.",
    cost: "what is above waits",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const UPSTREAM_TLS: Knob = Knob {
    path: "upstream[].tls",
    kind: Kind::Choice { default: "opportunistic", words: &["none", "opportunistic", "verify"] },
    help: "TLS to them: none, where it comes about, or with a certificate that is verified.",
    cost: "verify: mail waits while a certificate is wrong",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RELAY_DOMAINS: Knob = Knob {
    path: "relay_domain[].domains",
    kind: Kind::List { form: "domains, `.suffix`es", default: "required" },
    help: "Domains for which anyone may send mail here.",
    cost: "what their server refuses later, this node must bounce",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RELAY_UPSTREAM: Knob = Knob {
    path: "relay_domain[].upstream",
    kind: Kind::Text { form: "upstream name", default: "required" },
    help: "Who takes these domains' mail.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RELAY_RECIPIENTS: Knob = Knob {
    path: "relay_domain[].recipients",
    kind: Kind::Text { form: "`any`, `callout` or path", default: "any" },
    help: "Who there is: all, whom the upstream knows when asked, or those in a file.",
    cost: "callout: an answer to RCPT waits for the upstream",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RELAY_UNVERIFIED: Knob = Knob {
    path: "relay_domain[].unverified",
    kind: Kind::Choice { default: "accept", words: &["accept", "defer"] },
    help: "A recipient of whom the upstream says nothing: taken, or 451 4.1.1.",
    cost: "accept: who turns out unknown is bounced; defer: senders wait for the upstream",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ROUTE_DOMAINS: Knob = Knob {
    path: "route[].domains",
    kind: Kind::List { form: "domains, `.suffix`es", default: "required" },
    help: "Destination domains.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ROUTE_TO: Knob = Knob {
    path: "route[].to",
    kind: Kind::Text { form: "`mx` or upstream name", default: "required" },
    help: "Where their mail goes.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ROUTE_TLS: Knob = Knob {
    path: "route[].tls",
    kind: Kind::Text { form: "as `site.tls`", default: "`site.tls`" },
    help: "TLS to these domains' MX hosts, where `site.tls` is not to hold.",
    cost: "verify: mail waits while a certificate is wrong",
    takes_effect: TakesEffect::Reload,
};

const TLS_LEVELS: &[&str] = &["none", "opportunistic", "mta-sts", "dane", "policy", "verify"];

pub(in crate::config) const SITE_TLS: Knob = Knob {
    path: "site.tls",
    kind: Kind::Choice { default: "opportunistic", words: TLS_LEVELS },
    help: "TLS to MX hosts; `policy`: what the domain wants by DANE or MTA-STS is enforced.",
    cost: "a lookup a domain or host; verify: mail waits for many hosts",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SITE_REFUSES: Knob = Knob {
    path: "site.refuses",
    kind: Kind::List {
        form: "addresses",
        default: "[\"0.0.0.0/8\", \"127.0.0.0/8\", \"169.254.0.0/16\", \"224.0.0.0/3\", \
                  \"::/127\", \"fe80::/10\", \"ff00::/8\"]",
    },
    help: "Addresses that are no next hop, whatever DNS says; upstream relays may have them.",
    cost: "mail for domains whose MX hosts have no others comes back",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TLS_CA: Knob = Knob {
    path: "tls.ca",
    kind: Kind::Text { form: "path", default: "/etc/ssl/certs/ca-certificates.crt" },
    help: "PEM file of the authorities that `verify` trusts.",
    cost: "trust: any of them can speak for any host",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SITE_CONNECTIONS: Knob = Knob {
    path: "site.connections",
    kind: Kind::Count { unit: "connections", default: Some(20), least: 1, most: 100_000 },
    help: "Connections to one MX site, over all shards.",
    cost: "16 KiB each; providers refuse who opens too many",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SITE_MESSAGES: Knob = Knob {
    path: "site.messages_per_connection",
    kind: Kind::Count { unit: "messages", default: Some(100), least: 1, most: 1_000_000 },
    help: "Messages before a connection is closed.",
    cost: "few make many connections; providers refuse too many",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SITE_RATE: Knob = Knob {
    path: "site.rate",
    kind: Kind::Rate { default: None },
    help: "Messages to one MX site, over all shards.",
    cost: "what is above waits",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SHARD_EXCESS: Knob = Knob {
    path: "site.shard_excess",
    kind: Kind::Decimal { default: 25, least: 1, most: 1_000 },
    help: "A shard may have this share more in flight than the mean; then busy domains use others.",
    cost: "small ones spread a busy domain's connections over more shards",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RETRY_FIRST: Knob = Knob {
    path: "queue.retry_first",
    kind: Kind::Duration {
        default: duration(5 * MINUTE),
        least: duration(SECOND),
        most: duration(DAY),
    },
    help: "From the first attempt to the second.",
    cost: "short ones annoy greylisting servers",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RETRY_FACTOR: Knob = Knob {
    path: "queue.retry_factor",
    kind: Kind::Decimal { default: 200, least: 100, most: 1_000 },
    help: "Each wait is so many times the one before.",
    cost: "a long one delays mail after an outage",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RETRY_LONGEST: Knob = Knob {
    path: "queue.retry_longest",
    kind: Kind::Duration {
        default: duration(2 * HOUR),
        least: duration(SECOND),
        most: duration(7 * DAY),
    },
    help: "No wait is longer, but for jitter.",
    cost: "a backlog is tried so often",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RETRY_JITTER: Knob = Knob {
    path: "queue.retry_jitter",
    kind: Kind::Decimal { default: 10, least: 0, most: 100 },
    help: "Waits are spread by this share, up and down.",
    cost: "none brings a backlog back all at once",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LIFETIME: Knob = Knob {
    path: "queue.lifetime",
    kind: Kind::Duration { default: duration(5 * DAY), least: LIFETIME_LEAST, most: LIFETIME_MOST },
    help: "From acceptance to the bounce of what could not be delivered.",
    cost: "disk, and 128 bytes of memory a recipient",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DELAY_REPORT: Knob = Knob {
    path: "queue.delay_report",
    kind: Kind::Duration {
        default: duration(4 * HOUR),
        least: duration(SECOND),
        most: duration(365 * DAY),
    },
    help: "From acceptance to the delay report; longer than the lifetime: none.",
    cost: "a report for each delayed message",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DNS_SERVERS: Knob = Knob {
    path: "dns.servers",
    kind: Kind::List { form: "addresses[:port]", default: "those of resolv.conf" },
    help: "DNS servers, in order.",
    cost: "far ones slow down MX delivery",
    takes_effect: TakesEffect::Reload,
};
