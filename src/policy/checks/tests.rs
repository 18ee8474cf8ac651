//! Faults of content, whatever the pieces are that it comes in.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::limits::{CHECK_BOUNDARY_MAX, CHECK_DEPTH_MAX, CHECK_FIELD_MAX};

fn rules() -> Arc<Rules> {
    Arc::new(Rules { types: ["exe", "js"].map(Box::from).into() })
}

fn faults(content: &[u8]) -> Vec<Fault> {
    let mut check = ContentCheck::new(rules());
    check.push(content);
    check.end()
}

/// What is wrong with a message, in words.
fn told_of(content: &str) -> String {
    told(&faults(content.as_bytes()))
}

/// What is wrong with a message that has these fields beside what every message has.
fn told_with(fields: &str) -> String {
    told_of(&format!("From: a@a.example\r\nDate: now\r\n{fields}\r\n\r\nbody\r\n"))
}

/// What is wrong with a message that has this body, of `multipart/mixed` with the boundary `b`.
fn told_in(body: &str) -> String {
    told_of(&format!("{WELL}Content-Type: multipart/mixed; boundary=b\r\n\r\n{body}"))
}

const WELL: &str = "From: a@a.example\r\nDate: now\r\n";
const EXE: &str = "attachments of type exe are not taken here";
const PART: &str = "Content-Disposition: attachment; filename=a.exe\r\n";

//= RFC 5322 §3.6, type=test
//# The only required header fields are the origination date field and the originator address
//# field(s).
#[test]
fn who_and_when_is_needed_and_nothing_else() {
    assert_eq!(told_of("From: a@a.example\r\nDate: now\r\n\r\n"), "");
    assert_eq!(told_of("From: a@a.example\r\nDate: now"), "");
    assert_eq!(told_of("FROM : A <a@a.example>\r\ndate:\r\n"), "");
    assert_eq!(told_of("Subject: x\r\n\r\nFrom: a@a.example\r\nDate: now\r\n"), {
        "From: is missing; Date: is missing"
    });
    assert_eq!(told_of(""), "From: is missing; Date: is missing");
    assert_eq!(told_of("\r\nbody"), "From: is missing; Date: is missing");
}

//= RFC 5322 §3.6, type=test
//# | from | 1 | 1 | See sender and 3.6.2 |
#[test]
fn what_may_be_there_once_may_not_be_there_twice() {
    for field in [
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
    ] {
        let twice = format!("{field}: a@a.example\r\n{}: b@a.example", field.to_uppercase());
        assert_eq!(told_with(&twice), format!("more than one {field}:"));
    }
    assert_eq!(told_with("Received: a\r\nReceived: b\r\nComments: c\r\nComments: d"), "");
    assert_eq!(told_with("X-From: a\r\nFromm: b\r\nTo: c\r\n To: d"), "");
}

//= RFC 5322 §3.6.2, type=test
//# If the from field contains more than one mailbox specification in the mailbox-list, then the
//# sender field […] MUST appear in the message.
#[test]
fn the_author_has_an_address_and_of_several_one_sends() {
    let of = |from: &str, more: &str| told_of(&format!("From: {from}\r\nDate: now\r\n{more}\r\n"));
    for none in ["", "nobody", "root (Cron)", "<>", "\"a@b\"", "a@", "Group:;", "=?utf-8?q?a=40b?="]
    {
        assert_eq!(of(none, ""), "From: names no address", "{none}");
    }
    for one in ["a@b.example", "\"x, y\" <a@b>", "(c, d) a@b", "a@b,", "A,\r\n\tB <a@b>", "G: a@b;"]
    {
        assert_eq!(of(one, ""), "", "{one}");
    }
    let several = "a@b.example, c <c@d.example>";
    assert_eq!(of(several, ""), "From: names several, and Sender: is missing");
    assert_eq!(of(several, "Sender: a@b.example\r\n"), "");
}

//= RFC 5322 §2.2, type=test
//# Header fields are lines beginning with a field name, followed by a colon (":"), followed by a
//# field body, and terminated by CRLF.
#[test]
fn a_line_that_is_no_field_has_no_place_among_them() {
    for line in ["no field", ": none", "a b: c", "From someone Mon Jan 1 00:00:00", "N\u{e4}me: x"]
    {
        assert_eq!(told_with(line), "a line of the header section is no field", "{line}");
    }
    let folded = "a line of the header section is no field";
    assert_eq!(told_of(&format!(" folded to nothing\r\n{WELL}\r\n")), folded);
    assert_eq!(told_with("Subject: x\r\n folded: y\r\n\tand again"), "");
}

#[test]
fn refusals_have_the_status_of_what_comes_first() {
    let refused = |content: &str| refusal(&faults(content.as_bytes())).map(|it| it.to_string());
    assert_eq!(refused(&format!("{WELL}\r\n")), None);
    let form = refused(&format!("{WELL}From: b@b.example\r\n{PART}\r\n")).unwrap();
    assert_eq!(form, format!("550 5.6.0 more than one From:; {EXE}"));
    assert_eq!(refused(&format!("{WELL}{PART}\r\n")).unwrap(), format!("550 5.7.1 {EXE}"));
}

#[test]
fn attachments_are_found_wherever_parts_are() {
    assert_eq!(told_with("Content-Type: application/x; name=\"a.exe\""), EXE);
    assert_eq!(told_with("Content-Disposition: inline;\r\n\tfilename=a.\r\n exe"), "");
    assert_eq!(told_with("Content-Disposition: inline;\r\n\tfilename\r\n =a.exe"), EXE);
    assert_eq!(told_in(&format!("--b\r\n{PART}\r\nMZ\r\n--b--\r\n")), EXE);
    assert_eq!(told_in(&format!("--b\r\n\r\n--b\r\n\r\n--b \r\n{PART}")), EXE);
    let nested = "--b\r\nContent-Type: multipart/related; boundary=\"c d\"\r\n\r\n--c d\r\n\
                  Content-Type: message/rfc822\r\n\r\nFrom: x\r\nContent-Type: multipart/x;\r\n\t\
                  boundary=e\r\n\r\n--e\r\n";
    assert_eq!(told_in(&format!("{nested}{PART}\r\n")), EXE);
    assert_eq!(told_in(&format!("{nested}\r\n--e--\r\n--c d--\r\n--b\r\n{PART}\r\n")), EXE);
    let digest = "--b\r\nContent-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\n";
    assert_eq!(told_in(&format!("{digest}{PART}")), EXE);
    let typed = digest.replace("--d\r\n", "--d\r\nContent-Type: text/plain\r\n");
    assert_eq!(told_in(&format!("{typed}{PART}")), "");
}

#[test]
fn what_only_looks_like_a_part_is_none() {
    for body in [
        PART.to_owned(),
        format!("\r\n--c\r\n{PART}"),
        format!("--b\r\n\r\n{PART}"),
        format!("--b\r\n\r\nx--b\r\n{PART}"),
        format!("-b\r\n{PART}"),
        format!("--b--\r\n{PART}"),
        format!("--b\r\nContent-Type: text/plain\r\n\r\n--c\r\n{PART}"),
    ] {
        assert_eq!(told_in(&body), "", "{body}");
    }
    assert_eq!(told_of(&format!("{WELL}\r\n{PART}")), "");
}

/// Readers of mail differ in these; a name that one of them might show is seen.
#[test]
fn what_some_readers_take_for_a_part_is_one() {
    for body in [
        format!("--b--\r\n--b\r\n{PART}"),
        format!("--banner\r\n{PART}"),
        format!("--b\r\nX: y\r\n--b\r\n{PART}"),
        format!("--b\r\nno field\r\n{PART}"),
    ] {
        assert_eq!(told_in(&body), EXE, "{body}");
    }
    for parameter in ["b(x); boundary=c", "(x)b", "b; boundary=z", "z; boundary=\"b\"", "a(b"] {
        let field = format!("Content-Type: multipart/mixed; boundary={parameter}\r\n");
        let boundary = if parameter == "a(b" { parameter } else { "b" };
        assert_eq!(told_of(&format!("{WELL}{field}\r\n--{boundary}\r\n{PART}")), EXE);
    }
    let extended = "Content-Type: multipart/mixed; boundary*=us-ascii''%62\r\n";
    assert_eq!(told_of(&format!("{WELL}{extended}\r\n--b\r\n{PART}")), EXE);
    let twice = "Content-Type: multipart/mixed; boundary=x\r\nContent-Type: multipart/a; \
                 boundary=b\r\n";
    for boundary in ["x", "b"] {
        assert_eq!(told_of(&format!("{WELL}{twice}\r\n--{boundary}\r\n{PART}")), EXE);
    }
    let cut = format!("{WELL}Content-Type: multipart/a; boundary=b\r\n--b\r\n{PART}");
    assert_eq!(told_of(&cut), format!("a line of the header section is no field; {EXE}"));
}

//= RFC 2046 §5.1.1, type=test
//# Boundary delimiters must not appear within the encapsulated material, and must be no longer
//# than 70 characters, not counting the two leading hyphens.
#[test]
fn longer_boundaries_are_known_by_their_beginning() {
    let long = "b".repeat(CHECK_BOUNDARY_MAX);
    let field = format!("Content-Type: multipart/mixed; boundary={long}xyz\r\n");
    assert_eq!(told_of(&format!("{WELL}{field}\r\n--{long}xyz\r\n{PART}")), EXE);
    let short = &long[1..];
    assert_eq!(told_of(&format!("{WELL}{field}\r\n--{short}\r\n{PART}")), "");
}

/// A message in which multiparts are nested so deep.
fn nested(depth: usize) -> String {
    let part =
        |n: usize| format!("Content-Type: multipart/mixed; boundary=a{n}z\r\n\r\n--a{n}z\r\n");
    let parts: String = (0..depth).map(part).collect();
    format!("{WELL}{parts}{PART}\r\n")
}

#[test]
fn what_cannot_be_looked_through_is_a_fault() {
    assert_eq!(told_of(&nested(CHECK_DEPTH_MAX)), EXE);
    let deeper = told_of(&nested(CHECK_DEPTH_MAX + 1));
    assert!(deeper.starts_with("parts are nested too deep"), "{deeper}");
    let long = format!("Content-Type: a/b; x={}; name=a.exe", "y".repeat(CHECK_FIELD_MAX));
    assert_eq!(told_with(&long), "Content-Type: is too long");
    let folded = "\r\n ".to_owned() + &"y".repeat(CHECK_FIELD_MAX / 2);
    let long = format!("Content-Disposition: a{}", folded.repeat(3));
    assert_eq!(told_with(&long), "Content-Disposition: is too long");
    assert_eq!(told_with(&format!("Subject: a{}", folded.repeat(3))), "");
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    assert_eq!(told_of(&format!("{WELL}{messages}{PART}")), EXE);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut check = ContentCheck::new(rules());
    check.push(nested(10 * CHECK_DEPTH_MAX).as_bytes());
    let line = "--".to_owned() + &"Content-Type: multipart/a; boundary=".repeat(1_000);
    for _ in 0..1_000 {
        check.push(line.as_bytes());
        let most = 4 * CHECK_FIELD_MAX + CHECK_DEPTH_MAX * 2 * CHECK_BOUNDARY_MAX;
        assert!(check.memory() <= most, "{} octets", check.memory());
    }
}

/// Content of every shape that matters.
fn samples() -> Vec<String> {
    let body = "\r\n--b\r\nContent-Type: text/plain; name=\"=?utf-8?B?YS5leGU=?=\"\r\n\r\ntext\r\n\
                --b\r\nContent-Type: multipart/x;\r\n boundary=c\r\n\r\n--c\r\n--\r\n--c--\r\n\
                --b\r\nContent-Disposition: attachment;\r\n\tfilename*0*=utf-8''b%2E;\r\n \
                filename*1=js\r\n\r\nx\r\n--b--\r\n";
    let head = "Content-Type: multipart/mixed; boundary=b\r\n";
    vec![
        format!("{WELL}{head}{body}"),
        format!("{WELL}{WELL}{head}no field\r\n folded\r\n{body}"),
        format!("From: a, b@c,\r\n d@e\r\n{head}{body}"),
        body.to_owned(),
        nested(CHECK_DEPTH_MAX + 1),
        format!("{WELL}X: {}\r\n{head}{body}", "x".repeat(CHECK_FIELD_MAX)),
        format!("{WELL}\r"),
        format!("{WELL}{head}\r\n--b\n{PART}\n--b\n\n{PART}"),
    ]
}

#[test]
fn faults_are_the_same_at_every_cut() {
    for content in samples() {
        let whole = faults(content.as_bytes());
        for cut in 0..content.len() {
            let mut check = ContentCheck::new(rules());
            check.push(&content.as_bytes()[..cut]);
            check.push(&content.as_bytes()[cut..]);
            assert_eq!(check.end(), whole, "cut at {cut}: {content}");
        }
    }
}

proptest! {
    /// Lines that mean something to the check, in any order, with octets of any kind between.
    #[test]
    fn faults_are_the_same_however_it_is_cut(
        lines in prop::collection::vec(0_usize..14, 0..40),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        cuts in prop::collection::vec(1_usize..30, 0..60),
    ) {
        const LINES: [&[u8]; 13] = [
            b"From: a@b\r\n", b"Date: x\r\n", b"\r\n", b"--b\r\n", b"--b--\r\n", b"--c\r\n",
            b"Content-Type: multipart/mixed; boundary=b\r\n",
            b"Content-Type: multipart/digest;\r\n\tboundary=\"c\"\r\n",
            b"Content-Type: message/rfc822\r\n", b" folded; filename=x.js\r\n", b"text\r\n",
            b"Content-Disposition: a; filename=x.exe\r\n", b"-",
        ];
        let line = |place: &usize| LINES.get(*place).copied().unwrap_or(&noise);
        let content: Vec<u8> = lines.iter().flat_map(line).copied().collect();
        let whole = faults(&content);
        let mut check = ContentCheck::new(rules());
        let mut rest = content.as_slice();
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            check.push(piece);
            rest = behind;
        }
        check.push(rest);
        prop_assert_eq!(check.end(), whole);
    }
}

/// Domains of URLs that are found in content that comes in pieces of this size.
fn domains(content: &str, size: usize) -> Vec<Box<str>> {
    let mut check = ContentCheck::with_urls(Arc::default());
    let mut found = Vec::new();
    for piece in content.as_bytes().chunks(size) {
        check.push(piece);
        found.extend(check.take_domains());
    }
    check.end();
    found.extend(check.take_domains());
    found
}

#[test]
fn urls_are_found_in_parts_that_are_shown_as_text() {
    let base64 = "aHR0cDovL2Jhc2U2NC50ZXN0LyBhbmQg\r\nd3d3LnNlY29uZC50ZXN0\r\n";
    let content = format!(
        "Subject: see http://header.test\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n\
         http://preamble.test\r\n\
         --b\r\n\r\nplain: http://plain.test/x\r\n\
         --b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         <a href=3D\"http://www.qu=\r\noted.test/\">\r\n\
         --b\r\nContent-Transfer-Encoding: base64\r\nContent-Type: text/plain\r\n\r\n{base64}\
         --b\r\nContent-Type: application/octet-stream\r\n\r\nhttp://binary.test\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\n\
         Subject: x\r\n\r\nhttp://inner.test\r\n\
         --b--\r\nhttp://epilogue.test\r\n"
    );
    let expected: [Box<str>; 5] =
        ["plain.test", "www.quoted.test", "base64.test", "www.second.test", "inner.test"]
            .map(Box::from);
    for size in [1, 2, 3, 7, 64, usize::MAX] {
        assert_eq!(domains(&content, size), expected, "pieces of {size}");
    }
    let bare = "Subject: x\r\n\r\nhttp://bare.test";
    assert_eq!(domains(bare, 5), ["bare.test".into()], "no MIME is text");
    let mut check = ContentCheck::new(Arc::default());
    check.push(bare.as_bytes());
    assert_eq!(check.take_domains(), [], "where nobody asks nothing is looked for");
}
