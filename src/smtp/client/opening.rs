//! Come to terms with the peer: greeting, EHLO or HELO, STARTTLS, and EHLO again.
//!
//! Invariant: what the peer said in clear counts for nothing under TLS (RFC 3207 §4.2).

use crate::base::time::Monotonic;
use crate::mail::outcome::Failure;
use crate::mail::status::{Reply, Severity};
use crate::smtp::client::wire::Command;
use crate::smtp::client::{Client, Event, PeerExtensions, Phase, StartTls, out_of_step};
use crate::smtp::peer_reply::ReplyReader;

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
            self.fail(Failure::Tls(why.into()));
        }
    }

    /// Whether all goes through TLS.
    pub fn is_secured(&self) -> bool {
        self.secured
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
            _ if self.secured => self.open(now),
            StartTls::IfOffered | StartTls::Always if self.extensions.start_tls => {
                self.wire.send(Command::StartTls, b"STARTTLS\r\n");
                self.arm(now);
            }
            StartTls::Always => {
                self.wire.unanswered.push_front(Command::StartTls);
                self.fail(Failure::Tls("does not offer STARTTLS".into()));
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
