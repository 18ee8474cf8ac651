//! Come to terms with the peer: greeting, EHLO or HELO, STARTTLS, and EHLO again.
//!
//! Invariant: what the peer said in clear counts for nothing under TLS (RFC 3207 §4.2).

use crate::base::time::Monotonic;
use crate::mail::outcome::Failure;
use crate::mail::status::{ENCRYPTION_NEEDED, REQUIRETLS_NEEDED, Reply, Severity};
use crate::smtp::client::wire::Command;
use crate::smtp::client::{Client, Event, PeerExtensions, Phase, out_of_step};
use crate::smtp::peer_reply::ReplyReader;

/// When a connection goes on through TLS (RFC 3207).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartTls {
    /// Not even where it is offered.
    #[default]
    Never,
    /// Where it is offered; in clear where the peer then thinks otherwise.
    IfOffered,
    /// Or not at all.
    Always,
    /// With peers that offer REQUIRETLS, or not at all (RFC 8689 §4.2.1).
    Required,
}

impl Client {
    /// The handshake is done: all octets from now on go through TLS. What the peer said before is
    /// forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, now: Monotonic) {
        if self.phase == Phase::Handshake {
            self.secured = true;
            self.phase = Phase::Opening;
            self.reader = ReplyReader::default();
            self.hello(Command::Ehlo, now);
        }
    }

    /// The handshake came to nothing: the connection is of no more use.
    pub fn fail_handshake(&mut self, why: &str) {
        if self.phase == Phase::Handshake {
            self.fail(self.no_tls(why));
        }
    }

    /// Whether all goes through TLS.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// TLS did not come about.
    fn no_tls(&self, why: &str) -> Failure {
        if self.options.start_tls == StartTls::Required {
            Failure::RequireTls { status: ENCRYPTION_NEEDED, detail: why.into() }
        } else {
            Failure::Tls(why.into())
        }
    }

    /// Octets behind the reply to STARTTLS came in clear: whoever can write into the connection
    /// could have them taken for the peer's replies under TLS (CVE-2021-38371, and its like).
    pub(super) fn refuse_clear(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.fail(Failure::Protocol("octets in clear behind the reply to STARTTLS".into()));
        }
    }

    /// RFC 5321 §3.1, §3.2. Whoever refuses us here is told QUIT (§4.1.1.10), not argued with.
    pub(super) fn handle_opening_reply(&mut self, command: Command, reply: Reply, now: Monotonic) {
        let severity = reply.code.severity();
        let next = match (command, severity) {
            (_, Severity::Intermediate) => return self.fail(out_of_step(&reply)),
            (Command::Greeting, Severity::Completed) => Command::Ehlo,
            (Command::Ehlo, Severity::Permanent) => Command::Helo,
            (_, Severity::Completed) => return self.handle_hello(command, now),
            (_, Severity::Transient | Severity::Permanent) => {
                self.fail(Failure::Reply(reply));
                return self.wire.output.extend_from_slice(b"QUIT\r\n");
            }
        };
        self.wire.unanswered.pop_front();
        self.hello(next, now);
    }

    /// Say EHLO or HELO.
    fn hello(&mut self, command: Command, now: Monotonic) {
        self.extensions = PeerExtensions::default();
        let word = if command == Command::Ehlo { "EHLO" } else { "HELO" };
        self.wire.send(command, format!("{word} {}\r\n", self.options.hello).as_bytes());
        self.arm(now);
    }

    /// EHLO or HELO was taken: TLS comes next, if it is to come at all.
    fn handle_hello(&mut self, command: Command, now: Monotonic) {
        self.extensions.esmtp = command == Command::Ehlo;
        self.wire.unanswered.pop_front();
        match self.options.start_tls {
            //= RFC 8689 §4.2.1
            //# Ensure that the response to the subsequent EHLO following establishment of the TLS
            //# protection advertises the REQUIRETLS capability.
            StartTls::Required if self.secured && !self.extensions.require_tls => {
                self.wire.unanswered.push_front(command);
                let detail = "does not offer REQUIRETLS".into();
                self.fail(Failure::RequireTls { status: REQUIRETLS_NEEDED, detail });
                self.wire.output.extend_from_slice(b"QUIT\r\n");
            }
            _ if self.secured => self.open(now),
            StartTls::IfOffered | StartTls::Always | StartTls::Required
                if self.extensions.start_tls =>
            {
                self.wire.send(Command::StartTls, b"STARTTLS\r\n");
                self.arm(now);
            }
            StartTls::Always | StartTls::Required => {
                self.wire.unanswered.push_front(Command::StartTls);
                self.fail(self.no_tls("does not offer STARTTLS"));
                self.wire.output.extend_from_slice(b"QUIT\r\n");
            }
            StartTls::Never | StartTls::IfOffered => self.open(now),
        }
    }

    /// RFC 3207 §4: 220 begins the handshake. Whoever offers it and then refuses may have the mail
    /// in clear, if anyone may.
    pub(super) fn handle_start_tls_reply(&mut self, reply: Reply, now: Monotonic) {
        self.wire.unanswered.pop_front();
        match reply.code.severity() {
            Severity::Completed => {
                self.phase = Phase::Handshake;
                self.deadline = Some(now + self.options.deadlines.handshake);
                self.events.push_back(Event::StartTls);
            }
            Severity::Transient | Severity::Permanent
                if self.options.start_tls == StartTls::IfOffered =>
            {
                self.open(now);
            }
            Severity::Intermediate | Severity::Transient | Severity::Permanent => {
                self.wire.unanswered.push_front(Command::StartTls);
                self.fail(Failure::Reply(reply));
                self.wire.output.extend_from_slice(b"QUIT\r\n");
            }
        }
    }

    /// Transactions may begin.
    fn open(&mut self, now: Monotonic) {
        self.phase = Phase::Open;
        self.events.push_back(Event::Ready);
        self.arm(now);
    }
}
