//! Make messages of what was handed in: put values into its templates, and write MIME.
//!
//! In: a letter, and for whom; an id and the time. Out: content, CRLF only, no line longer than 998
//! octets; or what is wrong with it, as SMTP says it. Invariant: a value ends no header field and
//! opens no HTML element; what a template may cost is bounded. Pure, but for how long it takes.

use std::borrow::Cow;
use std::cell::Cell;

use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text as Unstructured;
use mail_builder::mime::MimePart;
use mail_parser::{HeaderName, MessageParser};
use memchr::memchr2_iter;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Captured, Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use crate::base::limits::{
    INJECT_FUEL_MAX, INJECT_TEMPLATE_DEPTH, INJECT_TEMPLATES_MAX, MESSAGE_LINE_MAX,
};
use crate::base::text::harmless;
use crate::base::time::WallTime;
use crate::control::inject::request::{Attached, Letter, Named, Parts, Text, Wrong, named};
use crate::mail::status::{EnhancedStatus, Reply, ReplyCode};
use crate::smtp::answer::Answer;

/// What makes the messages of one letter.
pub(super) struct Composer<'l> {
    text: &'l Text,
    /// Its templates, where some recipient has substitutions.
    templates: Option<Environment<'l>>,
    /// Of each field's template.
    field_names: Vec<String>,
    fuel: &'l Fuel,
}

/// What the templates of a body may still cost, for all its recipients together.
#[derive(Debug)]
pub(super) struct Fuel(Cell<u64>);

impl Fuel {
    /// So much; `INJECT_FUEL_ALL` for a body.
    pub(super) fn new(units: u64) -> Self {
        Self(Cell::new(units))
    }
}

/// What each message has for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp<'a> {
    /// Without brackets.
    pub(super) message_id: &'a str,
    pub(super) now: WallTime,
}

/// For whom a message is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Audience<'l> {
    /// One, who has it with these values.
    Own(&'l Named, &'l Map<String, Value>),
    /// One, as it is written.
    One(&'l Named),
    /// Several, who are not to know of each other.
    Several,
}

/// The name of a template, and of what is refused in it.
const FROM: &str = "from";
const SUBJECT: &str = "subject";
const TEXT: &str = "text";
const HTML: &str = "html";

impl<'l> Composer<'l> {
    /// Of a letter whose templates are right.
    pub(super) fn new(letter: &'l Letter, fuel: &'l Fuel) -> Result<Self, Wrong> {
        let (text, field_names) = (&letter.text, Vec::new());
        let mut composer = Self { text, templates: None, field_names, fuel };
        let is_substituted = letter.recipients.iter().any(|one| one.substitutions.is_some());
        if let (Text::Parts(parts), true) = (&letter.text, is_substituted) {
            composer.field_names = (0..parts.fields.len()).map(|n| format!("field {n}")).collect();
            composer.templates = Some(templates(parts)?);
        }
        Ok(composer)
    }

    /// The message of this audience.
    pub(super) fn compose(
        &self,
        audience: Audience<'_>,
        stamp: Stamp<'_>,
    ) -> Result<Vec<u8>, Reply> {
        let content = match self.text {
            Text::Raw(raw) => completed(raw, stamp),
            Text::Parts(parts) => self.build(parts, audience, stamp)?,
        };
        check_lines(&content)?;
        Ok(content)
    }

    fn build(
        &self,
        parts: &Parts,
        audience: Audience<'_>,
        stamp: Stamp<'_>,
    ) -> Result<Vec<u8>, Reply> {
        let values = match audience {
            Audience::Own(_, values) => Some(minijinja::Value::from(Serde(values))),
            Audience::One(_) | Audience::Several => None,
        };
        let values = values.as_ref();
        let from = line(FROM, self.put(FROM, &parts.from, values)?)?;
        let from = named(&from).map_err(|_| refused(FROM, "it is no address"))?;
        let mut builder = MessageBuilder::new().from(address(&from));
        let says = |name: &str| parts.fields.iter().any(|(one, _)| one.eq_ignore_ascii_case(name));
        if !says("to") {
            builder = builder.to(match audience {
                Audience::Own(to, _) | Audience::One(to) => address(to),
                Audience::Several => Address::new_group(Some("undisclosed-recipients"), Vec::new()),
            });
        }
        if let Some(subject) = &parts.subject {
            builder = builder.subject(line(SUBJECT, self.put(SUBJECT, subject, values)?)?);
        }
        if !says("date") {
            builder = builder.header("Date", Raw::new(stamp.now.to_rfc5322()));
        }
        if !says("message-id") {
            builder = builder.message_id(stamp.message_id);
        }
        for (number, (name, source)) in parts.fields.iter().enumerate() {
            let template = self.field_names.get(number).map_or("", String::as_str);
            let value = line(name, self.put(template, source, values)?)?;
            builder = builder.header(as_written(name), field(name, value));
        }
        let text = parts.text.as_deref().map(|source| self.put(TEXT, source, values));
        let html = parts.html.as_deref().map(|source| self.put(HTML, source, values));
        let mut content = Vec::new();
        let body = body(text.transpose()?, html.transpose()?, &parts.files);
        builder.body(body).serialize(&mut content);
        if !content.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
        Ok(content)
    }

    /// What a template makes of values; without any it is no template.
    fn put<'t>(
        &self,
        name: &str,
        source: &'t str,
        values: Option<&minijinja::Value>,
    ) -> Result<Cow<'t, str>, Reply> {
        let (Some(templates), Some(values)) = (&self.templates, values) else {
            return Ok(Cow::Borrowed(source));
        };
        let left = self.fuel.0.get();
        if left == 0 {
            return Err(outran());
        }
        let template = templates.get_template(name);
        let made = template.and_then(|template| template.render_captured(values.clone()));
        // What one cost that failed is not known.
        let spent = |made: &Captured<'_>| made.state().fuel_levels().map_or(0, |(spent, _)| spent);
        let spent = made.as_ref().map_or(INJECT_FUEL_MAX, spent);
        self.fuel.0.set(left.saturating_sub(spent));
        let made = made.map(|made| Cow::Owned(made.into_output()));
        made.map_err(|error| refused(name, &error.to_string()))
    }
}

/// All templates of a message, or what is wrong with one.
fn templates(parts: &Parts) -> Result<Environment<'_>, Wrong> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|name| match name {
        HTML => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_fuel(Some(INJECT_FUEL_MAX));
    templates.set_recursion_limit(INJECT_TEMPLATE_DEPTH);
    let own = [
        (FROM, Some(&parts.from)),
        (SUBJECT, parts.subject.as_ref()),
        (TEXT, parts.text.as_ref()),
        (HTML, parts.html.as_ref()),
    ];
    let own = own.into_iter().filter_map(|(name, source)| Some((name.to_owned(), source?)));
    let fields = parts.fields.iter().enumerate();
    let fields = fields.map(|(number, (_, source))| (format!("field {number}"), source));
    let all: Vec<_> = own.chain(fields).collect();
    if all.iter().map(|(_, source)| source.len()).sum::<usize>() > INJECT_TEMPLATES_MAX {
        let words = format!("templates have {INJECT_TEMPLATES_MAX} octets at most, all together");
        return Err(Wrong(413, words));
    }
    for (name, source) in all {
        let added = templates.add_template_owned(name.clone(), source.clone());
        added.map_err(|error| Wrong(422, format!("{name}: {error}")))?;
    }
    Ok(templates)
}

//= RFC 3463 §3.7
//# X.6.0 Other or undefined media error
fn refused(what: &str, why: &str) -> Reply {
    let (code, status) = (ReplyCode::known(554), EnhancedStatus::new(5, 6, 0));
    let text = harmless(&format!("{what}: {why}"), ' ');
    Reply { code, enhanced: Some(status), text: text.into() }
}

fn outran() -> Reply {
    let (code, status) = (ReplyCode::known(452), EnhancedStatus::new(4, 3, 1));
    let text = "The templates of this body cost too much together: send several";
    Reply { code, enhanced: Some(status), text: text.into() }
}

/// A value that is all of its header field.
fn line(what: &str, value: Cow<'_, str>) -> Result<String, Reply> {
    match value.chars().any(|c| c.is_control() && c != '\t') {
        true => Err(refused(what, "a header field has no line ends and no control characters")),
        false => Ok(value.into_owned()),
    }
}

fn address(one: &Named) -> Address<'_> {
    Address::new_address(one.name.as_deref(), one.mailbox.as_str())
}

/// As a field of this name is written: addresses with their names encoded, other text too where it
/// is not ASCII.
fn field(name: &str, value: String) -> HeaderType<'static> {
    if value.is_ascii() {
        return HeaderType::Raw(Raw::new(value));
    }
    let has_addresses = ["to", "cc", "reply-to", "sender"];
    if has_addresses.iter().any(|one| name.eq_ignore_ascii_case(one)) {
        let said = format!("To: {value}\r\n\r\n");
        let parsed = MessageParser::new().parse_headers(said.as_bytes());
        let all = parsed.as_ref().and_then(|message| message.to());
        let all = all.into_iter().flat_map(|all| all.iter()).map(|one| {
            let (name, address) = (one.name(), one.address().unwrap_or_default());
            Address::new_address(name.map(str::to_owned), address.to_owned())
        });
        return HeaderType::Address(Address::new_list(all.collect()));
    }
    HeaderType::Text(Unstructured::new(value))
}

/// The names that the builder looks for, in its spelling.
fn as_written(name: &str) -> Cow<'_, str> {
    let known = ["Date", "Message-ID"].into_iter().find(|known| known.eq_ignore_ascii_case(name));
    known.map_or(Cow::Borrowed(name), Cow::Borrowed)
}

/// Text and HTML are alternatives; what HTML shows is with it, files are beside both.
fn body<'p>(
    text: Option<Cow<'p, str>>,
    html: Option<Cow<'p, str>>,
    files: &'p [Attached],
) -> MimePart<'p> {
    let (shown, listed): (Vec<_>, Vec<_>) =
        files.iter().partition(|file| file.cid.is_some() && html.is_some());
    let html = html.map(|html| with("multipart/related", leaf("text/html", html), &shown));
    let text = text.map(|text| leaf("text/plain", text));
    let main = match (text, html) {
        (Some(text), Some(html)) => MimePart::new("multipart/alternative", vec![text, html]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => {
            let parts: Vec<_> = listed.iter().map(|file| part(file)).collect();
            return MimePart::new("multipart/mixed", parts);
        }
    };
    with("multipart/mixed", main, &listed)
}

fn leaf<'p>(kind: &'static str, text: Cow<'p, str>) -> MimePart<'p> {
    MimePart::new(kind, text)
}

fn with<'p>(kind: &'static str, main: MimePart<'p>, files: &[&'p Attached]) -> MimePart<'p> {
    if files.is_empty() {
        return main;
    }
    let files = files.iter().map(|file| part(file));
    MimePart::new(kind, std::iter::once(main).chain(files).collect::<Vec<_>>())
}

fn part(file: &Attached) -> MimePart<'_> {
    let part = MimePart::new(file.kind.as_str(), file.encoded.as_slice());
    let part = part.transfer_encoding("base64");
    match (&file.cid, &file.name) {
        (Some(cid), _) => part.inline().cid(cid.as_str()),
        (None, Some(name)) => part.attachment(name.as_str()),
        (None, None) => part.attachment("attachment"),
    }
}

/// A whole message, with what every message has to have (RFC 6409 §8.2, §8.3).
fn completed(raw: &[u8], stamp: Stamp<'_>) -> Vec<u8> {
    let parsed = MessageParser::new().parse_headers(raw);
    let says = |name: HeaderName<'static>| {
        parsed.as_ref().is_some_and(|message| message.header(name).is_some())
    };
    let mut content = Vec::with_capacity(raw.len() + 256);
    if !says(HeaderName::Date) {
        content.extend_from_slice(format!("Date: {}\r\n", stamp.now.to_rfc5322()).as_bytes());
    }
    if !says(HeaderName::MessageId) {
        content.extend_from_slice(format!("Message-ID: <{}>\r\n", stamp.message_id).as_bytes());
    }
    content.extend_from_slice(raw);
    content
}

/// What no message may have, whoever wrote it: as a client of SMTP is told.
fn check_lines(content: &[u8]) -> Result<(), Reply> {
    if memchr::memchr(0, content).is_some() {
        return Err(Answer::NUL_IN_CONTENT.into());
    }
    let mut start = 0;
    let mut ends = memchr2_iter(b'\r', b'\n', content);
    while let Some(end) = ends.next() {
        if content[end] != b'\r' || ends.next() != Some(end + 1) || content[end + 1] != b'\n' {
            return Err(Answer::BARE_LINE_ENDING.into());
        }
        if end - start > MESSAGE_LINE_MAX {
            return Err(Answer::TEXT_LINE_TOO_LONG.into());
        }
        start = end + 2;
    }
    match start == content.len() {
        true => Ok(()),
        false => Err(Answer::BARE_LINE_ENDING.into()),
    }
}
