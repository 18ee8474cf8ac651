//! Cut text where characters end.

/// The beginning of `text` that fits in `max` octets and ends with a whole character.
pub fn head(text: &str, max: usize) -> &str {
    let ends = (0..=max.min(text.len())).rev();
    &text[..ends.into_iter().find(|end| text.is_char_boundary(*end)).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_cut_in_two() {
        let text = "a\u{fc}\u{1f600}";
        let heads = [0, 1, 2, 3, 4, 6, 7, 99].map(|max| head(text, max));
        assert_eq!(heads, ["", "a", "a", "a\u{fc}", "a\u{fc}", "a\u{fc}", text, text]);
    }
}
