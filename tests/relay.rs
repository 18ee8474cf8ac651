//! The real binary as a black box: clients, sinks and an operator of ours around it on loopback.
//!
//! Each test has a relay of its own, on ports and a spool of its own; when a test fails, it prints
//! that relay's log.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]
#![cfg(feature = "runtime")]

#[path = "support/tool.rs"]
mod tool;

#[path = "relay/admin.rs"]
mod admin;
#[allow(dead_code, reason = "peers need more of it")]
#[path = "peers/certificates.rs"]
mod certificates;
#[path = "relay/client.rs"]
mod client;
#[path = "relay/messages.rs"]
mod messages;
#[path = "relay/metrics.rs"]
mod metrics;
#[path = "relay/milters.rs"]
mod milters;
#[path = "relay/node.rs"]
mod node;
#[path = "relay/receiver.rs"]
mod receiver;
#[path = "relay/sink.rs"]
mod sink;

#[path = "relay/amqp.rs"]
mod amqp;
#[path = "relay/auth.rs"]
mod auth;
#[path = "relay/belongings.rs"]
mod belongings;
#[path = "relay/campaigns.rs"]
mod campaigns;
#[path = "relay/check_domain.rs"]
mod check_domain;
#[path = "relay/checks.rs"]
mod checks;
#[path = "relay/classes.rs"]
mod classes;
#[path = "relay/command_line.rs"]
mod command_line;
#[path = "relay/confined.rs"]
mod confined;
#[path = "relay/delivery.rs"]
mod delivery;
#[path = "relay/diversions.rs"]
mod diversions;
#[path = "relay/dkim.rs"]
mod dkim;
#[path = "relay/durability.rs"]
mod durability;
#[path = "relay/events.rs"]
mod events;
#[path = "relay/exporters.rs"]
mod exporters;
#[path = "relay/filters.rs"]
mod filters;
#[path = "relay/floods.rs"]
mod floods;
#[path = "relay/hostile_hops.rs"]
mod hostile_hops;
#[path = "relay/inject.rs"]
mod inject;
#[path = "relay/kafka.rs"]
mod kafka;
#[path = "relay/kernel.rs"]
mod kernel;
#[path = "relay/kpis.rs"]
mod kpis;
#[path = "relay/lifecycle.rs"]
mod lifecycle;
#[path = "relay/limits.rs"]
mod limits;
#[path = "relay/links.rs"]
mod links;
#[path = "relay/memory.rs"]
mod memory;
#[path = "relay/nats.rs"]
mod nats;
#[path = "relay/notify.rs"]
mod notify;
#[path = "relay/operator.rs"]
mod operator;
#[path = "relay/overview.rs"]
mod overview;
#[path = "relay/passwd.rs"]
mod passwd;
#[path = "relay/process.rs"]
mod process;
#[path = "relay/proxies.rs"]
mod proxies;
#[path = "relay/recipients.rs"]
mod recipients;
#[path = "relay/refusals.rs"]
mod refusals;
#[path = "relay/reload.rs"]
mod reload;
#[path = "relay/responses.rs"]
mod responses;
#[path = "relay/returns.rs"]
mod returns;
#[path = "relay/seen.rs"]
mod seen;
#[path = "relay/senders.rs"]
mod senders;
#[path = "relay/service.rs"]
mod service;
#[path = "relay/shaping.rs"]
mod shaping;
#[path = "relay/sources.rs"]
mod sources;
#[path = "relay/spool.rs"]
mod spool;
#[path = "relay/suppression.rs"]
mod suppression;
#[path = "relay/top.rs"]
mod top;
#[path = "relay/trace.rs"]
mod trace;
#[path = "relay/tricks.rs"]
mod tricks;
#[path = "relay/tunnels.rs"]
mod tunnels;
#[path = "relay/verbs.rs"]
mod verbs;
#[path = "relay/warm_up.rs"]
mod warm_up;
