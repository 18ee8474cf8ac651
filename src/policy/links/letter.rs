//! Lead a message past what its tenant wants of it: a way to unsubscribe at once, links that tell
//! when they are followed, a picture that tells when it is fetched.
//!
//! In: content in pieces cut anywhere; once its header has come, whose it is. Out: the content,
//! with what is wanted. Invariant: what is not wanted, too large, signed by somebody else or not to
//! be read passes as it came; more than `TRACKED_BYTES_MAX` octets are never held. Before our own
//! signature is made: it is over what leaves. Lives on: the home shard, one a transaction, of those
//! who may relay, and only where some tenant wants something.

use std::collections::HashMap;
use std::sync::Arc;

use memchr::memmem;

use crate::base::ids::MessageId;
use crate::base::limits::{HEADER_BYTES_DEFAULT, TRACKED_BYTES_MAX};
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::handling::TenantName;
use crate::mail::status::Reply;
use crate::mail::visit::{About, Action};
use crate::policy::links::Links;
use crate::policy::links::header::{Header, Nature};
use crate::policy::links::parts::{Wanted, rewrite};
use crate::policy::reply;
use crate::policy::senders::Sender;

/// What is done about how to unsubscribe (RFC 8058).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsubscribe {
    /// Nothing.
    #[default]
    Off,
    /// A message that does not say it is refused.
    Check,
    /// A message that does not say it is made to.
    Add,
}

/// What a tenant wants of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How to unsubscribe.
    pub unsubscribe: Unsubscribe,
    /// Whether it is told when its messages are opened.
    pub opens: bool,
    /// Whether it is told when their links are followed.
    pub clicks: bool,
    /// The host of its links, in lower case.
    pub host: Box<str>,
}

/// What all of them want; there is one at least.
#[derive(Debug)]
pub struct Rules {
    /// What makes links; there is one where somebody wants any.
    pub links: Option<Links>,
    /// By tenant: those who want something.
    pub terms: HashMap<TenantName, Terms>,
}

/// What was done with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// It says how to unsubscribe, and did not before.
    pub unsubscribe: bool,
    /// What became of its links, where some were wanted.
    pub tracked: Option<Tracked>,
}

/// What became of the links of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// Links, pictures included, were put into it.
    Links(usize),
    /// It has none that could be.
    None,
    /// It is too large, or memory is short.
    Large,
    /// Somebody has signed or sealed it.
    Signed,
}

/// Where in the content it is.
#[derive(Debug)]
enum Place {
    /// In the header section, which is held; it is searched for its end from here on.
    Header(Vec<u8>, usize),
    /// Behind it, and whose it is was not said yet.
    Asking(Vec<u8>),
    /// In a body that is held, with its header.
    Held(Vec<u8>, Terms, About),
    /// What comes passes.
    Passing,
}

/// Reads and changes content as it comes.
#[derive(Debug)]
pub struct Linker {
    rules: Arc<Rules>,
    message: MessageId,
    taken: WallTime,
    recipient: Option<Mailbox>,
    place: Place,
    done: Done,
    refusal: Option<Reply>,
}

/// What ends a header section.
const END: &[u8] = b"\r\n\r\n";

impl Linker {
    /// At the start of the content of `message`; `recipient` where it is for one alone.
    pub fn new(
        rules: Arc<Rules>,
        message: MessageId,
        taken: WallTime,
        recipient: Option<Mailbox>,
    ) -> Self {
        let place = Place::Header(Vec::new(), 0);
        Self { rules, message, taken, recipient, place, done: Done::default(), refusal: None }
    }

    /// Take a piece; what passes on now.
    pub fn push(&mut self, piece: Vec<u8>) -> Vec<u8> {
        match &mut self.place {
            Place::Passing => piece,
            Place::Asking(held) => {
                held.extend_from_slice(&piece);
                Vec::new()
            }
            Place::Held(held, ..) => {
                held.extend_from_slice(&piece);
                match held.len() > TRACKED_BYTES_MAX {
                    true => self.let_go(),
                    false => Vec::new(),
                }
            }
            Place::Header(held, from) => {
                held.extend_from_slice(&piece);
                let has_ended =
                    held.starts_with(b"\r\n") || memmem::find(&held[*from..], END).is_some();
                *from = held.len().saturating_sub(END.len() - 1);
                if has_ended {
                    self.place = Place::Asking(std::mem::take(held));
                } else if held.len() > HEADER_BYTES_DEFAULT as usize {
                    return self.let_go();
                }
                Vec::new()
            }
        }
    }

    /// Whether the header has come, and [`Linker::sent_by`] is to say whose it is.
    pub fn asks(&self) -> bool {
        matches!(self.place, Place::Asking(_))
    }

    /// Whether the header has not come whole, or it asks.
    pub fn is_in_header(&self) -> bool {
        matches!(self.place, Place::Header(..) | Place::Asking(_))
    }

    /// The message is this sender's, or nobody's: what passes on now.
    pub fn sent_by(&mut self, sender: Option<Sender>) -> Vec<u8> {
        let held = match std::mem::replace(&mut self.place, Place::Passing) {
            Place::Asking(held) | Place::Header(held, _) => held,
            Place::Held(..) | Place::Passing => unreachable!("it asks once"),
        };
        let sender = sender.unwrap_or_default();
        let terms = sender.tenant.as_ref().and_then(|tenant| self.rules.terms.get(tenant));
        let Some(terms) = terms.cloned() else { return held };
        let about = About {
            message: self.message,
            taken: self.taken,
            recipient: self.recipient.take(),
            tenant: sender.tenant,
            campaign: sender.campaign,
        };
        let (nature, held) = self.with_unsubscribe(held, &terms, &about);
        self.done.tracked = match nature {
            _ if !terms.opens && !terms.clicks => None,
            Nature::Plain => Some(Tracked::None),
            Nature::Signed => Some(Tracked::Signed),
            Nature::Open if held.len() > TRACKED_BYTES_MAX => Some(Tracked::Large),
            Nature::Open => {
                self.place = Place::Held(held, terms, about);
                return Vec::new();
            }
        };
        held
    }

    /// See to it that the header says how to unsubscribe, as far as that is wanted.
    fn with_unsubscribe(
        &mut self,
        held: Vec<u8>,
        terms: &Terms,
        about: &About,
    ) -> (Nature, Vec<u8>) {
        let header = Header::read(&held);
        let nature = header.nature();
        match terms.unsubscribe {
            Unsubscribe::Off => {}
            _ if header.has_one_click() => {}
            Unsubscribe::Check => self.refusal = Some(lacks_one_click()),
            // Nobody could be told from the others, or it is not ours to change.
            Unsubscribe::Add if about.recipient.is_none() || header.is_unsubscribe_signed() => {}
            Unsubscribe::Add => {
                let links = self.rules.links.as_ref();
                let url = links.map(|links| links.url(&terms.host, about, &Action::Unsubscribe));
                if let Some(url) = url {
                    self.done.unsubscribe = true;
                    return (nature, header.with_one_click(&url));
                }
            }
        }
        (nature, held)
    }

    /// Hold nothing any more: what was held passes on as it is.
    pub fn let_go(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.place, Place::Passing) {
            Place::Header(held, _) | Place::Asking(held) => held,
            Place::Held(held, ..) => {
                self.done.tracked = Some(Tracked::Large);
                held
            }
            Place::Passing => Vec::new(),
        }
    }

    /// All of it has come, and whose it is was said: what passes on now, and what was done; or why
    /// it is refused.
    pub fn end(mut self) -> Result<(Vec<u8>, Done), Reply> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let rest = match self.place {
            Place::Passing => Vec::new(),
            Place::Header(held, _) | Place::Asking(held) => held,
            Place::Held(held, terms, about) => {
                let links = self.rules.links.as_ref();
                let rewritten = links.and_then(|links| with_links(&held, links, &terms, &about));
                let made = rewritten.as_ref().map(|(_, made)| *made);
                self.done.tracked = Some(made.map_or(Tracked::None, Tracked::Links));
                rewritten.map_or(held, |(content, _)| content)
            }
        };
        Ok((rest, self.done))
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        match &self.place {
            Place::Header(held, _) | Place::Asking(held) | Place::Held(held, ..) => held.capacity(),
            Place::Passing => 0,
        }
    }
}

fn lacks_one_click() -> Reply {
    let words =
        "List-Unsubscribe with an https URI and List-Unsubscribe-Post are needed (RFC 8058)";
    reply(550, (5, 7, 1), words)
}

/// Content with the links that are wanted; `None`: as it is.
fn with_links(
    content: &[u8],
    links: &Links,
    terms: &Terms,
    about: &About,
) -> Option<(Vec<u8>, usize)> {
    let own = format!("https://{}/", terms.host);
    let uris = Header::read(content).unsubscribe_uris();
    let is_let_alone = |url: &str| {
        let is_own = url.get(..own.len()).is_some_and(|start| start.eq_ignore_ascii_case(&own));
        is_own || uris.iter().any(|uri| uri == url)
    };
    let url = |action: &Action| links.url(&terms.host, about, action);
    let wanted =
        Wanted { opens: terms.opens, clicks: terms.clicks, is_let_alone: &is_let_alone, url: &url };
    rewrite(content, &wanted)
}

#[cfg(test)]
mod tests;
