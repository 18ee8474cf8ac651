//! Messages of several forms: which parts change, and that nothing else does.

use super::*;
use crate::base::limits::TRACKED_BYTES_MAX;
use mail_parser::MessageParser;
use proptest::prelude::*;

const LINK: &str = "https://shop.example/a?b=1";

fn url(action: &Action) -> String {
    match action {
        Action::Click(url) => format!("https://l.example/c/{}", url.len()),
        Action::Open => "https://l.example/o/X".to_owned(),
        Action::Unsubscribe => unreachable!("nobody asks for it"),
    }
}

fn change(content: &str, opens: bool, clicks: bool) -> Option<(String, usize)> {
    let wanted = Wanted { opens, clicks, is_let_alone: &|_| false, url: &url };
    let (out, made) = rewrite(content.as_bytes(), &wanted)?;
    Some((String::from_utf8(out).expect("text"), made))
}

/// The text of all parts, decoded, in order.
fn texts(content: &str) -> Vec<String> {
    let message = MessageParser::new().parse(content.as_bytes()).expect("a message");
    message.parts.iter().filter_map(|part| part.text_contents().map(ToOwned::to_owned)).collect()
}

fn multipart(kind: &str, boundary: &str, parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect();
    format!(
        "Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\n{parts}--{boundary}--\r\n"
    )
}

#[test]
fn a_page_alone_is_changed_where_its_links_are() {
    let content = format!(
        "Subject: x\r\nContent-Type: text/html\r\n\r\n<body>\r\n<a class='b' href=\"{LINK}\" id=c>\
         x</a>\r\n</body>\r\n"
    );
    let clicks = content.replace(LINK, "https://l.example/c/26");
    assert_eq!(change(&content, false, true), Some((clicks.clone(), 1)));
    let picture =
        "\r\n<img src=\"https://l.example/o/X\" width=\"1\" height=\"1\" alt=\"\">\r\n</body>";
    let both = clicks.replace("</body>", picture);
    assert_eq!(change(&content, true, true), Some((both, 2)));
    assert_eq!(change(&content, false, false), None);
}

#[test]
fn of_nested_multiparts_the_page_alone_changes() {
    let page = "Content-Type: text/html; charset=UTF-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n\
        <a href=3D\"https://shop.ex=\r\nample/a?b=3D1\">caf=C3=A9</a>";
    let plain = format!("Content-Type: text/plain\r\n\r\n<a href=\"{LINK}\">");
    let attached = format!(
        "Content-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n\r\n\
         <a href=\"{LINK}\">"
    );
    let inner = format!(
        "Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\n<a href=\"{LINK}\">"
    );
    let related = multipart("related", "r", &[page, "Content-Type: image/png\r\n\r\nPNG"]);
    let both = multipart("alternative", "a", &[&plain, &related]);
    let content =
        format!("From: a@a.example\r\n{}", multipart("mixed", "m", &[&both, &attached, &inner]));
    let (out, made) = change(&content, true, true).expect("it changes");
    assert_eq!(made, 2);
    let start = content.find("https://shop.ex=").expect("it is there");
    let end = content.find("\">caf").expect("it is there");
    assert_eq!(out[..start], content[..start]);
    let rest = &out[start..];
    let rest = rest.strip_prefix("=\r\nhttps://l.example/c/26=\r\n").expect(rest);
    let rest = rest.strip_prefix("\">caf=C3=A9</a>").expect(rest);
    let tail = &content[end + "\">caf=C3=A9</a>".len()..];
    assert!(rest.ends_with(tail) && rest.contains("img src=3D"), "{rest}");
    let found = texts(&out);
    assert!(
        found.iter().any(|text| text.contains("href=\"https://l.example/c/26\">caf\u{e9}</a>"))
    );
    assert_eq!(out.matches(LINK).count(), 3, "{out}");
}

#[test]
fn base64_is_read_and_written_again() {
    use base64::Engine as _;
    let coded = |text: &str| {
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        let lines: Vec<_> = text.as_bytes().chunks(60).map(String::from_utf8_lossy).collect();
        lines.join("\r\n") + "\r\n"
    };
    let header =
        "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: BASE64\r\n\r\n";
    let page = |link: &str| format!("<p>Hello \u{e9}</p><a href='{link}'>x</a> and more behind it");
    let (out, made) =
        change(&(header.to_owned() + &coded(&page(LINK))), false, true).expect("changes");
    assert_eq!((out, made), (header.to_owned() + &coded(&page("https://l.example/c/26")), 1));
}

#[test]
fn what_cannot_be_read_or_must_not_change_stays() {
    let body = format!("<a href=\"{LINK}\">x</a>\r\n");
    for header in [
        "Content-Type: text/plain\r\n\r\n",
        "Content-Type: text/x-amp-html\r\n\r\n",
        "Content-Type: text/html; charset=utf-16\r\n\r\n",
        "Content-Type: text/html; charset=iso-2022-jp\r\n\r\n",
        "Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        "Content-Type: text/html\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n",
        "Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n",
        "\r\n",
    ] {
        assert_eq!(change(&format!("{header}{body}"), true, true), None, "{header}");
    }
    let page = format!("Content-Type: text/html\r\n\r\n{body}");
    for sealed in ["signed", "encrypted"] {
        let whole = multipart(sealed, "s", &[&page, "Content-Type: application/x\r\n\r\nx"]);
        assert_eq!(change(&whole, true, true), None, "{sealed}");
        assert_eq!(
            change(&multipart("mixed", "m", &[&whole, &page]), true, true),
            None,
            "{sealed}"
        );
    }
}

/// Messages of the largest size that is held: reading them overflows the stack, or takes seconds.
#[test]
fn a_structure_that_is_costly_to_read_is_not() {
    let page = format!("Content-Type: text/html\r\n\r\n<a href=\"{LINK}\">x</a>\r\n");
    let times = |piece: &str| piece.repeat(TRACKED_BYTES_MAX / piece.len() - 9);
    let deep = times("Content-Type: message/rfc822\r\n\r\n") + &page;
    assert_eq!(change(&deep, true, true), None);
    let endless = "CONTENT-TYPE: multipart/x; BOUNDARY=q\r\n\r\n";
    assert_eq!(change(&multipart("mixed", "m", &[&page, &times(endless)]), true, true), None);
    let pages = |count| multipart("mixed", "m", &vec![&*page; count]);
    assert!(change(&pages(TRACKED_TYPES_MAX - 1), true, true).is_some());
    assert_eq!(change(&pages(TRACKED_TYPES_MAX), true, true), None);
    let nested = |count| {
        (0..count).fold(page.clone(), |part, n| multipart("x", &format!("b{n}."), &[&part]))
    };
    assert!(change(&nested(TRACKED_BOUNDARIES_MAX), true, true).is_some());
    assert_eq!(change(&nested(TRACKED_BOUNDARIES_MAX + 1), true, true), None);
}

#[test]
fn several_pages_get_one_picture() {
    let page = format!("Content-Type: text/html\r\n\r\n<a href=\"{LINK}\">x</a>");
    let content = multipart("mixed", "m", &[&page, &page]);
    let (out, made) = change(&content, true, true).expect("it changes");
    assert_eq!((made, out.matches("<img").count(), out.matches("/c/26").count()), (3, 1, 2));
}

/// A body that stands for `text`, with lines of so many octets where the encoding may choose.
fn coded(text: &str, encoding: &str, width: usize) -> String {
    use base64::Engine as _;
    let lines = |text: String, end: &str| {
        let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        lines.join(end)
    };
    match encoding {
        "quoted-printable" => {
            let line = |line: &str| {
                let pieces: Vec<_> = line.as_bytes().chunks(width).collect();
                let pieces = pieces
                    .into_iter()
                    .map(|piece| String::from_utf8_lossy(piece).replace('=', "=3D"));
                pieces.collect::<Vec<_>>().join("=\r\n")
            };
            text.split("\r\n").map(line).collect::<Vec<_>>().join("\r\n")
        }
        "base64" => lines(base64::engine::general_purpose::STANDARD.encode(text), "\r\n"),
        _ => text.to_owned(),
    }
}

proptest! {
    /// Every page says what it said, but for its links; every other part, and every header section,
    /// is there octet by octet.
    #[test]
    fn whatever_a_message_is_made_of_only_its_links_change(
        parts in proptest::collection::vec(
            (
                prop_oneof![Just("text/html"), Just("text/plain"), Just("image/png")],
                prop_oneof![Just("8bit"), Just("quoted-printable"), Just("base64")],
                proptest::collection::vec(
                    prop_oneof![
                        Just(format!("<a href=\"{LINK}\">x</a>")),
                        Just("<a href='mailto:a@b.example'>".to_owned()),
                        Just("\r\n".to_owned()),
                        Just("<!-- = -->".to_owned()),
                        "[a-z=&;]{1,30}",
                    ],
                    1..12,
                ),
            ),
            1..5,
        ),
        width in 4usize..70,
    ) {
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(kind, encoding, text)| (kind, encoding, text.concat() + "end"))
            .collect();
        let written = |change: &dyn Fn(&str, &str) -> String| {
            let parts: Vec<String> = parts
                .iter()
                .map(|(kind, encoding, text)| {
                    let body = coded(&change(kind, text), encoding, width);
                    let encoding = format!("Content-Transfer-Encoding: {encoding}");
                    format!("Content-Type: {kind}\r\n{encoding}\r\n\r\n{body}")
                })
                .collect();
            multipart("mixed", "m", &parts.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let content = written(&|_, text| text.to_owned());
        let expected = written(&|kind, text| match kind {
            "text/html" => text.replace(LINK, "https://l.example/c/26"),
            _ => text.to_owned(),
        });
        let out = change(&content, false, true).map_or(content.clone(), |(out, _)| out);
        prop_assert_eq!(texts(&out), texts(&expected));
        let raw = |content: &str| -> Vec<String> {
            let message = MessageParser::new().parse(content.as_bytes()).expect("a message");
            let others = message.parts.iter().filter(|part| kind(part) != "text/html");
            let span = |part: &MessagePart<'_>| {
                let start = part.offset_header as usize;
                match part.body {
                    PartType::Multipart(_) => content[start..part.offset_body as usize].to_owned(),
                    _ => content[start..part.offset_end as usize].to_owned(),
                }
            };
            others.map(span).collect()
        };
        prop_assert_eq!(raw(&out), raw(&content));
    }
}
