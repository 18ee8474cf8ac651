//! Write the trace field that a relay puts before the content (RFC 5321 §4.4).
//!
//! In: what is known of the session and the transaction. Out: one `Received:` field, folded, with
//! its CRLF. Invariant: only printable ASCII, or UTF-8 where SMTPUTF8 was asked for; every line is
//! within 998 octets; nothing that a client chose can end the field or a comment in it.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::{Domain, ForwardPath};

/// Octets of a usual field, set aside at once.
const USUAL_BYTES: usize = 256;

/// How the message came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// After EHLO, not HELO.
    pub esmtp: bool,
    /// With SMTPUTF8 at MAIL.
    pub utf8: bool,
    /// Through TLS.
    pub tls: bool,
    /// Of a client that has logged in.
    pub authenticated: bool,
}

impl Protocol {
    /// The keyword of the mail parameters registry (RFC 3848, RFC 6531 §4.3). HELO has but one.
    pub fn as_str(self) -> &'static str {
        match (self.esmtp, self.utf8, self.tls, self.authenticated) {
            (_, true, false, false) => "UTF8SMTP",
            (_, true, true, false) => "UTF8SMTPS",
            (_, true, false, true) => "UTF8SMTPA",
            (_, true, true, true) => "UTF8SMTPSA",
            (true, false, false, false) => "ESMTP",
            (true, false, true, false) => "ESMTPS",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, true) => "ESMTPSA",
            (false, false, _, _) => "SMTP",
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
    /// The cipher suite of TLS, if it came through that.
    pub cipher: Option<&'a str>,
    /// The recipient, where there is one: naming one of several would tell the others.
    pub recipient: Option<&'a ForwardPath>,
    /// When.
    pub now: WallTime,
}

/// What such a field says of a message that was handed in over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedByHttp<'a> {
    /// This node.
    pub hostname: &'a Domain,
    /// The message's name here.
    pub id: MessageId,
    /// The recipient, where there is one.
    pub recipient: Option<&'a ForwardPath>,
    /// When.
    pub now: WallTime,
}

impl ReceivedByHttp<'_> {
    /// The field, with its CRLF. Where it came from is nobody's business but the sender's.
    pub fn to_field(&self) -> Vec<u8> {
        let mut field = String::with_capacity(USUAL_BYTES);
        let Self { hostname, id, recipient, now } = self;
        write!(field, "Received: by {hostname} with HTTP id {id}")
            .and_then(|()| write_end(*recipient, None, *now, &mut field))
            .expect("memory takes every write");
        field.into_bytes()
    }
}

impl Received<'_> {
    /// The field, with its CRLF.
    pub fn to_field(&self) -> Vec<u8> {
        let mut field = String::with_capacity(USUAL_BYTES);
        self.write(&mut field).expect("memory takes every write");
        field.into_bytes()
    }

    fn write(&self, field: &mut String) -> fmt::Result {
        field.push_str("Received: from ");
        self.write_hello(field)?;
        field.push_str(" (");
        write_literal(self.client, field)?;
        let (by, with) = (self.hostname.as_str(), self.protocol.as_str());
        for word in [")\r\n\tby ", by, " with ", with, " id "] {
            field.push_str(word);
        }
        write!(field, "{}", self.id)?;
        write_end(self.recipient, self.cipher, self.now, field)
    }

    /// What the client called itself, with whatever could not stand there replaced by `?`.
    fn write_hello(&self, field: &mut String) -> fmt::Result {
        if self.hello.is_empty() {
            return write_literal(self.client, field);
        }
        let utf8 = self.protocol.utf8;
        let is_word =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
        let keep = |c: char| is_word(c) || (utf8 && c.is_alphanumeric());
        if self.hello.chars().all(keep) {
            field.push_str(self.hello);
        } else {
            field.extend(self.hello.chars().map(|c| if keep(c) { c } else { '?' }));
        }
        Ok(())
    }
}

fn write_end(
    recipient: Option<&ForwardPath>,
    cipher: Option<&str>,
    now: WallTime,
    field: &mut String,
) -> fmt::Result {
    if let Some(ForwardPath::Mailbox(mailbox)) = recipient {
        for word in ["\r\n\tfor <", mailbox.as_str(), ">"] {
            field.push_str(word);
        }
    }
    // RFC 8314 §4.3: the clause of the registry of additional registered clauses.
    if let Some(cipher) = cipher {
        for word in ["\r\n\ttls ", cipher] {
            field.push_str(word);
        }
    }
    field.push_str(";\r\n\t");
    now.write_rfc5322(field)?;
    field.push_str("\r\n");
    Ok(())
}

/// An address literal (RFC 5321 §4.1.3).
fn write_literal(address: IpAddr, field: &mut String) -> fmt::Result {
    match address.to_canonical() {
        IpAddr::V4(address) => write!(field, "[{address}]"),
        IpAddr::V6(address) => write!(field, "[IPv6:{address}]"),
    }
}
