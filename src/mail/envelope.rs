//! A message's envelope: reverse-path, recipients, and what the client asked for each.

use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::handling::Handling;

/// How the content is encoded, by the BODY parameter of MAIL (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyType {
    /// `7BIT`, or nothing said.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
    /// `BINARYMIME`: only BDAT can carry it.
    BinaryMime,
}

/// What a failure's DSN returns of the message (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header only.
    Headers,
}

/// When the reverse-path wants to hear of a recipient (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notify {
    /// Nothing said: failures, and delays as the relay sees fit.
    Default,
    /// `NEVER`.
    Never,
    /// Any of the three, at least one.
    When {
        /// On delivery, or on relaying to a host without DSN.
        success: bool,
        /// On failure.
        failure: bool,
        /// On delay.
        delay: bool,
    },
}

impl Notify {
    /// Whether a bounce is to be told.
    pub fn on_failure(self) -> bool {
        matches!(self, Self::Default | Self::When { failure: true, .. })
    }

    /// Whether a delay is to be told.
    pub fn on_delay(self) -> bool {
        matches!(self, Self::Default | Self::When { delay: true, .. })
    }

    /// Whether a delivery is to be told.
    pub fn on_success(self) -> bool {
        matches!(self, Self::When { success: true, .. })
    }
}

/// What the sender says of TLS on the message's way (RFC 8689).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsWish {
    /// Nothing: each host does as its operator and the destination want it.
    #[default]
    Unsaid,
    /// `REQUIRETLS`: through TLS, to hosts that are who they must be and keep to it too, or not at
    /// all.
    Required,
    /// `TLS-Required: No` in the header: delivery counts for more than what destinations say of
    /// TLS.
    Waived,
}

impl TlsWish {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unsaid, Self::Required, Self::Waived];

    /// Its place among them.
    pub fn place(self) -> usize {
        self as usize
    }
}

/// The recipient as the original sender wrote it (RFC 3461 §4.2), decoded from xtext.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    /// The address type, as `rfc822`.
    pub kind: Box<str>,
    /// The address, decoded.
    pub address: Box<str>,
}

/// One recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where it goes.
    pub forward_path: ForwardPath,
    /// When to tell the reverse-path.
    pub notify: Notify,
    /// ORCPT, if given.
    pub original: Option<OriginalRecipient>,
}

/// Everything of a transaction but the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Whom a DSN goes to; null for DSNs themselves.
    pub reverse_path: ReversePath,
    /// BODY.
    pub body_type: BodyType,
    /// SMTPUTF8 was given: addresses or header may hold UTF-8.
    pub smtp_utf8: bool,
    /// REQUIRETLS, or what the header says.
    pub tls: TlsWish,
    /// RET, if given.
    pub ret: Option<Ret>,
    /// ENVID, if given, decoded from xtext.
    pub envelope_id: Option<Box<str>>,
    /// For whom it is, before what else it goes, and when; `None` where nothing is said of it.
    pub handling: Option<Box<Handling>>,
    /// At least one, at most `RECIPIENTS_MAX`, in the order given.
    pub recipients: Vec<Recipient>,
}

impl Recipient {
    /// Who asks for nothing but delivery.
    pub fn plain(mailbox: Mailbox) -> Self {
        let forward_path = ForwardPath::Mailbox(mailbox);
        Self { forward_path, notify: Notify::Default, original: None }
    }
}

impl Envelope {
    /// Of a transaction that asks for nothing but delivery.
    pub fn plain(reverse_path: ReversePath, recipients: Vec<Recipient>) -> Self {
        Self {
            reverse_path,
            body_type: BodyType::SevenBit,
            smtp_utf8: false,
            tls: TlsWish::Unsaid,
            ret: None,
            envelope_id: None,
            handling: None,
            recipients,
        }
    }

    /// `<Postmaster>` without a domain (RFC 5321 §4.1.1.3) is the node's own: put `mailbox` in its
    /// place.
    pub fn place_postmaster(&mut self, mailbox: &Mailbox) {
        for recipient in &mut self.recipients {
            if recipient.forward_path == ForwardPath::Postmaster {
                recipient.forward_path = ForwardPath::Mailbox(mailbox.clone());
            }
        }
    }
}
