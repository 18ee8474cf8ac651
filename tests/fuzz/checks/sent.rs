//! Read back what the sending side has sent: commands, each well-formed, and framed content.

use relay_fast::base::limits::COMMAND_LINE_MAX;
use relay_fast::mail::envelope::Envelope;
use relay_fast::smtp::command::{self, Verb};
use relay_fast::smtp::extension::Offered;

use super::taken;

/// What was read.
pub(crate) struct Reading<'a> {
    envelope: &'a Envelope,
    content: &'a [u8],
    /// What is not read yet.
    rest: &'a [u8],
    last: Verb,
    /// How often the content was sent, whole.
    pub(crate) bodies: usize,
}

impl<'a> Reading<'a> {
    /// Read `sent`, in which content began at `begun`. Panics where it is not what may be sent.
    pub(crate) fn of(
        sent: &'a [u8],
        begun: &[usize],
        envelope: &'a Envelope,
        content: &'a [u8],
    ) -> Self {
        let (last, bodies) = (Verb::Unknown, 0);
        let mut reading = Self { envelope, content, rest: sent, last, bodies };
        while !reading.rest.is_empty() {
            let at = sent.len() - reading.rest.len();
            if reading.last == Verb::Data && begun.contains(&at) {
                reading.read_data();
            } else {
                reading.read_command();
            }
        }
        reading
    }

    fn take(&mut self, octets: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(octets.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Content behind DATA, up to the first line that is a dot alone.
    fn read_data(&mut self) {
        self.last = Verb::Unknown;
        let framed = [b"\r\n", self.rest].concat();
        let end = framed.windows(5).position(|part| part == b"\r\n.\r\n");
        let Some(end) = end else {
            // Cut short: the connection ended amid it.
            let text = self.take(usize::MAX);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            return taken::assert_whole_ends(text);
        };
        let raw = self.take(end + 3);
        let content = taken::content(raw, 0, raw.len(), taken::Framing::Dot, false);
        let mut expected = taken::whole_ends(self.content);
        if !expected.ends_with(b"\r\n") && !expected.is_empty() {
            expected.extend_from_slice(b"\r\n");
        }
        assert_eq!(content, expected, "content goes out as something else");
        self.bodies += 1;
    }

    fn read_command(&mut self) {
        let end = self.rest.windows(2).position(|pair| pair == b"\r\n").expect("a whole line");
        let line = self.take(end + 2);
        assert!(line.len() <= COMMAND_LINE_MAX);
        let line = std::str::from_utf8(&line[..end]).expect("text");
        assert!(!line.contains(char::is_control), "{line:?}");
        if line == "." {
            assert_eq!(self.last, Verb::Data, "an end of nothing");
            self.last = Verb::Unknown;
            self.bodies += usize::from(self.content.is_empty());
            return;
        }
        let (verb, arguments) = Verb::split(line);
        match verb {
            Verb::Ehlo | Verb::Helo => assert_eq!(arguments, "relay.example"),
            Verb::StartTls | Verb::Rset | Verb::Quit | Verb::Data => assert_eq!(arguments, ""),
            Verb::Mail => {
                let (path, parameters) =
                    command::mail(arguments, Offered::ALL).expect("a MAIL that can be read");
                assert_eq!(path, self.envelope.reverse_path);
                let size = parameters.size.unwrap_or(self.content.len() as u64);
                assert_eq!(size, self.content.len() as u64);
            }
            Verb::Rcpt => {
                let recipient = command::rcpt(arguments, true).expect("a RCPT that can be read");
                let path = &recipient.forward_path;
                assert!(self.envelope.recipients.iter().any(|one| one.forward_path == *path));
            }
            Verb::Bdat => self.read_chunk(arguments),
            _ => panic!("{line:?} is never said"),
        }
        self.last = verb;
    }

    fn read_chunk(&mut self, arguments: &str) {
        let chunk = command::bdat(arguments).expect("a BDAT that can be read");
        assert_eq!((chunk.bytes, chunk.last), (self.content.len() as u64, true));
        let content = self.take(self.content.len());
        assert!(self.content.starts_with(content), "content goes out as something else");
        self.bodies += usize::from(content.len() == self.content.len());
    }
}
