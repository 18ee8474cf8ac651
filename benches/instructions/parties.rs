//! The peers of a shard in memory: clients that send one message after another, and a next hop that
//! takes each. They look at as little as they can: what they cost is measured with the shard.

use std::ops::Range;

use memchr::memchr;

use crate::mail;

/// How both hops are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One command, one reply, and DATA.
    Data,
    /// All of a transaction in one piece: PIPELINING, CHUNKING.
    Chunking,
}

/// Destination domains, a message each in turn.
const DOMAINS: usize = 100;

/// What a client says at a time, and how many replies come to it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) text: Vec<u8>,
    replies: usize,
}

/// What clients say.
#[derive(Debug)]
pub(crate) struct Script {
    steps: Vec<Step>,
    /// Of these, those of each message; EHLO is before them.
    messages: Vec<Range<usize>>,
    /// Octets of each content.
    pub(crate) content_bytes: usize,
}

impl Script {
    pub(crate) fn new(manner: Manner) -> Self {
        let content = mail::content(10 * 1024);
        let mut script = Self {
            steps: vec![Step { text: b"EHLO client.example\r\n".to_vec(), replies: 1 }],
            messages: Vec::new(),
            content_bytes: content.len(),
        };
        for number in 0..DOMAINS {
            let first = script.steps.len();
            script.steps.extend(message(manner, number, &content));
            script.messages.push(first..script.steps.len());
        }
        script
    }

    pub(crate) fn text(&self, step: usize) -> &[u8] {
        &self.steps[step].text
    }
}

fn message(manner: Manner, number: usize, content: &[u8]) -> Vec<Step> {
    let commands = [
        format!("MAIL FROM:<bounce+{number}@sender.example> SIZE={}\r\n", content.len()),
        format!("RCPT TO:<someone@customer{number}.example>\r\n"),
    ];
    match manner {
        Manner::Data => {
            let text = String::from_utf8_lossy(content).replace("\r\n.", "\r\n..") + ".\r\n";
            let each = commands.into_iter().chain(["DATA\r\n".into(), text]);
            each.map(|text| Step { text: text.into_bytes(), replies: 1 }).collect()
        }
        Manner::Chunking => {
            let head = commands.concat() + &format!("BDAT {} LAST\r\n", content.len());
            vec![Step { text: [head.as_bytes(), content].concat(), replies: 3 }]
        }
    }
}

/// A client on its connection.
#[derive(Debug)]
pub(crate) struct Source {
    /// Steps to say before the next message.
    ahead: Range<usize>,
    /// Replies that are to come.
    awaited: usize,
}

impl Source {
    /// It waits for the greeting.
    pub(crate) fn new() -> Self {
        Self { ahead: 0..1, awaited: 1 }
    }

    /// The relay replied.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            assert!(line.starts_with(b"2") || line.starts_with(b"3"), "{}", line.escape_ascii());
            self.awaited -= usize::from(line[3] == b' ');
        }
    }

    /// The step to say next; of another message where `begin` numbers one.
    pub(crate) fn next(
        &mut self,
        script: &Script,
        begin: impl FnOnce() -> Option<usize>,
    ) -> Option<usize> {
        if self.awaited > 0 {
            return None;
        }
        if self.ahead.is_empty() {
            self.ahead = script.messages[begin()? % DOMAINS].clone();
        }
        let step = self.ahead.next()?;
        self.awaited = script.steps[step].replies;
        Some(step)
    }
}

/// What a next hop took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) messages: usize,
    /// Octets of content, as they came.
    pub(crate) bytes: usize,
}

/// A next hop on its connection.
#[derive(Debug)]
pub(crate) struct Sink {
    manner: Manner,
    stage: Stage,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Commands,
    /// Of what came, the last octets.
    Data([u8; 5]),
    /// So many octets, and whether it is the last chunk.
    Chunk(usize, bool),
}

const END_OF_DATA: [u8; 5] = *b"\r\n.\r\n";

impl Sink {
    pub(crate) fn new(manner: Manner) -> Self {
        Self { manner, stage: Stage::Commands }
    }

    /// The relay said this; what is replied.
    pub(crate) fn hear(&mut self, mut bytes: &[u8], taken: &mut Taken) -> Vec<u8> {
        let mut replies = Vec::new();
        while !bytes.is_empty() {
            let used = match self.stage {
                Stage::Commands => {
                    let end = memchr(b'\n', bytes).expect("commands come whole");
                    replies.extend_from_slice(self.command(&bytes[..=end]));
                    end + 1
                }
                Stage::Data(former) => {
                    let last = last_octets(former, bytes);
                    self.stage = Stage::Data(last);
                    taken.bytes += bytes.len();
                    if last == END_OF_DATA {
                        replies.extend_from_slice(self.take(taken));
                    }
                    bytes.len()
                }
                Stage::Chunk(left, is_last) => {
                    let used = left.min(bytes.len());
                    self.stage = Stage::Chunk(left - used, is_last);
                    taken.bytes += used;
                    if left == used {
                        assert!(is_last, "small messages come in one chunk");
                        replies.extend_from_slice(self.take(taken));
                    }
                    used
                }
            };
            bytes = &bytes[used..];
        }
        replies
    }

    fn take(&mut self, taken: &mut Taken) -> &'static [u8] {
        taken.messages += 1;
        self.stage = Stage::Commands;
        b"250 2.0.0 Ok: queued as 4cQzX31x2Yz\r\n"
    }

    fn command(&mut self, line: &[u8]) -> &'static [u8] {
        match (&line[..4], self.manner) {
            (b"EHLO", Manner::Data) => b"250-mx.example\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n",
            (b"EHLO", Manner::Chunking) => {
                b"250-mx.example\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-PIPELINING\r\n\
                  250 CHUNKING\r\n"
            }
            (b"RSET", _) => b"250 2.0.0 Ok\r\n",
            (b"MAIL", _) => b"250 2.1.0 Ok\r\n",
            (b"RCPT", _) => b"250 2.1.5 Ok\r\n",
            (b"QUIT", _) => b"221 2.0.0 Bye\r\n",
            (b"DATA", Manner::Data) => {
                self.stage = Stage::Data(*b"   \r\n");
                b"354 Go on\r\n"
            }
            (b"BDAT", Manner::Chunking) => {
                let line = std::str::from_utf8(line).expect("text");
                let mut words = line.split_ascii_whitespace().skip(1);
                let octets = words.next().and_then(|word| word.parse().ok()).expect("a size");
                self.stage = Stage::Chunk(octets, words.next() == Some("LAST"));
                b""
            }
            _ => panic!("the relay said {}", line.escape_ascii()),
        }
    }
}

/// The last octets of what came before and `bytes` together.
fn last_octets(former: [u8; 5], bytes: &[u8]) -> [u8; 5] {
    let new = &bytes[bytes.len().saturating_sub(5)..];
    let mut last = former;
    last.rotate_left(new.len() % 5);
    last[5 - new.len()..].copy_from_slice(new);
    last
}
