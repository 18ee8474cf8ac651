//! Take a header section apart into fields, and bring a field into its relaxed form (RFC 6376
//! §3.4.2).
//!
//! In: a header section without the empty line that ends it. Out: its fields in order; their
//! relaxed forms. Invariant: what is no field (a line without a colon, and what is folded to it) is
//! passed over; relaxed text has no line end but its last.

use memchr::{memchr, memchr_iter};

/// A field as it stands, folded or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Without blanks before the colon.
    pub name: &'a [u8],
    /// All that follows the colon, its last line end included if it has one.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// A line with all that is folded to it, if it is a field.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let colon = memchr(b':', line)?;
        let name = line[..colon].trim_ascii_end();
        // A line that is folded to nothing begins with a blank.
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        is_name.then(|| Self { name, value: &line[colon + 1..] })
    }

    /// Whether it is called `name`, in whatever case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header section.
pub fn fields(section: &[u8]) -> impl Iterator<Item = Field<'_>> {
    folded(section).filter_map(Field::of)
}

/// The lines of a header section, each with all that is folded to it.
pub fn folded(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = section;
    std::iter::from_fn(move || {
        let (line, after) = rest.split_at(folded_end(rest));
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// Where the line that `text` begins with ends, with all that is folded to it.
fn folded_end(text: &[u8]) -> usize {
    for line_end in memchr_iter(b'\n', text) {
        let end = line_end + 1;
        let is_folded = matches!(text.get(end), Some(b' ' | b'\t'));
        if !is_folded && text[..line_end].ends_with(b"\r") {
            return end;
        }
    }
    text.len()
}

/// Write the relaxed form of a field behind what is in `into`, with its CRLF.
pub fn write_relaxed(field: &Field<'_>, into: &mut Vec<u8>) {
    into.extend(field.name.iter().map(u8::to_ascii_lowercase));
    into.push(b':');
    write_relaxed_value(field.value, into);
    into.extend_from_slice(b"\r\n");
}

/// The same of a value, without its CRLF.
pub fn write_relaxed_value(value: &[u8], into: &mut Vec<u8>) {
    let mut blanks = false;
    let start = into.len();
    for (at, octet) in value.iter().enumerate() {
        let is_line_end = match octet {
            b'\r' => value.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && value[at - 1] == b'\r',
            _ => false,
        };
        match octet {
            b' ' | b'\t' => blanks = true,
            _ if is_line_end => {}
            other => {
                if std::mem::take(&mut blanks) && into.len() > start {
                    into.push(b' ');
                }
                into.push(*other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relaxed(section: &str) -> String {
        let mut text = Vec::new();
        fields(section.as_bytes()).for_each(|field| write_relaxed(&field, &mut text));
        String::from_utf8(text).unwrap()
    }

    //= RFC 6376 §3.4.5, type=test
    //# relaxed: a header of "A: X" and "B : Y<HTAB>" folded to "<HTAB>Z  " becomes "a:X", "b:Y Z"
    #[test]
    fn the_example_of_the_standard() {
        assert_eq!(relaxed("A: X\r\nB : Y\t\r\n\tZ  \r\n"), "a:X\r\nb:Y Z\r\n");
    }

    #[test]
    fn what_is_no_field_is_passed_over() {
        let section =
            "From here\r\n to there: x\r\nA:1\r\n: none\r\n  lost: 3\r\nB:\r\n\r\n c\r\nD:2";
        assert_eq!(relaxed(section), "a:1\r\nb:\r\nd:2\r\n");
        assert_eq!(relaxed(""), "");
        assert_eq!(relaxed("A: a\rb\nc \r\n"), "a:a\rb\nc\r\n");
    }
}
