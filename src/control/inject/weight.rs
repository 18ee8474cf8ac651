//! Know what a body takes in memory once it is read, before it is.
//!
//! In: octets of JSON. Out: octets of memory, more than the values take beside the letters of their
//! strings. Pure. The smallest object has a table of its own: some octets of a body can ask for a
//! hundred times as many. What is no JSON has some weight too, and is refused by whoever reads it.

use memchr::memchr2;

/// Octets of an object: the first node of serde_json's map, which has room for 11.
const OBJECT: usize = 704;
/// Octets of a member: its place in a list or a node that is half empty, and what an allocation for
/// its name and one for its string take beside their letters.
const MEMBER: usize = 192;

/// What `json` takes.
pub(super) fn weight(json: &[u8]) -> usize {
    let (mut weight, mut at) = (0_usize, 0);
    while let Some(octet) = json.get(at) {
        at += 1;
        match octet {
            b'{' => weight = weight.saturating_add(OBJECT + MEMBER),
            b'[' | b',' => weight = weight.saturating_add(MEMBER),
            b'"' => at += string(&json[at..]),
            _ => {}
        }
    }
    weight
}

/// Octets up to the end of a string, its quote included.
fn string(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr2(b'"', b'\\', &rest[at..]) {
        at += found + 1;
        match rest[at - 1] {
            b'"' => return at,
            // What it stands before ends nothing.
            _ => at = (at + 1).min(rest.len()),
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_members_count_and_what_is_in_strings_does_not() {
        for (json, objects, members) in [
            ("", 0, 0),
            ("7", 0, 0),
            ("{}", 1, 1),
            ("{\"a\":[1,2,{\"b\":3}]}", 2, 5),
            ("\"{[,\"", 0, 0),
            ("[\"a\\\"{,\",\"\\\\\",{}]", 1, 4),
            ("\"no end {\\", 0, 0),
            ("\"no end {\\\"", 0, 0),
        ] {
            assert_eq!(weight(json.as_bytes()), objects * OBJECT + members * MEMBER, "{json}");
        }
    }
}
