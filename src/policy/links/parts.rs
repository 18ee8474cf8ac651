//! Go through the parts of a message for those whose links lead elsewhere by way of us.
//!
//! mail-parser reads the structure (RFC 2045, 2046); bodies are decoded here, since where in a body
//! something stands is what counts. Attachments and messages in the message stay as they are.

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders as _, PartType};
use memchr::memchr2_iter;

use crate::base::limits::{
    TRACKED_BOUNDARIES_MAX, TRACKED_HTML_MAX, TRACKED_LINKS_MAX, TRACKED_TYPES_MAX,
};
use crate::mail::visit::Action;
use crate::policy::links::coding::{Decoded, Edit, Encoding};
use crate::policy::links::header::is_sealed;
use crate::policy::links::html;

/// What is put into a message.
pub(super) struct Wanted<'w> {
    /// A picture.
    pub(super) opens: bool,
    /// Links in place of links.
    pub(super) clicks: bool,
    /// URLs that stay: those to unsubscribe by, and links of ours.
    pub(super) is_let_alone: &'w dyn Fn(&str) -> bool,
    /// The link that does this.
    pub(super) url: &'w dyn Fn(&Action) -> String,
}

/// Content with links of ours, and how many; `None`: it stays as it is.
pub(super) fn rewrite(content: &[u8], wanted: &Wanted<'_>) -> Option<(Vec<u8>, usize)> {
    if is_costly(content) {
        return None;
    }
    let message = MessageParser::new().parse(content)?;
    if message.parts.iter().any(|part| is_sealed(&kind(part))) {
        return None;
    }
    let mut out = Vec::with_capacity(content.len() + content.len() / 4);
    let (mut done, mut made, mut has_picture) = (0, 0, !wanted.opens);
    for part in html_parts(&message) {
        let (start, end) = (part.offset_body as usize, part.offset_end as usize);
        let Some(body) = content.get(start..end).filter(|_| start >= done) else { continue };
        let Some((body, count)) = rewrite_part(part, body, wanted, !has_picture) else { continue };
        out.extend_from_slice(&content[done..start]);
        out.extend_from_slice(&body);
        (done, made, has_picture) = (end, made + count, true);
    }
    out.extend_from_slice(&content[done..]);
    (made > 0).then_some((out, made))
}

/// Whether reading the structure could cost more than a letter is worth: mail-parser bounds neither
/// how deep messages are in messages nor how often it looks for a boundary that is not there. No
/// part is another type's without `Content-Type`, none has parts without `boundary`.
fn is_costly(content: &[u8]) -> bool {
    let has_more = |word: &[u8], most: usize| {
        let (small, large) = (word[0], word[0].to_ascii_uppercase());
        let starts = memchr2_iter(small, large, content);
        let is_it = |at: &usize| {
            content.get(*at..*at + word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word))
        };
        starts.filter(is_it).nth(most).is_some()
    };
    has_more(b"content-type", TRACKED_TYPES_MAX) || has_more(b"boundary", TRACKED_BOUNDARIES_MAX)
}

/// What is read as HTML, in the order of the message.
fn html_parts<'m>(message: &'m Message<'m>) -> Vec<&'m MessagePart<'m>> {
    let is_page = |part: &&MessagePart<'_>| {
        let is_attached = part.content_disposition().is_some_and(|it| it.is_attachment());
        kind(part) == "text/html" && !is_attached && !matches!(part.body, PartType::Message(_))
    };
    message.parts.iter().filter(is_page).collect()
}

/// `type/subtype`, in lower case.
fn kind(part: &MessagePart<'_>) -> String {
    let kind = part.content_type().map(|kind| match kind.subtype() {
        Some(subtype) => format!("{}/{subtype}", kind.ctype()),
        None => kind.ctype().to_owned(),
    });
    kind.unwrap_or_default().to_ascii_lowercase()
}

fn rewrite_part(
    part: &MessagePart<'_>,
    body: &[u8],
    wanted: &Wanted<'_>,
    lacks_picture: bool,
) -> Option<(Vec<u8>, usize)> {
    let decoded = Decoded::new(body, encoding(part)?).filter(|_| is_like_ascii(part))?;
    let text = decoded.text();
    if text.len() > TRACKED_HTML_MAX {
        return None;
    }
    let page = html::read(text);
    let is_link = |url: &str| wanted.clicks && !(wanted.is_let_alone)(url);
    let links = page.links.into_iter().filter(|(_, url)| is_link(url)).take(TRACKED_LINKS_MAX);
    let mut edits: Vec<Edit> =
        links.map(|(place, url)| Edit { place, text: (wanted.url)(&Action::Click(url)) }).collect();
    if lacks_picture {
        let url = (wanted.url)(&Action::Open);
        let text = format!("\r\n<img src=\"{url}\" width=\"1\" height=\"1\" alt=\"\">\r\n");
        edits.push(Edit { place: page.body_end..page.body_end, text });
        edits.sort_by_key(|edit| edit.place.start);
    }
    let (body, made) = decoded.edit(&edits);
    (made > 0).then_some((body, made))
}

/// `None`: one that nobody knows.
fn encoding(part: &MessagePart<'_>) -> Option<Encoding> {
    let named = part.content_transfer_encoding().unwrap_or("7bit").trim().to_ascii_lowercase();
    Some(match named.as_str() {
        "7bit" | "8bit" | "binary" => Encoding::Identity,
        "quoted-printable" => Encoding::QuotedPrintable,
        "base64" => Encoding::Base64,
        _ => return None,
    })
}

/// Whether ASCII is ASCII in a part: its tags can be read, and a link be put among them.
fn is_like_ascii(part: &MessagePart<'_>) -> bool {
    let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
    let Some(charset) = charset.map(|charset| charset.trim().to_ascii_lowercase()) else {
        return true;
    };
    let families =
        ["us-ascii", "ascii", "utf-8", "utf8", "iso-8859-", "windows-125", "koi8-", "gb2312"];
    let others = ["gbk", "gb18030", "big5", "euc-", "shift_jis", "windows-874", "macintosh"];
    families.iter().chain(&others).any(|family| charset.starts_with(family))
}

#[cfg(test)]
mod tests;
