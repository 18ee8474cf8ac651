//! Act on a command line, and on the caller's answer to the question it raised.
//!
//! Invariant: the table of `phase.rs` is asked before anything is read of the arguments; a refused
//! command changes nothing but the count of errors.

use std::borrow::Cow;

use crate::base::limits::HANDSHAKE_DEADLINE;
use crate::base::time::Monotonic;
use crate::mail::envelope::{BodyType, Envelope, TlsWish};
use crate::mail::handling::Handling;
use crate::smtp::answer::Answer;
use crate::smtp::command::{self, Hello, Verb};
use crate::smtp::extension::{Offered, Particulars};
use crate::smtp::line::{LineFault, LineReader, Read};
use crate::smtp::parameter::MailParameters;
use crate::smtp::phase::{Phase, Rule, rule};
use crate::smtp::server::{Event, Question, Security, Session, Step, Transaction};

impl Session {
    /// Take octets up to the end of a command line, and act on it.
    pub(super) fn handle_command(&mut self, bytes: &[u8], now: Monotonic) -> usize {
        let (used, read) = self.line.read(bytes);
        match read {
            Read::Partial => {}
            Read::Line(line) => {
                let early = used < bytes.len();
                match std::str::from_utf8(&line) {
                    Ok(text) => self.act(text, early, now),
                    Err(_) => self.refuse_line(&Answer::NOT_UTF8, &line, now),
                }
                self.opened = true;
                if self.is_secret(&line) {
                    LineReader::erase(line);
                } else {
                    self.line.reuse(line);
                }
            }
            Read::Refused(fault, line) => self.refuse_fault(fault, line, now),
        }
        used
    }

    fn refuse_fault(&mut self, fault: LineFault, line: Cow<'_, [u8]>, now: Monotonic) {
        let answer = match fault {
            LineFault::TooLong => Answer::LINE_TOO_LONG,
            LineFault::BareCr => Answer::BARE_CR,
            LineFault::BareLf => Answer::BARE_LF,
            LineFault::Nul => Answer::NUL,
            LineFault::Endless => Answer::OUT_OF_STEP,
        };
        self.refuse_line(&answer, &line, now);
        self.opened = true;
        self.line.reuse(line);
    }

    /// Refuse a line that is no text. One that begins as BDAT does may have a chunk behind it that
    /// must not be read as commands: the session ends. One of HTTP ends it too.
    fn refuse_line(&mut self, answer: &Answer, line: &[u8], now: Monotonic) {
        let start = line.get(..4).unwrap_or_default();
        let verb = line.split(|octet| *octet == b' ').next().unwrap_or_default();
        let verb = std::str::from_utf8(verb).map_or(Verb::Unknown, |word| Verb::split(word).0);
        if start.eq_ignore_ascii_case(b"BDAT") {
            self.close(&Answer::OUT_OF_STEP);
        } else if verb == Verb::Http && !self.opened {
            self.close(&Answer::NOT_HTTP);
        } else {
            self.refuse(answer, now);
        }
    }

    /// `early`: octets came behind the line already.
    fn act(&mut self, line: &str, early: bool, now: Monotonic) {
        let (verb, arguments) = Verb::split(line);
        if verb == Verb::Bdat {
            return self.on_bdat(arguments, now);
        }
        let verb = if verb == Verb::Http && self.opened { Verb::Unknown } else { verb };
        if let Some(refusal) = self.refusal_for_security(verb) {
            return self.refuse(&refusal, now);
        }
        let next = match rule(self.phase, verb) {
            Rule::Proceed(next) => *next,
            Rule::Close => self.phase,
            Rule::Refuse(refusal) => {
                self.refuse(refusal, now);
                // Whoever sends behind DATA without waiting sends content. It is none.
                if verb == Verb::Data && early {
                    self.close(&Answer::OUT_OF_STEP);
                }
                return;
            }
        };
        match verb {
            Verb::Ehlo => self.on_hello(arguments, true, next, now),
            Verb::Helo => self.on_hello(arguments, false, next, now),
            Verb::Mail => self.on_mail(arguments, now),
            Verb::Rcpt => self.on_rcpt(arguments, now),
            Verb::Data => self.on_data(arguments, early, now),
            Verb::Rset => self.on_rset(arguments, next, now),
            Verb::Vrfy if arguments.is_empty() => self.refuse(&Answer::SYNTAX, now),
            Verb::Vrfy => self.reply(&Answer::CANNOT_VERIFY, now),
            Verb::Help => self.reply(&Answer::HELP, now),
            Verb::Noop => self.reply(&Answer::OK, now),
            Verb::Quit if arguments.is_empty() => self.close(&Answer::BYE),
            Verb::Quit => self.refuse(&Answer::SYNTAX, now),
            Verb::Bdat | Verb::BdatLast => unreachable!("taken above"),
            Verb::StartTls => self.on_start_tls(arguments, early, now),
            Verb::Auth => self.on_auth(arguments, now),
            Verb::Xclient => self.on_xclient(arguments, now),
            Verb::Expn => self.refuse(&Answer::NOT_OFFERED, now),
            Verb::Http | Verb::Unknown => self.refuse(&Answer::UNKNOWN_COMMAND, now),
        }
    }

    /// What TLS, or the want of it, has against `verb`.
    fn refusal_for_security(&self, verb: Verb) -> Option<Answer> {
        let without_tls = matches!(
            verb,
            Verb::Ehlo | Verb::Noop | Verb::StartTls | Verb::Quit | Verb::Http | Verb::Unknown
        );
        match (self.options.security, verb) {
            (Security::Clear, Verb::StartTls) => Some(Answer::NOT_OFFERED),
            (_, Verb::StartTls) if self.secured => Some(Answer::TLS_ALREADY),
            (Security::RequireStartTls, _) if !self.secured && !without_tls => {
                Some(Answer::TLS_FIRST)
            }
            (_, Verb::Auth) => self.refusal_of_auth(),
            (_, Verb::Xclient) => self.behind.refusal(),
            _ => None,
        }
    }

    fn on_start_tls(&mut self, arguments: &str, early: bool, now: Monotonic) {
        if !arguments.is_empty() {
            return self.refuse(&Answer::SYNTAX, now);
        }
        // What came behind it came in clear: whoever can write into the connection could have
        // those commands taken for the client's (CVE-2011-0411).
        if early {
            return self.close(&Answer::OUT_OF_STEP);
        }
        self.say(&Answer::TLS_GO_ON);
        self.step = Step::Handshake(now + HANDSHAKE_DEADLINE);
        self.event = Some(Event::StartTls);
    }

    fn on_hello(&mut self, arguments: &str, esmtp: bool, next: Phase, now: Monotonic) {
        let hello = match Hello::parse(arguments, esmtp) {
            Ok(hello) => hello,
            Err(refusal) => return self.refuse(&refusal, now),
        };
        self.hello = Some(hello);
        self.behind.end();
        self.mail_refused = false;
        self.abort();
        self.phase = next;
        let options = &self.options;
        if esmtp {
            let particulars = Particulars {
                hostname: &options.hostname,
                bytes_max: options.message_bytes_max,
                recipients_max: options.recipients_max,
                start_tls: options.security != Security::Clear && !self.secured,
                is_secured: self.secured,
                mechanisms: &self.mechanisms(),
                xclient: self.behind.is_open(),
            };
            options.extensions.write(&particulars, &mut self.output);
        } else {
            self.output.extend_from_slice(b"250 ");
            self.output.extend_from_slice(options.hostname.as_bytes());
            self.output.extend_from_slice(b"\r\n");
        }
        self.await_command(now);
    }

    fn on_mail(&mut self, arguments: &str, now: Monotonic) {
        self.mail_refused = true;
        if self.options.auth.required && self.identity().is_none() {
            return self.refuse(&Answer::AUTH_FIRST, now);
        }
        let auth = self.options.extensions.auth && self.offers_auth();
        //= RFC 8689 §3
        //# This option MUST only be advertised after EHLO when a TLS-protected session is in effect
        let require_tls = self.options.extensions.require_tls && self.secured;
        let offered = Offered { auth, require_tls, ..self.options.extensions };
        let (reverse_path, parameters) = match command::mail(arguments, offered) {
            Ok(read) => read,
            Err(refusal) => return self.refuse(&refusal, now),
        };
        let MailParameters { size, body_type, smtp_utf8, require_tls, .. } = parameters;
        if size.is_some_and(|size| size > self.options.message_bytes_max) {
            return self.refuse(&Answer::MESSAGE_TOO_BIG, now);
        }
        let priority = parameters.priority.unwrap_or_default();
        let envelope = Envelope {
            reverse_path,
            body_type: body_type.unwrap_or_default(),
            smtp_utf8,
            tls: if require_tls { TlsWish::Required } else { TlsWish::Unsaid },
            ret: parameters.ret,
            envelope_id: parameters.envelope_id,
            handling: Handling { priority, ..Handling::default() }.boxed(),
            recipients: Vec::new(),
        };
        let MailParameters { hold, by, .. } = parameters;
        self.transaction = Some(Transaction { envelope, size_declared: size, hold, by });
        self.ask(Question::Mail, Event::Mail);
    }

    fn on_rcpt(&mut self, arguments: &str, now: Monotonic) {
        let (utf8, recipients) = self
            .envelope()
            .map_or((false, 0), |envelope| (envelope.smtp_utf8, envelope.recipients.len()));
        match command::rcpt(arguments, utf8) {
            Err(refusal) => self.refuse(&refusal, now),
            Ok(_) if recipients >= self.options.recipients_max => {
                self.refuse(&Answer::TOO_MANY_RECIPIENTS, now);
            }
            Ok(recipient) => self.ask(Question::Rcpt(recipient), Event::Rcpt),
        }
    }

    fn on_data(&mut self, arguments: &str, early: bool, now: Monotonic) {
        let binary = self.envelope().is_some_and(|it| it.body_type == BodyType::BinaryMime);
        if arguments.is_empty() && !binary {
            return self.ask(Question::Data { early }, Event::Content);
        }
        let refusal = if binary { Answer::BDAT_ONLY } else { Answer::SYNTAX };
        self.refuse(&refusal, now);
        if early {
            self.close(&Answer::OUT_OF_STEP);
        }
    }

    fn on_bdat(&mut self, arguments: &str, now: Monotonic) {
        let Some(chunk) = command::bdat(arguments) else {
            return self.close(&Answer::OUT_OF_STEP);
        };
        if !self.options.extensions.chunking {
            return self.skip_chunk(chunk, Answer::NOT_OFFERED, now);
        }
        let verb = if chunk.last { Verb::BdatLast } else { Verb::Bdat };
        match rule(self.phase, verb) {
            Rule::Refuse(refusal) => self.skip_chunk(chunk, refusal.clone(), now),
            Rule::Proceed(_) if self.intake.is_some() => self.continue_chunks(chunk, now),
            Rule::Proceed(_) | Rule::Close => self.ask(Question::Chunk(chunk), Event::Content),
        }
    }

    fn on_rset(&mut self, arguments: &str, next: Phase, now: Monotonic) {
        if !arguments.is_empty() {
            return self.refuse(&Answer::SYNTAX, now);
        }
        self.mail_refused = false;
        self.abort();
        self.phase = next;
        self.reply(&Answer::OK, now);
    }

    pub(super) fn ask(&mut self, question: Question, event: Event) {
        self.step = Step::Asked(question);
        self.event = Some(event);
    }

    /// The caller has answered.
    pub(super) fn answer_question(&mut self, question: Question, answer: &Answer, now: Monotonic) {
        let yes = answer.is_positive();
        match question {
            Question::Mail if yes => {
                self.mail_refused = false;
                self.accept(Verb::Mail, answer, now);
            }
            Question::Rcpt(recipient) if yes => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.envelope.recipients.push(recipient);
                }
                self.accept(Verb::Rcpt, answer, now);
            }
            Question::Rcpt(_) => self.refuse(answer, now),
            Question::Data { .. } if yes => {
                self.say(&Answer::GO_ON);
                self.begin_data(now);
            }
            Question::Chunk(chunk) if yes => self.begin_chunks(chunk, now),
            Question::Chunk(chunk) => {
                self.end_transaction();
                self.skip_chunk(chunk, answer.clone(), now);
            }
            Question::Data { early } => {
                self.end_transaction();
                self.refuse(answer, now);
                if early {
                    self.close(&Answer::OUT_OF_STEP);
                }
            }
            Question::Mail => {
                self.end_transaction();
                self.refuse(answer, now);
            }
            Question::Password(_) if yes => self.authenticate(now),
            Question::Password(_) | Question::Verifier(_) => self.deny(answer, now),
            Question::Presented(attributes) if yes => self.begin_again(*attributes, now),
            Question::Presented(_) => self.refuse(answer, now),
            Question::End => {
                self.end_transaction();
                self.errors = if yes { 0 } else { self.errors };
                if yes { self.reply(answer, now) } else { self.refuse(answer, now) }
            }
        }
    }

    /// Be in the phase that follows `verb`, and say yes.
    fn accept(&mut self, verb: Verb, answer: &Answer, now: Monotonic) {
        if let Rule::Proceed(next) = rule(self.phase, verb) {
            self.phase = *next;
        }
        self.reply(answer, now);
    }

    /// The transaction has come to an end that the caller knows of.
    fn end_transaction(&mut self) {
        self.transaction = None;
        self.intake = None;
        if self.phase != Phase::Connected && self.phase != Phase::Refused {
            self.phase = Phase::Ready;
        }
    }

    /// The transaction, if there is one, has come to an end that the caller must be told of.
    pub(super) fn abort(&mut self) {
        if self.transaction.is_some() {
            self.event = Some(Event::Aborted);
        }
        self.end_transaction();
    }

    /// Say `answer`, and await the next command.
    pub(super) fn reply(&mut self, answer: &Answer, now: Monotonic) {
        self.say(answer);
        self.await_command(now);
    }

    /// Say no, and await the next command. 421 closes, and so does one error too many. A client
    /// that sent RCPT and more behind MAIL (RFC 2920 §3.1) made one error at most, however many
    /// recipients there are; none if MAIL was refused for want of room.
    pub(super) fn refuse(&mut self, answer: &Answer, now: Monotonic) {
        if answer.code.as_u16() == 421 {
            return self.close(answer);
        }
        let follows = self.mail_refused && *answer == Answer::MAIL_FIRST;
        self.errors += u32::from(answer.is_permanent() && !follows);
        if self.errors > self.options.errors_max {
            return self.close(&Answer::TOO_MANY_ERRORS);
        }
        self.reply(answer, now);
    }

    /// Say `answer` as the last thing.
    pub(super) fn close(&mut self, answer: &Answer) {
        if self.is_over() {
            return;
        }
        self.abort();
        // In the middle of a handshake there is no way to say anything.
        if !self.awaits_handshake() {
            self.say(answer);
        }
        self.step = Step::Over;
    }

    pub(super) fn say(&mut self, answer: &Answer) {
        answer.write(&self.options.hostname, &mut self.output);
    }

    pub(super) fn await_command(&mut self, now: Monotonic) {
        self.command_due = now + self.options.deadlines.command;
        self.step = Step::Command;
        if self.ended {
            self.abort();
            self.step = Step::Over;
        } else if self.draining && self.phase != Phase::Chunks {
            self.close(&Answer::DRAINING);
        }
    }
}
