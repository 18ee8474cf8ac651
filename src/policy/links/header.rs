//! Read of a header section what says whether a message may be changed, and see that it says how to
//! unsubscribe at once (RFC 8058).
//!
//! In: a header section, whole. Out: the same with `List-Unsubscribe:` and
//! `List-Unsubscribe-Post:`, where those are to be added; every other field stays as it is, in its
//! place.

use std::ops::Range;

/// What a header section has.
#[derive(Debug, Default)]
pub(super) struct Header<'h> {
    octets: &'h [u8],
    /// Its fields, with their line ends.
    fields: Vec<Range<usize>>,
}

/// What may become of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// It may have text that links are in.
    Open,
    /// It has none.
    Plain,
    /// Somebody has signed or sealed it: nothing of it may change.
    Signed,
}

const LIST: &str = "list-unsubscribe";
const POST: &str = "list-unsubscribe-post";

impl<'h> Header<'h> {
    /// The octets of a header section, the empty line behind it included or not.
    pub(super) fn read(octets: &'h [u8]) -> Self {
        let mut fields: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            let end = start + line.len();
            match fields.last_mut() {
                Some(field) if matches!(line[0], b' ' | b'\t') => field.end = end,
                _ if line.trim_ascii().is_empty() => break,
                _ => fields.push(start..end),
            }
            start = end;
        }
        Self { octets, fields }
    }

    /// Values of the fields of this name, which is in lower case.
    fn values(&self, name: &str) -> impl Iterator<Item = String> {
        let fields = self.fields.iter().map(|field| &self.octets[field.clone()]);
        let named = fields.filter(move |field| is_named(field, name));
        named.map(|field| {
            let value = field.splitn(2, |octet| *octet == b':').nth(1).unwrap_or_default();
            String::from_utf8_lossy(value).replace("\r\n", "").trim().to_owned()
        })
    }

    /// Signatures over the body and some of these fields: DKIM's, and those of an ARC chain, which
    /// a change of what they are over would break as well (RFC 8617 §4.1.2).
    fn signatures(&self) -> impl Iterator<Item = String> {
        self.values("dkim-signature").chain(self.values("arc-message-signature"))
    }

    /// What may become of the body.
    pub(super) fn nature(&self) -> Nature {
        if self.signatures().next().is_some() {
            return Nature::Signed;
        }
        let kind = self.values("content-type").next().unwrap_or_default().to_ascii_lowercase();
        if is_sealed(kind.split(';').next().unwrap_or("").trim()) {
            Nature::Signed
        } else if kind.starts_with("multipart/") || kind.starts_with("text/html") {
            Nature::Open
        } else {
            Nature::Plain
        }
    }

    /// URIs of `List-Unsubscribe:`, as they stand between `<` and `>` (RFC 2369 §3.2).
    pub(super) fn unsubscribe_uris(&self) -> Vec<String> {
        let values: Vec<String> = self.values(LIST).collect();
        let uris = values.iter().flat_map(|value| value.split('<').skip(1));
        let uris = uris.filter_map(|rest| rest.split_once('>'));
        uris.map(|(uri, _)| uri.split_whitespace().collect()).collect()
    }

    /// Whether a recipient's program may unsubscribe by it: one URI of `https`, and the field that
    /// says so (RFC 8058 §3.1).
    pub(super) fn has_one_click(&self) -> bool {
        let posts: Vec<_> = self.values(POST).collect();
        let is_post = |value: &String| value.eq_ignore_ascii_case("List-Unsubscribe=One-Click");
        let uris = self.unsubscribe_uris();
        self.values(LIST).count() == 1
            && posts.len() == 1
            && posts.iter().all(is_post)
            && uris.iter().filter(|uri| has_scheme(uri, "https:")).count() == 1
    }

    /// Whether somebody's signature is over these fields: then they are not ours to change.
    pub(super) fn is_unsubscribe_signed(&self) -> bool {
        self.signatures().any(|value| {
            let tags = value.split(';').filter_map(|tag| tag.split_once('='));
            let mut signed = tags.filter(|(name, _)| name.trim() == "h").map(|(_, names)| names);
            signed.any(|names| {
                let mut names = names.split(':').map(|name| name.trim().to_ascii_lowercase());
                names.any(|name| name == LIST || name == POST)
            })
        })
    }

    /// The header section with `uri` to unsubscribe by: first, and other than its own URIs of the
    /// web, of which there may be no other.
    pub(super) fn with_one_click(&self, uri: &str) -> Vec<u8> {
        let others = self.unsubscribe_uris();
        let others = others.iter().filter(|uri| !has_scheme(uri, "http"));
        let mut value = format!("<{uri}>");
        for other in others {
            value.push_str(",\r\n <");
            value.push_str(other);
            value.push('>');
        }
        let mut out = format!(
            "List-Unsubscribe: {value}\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        )
        .into_bytes();
        let mut done = 0;
        for field in &self.fields {
            let octets = &self.octets[field.clone()];
            if is_named(octets, LIST) || is_named(octets, POST) {
                out.extend_from_slice(&self.octets[done..field.start]);
                done = field.end;
            }
        }
        out.extend_from_slice(&self.octets[done..]);
        out
    }
}

fn is_named(field: &[u8], name: &str) -> bool {
    let colon = field.iter().position(|octet| *octet == b':').unwrap_or(field.len());
    field[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
}

fn has_scheme(uri: &str, scheme: &str) -> bool {
    uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Whether what has this type must arrive as it was sent, or cannot be read here.
pub(super) fn is_sealed(kind: &str) -> bool {
    let kinds = ["multipart/signed", "multipart/encrypted", "application/pkcs7-mime"];
    kinds.contains(&kind) || kind == "application/x-pkcs7-mime"
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://links.example/u/TOKEN";
    const FIELDS: &str = "List-Unsubscribe: <https://links.example/u/TOKEN>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";

    fn with(header: &str) -> String {
        let header = Header::read(header.as_bytes()).with_one_click(OURS);
        String::from_utf8(header).expect("text")
    }

    #[test]
    fn what_may_become_of_a_body_is_said_by_its_header() {
        for (header, nature) in [
            ("", Nature::Plain),
            ("Subject: x\r\n\r\n", Nature::Plain),
            ("Content-Type: text/plain\r\n\r\n", Nature::Plain),
            ("content-type : Text/HTML; charset=utf-8\r\n", Nature::Open),
            ("Content-Type:\r\n multipart/alternative;\r\n boundary=b\r\n\r\n", Nature::Open),
            ("Content-Type: multipart/signed; boundary=b\r\n\r\n", Nature::Signed),
            ("Content-Type: Application/PKCS7-MIME; smime-type=x\r\n\r\n", Nature::Signed),
            ("Content-Type: text/html\r\nDKIM-Signature: v=1\r\n\r\n", Nature::Signed),
            ("Content-Type: text/html\r\nARC-Message-Signature: i=1\r\n\r\n", Nature::Signed),
            ("Content-Type: text/html\r\nX: DKIM-Signature:\r\n\r\n", Nature::Open),
        ] {
            assert_eq!(Header::read(header.as_bytes()).nature(), nature, "{header}");
        }
    }

    #[test]
    fn one_click_needs_one_https_uri_and_its_companion() {
        let post = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
        for (list, has) in [
            ("List-Unsubscribe: <https://a.example/u>\r\n", true),
            ("list-unsubscribe:\r\n <mailto:u@a.example>,\r\n <HTTPS://a.example/u>\r\n", true),
            ("List-Unsubscribe: <http://a.example/u>\r\n", false),
            ("List-Unsubscribe: <mailto:u@a.example>\r\n", false),
            ("List-Unsubscribe: https://a.example/u\r\n", false),
            ("List-Unsubscribe: <https://a.example/1>, <https://a.example/2>\r\n", false),
            ("", false),
        ] {
            let both = format!("{list}{post}\r\n");
            assert_eq!(Header::read(both.as_bytes()).has_one_click(), has, "{list}");
            assert!(!Header::read(list.as_bytes()).has_one_click(), "alone: {list}");
            let twice = format!("{list}{post}{post}\r\n");
            assert!(!Header::read(twice.as_bytes()).has_one_click(), "twice: {list}");
        }
    }

    #[test]
    fn it_is_added_and_all_else_stays() {
        assert_eq!(with("\r\n"), format!("{FIELDS}\r\n"));
        let plain = "Subject: a\r\n b\r\nFrom: x@a.example\r\n\r\n";
        assert_eq!(with(plain), format!("{FIELDS}{plain}"));
        let own = "From: x\r\nLIST-unsubscribe: <https://a.example/u>,\r\n\
            \t<mailto:u@a.example>\r\nTo: y\r\nList-Unsubscribe-Post: other\r\nSubject: z\r\n\r\n";
        let expected = "List-Unsubscribe: <https://links.example/u/TOKEN>,\r\n \
            <mailto:u@a.example>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
            From: x\r\nTo: y\r\nSubject: z\r\n\r\n";
        assert_eq!(with(own), expected);
        assert!(Header::read(expected.as_bytes()).has_one_click());
    }

    #[test]
    fn fields_that_a_signature_is_over_are_known() {
        for field in ["DKIM-Signature: v=1", "ARC-Message-Signature: i=1; a=rsa-sha256"] {
            let signed = |names: &str| {
                let text = format!("{field}; d=a.example;\r\n h=from:{names};\r\n bh=x\r\n");
                Header::read(text.as_bytes()).is_unsubscribe_signed()
            };
            assert!(signed("List-Unsubscribe:to") && signed("to:\r\n list-unsubscribe-post"));
            assert!(!signed("to:subject"));
        }
    }
}
