//! Read what is handed in: JSON, and what it means.
//!
//! In: the octets of a body. Out: letters, each with its recipients; or what is wrong with them, in
//! words for whoever wrote it. Pure. Invariant: nothing of a [`Letter`] can end a header field.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::MessageParser;
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::limits::{
    HOLD_SECONDS_MAX, INJECT_ATTACHMENTS_MAX, INJECT_BATCH_MAX, INJECT_FIELD_MAX,
    INJECT_FIELDS_MAX, INJECT_HEADER_MAX, INJECT_RECIPIENTS_MAX,
};
use crate::base::time::WallTime;
use crate::config::duration;
use crate::mail::address::{Mailbox, ReversePath};
use crate::mail::handling::{CampaignName, DeliverBy, Handling, Late, Priority, TenantName};
use crate::mail::status::Reply;
use crate::policy::senders::labels::{FieldNames, LabelReader, Labels};
use crate::policy::suppression::rows::moment;
use crate::smtp::answer::Answer;

/// A message to some recipients, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    reverse_path: Option<String>,
    from: Option<String>,
    content: Content,
    recipients: Vec<Recipient>,
    tenant: Option<String>,
    campaign: Option<String>,
    #[serde(default)]
    priority: i8,
    not_before: Option<String>,
    expires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    subject: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Lines>,
    text: Option<String>,
    html: Option<String>,
    #[serde(default)]
    attachments: Vec<Attachment>,
    raw: Option<String>,
}

/// One value, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attachment {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: String,
    /// What HTML calls it by, as `cid:…`: it is shown there, and not listed.
    cid: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipient {
    to: String,
    substitutions: Option<Map<String, Value>>,
}

/// Why a request is refused whole: its status, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) u16, pub(super) String);

/// What a body holds.
#[derive(Debug)]
pub(super) struct Body {
    /// In their order.
    pub(super) requests: Vec<Request>,
    /// It is an array, and so is the answer.
    pub(super) is_batch: bool,
}

/// A request that means something.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) reverse_path: ReversePath,
    pub(super) handling: Handling,
    pub(super) text: Text,
    pub(super) recipients: Vec<To>,
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Text {
    /// A whole message, CRLF only.
    Raw(Vec<u8>),
    /// What one is made of.
    Parts(Box<Parts>),
}

/// What a message is made of. Its texts are templates for recipients with substitutions.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) from: String,
    pub(super) subject: Option<String>,
    /// Fields of the request's own, in the order of their names.
    pub(super) fields: Vec<(String, String)>,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    pub(super) files: Vec<Attached>,
}

/// A file that goes with it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) name: Option<String>,
    pub(super) kind: String,
    pub(super) cid: Option<String>,
    /// In lines of base64.
    pub(super) encoded: Vec<u8>,
}

/// Whom it goes to.
#[derive(Debug)]
pub(super) struct To {
    /// As it is written.
    pub(super) written: String,
    /// Who that is, or what is wrong with it.
    pub(super) who: Result<Named, Reply>,
    /// For a message of its own.
    pub(super) substitutions: Option<Map<String, Value>>,
}

/// An address, and perhaps whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: Option<String>,
    pub(super) mailbox: Mailbox,
}

fn wrong(words: impl Into<String>) -> Wrong {
    Wrong(422, words.into())
}

impl Body {
    /// One request, or an array of them.
    pub(super) fn parse(octets: &[u8]) -> Result<Self, Wrong> {
        let first = octets.iter().find(|octet| !octet.is_ascii_whitespace());
        let is_batch = first == Some(&b'[');
        let requests: Result<Vec<Request>, _> = match is_batch {
            true => serde_json::from_slice(octets),
            false => serde_json::from_slice(octets).map(|one| vec![one]),
        };
        let requests = requests.map_err(|error| {
            let status = if error.is_data() { 422 } else { 400 };
            Wrong(status, error.to_string())
        })?;
        if requests.is_empty() || requests.len() > INJECT_BATCH_MAX {
            return Err(wrong(format!("a batch has 1 to {INJECT_BATCH_MAX} requests")));
        }
        let recipients: usize = requests.iter().map(|request| request.recipients.len()).sum();
        if recipients > INJECT_RECIPIENTS_MAX {
            let most = format!("{INJECT_RECIPIENTS_MAX} recipients at most");
            return Err(Wrong(413, format!("{recipients} recipients, and {most}: send several")));
        }
        Ok(Self { requests, is_batch })
    }
}

impl Request {
    /// What it means, at `now`, by somebody whose mail is `bound`'s alone where that is said.
    /// Fields that are called by `names` say who sends, and are taken out.
    pub(super) fn letter(
        self,
        bound: Option<&TenantName>,
        names: Option<&FieldNames>,
        now: WallTime,
    ) -> Result<Letter, Wrong> {
        let mut handling = self.handling(bound, now)?;
        if self.recipients.is_empty() {
            return Err(wrong("`recipients` is empty"));
        }
        let (text, author) = self.content.text(self.from.as_deref(), names)?;
        let text = match (text, names) {
            (Text::Raw(raw), Some(names)) => {
                let (raw, said) = without_labels(raw, names)?;
                agree(&mut handling, said)?;
                Text::Raw(raw)
            }
            (text, _) => text,
        };
        let reverse_path = match (self.reverse_path.as_deref(), self.from.as_deref(), author) {
            (Some(path), ..) => reverse_path(path)?,
            (None, Some(from), _) if !from.contains("{{") => ReversePath(Some(
                named(from).map_err(|_| wrong(format!("from: `{from}` is no address")))?.mailbox,
            )),
            (None, _, Some(author)) => ReversePath(Some(author)),
            (None, _, None) => return Err(wrong("say `reverse_path`, or `from`")),
        };
        let is_raw = matches!(text, Text::Raw(_));
        let substituted = |one: &Recipient| one.substitutions.is_some();
        if is_raw && self.recipients.iter().any(substituted) {
            return Err(wrong("in a `raw` message nothing is substituted"));
        }
        let recipients = self.recipients.into_iter().map(|Recipient { to, substitutions }| {
            let who = named(&to);
            To { written: to, who, substitutions }
        });
        Ok(Letter { reverse_path, handling, text, recipients: recipients.collect() })
    }

    fn handling(&self, bound: Option<&TenantName>, now: WallTime) -> Result<Handling, Wrong> {
        let tenant = self.tenant.as_deref().map(|name| {
            TenantName::parse(name).map_err(|error| wrong(format!("tenant {name}: {error}")))
        });
        let tenant = match (bound, tenant.transpose()?) {
            (Some(bound), Some(said)) if *bound != said => {
                let words = format!("this token hands in mail of {bound}'s, not of {said}'s");
                return Err(Wrong(403, words));
            }
            (bound, said) => said.or_else(|| bound.cloned()),
        };
        let campaign = self.campaign.as_deref().map(|name| {
            CampaignName::parse(name).map_err(|error| wrong(format!("campaign {name}: {error}")))
        });
        let campaign = campaign.transpose()?;
        if campaign.is_some() && tenant.is_none() {
            return Err(wrong("a campaign is a tenant's: say `tenant`"));
        }
        let priority = Priority::new(self.priority).ok_or_else(|| wrong("priority: -9 to 9"))?;
        let hold_until = self.not_before.as_deref().map(|at| time("not_before", at, now));
        let hold_until = hold_until.transpose()?.filter(|at| *at > now);
        let latest = now + Duration::from_secs(HOLD_SECONDS_MAX.into());
        if hold_until.is_some_and(|at| at > latest) {
            return Err(wrong("not_before: nothing is held for so long"));
        }
        let expires = self.expires.as_deref().map(|at| time("expires", at, now)).transpose()?;
        if expires.is_some_and(|at| at <= hold_until.unwrap_or(now)) {
            return Err(wrong("expires: it would be over before it begins"));
        }
        let by = |at| DeliverBy { at, late: Late::Return, trace: false };
        let deliver_by = expires.map(by);
        Ok(Handling { tenant, campaign, priority, hold_until, deliver_by })
    }
}

impl Content {
    /// What is sent, and the author that a whole message names.
    fn text(
        self,
        from: Option<&str>,
        names: Option<&FieldNames>,
    ) -> Result<(Text, Option<Mailbox>), Wrong> {
        let Some(raw) = self.raw else {
            let from = from.ok_or_else(|| wrong("say `from`"))?.to_owned();
            return Ok((Text::Parts(Box::new(self.parts(from, names)?)), None));
        };
        let has_parts = self.subject.is_some() || self.text.is_some() || self.html.is_some();
        if has_parts || !self.headers.is_empty() || !self.attachments.is_empty() {
            return Err(wrong("content: `raw` is a whole message, and goes with nothing else"));
        }
        let raw = with_crlf(raw.as_bytes());
        let header = memmem::find(&raw, b"\r\n\r\n").unwrap_or(raw.len());
        if header > INJECT_HEADER_MAX {
            return Err(wrong(format!("raw: a header has {INJECT_HEADER_MAX} octets at most")));
        }
        let author = MessageParser::new().parse_headers(raw.as_slice());
        let author = author
            .and_then(|message| Mailbox::parse(message.from()?.first()?.address()?, true).ok());
        match author {
            Some(author) => Ok((Text::Raw(raw), Some(author))),
            None => Err(wrong("raw: a message begins with its header, and `From:` is in it")),
        }
    }

    fn parts(self, from: String, names: Option<&FieldNames>) -> Result<Parts, Wrong> {
        let mut fields = Vec::new();
        for (name, lines) in self.headers {
            check_name(&name)?;
            if names.is_some_and(|names| names.has(&name)) {
                let words = "it is between client and node: say `tenant`, `campaign`";
                return Err(wrong(format!("headers: `{name}`: {words}")));
            }
            match lines {
                Lines::One(line) => fields.push((name, line)),
                Lines::Many(lines) => {
                    fields.extend(lines.into_iter().map(|line| (name.clone(), line)));
                }
            }
        }
        if fields.len() > INJECT_FIELDS_MAX {
            return Err(wrong(format!("headers: {INJECT_FIELDS_MAX} fields at most")));
        }
        let has_text = self.text.is_some() || self.html.is_some();
        if !has_text && self.attachments.is_empty() {
            return Err(wrong("content: say `text`, `html`, both, or `raw`"));
        }
        if self.attachments.len() > INJECT_ATTACHMENTS_MAX {
            return Err(wrong(format!("{INJECT_ATTACHMENTS_MAX} attachments at most")));
        }
        let files = self.attachments.into_iter().map(Attachment::read);
        Ok(Parts {
            from,
            subject: self.subject,
            fields,
            text: self.text,
            html: self.html,
            files: files.collect::<Result<_, _>>()?,
        })
    }
}

/// A whole message without the fields that say who sends, and what they say.
fn without_labels(raw: Vec<u8>, names: &FieldNames) -> Result<(Vec<u8>, Labels), Wrong> {
    let mut reader = LabelReader::new(names.clone());
    let mut out = reader.push(raw);
    let (mut rest, said) = reader.end();
    out.append(&mut rest);
    said.map(|said| (out, said)).map_err(|error| wrong(format!("raw: {error}")))
}

/// A header says of a message what its request says, or what that leaves open.
fn agree(handling: &mut Handling, said: Labels) -> Result<(), Wrong> {
    let Labels { tenant, campaign } = said;
    if let (Some(own), Some(said)) = (&handling.tenant, &tenant)
        && own != said
    {
        return Err(Wrong(403, format!("raw: this is {own}'s, and its header says {said}")));
    }
    if let (Some(own), Some(said)) = (&handling.campaign, &campaign)
        && own != said
    {
        return Err(wrong(format!("raw: this is for {own}, and its header says {said}")));
    }
    handling.tenant = handling.tenant.take().or(tenant);
    handling.campaign = handling.campaign.take().or(campaign);
    match handling.campaign.is_some() && handling.tenant.is_none() {
        true => Err(wrong("raw: a campaign is a tenant's: say `tenant`")),
        false => Ok(()),
    }
}

/// Fields that the message gets by its parts, that say what is not so, or that tell what nobody is
/// to know.
const OWN_FIELDS: [&str; 6] = ["from", "subject", "mime-version", "bcc", "received", "return-path"];

fn check_name(name: &str) -> Result<(), Wrong> {
    let is_name = |octet: u8| octet.is_ascii_graphic() && octet != b':';
    if name.is_empty() || name.len() > INJECT_FIELD_MAX || !name.bytes().all(is_name) {
        return Err(wrong(format!("headers: `{}` is no field's name", name.escape_default())));
    }
    let name = name.to_ascii_lowercase();
    match OWN_FIELDS.contains(&&*name) || name.starts_with("content-") {
        true => Err(wrong(format!("headers: `{name}` is not for you to write here"))),
        false => Ok(()),
    }
}

impl Attachment {
    fn read(self) -> Result<Attached, Wrong> {
        let Self { name, kind, data, cid } = self;
        let called = name.as_deref().or(cid.as_deref()).unwrap_or_default().escape_default();
        let problem = |what: &str| wrong(format!("attachment `{called}`: {what}"));
        let kind = kind.unwrap_or_else(|| "application/octet-stream".to_owned());
        let is_token = |text: &str| {
            let is_of_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
            (1..=127).contains(&text.len()) && text.bytes().all(is_of_token)
        };
        let is_kind = kind.split_once('/').is_some_and(|(kind, sub)| {
            is_token(kind) && is_token(sub) && !kind.eq_ignore_ascii_case("multipart")
        });
        if !is_kind {
            return Err(problem("its `type` is none, as application/pdf"));
        }
        let is_plain = |text: &String| text.len() <= 255 && !text.chars().any(char::is_control);
        if !name.iter().all(is_plain) {
            return Err(problem("its `name` is too long, or has control characters"));
        }
        let is_id = |id: &String| {
            (1..=255).contains(&id.len())
                && id.bytes().all(|c| c.is_ascii_graphic() && !b"<>".contains(&c))
        };
        if !cid.iter().all(is_id) {
            return Err(problem("its `cid` is none"));
        }
        let data: String = data.split_ascii_whitespace().collect();
        let octets = STANDARD.decode(data).map_err(|_| problem("its `data` is no base64"))?;
        Ok(Attached { name, kind, cid, encoded: in_lines(&octets) })
    }
}

/// Base64 in lines of 76 (RFC 2045 §6.8).
fn in_lines(octets: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(octets);
    let mut lines = Vec::with_capacity(text.len() + text.len() / 38 + 2);
    for line in text.as_bytes().chunks(76) {
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// An address as people write it: `a@b.example`, `Ann <a@b.example>`.
pub(super) fn named(text: &str) -> Result<Named, Reply> {
    let bad = |error| Answer::bad_path(error, true).into();
    let bare = match Mailbox::parse(text.trim(), true) {
        Ok(mailbox) => return Ok(Named { name: None, mailbox }),
        Err(error) => Err(bad(error)),
    };
    if text.chars().any(char::is_control) || !text.contains('<') || text.len() > INJECT_FIELD_MAX {
        return bare;
    }
    let field = format!("From: {text}\r\n\r\n");
    let message = MessageParser::new().parse_headers(field.as_bytes());
    let Some(addresses) = message.as_ref().and_then(|message| message.from()) else { return bare };
    let mut all = addresses.iter();
    let (Some(one), None) = (all.next(), all.next()) else { return bare };
    let mailbox = Mailbox::parse(one.address().unwrap_or_default(), true).map_err(bad)?;
    let name = one.name().map(str::to_owned).filter(|name| !name.chars().any(char::is_control));
    Ok(Named { name, mailbox })
}

fn reverse_path(text: &str) -> Result<ReversePath, Wrong> {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    match bare {
        "" => Ok(ReversePath::NULL),
        bare => Mailbox::parse(bare, true)
            .map(|mailbox| ReversePath(Some(mailbox)))
            .map_err(|error| wrong(format!("reverse_path {bare}: {error}"))),
    }
}

/// A time, or a span from now on.
fn time(what: &str, text: &str, now: WallTime) -> Result<WallTime, Wrong> {
    let span = || duration(text).ok().map(|span| now + span);
    moment(text).or_else(span).ok_or_else(|| {
        let forms = "as 2026-11-27T03:41:01Z, and no span, as 30m";
        wrong(format!("{what}: `{text}` is no time, {forms}"))
    })
}

/// Lines that end with LF alone end with CRLF.
fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 32);
    let mut before = 0;
    for at in memchr::memchr_iter(b'\n', octets) {
        out.extend_from_slice(&octets[before..at]);
        if at == 0 || octets[at - 1] != b'\r' {
            out.push(b'\r');
        }
        out.push(b'\n');
        before = at + 1;
    }
    out.extend_from_slice(&octets[before..]);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}
