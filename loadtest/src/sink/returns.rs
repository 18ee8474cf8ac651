//! What recipients send back about mail that was taken: bounces that come late, and complaints.
//!
//! In: a message that was answered by 250, and rules. Out: a report by SMTP to the relay's own
//! door, and a line in a file once that has taken it. Invariant: the line stands there if and only
//! if a report was answered by 250. Lives on: the sink's thread.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Shared;
use super::script::Span;
use crate::dice::Dice;

/// Octets of a header section that a report returns.
const RETURNED_MAX: usize = 16 * 1024;
/// Before a report that was put off is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Times that a report is sent until it is taken.
const TRIES_MAX: u32 = 1_000;

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// A DSN to the reverse-path (RFC 3464).
    Bounce,
    /// A feedback report (RFC 5965).
    Complaint,
    /// A POST to the link in the message's own header (RFC 8058), at the door that `to` names.
    Unsubscribe,
}

impl What {
    /// As it stands in the file.
    fn word(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

/// Something that is on its way back.
enum Report {
    /// A message, and whom it goes to.
    Mail(String, String),
    /// The link, and the door that it leads to.
    Link(String, SocketAddr),
}

impl Report {
    /// Of what a rule says; nothing where the message has no link.
    fn of(rule: &Return, about: &About<'_>) -> Option<Self> {
        match (rule.what, rule.to.as_deref()) {
            (What::Bounce, _) | (_, None) => {
                Some(Self::Mail(bounce(about), about.reverse_path.to_owned()))
            }
            (What::Complaint, Some(to)) => Some(Self::Mail(complaint(about, to), to.to_owned())),
            (What::Unsubscribe, Some(to)) => {
                Some(Self::Link(link_of(about.content)?, to.parse().ok()?))
            }
        }
    }

    async fn hand_in(&self, relay: SocketAddr) -> Result<()> {
        match self {
            Self::Mail(report, to) => hand_in(relay, to, report).await,
            Self::Link(link, door) => unsubscribe(*door, link).await,
        }
    }

    /// Whom, or what, it goes to.
    fn to(&self) -> &str {
        match self {
            Self::Mail(_, to) => to,
            Self::Link(link, _) => link,
        }
    }
}

/// A rule of the script: which messages something comes back of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Return {
    what: What,
    /// `d.example`, of the recipient; all without it.
    domain: Option<String>,
    probability: f64,
    #[serde(default = "soon")]
    after: Span,
    /// Where complaints go; or the address where links are answered.
    to: Option<String>,
}

fn soon() -> Span {
    Span::of(Duration::from_millis(100))
}

impl Return {
    /// Whether the rule makes sense.
    pub(super) fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.probability) {
            bail!("a probability is between 0 and 1");
        }
        if (self.what == What::Bounce) == self.to.is_some() {
            bail!("what comes back goes `to` somebody, and a bounce to the reverse-path");
        }
        let door = self.to.as_ref().filter(|_| self.what == What::Unsubscribe);
        if let Some(door) = door.filter(|door| door.parse::<SocketAddr>().is_err()) {
            bail!("{door:?} is no address with a port, where links could be answered");
        }
        Ok(())
    }

    fn is_about(&self, recipient: &str) -> bool {
        let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.domain.as_ref().is_none_or(|named| named.eq_ignore_ascii_case(domain))
    }
}

/// A message that was taken, with one of its recipients.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) id: &'a str,
    pub(super) reverse_path: &'a str,
    pub(super) recipient: &'a str,
    pub(super) content: &'a [u8],
}

/// Sends reports.
#[derive(Debug)]
pub(super) struct Returns {
    rules: Vec<Return>,
    to: SocketAddr,
}

impl Returns {
    /// By these rules, to that door.
    pub(super) fn new(rules: Vec<Return>, to: SocketAddr) -> Self {
        Self { rules, to }
    }

    /// Lets what is to come back of a message come back, in its time.
    pub(super) fn look_at(&self, about: About<'_>, shared: &Rc<Shared>) {
        if about.reverse_path.is_empty() {
            return;
        }
        // By the message alone: one that comes twice is complained of twice, or not at all.
        let seed =
            xxhash_rust::xxh3::xxh3_64(format!("{}{}", about.id, about.recipient).as_bytes());
        let mut dice = Dice::new(seed);
        for rule in self.rules.iter().filter(|rule| rule.is_about(about.recipient)) {
            if dice.fraction() >= rule.probability {
                continue;
            }
            let Some(report) = Report::of(rule, &about) else { continue };
            let (id, recipient, word) = (about.id, about.recipient, rule.what.word());
            let line = format!("{id} {recipient} {word} {}\n", report.to());
            let (after, to, shared) = (rule.after.draw(&mut dice), self.to, Rc::clone(shared));
            shared.open_returns.fetch_add(1, Ordering::Relaxed);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(after).await;
                for _ in 0..TRIES_MAX {
                    if report.hand_in(to).await.is_ok() {
                        shared.returned.append(|out| out.extend_from_slice(line.as_bytes()));
                        break;
                    }
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                shared.open_returns.fetch_sub(1, Ordering::Relaxed);
            });
            return;
        }
    }
}

/// One message with the null reverse-path. A recipient that is refused for good is taken: nobody
/// would send it again.
async fn hand_in(to: SocketAddr, recipient: &str, report: &str) -> Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(to).await?);
    expect(&mut stream, "2").await?;
    let recipient = format!("RCPT TO:<{recipient}>");
    for (command, wanted) in [
        ("EHLO mx.far.example", "2"),
        ("MAIL FROM:<>", "2"),
        (&recipient, "2"),
        ("DATA", "3"),
        (&format!("{report}\r\n."), "2"),
        ("QUIT", "2"),
    ] {
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        expect(&mut stream, wanted).await?;
    }
    Ok(())
}

async fn expect(stream: &mut BufReader<TcpStream>, begin: &str) -> Result<()> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.context("a reply")? == 0 {
            bail!("the relay hung up");
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return if line.starts_with(begin) { Ok(()) } else { bail!("{}", line.trim_end()) };
        }
    }
}

/// RFC 8058 §3.2, as a provider does it that a reader asks to.
async fn unsubscribe(door: SocketAddr, link: &str) -> Result<()> {
    let (host, path) = link.split_once('/').context("a link has a path")?;
    let body = "List-Unsubscribe=One-Click";
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = BufReader::new(TcpStream::connect(door).await?);
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await.context("an answer")?;
    if !line.starts_with("HTTP/1.1 200 ") {
        bail!("{}", line.trim_end());
    }
    Ok(())
}

/// The `https:` link in `List-Unsubscribe:`, without its scheme.
fn link_of(content: &[u8]) -> Option<String> {
    let header = header_of(content);
    let start = header.find("\r\nList-Unsubscribe:")?;
    let field = header[start..].split_once(':')?.1;
    let (_, link) = field.split_once("<https://")?;
    Some(link.split_once('>')?.0.to_owned())
}

/// RFC 3464, as a provider's gateway writes it that finds nobody behind it.
fn bounce(about: &About<'_>) -> String {
    let recipient = about.recipient;
    let status = format!(
        "Reporting-MTA: dns; store.far.example\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\n\
         Action: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: User unknown\r\n"
    );
    report("MAILER-DAEMON@far.example", about.reverse_path, "delivery-status", &status, about)
}

/// RFC 5965.
fn complaint(about: &About<'_>, to: &str) -> String {
    let (from, recipient) = (about.reverse_path, about.recipient);
    let fields = format!(
        "Feedback-Type: abuse\r\nUser-Agent: loadtest/1\r\nVersion: 1\r\n\
         Original-Mail-From: <{from}>\r\nOriginal-Rcpt-To: <{recipient}>\r\n"
    );
    report("fbl@far.example", to, "feedback-report", &fields, about)
}

fn report(from: &str, to: &str, kind: &str, fields: &str, about: &About<'_>) -> String {
    let header = header_of(about.content);
    let returned = if kind == "feedback-report" { "message/rfc822" } else { "text/rfc822-headers" };
    let mut text = String::new();
    write!(
        text,
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: About your mail\r\n\
         Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type={kind}; boundary=\"=_load\"\r\n\r\n\
         --=_load\r\nContent-Type: text/plain\r\n\r\nThis is about your mail.\r\n\
         --=_load\r\nContent-Type: message/{kind}\r\n\r\n{fields}\r\n\
         --=_load\r\nContent-Type: {returned}\r\n\r\n{header}\r\n--=_load--"
    )
    .expect("memory takes every write");
    text
}

/// The header section of a message, as far as it is returned; no line of it begins with a dot.
fn header_of(content: &[u8]) -> String {
    let end = memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |end| end + 2);
    String::from_utf8_lossy(&content[..end.min(RETURNED_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_of_a_message_is_found_where_it_has_one() {
        let field = "List-Unsubscribe:\r\n <https://l.example/u/ABC>, <mailto:x@l.example>";
        let content = |field: &str| format!("From: a\r\n{field}\r\nTo: b\r\n\r\nx\r\n");
        let found = link_of(content(field).as_bytes());
        assert_eq!(found.as_deref(), Some("l.example/u/ABC"));
        for field in ["Subject: x", "List-Unsubscribe: <mailto:x@l.example>"] {
            assert_eq!(link_of(content(field).as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn what_comes_back_goes_somewhere() {
        let rule = |text: &str| toml::from_str::<Return>(text).unwrap().check();
        assert!(rule("what = 'bounce'\nprobability = 0.5").is_ok());
        assert!(rule("what = 'complaint'\nprobability = 0.5\nto = 'a@b'").is_ok());
        assert!(rule("what = 'unsubscribe'\nprobability = 0.5\nto = '127.0.0.1:80'").is_ok());
        for text in ["'bounce'\nto = 'a@b'", "'complaint'", "'unsubscribe'\nto = 'a@b'"] {
            assert!(rule(&format!("probability = 0.5\nwhat = {text}")).is_err(), "{text}");
        }
    }
}
