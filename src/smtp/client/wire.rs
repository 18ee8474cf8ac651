//! What is on its way to the peer, and what the peer still has to answer.
//!
//! Invariant: a reply answers the front of the queue and nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use crate::mail::outcome::Stage;
use crate::smtp::client::Deadlines;

/// Something that the peer answers with one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The connection itself: 220.
    Greeting,
    /// EHLO.
    Ehlo,
    /// HELO, where EHLO was not understood.
    Helo,
    /// STARTTLS.
    StartTls,
    /// RSET.
    Reset,
    /// MAIL.
    Mail,
    /// RCPT of the recipient at this place of the transaction.
    Rcpt(usize),
    /// DATA.
    Data,
    /// The end of data after the content.
    EndOfData,
    /// An end of data without content, where nobody is left to get it (RFC 2920 §3.1).
    LoneDot,
    /// BDAT, with all its octets.
    Chunk,
    /// QUIT.
    Quit,
}

impl Command {
    /// The stage of a delivery that it belongs to.
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Greeting => Stage::Greeting,
            Self::Ehlo | Self::Helo => Stage::Hello,
            Self::StartTls => Stage::Tls,
            Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::EndOfData | Self::LoneDot | Self::Chunk => Stage::Content,
            Self::Reset | Self::Quit => Stage::Quit,
        }
    }

    /// How long its reply may take, once all before it is answered.
    pub(super) fn patience(self, deadlines: &Deadlines) -> Duration {
        match self {
            Self::Greeting => deadlines.greeting,
            Self::Ehlo | Self::Helo | Self::StartTls => deadlines.hello,
            Self::Mail => deadlines.mail,
            Self::Rcpt(_) => deadlines.rcpt,
            Self::Data => deadlines.data,
            Self::EndOfData | Self::LoneDot | Self::Chunk => deadlines.end_of_data,
            Self::Reset | Self::Quit => deadlines.quit,
        }
    }

    /// Whether its reply may still decide who gets the content.
    pub(super) fn decides_recipients(self) -> bool {
        match self {
            Self::Reset | Self::Mail | Self::Rcpt(_) => true,
            Self::Greeting | Self::Ehlo | Self::Helo | Self::StartTls | Self::Quit => false,
            Self::Data | Self::EndOfData | Self::LoneDot | Self::Chunk => false,
        }
    }
}

/// Output that was not taken, and commands that were not answered.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// To be sent.
    pub(super) output: Vec<u8>,
    /// Room for commands, empty, while `output` is a buffer that was lent.
    pub(super) resting: Vec<u8>,
    /// To be answered, oldest first.
    pub(super) unanswered: VecDeque<Command>,
}

impl Wire {
    /// Send `line`, CRLF included, and expect a reply to it.
    pub(super) fn send(&mut self, command: Command, line: &[u8]) {
        self.output.extend_from_slice(line);
        self.unanswered.push_back(command);
    }

    /// Nothing more goes out, nothing more is waited for.
    pub(super) fn clear(&mut self) {
        self.output.clear();
        self.unanswered.clear();
    }
}
