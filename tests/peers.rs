//! The real program against real software: Postfix, swaks, Python's smtplib and email, Knot DNS,
//! dkimpy, OpenDKIM, HAProxy, nginx, rspamd, ClamAV.
//!
//! Each test starts a relay of its own, with its own spool, on ports that the kernel chose or in a
//! network namespace of its own; whatever it started ends with it. A test that fails shows the
//! logs of all its processes.

#![allow(clippy::unwrap_used, reason = "tests unwrap freely: in a test a panic is the report")]
#![cfg(feature = "runtime")]

#[path = "support/tool.rs"]
mod tool;

mod peers {
    // What tests are made of.
    mod certificates;
    mod filters;
    mod mail;
    mod network;
    mod node;
    mod postfix;
    mod process;
    mod python;
    mod signed_dns;
    mod sink;
    mod verifiers;
    mod world;

    // Tests, by who is on the other side.
    mod auth;
    mod block_lists;
    mod bulk;
    mod callouts;
    mod checks;
    mod dialogue;
    mod domain;
    mod filtering;
    mod lesser;
    mod mx;
    mod policy;
    mod postfix_client;
    mod postfix_moods;
    mod postfix_upstream;
    mod proxies;
    mod returns;
    mod signing;
    mod tls;
    mod tls_reports;
    mod tunnels;
    mod verifying;
}
