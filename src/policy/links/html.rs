//! Find the links of a page of HTML, and where a picture is put that shows nothing.
//!
//! The tokenizer is html5gum's, which goes by the HTML Standard (§13.2.5): what it takes for an
//! attribute, browsers do too. Nothing is written anew: what it finds is told by its place, so that
//! whatever stands around it stays as it is.

use std::convert::Infallible;
use std::ops::Range;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use crate::policy::links::may_lead_to;

/// What a page has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Values of `href`, without what quotes them, and the URLs that they are; in order.
    pub(super) links: Vec<(Range<usize>, Box<str>)>,
    /// Where its last `</body>` begins, or it ends.
    pub(super) body_end: usize,
}

/// An `<a>` or `<area>` that is being read.
#[derive(Debug, Default)]
struct Tag {
    attribute: Attribute,
    href: Option<(Range<usize>, Vec<u8>)>,
    is_let_alone: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Attribute {
    Href,
    #[default]
    Other,
}

/// What is in `html`.
pub(super) fn read(html: &[u8]) -> Page {
    let mut page = Page { links: Vec::new(), body_end: html.len() };
    let mut tag: Option<Tag> = None;
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                tag = matches!(name, b"a" | b"area").then(Tag::default);
            }
            CallbackEvent::AttributeName { name } => {
                if let Some(tag) = &mut tag {
                    tag.name(name);
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if let Some(tag) = &mut tag {
                    tag.value(value, span.start..span.end);
                }
            }
            CallbackEvent::CloseStartTag { .. } => {
                page.links.extend(tag.take().and_then(|tag| tag.link(html)));
            }
            CallbackEvent::EndTag { name: b"body" } => {
                page.body_end = body_end(html, span.start).unwrap_or(page.body_end);
            }
            CallbackEvent::EndTag { .. }
            | CallbackEvent::String { .. }
            | CallbackEvent::Comment { .. }
            | CallbackEvent::Doctype { .. }
            | CallbackEvent::Error(_) => {}
        }
        None::<Infallible>
    });
    // What is in a script or a title is text.
    emitter.naively_switch_states(true);
    let Ok(_) = Tokenizer::new_with_emitter(html, emitter).finish();
    page
}

impl Tag {
    fn name(&mut self, name: &[u8]) {
        let is_href = name == b"href" && self.href.is_none();
        self.attribute = if is_href { Attribute::Href } else { Attribute::Other };
        self.is_let_alone |= name == b"data-no-track";
    }

    fn value(&mut self, value: &[u8], place: Range<usize>) {
        if self.attribute == Attribute::Href {
            self.href = Some((place, value.to_vec()));
        }
        self.attribute = Attribute::Other;
    }

    /// The link, if it is one that may lead elsewhere by way of us. `&` is all that may be written
    /// otherwise than it is: whoever hides more of a URL gets it as it was.
    fn link(self, html: &[u8]) -> Option<(Range<usize>, Box<str>)> {
        let (place, value) = self.href.filter(|_| !self.is_let_alone)?;
        let value = std::str::from_utf8(&value).ok()?;
        let raw = std::str::from_utf8(html.get(place.clone())?).ok()?;
        let is_so = raw.replace("&amp;", "&") == value;
        (is_so && may_lead_to(value)).then(|| (place, value.into()))
    }
}

/// Where `</body` begins, at or just before `about`.
fn body_end(html: &[u8], about: usize) -> Option<usize> {
    let from = about.saturating_sub(2);
    let near = html.get(from..about + 2).unwrap_or_default();
    let start = from + near.windows(2).position(|two| two == b"</")?;
    let name = html.get(start + 2..start + 6)?;
    name.eq_ignore_ascii_case(b"body").then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links(html: &str) -> Vec<(String, String)> {
        let page = read(html.as_bytes());
        let of = |(place, url): (Range<usize>, Box<str>)| (html[place].to_owned(), url.into());
        page.links.into_iter().map(of).collect()
    }

    #[test]
    fn links_are_found_however_they_are_written() {
        for (html, raw, url) in [
            ("<a href=\"https://a.example/x\">", "https://a.example/x", "https://a.example/x"),
            ("<A\r\n\tHREF = 'http://a.example'>", "http://a.example", "http://a.example"),
            ("<a class=x href=https://a.example/y >", "https://a.example/y", "https://a.example/y"),
            (
                "\r\n\r\n<p>\u{e9}\r\n<a href=\"https://a.example/?b=1&amp;c=2\">",
                "https://a.example/?b=1&amp;c=2",
                "https://a.example/?b=1&c=2",
            ),
            (
                "<a href=\"https://a.example/?b=1&copy=2\">",
                "https://a.example/?b=1&copy=2",
                "https://a.example/?b=1&copy=2",
            ),
            (
                "<map><area href='https://a.example/m'>",
                "https://a.example/m",
                "https://a.example/m",
            ),
            (
                "<a href='https://a.example/1' href='https://a.example/2'>",
                "https://a.example/1",
                "https://a.example/1",
            ),
        ] {
            assert_eq!(links(html), [(raw.to_owned(), url.to_owned())], "{html}");
        }
    }

    #[test]
    fn what_is_no_link_to_the_web_stays() {
        for html in [
            "<a href=\"mailto:a@b.example\">",
            "<a href=\"#top\">",
            "<a href=\"{{url}}\">",
            "<a href=\"https://a.example/{{id}}\">",
            "<a href=\"https://a.example/*|ID|*\">",
            "<a href=\"https://a.example/%%x%%<%= y %>\">",
            "<a data-no-track href=\"https://a.example/\">",
            "<a href=\"https://a.example/\" data-no-track=\"\">",
            "<a href=\"https://a.example/\u{e9}\">",
            "<a href=\"https://a.example/&#38;x\">",
            "<a href=\" https://a.example/\">",
            "<a name=\"https://a.example/\">",
            "<link href=\"https://a.example/s.css\">",
            "<img src=\"https://a.example/i.png\">",
            "<!-- <a href=\"https://a.example/\"> -->",
            "<script>\"<a href='https://a.example/'>\"</script>",
            "<title><a href='https://a.example/'></title>",
            "<a href=\"https://a.example/",
            "</a href=\"https://a.example/\">",
            "https://a.example/",
        ] {
            assert_eq!(links(html), [], "{html}");
        }
    }

    #[test]
    fn the_picture_goes_before_the_end_of_the_body() {
        for (html, behind) in [
            ("<body>x</body></html>", "</body></html>"),
            ("<p>\r\n\r\n\u{e9}</p>\r\n</BODY\r\n >\r\n</html>", "</BODY\r\n >\r\n</html>"),
            ("</body>x</body>", "</body>"),
            ("<p>x</p>", ""),
            ("<!-- </body> -->", ""),
            ("", ""),
        ] {
            assert_eq!(&html[read(html.as_bytes()).body_end..], behind, "{html}");
        }
    }

    proptest! {
        #[test]
        fn places_are_inside_and_in_order(html in proptest::collection::vec(
            prop_oneof![
                Just(b"<a href=\"https://a.example/?b&amp;c\">".to_vec()),
                Just(b"<a href=https://a.example/ >".to_vec()),
                Just(b"</body>".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"\r".to_vec()),
                Just(b"&am".to_vec()),
                Just(b"<!--".to_vec()),
                Just(b"'".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..9),
            ],
            0..30,
        )) {
            let html = html.concat();
            let page = read(&html);
            let mut last = 0;
            for (place, url) in &page.links {
                prop_assert!(last <= place.start && place.start < place.end);
                let raw = String::from_utf8_lossy(&html[place.clone()]).replace("&amp;", "&");
                prop_assert_eq!(&raw, &**url);
                last = place.end;
            }
            prop_assert!(last <= html.len() && page.body_end <= html.len());
        }
    }
}
