//! Open a session: connect, EHLO, STARTTLS and AUTH, each a phase of its own.
//!
//! Invariant: nothing that was said in clear counts under TLS (RFC 3207 §4.2): octets behind the
//! reply to STARTTLS break the session, and what the first EHLO offered is forgotten.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::Connection;
use crate::source::login::Mechanisms;
use crate::source::phases::Phase;
use crate::source::replies::Replies;
use crate::source::{Login, Run};
use crate::tls::{Mode, Stream};

/// What a server's EHLO reply offers that the source uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) chunking: bool,
    pub(super) size: bool,
    starttls: bool,
    auth: Mechanisms,
}

impl<'a> Connection<'a> {
    /// Connects, waits for the greeting and says EHLO (HELO where that is refused); secures the
    /// connection and logs in where the run wants that.
    ///
    /// Errors: those of the connection; a server that refuses or does not offer what is wanted.
    pub(crate) async fn open(run: &'a Run) -> io::Result<Self> {
        let start = Instant::now();
        let stream = TcpStream::connect(run.options.target).await?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            run,
            stream: Stream::Plain(stream),
            replies: Replies::new(),
            offers: Offers::default(),
            output: Vec::with_capacity(4_096),
            pending: VecDeque::new(),
            needs_reset: false,
        };
        let mut handshake = Duration::ZERO;
        if run.options.tls == Mode::Implicit {
            let begun = Instant::now();
            session = session.secure().await?;
            handshake = begun.elapsed();
            session.took(Phase::Tls, begun);
        }
        let greeting = session.reply().await?;
        if greeting != 220 {
            return Err(session.refusal(Phase::Connect, greeting));
        }
        run.tally.borrow_mut().took(Phase::Connect, start.elapsed() - handshake);
        session.say_hello().await?;
        if run.options.tls == Mode::Starttls {
            session = session.start_tls().await?;
            session.say_hello().await?;
        }
        if let Some(login) = &run.login {
            session.log_in(login).await?;
        }
        run.tally.borrow_mut().connections += 1;
        Ok(session)
    }

    async fn say_hello(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let mut hello = self.hello("EHLO").await?;
        if hello >= 500 {
            hello = self.hello("HELO").await?;
        }
        if hello != 250 {
            return Err(self.refusal(Phase::Ehlo, hello));
        }
        self.took(Phase::Ehlo, begun);
        Ok(())
    }

    async fn hello(&mut self, verb: &str) -> io::Result<u16> {
        write!(self.output, "{verb} {}\r\n", self.run.options.helo)?;
        self.write_output().await?;
        let mut offers = Offers::default();
        let code = self
            .replies
            .next(&mut self.stream, |line| {
                let mut words = line.text.splitn(2, |&octet| octet == b' ');
                let word = words.next().unwrap_or_default();
                offers.pipelining |= word.eq_ignore_ascii_case(b"PIPELINING");
                offers.chunking |= word.eq_ignore_ascii_case(b"CHUNKING");
                offers.size |= word.eq_ignore_ascii_case(b"SIZE");
                offers.starttls |= word.eq_ignore_ascii_case(b"STARTTLS");
                if word.eq_ignore_ascii_case(b"AUTH") {
                    offers.auth.note(words.next().unwrap_or_default());
                }
            })
            .await?;
        self.offers = offers;
        Ok(code)
    }

    /// STARTTLS, its reply, and the handshake.
    async fn start_tls(mut self) -> io::Result<Self> {
        if !self.offers.starttls {
            return Err(io::Error::other("STARTTLS is not offered"));
        }
        let begun = Instant::now();
        self.output.extend_from_slice(b"STARTTLS\r\n");
        self.write_output().await?;
        let code = self.reply().await?;
        if code != 220 {
            return Err(self.refusal(Phase::Tls, code));
        }
        if !self.replies.is_empty() {
            return Err(io::Error::other("octets in clear behind the reply to STARTTLS"));
        }
        let session = self.secure().await?;
        session.took(Phase::Tls, begun);
        Ok(session)
    }

    async fn secure(mut self) -> io::Result<Self> {
        let (Some(client), Stream::Plain(stream)) = (&self.run.tls, self.stream) else {
            unreachable!("a run that wants TLS has a client for it, and wants it once")
        };
        self.stream = client.secure(stream).await?;
        let mut tally = self.run.tally.borrow_mut();
        tally.tls_sessions += 1;
        tally.tls_resumed += u64::from(self.stream.is_resumed());
        drop(tally);
        Ok(self)
    }

    /// RFC 4954 §4: each answer waits for its 334, and 235 is the end of it.
    async fn log_in(&mut self, login: &Login) -> io::Result<()> {
        let Some(lines) = login.lines(self.offers.auth) else {
            return Err(io::Error::other("neither AUTH PLAIN nor AUTH LOGIN is offered"));
        };
        let begun = Instant::now();
        for (place, line) in lines.iter().enumerate() {
            self.output.extend_from_slice(line.as_bytes());
            self.write_output().await?;
            let code = self.reply().await?;
            let wanted = if place + 1 == lines.len() { 235 } else { 334 };
            if code != wanted {
                return Err(self.refusal(Phase::Auth, code));
            }
        }
        self.took(Phase::Auth, begun);
        Ok(())
    }
}
