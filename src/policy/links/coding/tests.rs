//! What is replaced, and that nothing else is.

use super::*;
use proptest::prelude::*;

fn edit(place: Range<usize>, text: &str) -> Edit {
    Edit { place, text: text.to_owned() }
}

fn quoted(body: &str) -> Decoded<'_> {
    Decoded::new(body.as_bytes(), Encoding::QuotedPrintable).expect("it can be read")
}

/// With the word `OLD` replaced, whatever stands for it.
fn replaced(body: &str, encoding: Encoding, text: &str) -> String {
    let decoded = Decoded::new(body.as_bytes(), encoding).expect("it can be read");
    let old = memchr::memmem::find(decoded.text(), b"OLD").expect("it is there");
    let (out, made) = decoded.edit(&[edit(old..old + 3, text)]);
    assert_eq!(made, 1);
    String::from_utf8(out).expect("text")
}

#[test]
fn quoted_printable_stands_for_what_the_standard_says() {
    for (body, text) in [
        ("a=3Db", "a=b"),
        ("a=3db", "a=b"),
        ("a=\r\nb", "ab"),
        ("a= \t\r\nb", "ab"),
        ("a\r\nb", "a\r\nb"),
        ("caf=C3=A9", "caf\u{e9}"),
        ("a=b=", "a=b="),
        ("=ZZ=\n", "=ZZ=\n"),
    ] {
        assert_eq!(quoted(body).text(), text.as_bytes(), "{body:?}");
    }
}

#[test]
fn a_word_is_replaced_and_what_stands_around_it_stays() {
    let long = "x".repeat(70);
    for (body, expected) in [
        ("a OLD b\r\n", "a =\r\nhttps://n.example/?a=3D1=\r\n b\r\n"),
        ("a O=\r\nLD b", "a =\r\nhttps://n.example/?a=3D1=\r\n b"),
        ("a =4F=4C=44=\r\nb", "a =\r\nhttps://n.example/?a=3D1=\r\n=\r\nb"),
        (&format!("{long}=\r\nOLD"), &format!("{long}=\r\n=\r\nhttps://n.example/?a=3D1=\r\n")),
    ] {
        let out = replaced(body, Encoding::QuotedPrintable, "https://n.example/?a=1");
        assert_eq!(out, *expected, "{body:?}");
        let new = quoted(&out).text().to_vec();
        let old = quoted(body).text().to_vec();
        let old = String::from_utf8(old).expect("text");
        assert_eq!(
            String::from_utf8(new).expect("text"),
            old.replace("OLD", "https://n.example/?a=1")
        );
    }
    assert_eq!(replaced("a OLD b", Encoding::Identity, "new"), "a new b");
}

#[test]
fn lines_stay_as_short_as_they_must_be() {
    let url = format!("https://n.example/{}--{}", "a-".repeat(200), "=".repeat(100));
    let body = format!("{}OLD{}\r\n--b\r\n", "y".repeat(72), "=");
    let out = replaced(&body, Encoding::QuotedPrintable, &url);
    assert!(out.lines().all(|line| line.len() <= MIME_LINE_MAX), "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with("--")).count(), 1, "{out}");
    let long = format!("{}OLD", "y".repeat(LINKED_LINE_MAX - 10));
    let decoded = Decoded::new(long.as_bytes(), Encoding::Identity).expect("as it is");
    let place = LINKED_LINE_MAX - 10..LINKED_LINE_MAX - 7;
    assert_eq!(decoded.edit(&[edit(place.clone(), "elevenchars")]), (long.clone().into(), 0));
    assert_eq!(decoded.edit(&[edit(place, "tenletters")]).1, 1);
    let end = long.len();
    let (out, made) = decoded.edit(&[edit(end..end, "\r\na new line\r\n")]);
    assert_eq!((out.len(), made), (long.len() + 14, 1));
}

#[test]
fn base64_keeps_its_width_and_its_end() {
    let coded =
        BASE64.encode("some text with OLD in it, and more of it behind, so that it has lines");
    for width in [20, 76] {
        let lines: Vec<_> = coded.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        let body = lines.join("\r\n") + "\r\n\r\n";
        let out = replaced(&body, Encoding::Base64, "https://n.example/");
        assert!(out.ends_with("\r\n\r\n") && out.lines().all(|line| line.len() <= width), "{out}");
        let new = Decoded::new(out.as_bytes(), Encoding::Base64).expect("base64");
        let text = String::from_utf8_lossy(new.text()).into_owned();
        assert!(text.contains("with https://n.example/ in it, and more"), "{text}");
    }
    assert!(Decoded::new(b"no base64!", Encoding::Base64).is_none());
}

proptest! {
    /// Whatever is replaced, the rest of the text is as it was; and but for base64 so is the rest
    /// of the body.
    #[test]
    fn what_is_not_replaced_is_as_it_was(
        body in proptest::collection::vec(
            prop_oneof![
                Just(b"=3D".to_vec()), Just(b"=\r\n".to_vec()), Just(b"\r\n".to_vec()),
                Just(b"=".to_vec()), Just(b"=C3=A9".to_vec()), Just(b"= \r\n".to_vec()),
                "[ -<>-~]{1,20}".prop_map(String::into_bytes),
            ],
            0..40,
        ),
        from in any::<prop::sample::Index>(),
        length in 0usize..30,
        new in "[!-~]{1,200}",
    ) {
        let body = body.concat();
        for encoding in [Encoding::Identity, Encoding::QuotedPrintable] {
            let Some(decoded) = Decoded::new(&body, encoding) else { continue };
            let text = decoded.text().to_vec();
            let start = if text.is_empty() { 0 } else { from.index(text.len()) };
            let end = (start + length).min(text.len());
            let (out, made) = decoded.edit(&[edit(start..end, &new)]);
            if made == 0 {
                prop_assert_eq!(&out, &body);
                continue;
            }
            let again = Decoded::new(&out, encoding).expect("it can be read");
            let expected = [&text[..start], new.as_bytes(), &text[end..]].concat();
            prop_assert_eq!(again.text(), &*expected);
            let same_start = body.iter().zip(&out).take_while(|(old, new)| old == new).count();
            let ends = body.iter().rev().zip(out.iter().rev());
            let same_end = ends.take_while(|(old, new)| old == new).count();
            let replaced = body.len().saturating_sub(same_start + same_end);
            prop_assert!(replaced <= 3 * (end - start) + 3 * 30, "{replaced} octets");
        }
    }
}
