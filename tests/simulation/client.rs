//! Submit mail as clients do: one command at a time or all at once, to the end or not.
//!
//! Invariant: the ledger knows of each message at all times what its client was told.

use std::collections::VecDeque;

use crate::agenda::{Agenda, MS, SECOND};
use crate::ledger::{Ledger, Notify, Verdict};
use crate::peer::Act;
use crate::store::Store;

/// How a message is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    Never,
    /// RSET after the recipients.
    Reset,
    /// The connection is reset within the content.
    InContent,
    /// The connection is ended right behind the content.
    BeforeReply,
}

/// How a client works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) pipelines: bool,
    pub(crate) chunks: bool,
    /// The next message goes out before the reply to this one.
    pub(crate) eager: bool,
    /// Between one message and the next.
    pub(crate) pause: u64,
}

/// What the next reply answers; with the number of its mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Greeting,
    Hello,
    Mail(u64),
    Rcpt(u64, usize),
    Data(u64),
    End(u64),
    Reset,
    /// RSET ahead of MAIL: goes on by itself.
    Cleared,
    Quit,
}

/// A client and its one connection at a time.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) habits: Habits,
    /// What it has to submit.
    pub(crate) queue: VecDeque<(u64, Abort)>,
    pub(crate) connection: Option<u64>,
    pub(crate) acts: VecDeque<Act>,
    /// It goes on at its next wake.
    pub(crate) wakes_after: Option<u64>,
    /// Times that it asked to be woken: only the last one counts.
    pub(crate) wakes: u64,
    expected: VecDeque<Expected>,
    input: Vec<u8>,
    /// The message that is being submitted.
    current: Option<(u64, Abort)>,
    /// Nothing more is said on this connection.
    leaving: bool,
    tries: u32,
}

/// What a client works with.
pub(crate) struct Books<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) store: &'a Store,
    pub(crate) agenda: &'a mut Agenda,
}

impl Client {
    pub(crate) fn new(habits: Habits, queue: VecDeque<(u64, Abort)>) -> Self {
        Self {
            habits,
            queue,
            connection: None,
            acts: VecDeque::new(),
            wakes_after: None,
            wakes: 0,
            expected: VecDeque::new(),
            input: Vec::new(),
            current: None,
            leaving: false,
            tries: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.connection.is_none()
    }

    /// A new connection was begun.
    pub(crate) fn connected(&mut self, connection: u64) {
        self.connection = Some(connection);
        self.expected = [Expected::Greeting].into();
        self.input.clear();
        (self.current, self.leaving) = (None, false);
    }

    /// The connection is gone, or was refused.
    pub(crate) fn lost(&mut self, books: &mut Books<'_>) {
        self.connection = None;
        self.current = None;
        for expected in std::mem::take(&mut self.expected) {
            if let Expected::End(number) = expected {
                // Nobody can tell whether it was stored.
                books.ledger.mail(number).verdict = Verdict::Unknown;
            }
        }
        self.wakes_after = (!self.queue.is_empty()).then(|| books.agenda.between(MS, 2 * SECOND));
    }

    /// The relay said this; sent at `sent_at`.
    pub(crate) fn hear(&mut self, bytes: &[u8], sent_at: u64, books: &mut Books<'_>) {
        self.input.extend_from_slice(bytes);
        while let Some(code) = self.take_reply() {
            let expected = self.expected.pop_front();
            if code == 421 {
                // What was not answered is not stored; what was to be answered by this is not.
                if let Some(Expected::End(number)) = expected {
                    books.ledger.mail(number).verdict = Verdict::Unknown;
                }
                self.leaving = true;
                continue;
            }
            let expected = expected.unwrap_or_else(|| panic!("{code} answers nothing"));
            self.answered(expected, code, sent_at, books);
        }
    }

    /// The code of the next whole reply.
    fn take_reply(&mut self) -> Option<u16> {
        let mut start = 0;
        loop {
            let end = start + memchr::memmem::find(&self.input[start..], b"\r\n")?;
            let line = &self.input[start..end];
            if line.get(3) != Some(&b'-') {
                let code = std::str::from_utf8(&line[..3]).ok().and_then(|code| code.parse().ok());
                self.input.drain(..end + 2);
                return Some(code.expect("a reply begins with its code"));
            }
            start = end + 2;
        }
    }

    fn answered(&mut self, expected: Expected, code: u16, sent_at: u64, books: &mut Books<'_>) {
        let is_yes = code < 400;
        match expected {
            Expected::Greeting if is_yes => self.say("EHLO client.example\r\n", Expected::Hello),
            Expected::Hello => self.next(books),
            Expected::Greeting | Expected::Quit => self.close(),
            Expected::Reset => self.next(books),
            Expected::Cleared => {}
            Expected::Mail(number) if !is_yes => self.put_off(number, books),
            Expected::Mail(_) if self.habits.pipelines => {}
            Expected::Mail(number) => self.say_recipient(number, 0, books),
            Expected::Rcpt(number, place) => {
                books.ledger.mail(number).to[place].taken = is_yes;
                let more = place + 1 < books.ledger.mail(number).to.len();
                if self.habits.pipelines || self.current.is_none() {
                } else if more {
                    self.say_recipient(number, place + 1, books);
                } else {
                    self.say_content_command(number, books);
                }
            }
            Expected::Data(number) if code == 354 => self.say_content(number, books),
            Expected::Data(number) => {
                // No recipient was taken, and perhaps none ever will be.
                self.tries += if code == 554 { 9 } else { 0 };
                self.put_off(number, books);
            }
            Expected::End(number) => self.ended(number, code, sent_at, books),
        }
    }

    /// The relay does not take this message now: it is submitted again later, a few times.
    fn put_off(&mut self, number: u64, books: &mut Books<'_>) {
        let Some((current, abort)) = self.current.take_if(|(current, _)| *current == number) else {
            return;
        };
        assert_eq!(current, number);
        books.ledger.mail(number).to.iter_mut().for_each(|one| one.taken = false);
        self.tries += 1;
        if self.tries < 100 {
            self.queue.push_front((number, abort));
        }
        // The replies to what was pipelined behind come before that to QUIT.
        self.quit();
    }

    fn ended(&mut self, number: u64, code: u16, sent_at: u64, books: &mut Books<'_>) {
        let mail = books.ledger.mail(number);
        if code < 300 {
            mail.verdict = Verdict::Acknowledged(books.agenda.now);
            let synced = books.store.synced_since(number);
            assert!(
                books.ledger.answers_from_memory || synced.is_some_and(|since| since <= sent_at),
                "mail {number} was acknowledged at {sent_at}, and synced {synced:?}"
            );
            if synced.is_none() {
                books.ledger.acknowledged_unsynced(number, sent_at);
            }
            self.tries = 0;
        } else {
            mail.verdict = Verdict::Refused(code);
        }
        if !self.habits.eager {
            self.current = None;
            self.next(books);
        }
    }

    /// Begin the next message, now or after a pause.
    fn next(&mut self, books: &mut Books<'_>) {
        if self.habits.pause > 0 {
            self.wakes_after = Some(books.agenda.between(0, 2 * self.habits.pause));
        } else {
            self.go_on(books);
        }
    }

    /// Begin the next message.
    pub(crate) fn go_on(&mut self, books: &mut Books<'_>) {
        if self.leaving || self.connection.is_none() {
            return;
        }
        self.current = self.queue.pop_front();
        let Some((number, _)) = self.current else { return self.quit() };
        if self.habits.chunks && books.ledger.refuses_recipients {
            // A chunk for nobody is refused, and ends nothing (RFC 3030 §2).
            self.say("RSET\r\n", Expected::Cleared);
        }
        let mail = books.ledger.mail(number);
        let command = format!("MAIL FROM:<{}>\r\n", mail.reverse_path);
        let recipients = mail.to.len();
        self.say(&command, Expected::Mail(number));
        if self.habits.pipelines {
            for place in 0..recipients {
                self.say_recipient(number, place, books);
            }
            self.say_content_command(number, books);
        }
    }

    fn say_recipient(&mut self, number: u64, place: usize, books: &mut Books<'_>) {
        let to = &books.ledger.mail(number).to[place];
        let notify = match to.notify {
            Notify::Default => "",
            Notify::Never => " NOTIFY=NEVER",
            Notify::Success => " NOTIFY=SUCCESS",
        };
        let command = format!("RCPT TO:<{}>{notify}\r\n", to.address);
        self.say(&command, Expected::Rcpt(number, place));
    }

    fn say_content_command(&mut self, number: u64, books: &mut Books<'_>) {
        let abort = self.current.map_or(Abort::Never, |(_, abort)| abort);
        if abort == Abort::Reset {
            self.say("RSET\r\n", Expected::Reset);
        } else if self.habits.chunks {
            self.say_content(number, books);
        } else {
            self.say("DATA\r\n", Expected::Data(number));
        }
    }

    fn say_content(&mut self, number: u64, books: &mut Books<'_>) {
        let abort = self.current.map_or(Abort::Never, |(_, abort)| abort);
        let mail = books.ledger.mail(number);
        let mut bytes = match self.habits.chunks {
            true => {
                let command = format!("BDAT {} LAST\r\n", mail.content.len());
                [command.as_bytes(), &mail.content].concat()
            }
            false => stuffed(&mail.content),
        };
        if abort == Abort::InContent {
            bytes.truncate(bytes.len() / 2);
            self.acts.push_back(Act::Say { text: bytes, after: 0 });
            self.acts.push_back(Act::Reset);
            self.leaving = true;
            return;
        }
        mail.verdict = Verdict::Unknown;
        self.acts.push_back(Act::Say { text: bytes, after: 0 });
        self.expected.push_back(Expected::End(number));
        if abort == Abort::BeforeReply {
            self.close();
        } else if self.habits.eager {
            self.current = None;
            self.next(books);
        }
    }

    fn say(&mut self, text: &str, expected: Expected) {
        self.acts.push_back(Act::Say { text: text.as_bytes().to_vec(), after: 0 });
        self.expected.push_back(expected);
    }

    fn quit(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.say("QUIT\r\n", Expected::Quit);
        }
    }

    fn close(&mut self) {
        self.leaving = true;
        self.acts.push_back(Act::Close);
    }
}

/// RFC 5321 §4.5.2, and the line that ends the content.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 8);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}
