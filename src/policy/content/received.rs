//! Write the trace field that a relay puts before the content (RFC 5321 §4.4).
//!
//! In: what is known of the session and the transaction. Out: one `Received:` field, folded, with
//! its CRLF. Invariant: only printable ASCII, or UTF-8 where SMTPUTF8 was asked for; every line is
//! within 998 octets; nothing that a client chose can end the field or a comment in it.

use std::net::IpAddr;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::{Domain, ForwardPath};

/// How the message came (RFC 3848, RFC 6531 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// After HELO.
    Smtp,
    /// After EHLO.
    Esmtp,
    /// After EHLO, with SMTPUTF8 at MAIL.
    Utf8Smtp,
}

impl Protocol {
    /// The keyword of the mail parameters registry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
            Self::Utf8Smtp => "UTF8SMTP",
        }
    }
}

/// What a `Received:` field says.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// What the client said in HELO or EHLO, whatever that was.
    pub hello: &'a str,
    /// The client's address, from its connection.
    pub client: IpAddr,
    /// This node.
    pub hostname: &'a Domain,
    /// How it came.
    pub protocol: Protocol,
    /// The message's name here.
    pub id: MessageId,
    /// The recipient, where there is one: naming one of several would tell the others.
    pub recipient: Option<&'a ForwardPath>,
    /// When.
    pub now: WallTime,
}

impl Received<'_> {
    /// The field, with its CRLF.
    pub fn to_field(&self) -> Vec<u8> {
        let mut field = format!(
            "Received: from {} ({})\r\n\tby {} with {}",
            self.hello_word(),
            literal(self.client),
            self.hostname,
            self.protocol.as_str(),
        );
        field.push_str(&format!(" id {}", self.id));
        if let Some(ForwardPath::Mailbox(mailbox)) = self.recipient {
            field.push_str(&format!("\r\n\tfor <{mailbox}>"));
        }
        field.push_str(&format!(";\r\n\t{}\r\n", self.now.to_rfc5322()));
        field.into_bytes()
    }

    /// What the client called itself, with whatever could not stand there replaced by `?`.
    fn hello_word(&self) -> String {
        if self.hello.is_empty() {
            return literal(self.client);
        }
        let utf8 = self.protocol == Protocol::Utf8Smtp;
        let word = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let keep = |c: char| word(c) || (utf8 && c.is_alphanumeric());
        self.hello.chars().map(|c| if keep(c) { c } else { '?' }).collect()
    }
}

/// An address literal (RFC 5321 §4.1.3).
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}
