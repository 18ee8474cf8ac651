//! Find the domains that a message's text leads to.
//!
//! In: a part's content as it comes, and how it is encoded. Out: domains of its URLs, each once.
//! Invariant: one word of `URL_WORD_MAX` octets is held, and `URL_DOMAINS_MAX` domains, whatever
//! comes; the same are found wherever the pieces are cut. What is behind either bound is not found:
//! lists are a help against what is sent by the thousand, not a proof that a message is harmless.

use std::net::Ipv4Addr;

use crate::base::limits::{URL_DOMAINS_MAX, URL_WORD_MAX};
use crate::mail::address::Domain;

/// How the content of a part is encoded (RFC 2045 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// 7bit, 8bit, binary, or what nobody knows.
    #[default]
    Plain,
    Quoted,
    Base64,
}

impl Coding {
    /// By the value of `Content-Transfer-Encoding:`.
    pub(super) fn of(value: &[u8]) -> Self {
        let word = value.trim_ascii();
        if word.eq_ignore_ascii_case(b"quoted-printable") {
            Self::Quoted
        } else if word.eq_ignore_ascii_case(b"base64") {
            Self::Base64
        } else {
            Self::Plain
        }
    }
}

/// Reads text for its URLs.
#[derive(Debug, Default)]
pub(super) struct Urls {
    coding: Coding,
    /// What is left of the last octets in base64: bits, and how many.
    bits: (u32, u32),
    /// The beginning of a quoted octet.
    quoted: Vec<u8>,
    /// What may be a URL, so far.
    word: Vec<u8>,
    /// More of the word has gone by.
    is_cut: bool,
    /// Found, in their order.
    domains: Vec<Box<str>>,
    /// So many of them were taken.
    taken: usize,
}

impl Urls {
    /// A part begins.
    pub(super) fn begin(&mut self, coding: Coding) {
        self.end_word();
        self.coding = coding;
        self.bits = (0, 0);
        self.quoted.clear();
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        let domains = self.domains.iter().map(|one| one.len() + 16).sum::<usize>();
        self.word.capacity() + domains
    }

    /// Take the next piece of the part.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.domains.len() >= URL_DOMAINS_MAX {
            return;
        }
        match self.coding {
            Coding::Plain => piece.iter().for_each(|octet| self.octet(*octet)),
            Coding::Quoted => piece.iter().for_each(|octet| self.quoted(*octet)),
            Coding::Base64 => piece.iter().for_each(|octet| self.base64(*octet)),
        }
    }

    /// Domains that were found since this was last called, in lower case.
    pub(super) fn take(&mut self) -> impl Iterator<Item = &str> {
        let from = std::mem::replace(&mut self.taken, self.domains.len());
        self.domains[from..].iter().map(|one| &**one)
    }

    /// All of the message has come.
    pub(super) fn end(&mut self) {
        self.end_word();
    }

    //= RFC 2045 §6.7
    //# An equal sign as the last character on a encoded line indicates such a non-significant
    //# ("soft") line break in the encoded text.
    fn quoted(&mut self, octet: u8) {
        match self.quoted.as_slice() {
            [] if octet == b'=' => self.quoted.push(octet),
            [] => self.octet(octet),
            [_] if octet == b'\n' => self.quoted.clear(),
            // Transports may put blanks behind it.
            [_] if matches!(octet, b'\r' | b' ' | b'\t') => {}
            [_] if octet.is_ascii_hexdigit() => self.quoted.push(octet),
            [_, high] if octet.is_ascii_hexdigit() => {
                let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
                let whole = value(*high) * 16 + value(octet);
                self.quoted.clear();
                self.octet(u8::try_from(whole).expect("two digits"));
            }
            [_, ..] => {
                // It is no quoted octet: as it stands.
                let stands = std::mem::take(&mut self.quoted);
                stands.into_iter().for_each(|one| self.octet(one));
                self.octet(octet);
            }
        }
    }

    fn base64(&mut self, octet: u8) {
        let value = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            //= RFC 2045 §6.8
            //# Any characters outside of the base64 alphabet are to be ignored in base64-encoded
            //# data.
            _ => return,
        };
        let (bits, count) = self.bits;
        let (bits, count) = ((bits << 6 | u32::from(value)) & 0xffff, count + 6);
        if count < 8 {
            self.bits = (bits, count);
            return;
        }
        self.bits = (bits, count - 8);
        self.octet((bits >> (count - 8) & 0xff) as u8);
    }

    fn octet(&mut self, octet: u8) {
        let is_of_word = !octet.is_ascii_whitespace()
            && !octet.is_ascii_control()
            && !b"<>\"'`()[]{}|,;^".contains(&octet);
        if !is_of_word {
            return self.end_word();
        }
        if self.word.len() < URL_WORD_MAX {
            self.word.push(octet);
        } else {
            self.is_cut = true;
        }
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            let word = std::mem::take(&mut self.word);
            self.look_at(&word);
            self.word = word;
            self.word.clear();
        }
        self.is_cut = false;
    }

    /// A word may have several URLs, one in the parameters of the other.
    fn look_at(&mut self, word: &[u8]) {
        let mut rest = word;
        if rest.get(..4).is_some_and(|four| four.eq_ignore_ascii_case(b"www.")) {
            self.authority(rest);
        }
        while let Some(at) = memchr::memmem::find(rest, b"://") {
            let scheme = rest[..at].to_ascii_lowercase();
            rest = &rest[at + 3..];
            if [&b"http"[..], b"https", b"ftp"].iter().any(|one| scheme.ends_with(one)) {
                self.authority(rest);
            }
        }
    }

    /// RFC 3986 §3.2: `[userinfo "@"] host [":" port]`, up to the path.
    fn authority(&mut self, text: &[u8]) {
        let end = text.iter().position(|octet| b"/?#\\".contains(octet)).unwrap_or(text.len());
        let authority = String::from_utf8_lossy(&text[..end]);
        let host = authority.rsplit_once('@').map_or(&*authority, |(_, host)| host);
        let host = host.split(':').next().unwrap_or_default();
        // A sentence may end behind it.
        let host = host.trim_end_matches(['.', '!', '*', '_', '=', '&', '~']);
        let Ok(domain) = Domain::parse(host) else { return };
        let is_name = domain.literal().is_none() && domain.as_str().parse::<Ipv4Addr>().is_err();
        if !is_name || !domain.as_str().contains('.') {
            return;
        }
        let is_new = self.domains.iter().all(|known| **known != *domain.as_str());
        if is_new && self.domains.len() < URL_DOMAINS_MAX {
            self.domains.push(domain.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is found in a part, cut into pieces of this size.
    fn found(coding: Coding, text: &[u8], size: usize) -> Vec<String> {
        let mut urls = Urls::default();
        urls.begin(coding);
        text.chunks(size).for_each(|piece| urls.push(piece));
        urls.end();
        urls.take().map(str::to_owned).collect()
    }

    fn in_text(text: &str) -> Vec<String> {
        found(Coding::Plain, text.as_bytes(), usize::MAX)
    }

    #[test]
    fn domains_of_urls_are_found_however_they_stand_in_text() {
        for (text, expected) in [
            ("see http://a.example/x.", &["a.example"][..]),
            ("HTTPS://User:Pass@A.Example:8080?x=1", &["a.example"]),
            ("<a href=\"https://a.example\">b</a>", &["a.example"]),
            ("(www.b.example), WWW.c.example!", &["www.b.example", "www.c.example"]),
            ("go to http://a.example.", &["a.example"]),
            ("http://r.example/?to=https://t.example/", &["r.example", "t.example"]),
            ("http://a.example\\@b.example/", &["a.example"]),
            ("ftp://a.example http://a.example http://b.example", &["a.example", "b.example"]),
            ("https://例え.example/", &["xn--r8jz45g.example"]),
            ("mailto:x@a.example a.example ://a.example x://a.example", &[]),
            ("http://192.0.2.1/ http://localhost/ http:///x http://..", &[]),
            ("", &[]),
        ] {
            assert_eq!(in_text(text), expected, "{text}");
        }
    }

    //= RFC 2045 §6.7, type=test
    //# any 8bit value … may be represented by an "=" followed by a two digit hexadecimal
    //# representation
    #[test]
    fn encoded_text_is_read_as_it_is_shown() {
        let quoted = b"h=74tp://a.exa=\r\nmple/ http://b=2Eexample =3D http://c.example=3F =ZZ \
            http://d.example";
        let all = ["a.example", "b.example", "c.example", "d.example"];
        let base64 = b"aHR0cDovL2EuZXhh\r\nbXBsZS8gd3d3LmIuZXhhbXBsZQ==\r\n--boundary";
        for size in 1..=quoted.len() {
            assert_eq!(found(Coding::Quoted, quoted, size), all, "pieces of {size}");
            let two = ["a.example", "www.b.example"];
            assert_eq!(found(Coding::Base64, base64, size)[..1], two[..1], "pieces of {size}");
        }
        assert_eq!(Coding::of(b" Base64 \r"), Coding::Base64);
        assert_eq!(Coding::of(b"QUOTED-printable"), Coding::Quoted);
        assert_eq!(Coding::of(b"x-uuencode"), Coding::Plain);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut urls = Urls::default();
        urls.begin(Coding::Plain);
        (0..100_000).for_each(|_| urls.push(b"http://x"));
        assert!(urls.memory() <= 2 * URL_WORD_MAX, "{}", urls.memory());
        urls.push(b" ");
        (0..1_000).for_each(|n| urls.push(format!("http://{n}.example/ ").as_bytes()));
        urls.end();
        assert_eq!(urls.take().count(), URL_DOMAINS_MAX);
        assert_eq!(urls.take().count(), 0, "each is told once");
    }

    proptest! {
        #[test]
        fn the_same_is_found_at_every_cut(
            text in "[ht:/.@w=\r\n a-c0-9A-Z+<]{0,200}",
            size in 1_usize..20,
            coding in 0..3,
        ) {
            let coding = [Coding::Plain, Coding::Quoted, Coding::Base64][coding as usize];
            let whole = found(coding, text.as_bytes(), usize::MAX);
            prop_assert_eq!(found(coding, text.as_bytes(), size), whole);
        }
    }
}
