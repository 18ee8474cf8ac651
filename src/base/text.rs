//! Cut text where characters end, and keep what others wrote from acting.

/// The beginning of `text` that fits in `max` octets and ends with a whole character.
pub fn head(text: &str, max: usize) -> &str {
    let ends = (0..=max.min(text.len())).rev();
    &text[..ends.into_iter().find(|end| text.is_char_boundary(*end)).unwrap_or(0)]
}

/// What others wrote, with `instead` for each control character: it acts on no terminal, and ends
/// no line.
pub fn harmless(text: &str, instead: char) -> String {
    text.chars().map(|one| if one.is_control() { instead } else { one }).collect()
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

    #[test]
    fn what_acts_on_a_terminal_is_replaced_and_the_rest_stays() {
        assert_eq!(harmless("a\u{1b}[31m\r\n\u{9b}\u{fc}", ' '), "a [31m   \u{fc}");
        assert_eq!(harmless("", '?'), "");
    }
}
