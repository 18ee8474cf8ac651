//! Find out who the client is: AUTH and the exchange behind it (RFC 4954).
//!
//! Invariant: where TLS is wanted for it, nothing of an exchange is said or heard in clear; a
//! client is somebody once at most, and not while a transaction is under way (§3); what lines of
//! an exchange held is erased.

use crate::base::limits::{AUTH_LINE_MAX, COMMAND_LINE_MAX};
use crate::base::time::Monotonic;
use crate::smtp::answer::Answer;
use crate::smtp::command::Verb;
use crate::smtp::line::{LineFault, LineReader, Read};
use crate::smtp::sasl::ScramVerifier;
use crate::smtp::sasl::{Channel, Exchange, Fault, Mechanism, Name, Next, Nonce, Password};
use crate::smtp::server::{Event, Question, Session, Step};

/// How the clients of a listener can log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// By PLAIN.
    pub plain: bool,
    /// By LOGIN.
    pub login: bool,
    /// By SCRAM-SHA-256; bound to the channel too, where TLS has what binds.
    pub scram: bool,
    /// In clear too.
    pub without_tls: bool,
    /// No mail is taken before it.
    pub required: bool,
}

impl Auth {
    fn has(self, mechanism: Mechanism, channel: Channel) -> bool {
        match mechanism {
            Mechanism::Plain => self.plain,
            Mechanism::Login => self.login,
            Mechanism::ScramSha256 => self.scram,
            Mechanism::ScramSha256Plus => self.scram && channel.0.is_some(),
        }
    }

    fn is_on(self) -> bool {
        self.plain || self.login || self.scram
    }
}

impl Session {
    /// The TLS connection exports this. To be called before [`Session::secured`].
    pub fn bind(&mut self, channel: Channel) {
        self.channel = channel;
    }

    /// Who the client is, once it is known.
    pub fn identity(&self) -> Option<&Name> {
        self.claimed.as_ref().filter(|_| self.authenticated)
    }

    /// Who the client says that it is, or said when it last tried.
    pub fn claimed(&self) -> Option<&Name> {
        self.claimed.as_ref()
    }

    /// Take the password away that [`Event::Password`] asks about, once.
    pub fn take_password(&mut self) -> Option<Password> {
        let Step::Asked(Question::Password(password)) = &mut self.step else { return None };
        password.take()
    }

    /// The verifier that [`Event::Verifier`] asks for, a decoy where nobody has that name. Without
    /// that question, nothing happens.
    pub fn verify_by(&mut self, verifier: ScramVerifier, nonce: &Nonce, now: Monotonic) {
        let step = std::mem::replace(&mut self.step, Step::Command);
        if let Step::Asked(Question::Verifier(lookup)) = step {
            self.follow(lookup.found(verifier, nonce), now);
        } else {
            self.step = step;
        }
    }

    /// The mechanisms on offer, as things are.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let offers = self.offers_auth();
        let has = |mechanism: &Mechanism| offers && self.options.auth.has(*mechanism, self.channel);
        Mechanism::ALL.into_iter().filter(has).collect()
    }

    /// Whether AUTH is on offer, as things are.
    pub(super) fn offers_auth(&self) -> bool {
        let auth = self.options.auth;
        auth.is_on() && (self.secured || auth.without_tls)
    }

    /// What is against AUTH, whatever its arguments.
    pub(super) fn refusal_of_auth(&self) -> Option<Answer> {
        if !self.options.auth.is_on() {
            Some(Answer::NOT_OFFERED)
        } else if !self.offers_auth() {
            Some(Answer::AUTH_NEEDS_TLS)
        } else if self.authenticated {
            Some(Answer::AUTH_ALREADY)
        } else if self.hello.as_ref().is_some_and(|hello| !hello.esmtp) {
            Some(Answer::HELLO_FIRST)
        } else {
            None
        }
    }

    pub(super) fn on_auth(&mut self, arguments: &str, now: Monotonic) {
        let mut words = arguments.split(' ');
        let (Some(mechanism), initial, None) = (words.next(), words.next(), words.next()) else {
            return self.refuse(&Answer::SYNTAX, now);
        };
        if mechanism.is_empty() || initial.is_some_and(str::is_empty) {
            return self.refuse(&Answer::SYNTAX, now);
        }
        let mechanism = Mechanism::parse(mechanism);
        match mechanism.filter(|one| self.options.auth.has(*one, self.channel)) {
            Some(mechanism) => {
                let initial = initial.map(str::as_bytes);
                self.follow(Exchange::begin(mechanism, self.channel, initial), now);
            }
            None => self.refuse(&Answer::AUTH_MECHANISM, now),
        }
    }

    /// Whether a command line may hold a password.
    pub(super) fn is_secret(&self, line: &[u8]) -> bool {
        let verb = Verb::Auth.name().as_bytes();
        line.get(..verb.len()).is_some_and(|start| start.eq_ignore_ascii_case(verb))
    }

    /// Take octets up to the end of a line of the exchange.
    pub(super) fn handle_sasl(&mut self, bytes: &[u8], now: Monotonic) -> usize {
        let (used, read) = self.line.read(bytes);
        let (line, fault) = match read {
            Read::Partial => return used,
            Read::Line(line) => (line, None),
            Read::Refused(fault, line) => (line, Some(fault)),
        };
        let step = std::mem::replace(&mut self.step, Step::Command);
        let Step::Sasl(exchange) = step else { unreachable!("only inside an exchange") };
        match fault {
            None => self.follow(exchange.handle_line(&line), now),
            Some(LineFault::TooLong) => self.deny(&Answer::AUTH_TOO_LONG, now),
            Some(LineFault::BareCr | LineFault::BareLf | LineFault::Nul) => {
                self.deny(&Answer::AUTH_MALFORMED, now);
            }
            Some(LineFault::Endless) => self.close(&Answer::OUT_OF_STEP),
        }
        LineReader::erase(line);
        used
    }

    /// Do what follows a line of the exchange.
    fn follow(&mut self, next: Next, now: Monotonic) {
        match next {
            Next::Challenge(text, exchange) => {
                self.line.limit(AUTH_LINE_MAX);
                self.await_command(now);
                // Where the client is gone or the node drains, the session has ended.
                if !self.is_over() {
                    for part in ["334 ", &text, "\r\n"] {
                        self.output.extend_from_slice(part.as_bytes());
                    }
                    self.step = Step::Sasl(Box::new(exchange));
                }
            }
            Next::Check(name, password) => {
                self.claimed = Some(name);
                self.ask(Question::Password(Some(password)), Event::Password);
            }
            Next::Lookup(lookup) => {
                self.claimed = Some(lookup.name().clone());
                self.ask(Question::Verifier(Box::new(lookup)), Event::Verifier);
            }
            Next::Proved(name) => {
                self.claimed = Some(name);
                self.event = Some(Event::Proved);
                self.authenticate(now);
            }
            Next::Disproved(name) => {
                self.claimed = Some(name);
                self.event = Some(Event::Disproved);
                self.deny(&Answer::AUTH_FAILED, now);
            }
            Next::Refused(fault) => self.deny(&refusal(fault), now),
        }
    }

    /// It is who it says.
    pub(super) fn authenticate(&mut self, now: Monotonic) {
        self.line.limit(COMMAND_LINE_MAX);
        self.authenticated = true;
        self.reply(&Answer::AUTHENTICATED, now);
    }

    /// The exchange has come to nothing.
    pub(super) fn deny(&mut self, answer: &Answer, now: Monotonic) {
        self.line.limit(COMMAND_LINE_MAX);
        self.refuse(answer, now);
    }
}

/// What the client is told: of names and passwords no more than that they will not do.
fn refusal(fault: Fault) -> Answer {
    match fault {
        Fault::Cancelled => Answer::AUTH_CANCELLED,
        Fault::NotBase64 | Fault::Malformed => Answer::AUTH_MALFORMED,
        Fault::Unfit | Fault::ActsForOther | Fault::WrongChannel => Answer::AUTH_FAILED,
    }
}
