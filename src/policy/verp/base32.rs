//! Write octets so that they survive in a local part whose case somebody changes (RFC 4648 §6).
//!
//! Invariant: each text stands for one string of octets at most, but for its case: the bits that
//! fill up the last character are zero, and there is no padding.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// In lower case, without padding.
pub(super) fn write(octets: &[u8]) -> String {
    let mut text = String::with_capacity((octets.len() * 8).div_ceil(5));
    let (mut bits, mut count) = (0u32, 0u32);
    for octet in octets {
        bits = bits << 8 | u32::from(*octet);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[(bits >> count & 31) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - count) & 31) as usize]));
    }
    text
}

/// In any case.
pub(super) fn read(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0u32, 0u32);
    for character in text.bytes() {
        let digit = match character {
            b'a'..=b'z' => character - b'a',
            b'A'..=b'Z' => character - b'A',
            b'2'..=b'7' => character - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(digit);
        count += 5;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (count < 5 && bits == 0).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 4648 §10, type=test
    //# BASE32("foobar") = "MZXW6YTBOI======"
    #[test]
    fn the_vectors_of_the_standard() {
        for (octets, text) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(write(octets.as_bytes()), text);
            assert_eq!(read(text).as_deref(), Some(octets.as_bytes()));
            assert_eq!(read(&text.to_uppercase()).as_deref(), Some(octets.as_bytes()));
        }
    }

    #[test]
    fn other_texts_stand_for_nothing() {
        for text in ["m", "mz", "mzx", "mzxw6y", "mzxw6yr", "mzx=", "0", "1", "8", "m y", "é"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
