//! What was sent, what was promised for it, and what came out: each with its moment.

use std::collections::HashMap;
use std::sync::Mutex;

use relay_fast::base::prng::Prng;

use crate::tape::Moment;

/// A message that is known by its number: who gets it and what it says.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) recipients: Vec<String>,
    pub(crate) content: Vec<u8>,
}

/// What is known of a run of the relay.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// When each message got its 250.
    pub(crate) acknowledged: HashMap<usize, Moment>,
    /// When a next hop was about to say 250 to each recipient's message.
    pub(crate) taken: HashMap<String, Vec<Moment>>,
    /// The same for DSNs about each message.
    pub(crate) told: HashMap<usize, Vec<Moment>>,
    /// What a next hop got that nobody sent so.
    pub(crate) garbage: Vec<String>,
}

/// A campaign, and what became of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) messages: Vec<Message>,
    pub(crate) facts: Mutex<Facts>,
}

const MARK: &str = "X-Audit: ";

impl Message {
    /// Message `number`: 1 to 3 recipients, and 1 KiB to 1.5 MiB of content of its own.
    fn new(number: usize) -> Self {
        let mut prng = Prng::from_number(number as u64);
        let mut below = |bound: u64| prng.below(bound);
        let recipients = (0..=below(3)).map(|place| {
            let kind = match below(20) {
                0..=16 => "ok",
                17 | 18 => "later",
                _ if place == 0 => "never",
                _ => "ok",
            };
            format!("{kind}.{number}.{place}@d{}.example", below(50))
        });
        let recipients = recipients.collect();
        let bytes = match below(100) {
            0..=79 => 1_024 + below(15 * 1_024),
            80..=95 => 16 * 1_024 + below(112 * 1_024),
            _ => 300 * 1_024 + below(1_200 * 1_024),
        };
        let mut content =
            format!("{MARK}{number};\r\nSubject: message {number}\r\n\r\n").into_bytes();
        while (content.len() as u64) < bytes {
            for _ in 0..9 {
                content.extend_from_slice(format!("{:08x}", below(1 << 32)).as_bytes());
            }
            content.extend_from_slice(b"\r\n");
        }
        Self { recipients, content }
    }
}

impl Ledger {
    pub(crate) fn new(messages: usize) -> Self {
        let messages = (0..messages).map(Message::new).collect();
        Self { messages, facts: Mutex::default() }
    }

    /// The facts, of which only the kinds that a restart makes anew are kept apart.
    pub(crate) fn forget_what_came_out(&self) -> Facts {
        std::mem::take(&mut *self.facts.lock().unwrap())
    }

    /// Who gets DSNs about message `number`.
    pub(crate) fn reverse_path(number: usize) -> String {
        format!("about.{number}@campaign.example")
    }

    /// The number in an address of ours.
    fn number_in(address: &str) -> Option<usize> {
        address.split(['.', '@']).nth(1)?.parse().ok()
    }

    /// Whether a DSN goes to this address; about which message.
    pub(crate) fn told_by(address: &str) -> Option<usize> {
        if address.starts_with("about.") { Self::number_in(address) } else { None }
    }

    /// What is wrong with `content` for `recipient`, if anything is.
    ///
    /// A message is its content behind `Received:` fields; a DSN is whole to its last boundary.
    pub(crate) fn fault(&self, recipient: &str, content: &[u8]) -> Option<String> {
        let fault = match Self::told_by(recipient) {
            Some(number) => dsn_fault(number, content),
            None => {
                let message = Self::number_in(recipient).and_then(|n| self.messages.get(n));
                match message {
                    None => Some("a stranger"),
                    Some(message) => message_fault(&message.content, content),
                }
            }
        };
        fault.map(|what| format!("{recipient}, {} octets: {what}", content.len()))
    }
}

fn message_fault(sent: &[u8], got: &[u8]) -> Option<&'static str> {
    let Some(prefix) = got.strip_suffix(sent) else { return Some("not what was sent") };
    let is_trace = prefix.starts_with(b"Received: ") && prefix.ends_with(b"\r\n");
    (!is_trace).then_some("something before what was sent")
}

fn dsn_fault(number: usize, got: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(got);
    let boundary = text.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
    let Some(boundary) = boundary else { return Some("a DSN without boundary") };
    if !text.trim_end().ends_with(&format!("--{boundary}--")) {
        return Some("a DSN without its end");
    }
    (!text.contains(&format!("{MARK}{number};"))).then_some("a DSN about something else")
}

#[test]
fn garbage_is_told_from_what_was_sent() {
    let ledger = Ledger::new(3);
    let Message { recipients, content } = &ledger.messages[2];
    let fault = |content: &[u8]| ledger.fault(&recipients[0], content);
    let whole = [b"Received: by us\r\n", content.as_slice()].concat();
    assert_eq!(fault(&whole), None);
    assert!(fault(&whole[..whole.len() - 1]).is_some(), "cut");
    assert!(fault(&[b"zeros\0", content.as_slice()].concat()).is_some(), "something before");
    let mut torn = whole.clone();
    torn[100] ^= 1;
    assert!(fault(&torn).is_some(), "a flipped bit");
    assert!(ledger.fault(&ledger.messages[1].recipients[0], &whole).is_some(), "another's");
    assert!(ledger.fault("about.2@campaign.example", &whole).is_some(), "no DSN");
}
