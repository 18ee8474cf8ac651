//! Take a field with parameters apart (RFC 2045 §5.1, RFC 2231), whatever its form.
//!
//! In: the value of a `Content-Type:` or `Content-Disposition:` field, unfolded. Out: what stands
//! before its first `;`, and its parameters in their order. Linear, and never fails: what has no
//! form that a standard knows is read as readers of mail read it, which is to its end.

/// A parameter as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its name in lower case, without what RFC 2231 appends to it.
    pub(super) name: Vec<u8>,
    /// Its number, where it is one piece of a value.
    pub(super) section: Option<u32>,
    /// It says its charset, or has octets in hexadecimal digits.
    pub(super) is_extended: bool,
    /// Without quotes, and as it is else.
    pub(super) value: Vec<u8>,
}

/// How `(` outside of quotes is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comments {
    /// As the beginning of a comment, as RFC 5322 §3.2.2 has it.
    Are,
    /// As itself.
    AreNot,
}

/// A value, taken apart.
pub(super) struct Parts {
    /// What stands before the parameters, in lower case and without blanks.
    pub(super) head: Vec<u8>,
    pub(super) parameters: Vec<Parameter>,
}

/// One part of a value, up to its `;`.
#[derive(Default)]
struct Segment {
    text: Vec<u8>,
    /// Where its first `=` outside of quotes stands in `text`.
    equals: Option<usize>,
}

/// Take a value apart.
pub(super) fn parse(value: &[u8], comments: Comments) -> Parts {
    let mut segments = segments(value, comments).into_iter();
    let mut head = segments.next().unwrap_or_default();
    let first = parameter(&head);
    // `attachment filename=x`: its `;` was forgotten.
    if let Some(equals) = head.equals {
        head.text.truncate(equals);
    }
    head.text.retain(|octet| !octet.is_ascii_whitespace());
    head.text.make_ascii_lowercase();
    let others = segments.filter_map(|segment| parameter(&segment));
    Parts { head: head.text, parameters: first.into_iter().chain(others).collect() }
}

/// The parts between `;` outside of quotes, without quotes, escapes and comments.
fn segments(value: &[u8], comments: Comments) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut segment = Segment::default();
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for octet in value {
        match octet {
            _ if std::mem::take(&mut escaped) => {
                if depth == 0 {
                    segment.text.push(*octet);
                }
            }
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted && comments == Comments::Are => depth += 1,
            b')' if !quoted && depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            b';' if !quoted => segments.push(std::mem::take(&mut segment)),
            _ => {
                if *octet == b'=' && !quoted && segment.equals.is_none() {
                    segment.equals = Some(segment.text.len());
                }
                segment.text.push(*octet);
            }
        }
    }
    segments.push(segment);
    segments
}

fn parameter(segment: &Segment) -> Option<Parameter> {
    let (before, value) = segment.text.split_at(segment.equals?);
    let before = before.trim_ascii();
    let word = before.rsplit(u8::is_ascii_whitespace).next().unwrap_or(before);
    let mut marks = word.split(|octet| *octet == b'*');
    let name = marks.next().unwrap_or_default().to_ascii_lowercase();
    let (mut section, mut is_extended) = (None, false);
    for mark in marks {
        match std::str::from_utf8(mark).ok().and_then(|text| text.parse().ok()) {
            Some(number) if section.is_none() => section = Some(number),
            _ => is_extended = true,
        }
    }
    let value = value[1..].trim_ascii().to_vec();
    Some(Parameter { name, section, is_extended, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let parts = parse(value.as_bytes(), Comments::Are);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let mut shown = text(&parts.head);
        for one in parts.parameters {
            let section = one.section.map(|number| format!("*{number}")).unwrap_or_default();
            let mark = if one.is_extended { "*" } else { "" };
            shown += &format!("; {}{section}{mark}={}", text(&one.name), text(&one.value));
        }
        shown
    }

    //= RFC 2231 §4.1, type=test
    //# Content-Type: application/x-stuff
    //#  title*0*=us-ascii'en'This%20is%20even%20more%20
    //#  title*1*=%2A%2A%2Afun%2A%2A%2A%20
    //#  title*2="isn't it!"
    #[test]
    fn parameters_are_told_apart() {
        let value = "Application/X-Stuff; title*0*=us-ascii'en'This%20is; title*1*=%2Afun; \
                     title*2=\"isn't; it!\"";
        assert_eq!(
            shown(value),
            "application/x-stuff; title*0*=us-ascii'en'This%20is; title*1*=%2Afun; \
             title*2=isn't; it!"
        );
        assert_eq!(shown("a ; FileName = \"b\\\"c\"; d"), "a; filename=b\"c");
        assert_eq!(shown("a (x;y=z (w) \\)) / b; n(c)ame=(;)v w"), "a/b; name=v w");
    }

    #[test]
    fn what_has_no_form_is_read_to_its_end() {
        assert_eq!(shown(""), "");
        assert_eq!(shown("attachment filename=a b.exe"), "attachmentfilename; filename=a b.exe");
        assert_eq!(shown("a; filename=\"b; c.exe"), "a; filename=b; c.exe");
        assert_eq!(shown("a; filename=\"b\".exe"), "a; filename=b.exe");
        assert_eq!(shown("; =x; name*x*1*2=y"), "; =x; name*1*=y");
        let parts = parse(b"a; name=b(.exe", Comments::AreNot);
        assert_eq!(parts.parameters[0].value, b"b(.exe");
        assert!(parse(b"a; name=b(.exe", Comments::Are).parameters[0].value == b"b");
    }
}
