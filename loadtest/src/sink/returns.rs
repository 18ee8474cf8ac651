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
    /// Where complaints go.
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
        if (self.what == What::Complaint) != self.to.is_some() {
            bail!("a complaint goes `to` somebody, and a bounce to the reverse-path");
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
            let (recipient, report) = match &rule.to {
                None => (about.reverse_path.to_owned(), bounce(&about)),
                Some(to) => (to.clone(), complaint(&about, to)),
            };
            let word = if rule.what == What::Bounce { "bounce" } else { "complaint" };
            let line = format!("{} {} {word} {recipient}\n", about.id, about.recipient);
            let (after, to, shared) = (rule.after.draw(&mut dice), self.to, Rc::clone(shared));
            shared.open_returns.fetch_add(1, Ordering::Relaxed);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(after).await;
                for _ in 0..TRIES_MAX {
                    if hand_in(to, &recipient, &report).await.is_ok() {
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
