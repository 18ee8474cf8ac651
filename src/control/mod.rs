//! Beside the floors: one ordinary thread for admin HTTP and metrics, never on a message's path.
//!
//! It sees only what shards publish and asks them through their mailboxes ([`commands`]): [`serve`]
//! takes connections, [`access`] judges who may ask for what of all that there is ([`roles`]),
//! [`http`] answers. A second thread hands the event log to others ([`exporters`]), a third counts
//! what it has ([`kpis`]). The same folder holds the other end: the subcommands that ask a running
//! node ([`queue`]), the report over its event logs ([`report`]) and their reader ([`events`]),
//! what is told of a spool that no node runs on ([`spool`]), who changes a file of credentials
//! ([`passwd`]), what is told of a domain ([`check_domain`]), of reports on TLS ([`tls_reports`]),
//! and of a reply ([`classify`]); and those who ask and change suppression lists ([`suppress`]),
//! which [`suppression`] answers. A thread of its own answers the links of messages ([`web`]).

pub mod access;
pub mod api;
pub mod campaigns;
pub mod check_domain;
pub mod classify;
pub mod cli;
pub mod commands;
mod console;
pub mod diversions;
pub mod dkim;
pub mod epochs;
pub mod events;
pub mod exporters;
pub mod http;
pub mod inject;
pub mod kpis;
pub mod manual;
pub mod messages;
pub mod metrics;
mod openapi;
pub mod overview;
pub mod passwd;
pub mod pauses;
pub mod queue;
pub mod report;
pub mod roles;
pub mod serve;
pub mod shaping;
pub mod spool;
pub mod suppress;
pub mod suppression;
pub mod tls_reports;
pub mod top;
pub mod trace;
mod unix;
pub mod warm_up;
pub mod web;
mod words;
