//! Go through content line by line: its header section, and those of its parts.
//!
//! Invariant: of a line of a header section `CHECK_FIELD_MAX` octets are held at most, of any other
//! so many as a boundary has. Where something may be the beginning of a part it is taken for one.

use std::sync::Arc;

use mail_parser::parsers::MessageStream;
use memchr::memchr;

use crate::base::limits::{CHECK_BOUNDARY_MAX, CHECK_DEPTH_MAX, CHECK_FAULTS_MAX, CHECK_FIELD_MAX};
use crate::policy::checks::parameters::{Comments, parse};
use crate::policy::checks::urls::{Coding, Urls};
use crate::policy::checks::{Fault, Rules, names};

/// Checks content as it comes.
#[derive(Debug)]
pub struct ContentCheck {
    rules: Arc<Rules>,
    place: Place,
    /// The line so far, as much of it as counts.
    line: Vec<u8>,
    /// More of it has gone by.
    is_cut: bool,
    /// The field that the next line may be folded to.
    field: Option<Field>,
    part: Part,
    /// Of the multiparts that the next line is in, the innermost last.
    boundaries: Vec<Boundary>,
    /// By their places in `ONCE`: whether they were there.
    seen: [bool; ONCE.len()],
    /// `From:` names several mailboxes.
    has_authors: bool,
    faults: Vec<Fault>,
    /// What finds URLs, where they are wanted.
    urls: Option<Box<Urls>>,
    /// The body that comes in is text.
    in_text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the header section of the message.
    Top,
    /// In that of a part, or of a message in the message.
    Part,
    /// In a body whose end may be the beginning of a part.
    Body,
    /// In one that has none.
    Rest,
}

/// A field of which the line before was, or the last of several.
#[derive(Debug)]
struct Field {
    kind: Kind,
    /// Unfolded, where it is read.
    value: Vec<u8>,
    /// More of it has gone by.
    is_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    From,
    ContentType,
    ContentDisposition,
    ContentTransferEncoding,
    /// Not read.
    Other,
}

/// What a header section has said of what follows it.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// It is a message, with a header section of its own.
    is_message: bool,
    has_type: bool,
    /// Some reader would show it as text.
    is_text: bool,
    coding: Coding,
}

#[derive(Debug)]
struct Boundary {
    text: Vec<u8>,
    /// Its parts are messages, unless they say otherwise (RFC 2046 §5.1.5).
    is_digest: bool,
}

//= RFC 5322 §3.6
//# orig-date 1 1; from 1 1; sender 0* 1; reply-to 0 1; to 0 1; cc 0 1; bcc 0 1; message-id 0* 1;
//# in-reply-to 0* 1; references 0* 1; subject 0 1
/// Those that may be there once.
const ONCE: [&str; 11] = [
    "From",
    "Sender",
    "Date",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
];
const FROM: usize = 0;
const SENDER: usize = 1;
const DATE: usize = 2;

impl ContentCheck {
    /// At the start of content, whose URLs are found too.
    pub fn with_urls(rules: Arc<Rules>) -> Self {
        Self { urls: Some(Box::default()), ..Self::new(rules) }
    }

    /// At the start of content.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            place: Place::Top,
            line: Vec::new(),
            is_cut: false,
            field: None,
            part: Part::default(),
            boundaries: Vec::new(),
            seen: [false; ONCE.len()],
            has_authors: false,
            faults: Vec::new(),
            urls: None,
            in_text: false,
        }
    }

    /// Domains of URLs in text that were found since this was last called.
    pub fn take_domains(&mut self) -> Vec<Box<str>> {
        let urls = self.urls.as_mut();
        urls.map_or_else(Vec::new, |urls| urls.take().map(Box::from).collect())
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        let boundaries = self.boundaries.iter().map(|one| one.text.capacity()).sum::<usize>();
        let field = self.field.as_ref().map_or(0, |field| field.value.capacity());
        let urls = self.urls.as_ref().map_or(0, |urls| urls.memory());
        self.line.capacity() + field + boundaries + urls
    }

    /// Take the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = if self.place == Place::Rest { None } else { memchr(b'\n', rest) };
            self.read_text(&rest[..end.map_or(rest.len(), |end| end + 1)]);
            let Some(end) = end else { return self.hold(rest) };
            self.hold(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
    }

    /// Look for URLs in a piece of a body, the boundary behind it perhaps included.
    fn read_text(&mut self, piece: &[u8]) {
        let is_body = matches!(self.place, Place::Body | Place::Rest);
        if let Some(urls) = self.urls.as_mut().filter(|_| is_body && self.in_text) {
            urls.push(piece);
        }
    }

    /// All of it has come: what is wrong with it.
    pub fn end(&mut self) -> Vec<Fault> {
        if !self.line.is_empty() || self.is_cut {
            self.end_line();
        }
        self.end_field();
        if self.place == Place::Top {
            self.end_top();
        }
        if let Some(urls) = &mut self.urls {
            urls.end();
        }
        std::mem::take(&mut self.faults)
    }

    /// Hold what counts of a piece of a line.
    fn hold(&mut self, piece: &[u8]) {
        let (most, counts) = match self.place {
            Place::Top | Place::Part => (CHECK_FIELD_MAX, true),
            Place::Body => {
                (2 + CHECK_BOUNDARY_MAX, !self.line.is_empty() || piece.first() == Some(&b'-'))
            }
            Place::Rest => (0, false),
        };
        if self.is_cut || piece.is_empty() {
            return;
        }
        let held = if counts { piece.len().min(most - self.line.len()) } else { 0 };
        self.line.extend_from_slice(&piece[..held]);
        self.is_cut = held < piece.len();
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        let is_cut = std::mem::take(&mut self.is_cut);
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        match self.place {
            Place::Top | Place::Part => self.header_line(text, is_cut),
            Place::Body => {
                self.boundary(text);
            }
            Place::Rest => {}
        }
        line.clear();
        self.line = line;
    }

    fn header_line(&mut self, text: &[u8], is_cut: bool) {
        if text.is_empty() {
            return self.end_header();
        }
        if matches!(text.first(), Some(b' ' | b'\t')) {
            return match &mut self.field {
                Some(field) => field.push(text, is_cut),
                None => self.not_a_field(),
            };
        }
        self.end_field();
        // A part may end in its header section.
        if !self.boundary(text) {
            self.begin_field(text, is_cut);
        }
    }

    fn begin_field(&mut self, text: &[u8], is_cut: bool) {
        let (name, value) = text.split_at(memchr(b':', text).unwrap_or(0));
        let name = name.trim_ascii_end();
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return self.not_a_field();
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let place = ONCE.iter().position(|known| is(known)).filter(|_| self.place == Place::Top);
        let was_seen = place.is_some_and(|place| std::mem::replace(&mut self.seen[place], true));
        if let (Some(place), true) = (place, was_seen) {
            self.fault(Fault::Repeated(ONCE[place]));
        }
        let kind = match place {
            Some(FROM) if !was_seen => Kind::From,
            Some(_) => Kind::Other,
            None if is(Kind::ContentType.name()) => Kind::ContentType,
            None if is(Kind::ContentDisposition.name()) => Kind::ContentDisposition,
            None if is(Kind::ContentTransferEncoding.name()) => Kind::ContentTransferEncoding,
            None => Kind::Other,
        };
        let mut field = Field { kind, value: Vec::new(), is_cut: false };
        field.push(&value[1..], is_cut);
        self.field = Some(field);
    }

    /// No further line is folded to the field.
    fn end_field(&mut self) {
        let Some(Field { kind, value, is_cut }) = self.field.take() else { return };
        if is_cut {
            self.fault(Fault::TooLong(kind.name()));
        }
        match kind {
            Kind::From => {
                let authors = authors(&value);
                self.has_authors = authors > 1;
                if authors == 0 {
                    self.fault(Fault::NoAuthor);
                }
            }
            Kind::ContentType => {
                self.attachment(&value);
                self.content_type(&value);
            }
            Kind::ContentDisposition => self.attachment(&value),
            Kind::ContentTransferEncoding => self.part.coding = Coding::of(&value),
            Kind::Other => {}
        }
    }

    fn attachment(&mut self, value: &[u8]) {
        if self.rules.types.is_empty() {
            return;
        }
        for refused in names::refused(value, &self.rules.types) {
            self.fault(Fault::Attachment(refused));
        }
    }

    fn content_type(&mut self, value: &[u8]) {
        let parts = parse(value, Comments::Are);
        let is_message = parts.head.starts_with(b"message/");
        self.part.is_message = is_message || (self.part.has_type && self.part.is_message);
        self.part.is_text |= parts.head.starts_with(b"text/");
        self.part.has_type = true;
        if !parts.head.starts_with(b"multipart/") {
            return;
        }
        let is_digest = parts.head == b"multipart/digest";
        for text in boundaries(value) {
            if self.boundaries.len() == CHECK_DEPTH_MAX {
                return self.fault(Fault::TooDeep);
            }
            self.boundaries.push(Boundary { text, is_digest });
        }
    }

    //= RFC 2046 §5.1.1
    //# Boundary string comparisons must compare the boundary value with the beginning of each
    //# candidate line. An exact match of the entire candidate line is not required; it is
    //# sufficient that the boundary appear in its entirety following the CRLF.
    /// Whether a line is between parts, and what follows then. Behind the last part of a multipart
    /// some readers would take another one of it, so its boundary stays.
    fn boundary(&mut self, text: &[u8]) -> bool {
        let Some(text) = text.strip_prefix(b"--") else { return false };
        let Some(place) = self.boundaries.iter().rposition(|one| text.starts_with(&one.text))
        else {
            return false;
        };
        if self.place == Place::Top {
            self.fault(Fault::NotAField);
            self.end_top();
        }
        self.boundaries.truncate(place + 1);
        let Boundary { text: boundary, is_digest } = &self.boundaries[place];
        self.part = Part { is_message: *is_digest, ..Part::default() };
        let is_last = text[boundary.len()..].starts_with(b"--");
        self.place = if is_last { Place::Body } else { Place::Part };
        self.in_text = false; // What is behind the last part is shown nowhere.
        true
    }

    fn end_header(&mut self) {
        self.end_field();
        if self.place == Place::Top {
            self.end_top();
        }
        let part = std::mem::take(&mut self.part);
        //= RFC 2045 §5.2
        //# Default RFC 822 messages without a MIME Content-Type header are taken by this protocol
        //# to be plain text in the US-ASCII character set
        self.in_text = part.is_text || !part.has_type;
        if let Some(urls) = &mut self.urls {
            urls.begin(part.coding);
        }
        self.place = match part.is_message {
            true => Place::Part,
            false if self.boundaries.is_empty() => Place::Rest,
            false => Place::Body,
        };
    }

    /// The message's own header section is over.
    fn end_top(&mut self) {
        for place in [FROM, DATE] {
            if !self.seen[place] {
                self.fault(Fault::Missing(ONCE[place]));
            }
        }
        //= RFC 5322 §3.6.2
        //# If the from field contains more than one mailbox specification in the mailbox-list,
        //# then the sender field, containing the field name "Sender" and a single mailbox
        //# specification, MUST appear in the message.
        if self.has_authors && !self.seen[SENDER] {
            self.fault(Fault::NoSender);
        }
    }

    fn not_a_field(&mut self) {
        if self.place == Place::Top {
            self.fault(Fault::NotAField);
        }
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < CHECK_FAULTS_MAX && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::From => "From",
            Self::ContentType => "Content-Type",
            Self::ContentDisposition => "Content-Disposition",
            Self::ContentTransferEncoding => "Content-Transfer-Encoding",
            Self::Other => "",
        }
    }
}

impl Field {
    /// Take the field's first line, or one that is folded to it.
    fn push(&mut self, text: &[u8], is_cut: bool) {
        if self.kind == Kind::Other {
            return;
        }
        let held = text.len().min(CHECK_FIELD_MAX - self.value.len());
        self.value.extend_from_slice(&text[..held]);
        self.is_cut = self.is_cut || is_cut || held < text.len();
    }
}

/// What a multipart's boundary may be read as; each once.
fn boundaries(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for comments in [Comments::Are, Comments::AreNot] {
        let parameters = parse(value, comments).parameters;
        let read = names::readings(&parameters, b"boundary").into_iter().map(String::into_bytes);
        let as_they_are = parameters.iter().filter(|one| one.name == b"boundary");
        for mut text in as_they_are.map(|one| one.value.clone()).chain(read) {
            text.truncate(CHECK_BOUNDARY_MAX);
            if !text.is_empty() && !found.contains(&text) {
                found.push(text);
            }
        }
    }
    found
}

/// Mailboxes with an address, a domain in it, that a `From:` field names.
fn authors(value: &[u8]) -> usize {
    // The parser wants to see a line end.
    let line = [value, b"\r\n"].concat();
    let parsed = MessageStream::new(&line).parse_address();
    let Some(all) = parsed.as_address() else { return 0 };
    let has_domain = |address: &str| {
        address.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains(char::is_whitespace)
        })
    };
    all.iter().filter(|one| one.address().is_some_and(has_domain)).count()
}
