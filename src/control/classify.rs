//! `relay-fast classify`: what class a reply is, and which rule says so.

use std::fmt::Write as _;

use crate::mail::status::EnhancedStatus;
use crate::outcome::classes::{Classifier, Found, Refusal};

/// What is said of replies, a line each, as they stand in logs: `550 5.1.1 No such user`.
pub fn classified<'l>(
    classifier: &Classifier,
    peer: &str,
    lines: impl Iterator<Item = &'l str>,
) -> String {
    let mut out = String::new();
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        let (code, status, text) = parts(line);
        let Found { class, rule } = classifier.find(&Refusal { code, status, text, peer });
        let rule = rule.unwrap_or("no rule fits").escape_debug();
        let _ = writeln!(out, "{class}\t{rule}\t{}", line.escape_debug());
    }
    out
}

/// Code, enhanced status and words of a reply; what is not there is not.
fn parts(line: &str) -> (Option<u16>, Option<EnhancedStatus>, &str) {
    let code = line.get(..3).and_then(|digits| digits.parse().ok());
    let code = code.filter(|code| (200..=599).contains(code));
    let rest = if code.is_some() { line[3..].trim_start_matches(['-', ' ']) } else { line };
    match EnhancedStatus::parse_prefix(rest) {
        Some((status, text)) => (code, Some(status), text),
        None => (code, None, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_class_rule_and_reply() {
        let lines = "550 5.1.1 User unknown\n\n421-4.7.0 try later: too many connections\n\
            450\n5.2.2\nhello\n";
        let said = classified(&Classifier::shipped(), "", lines.lines());
        let classes: Vec<_> = said.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(classes, ["bad-mailbox", "rate-limit", "transient", "quota", "other"], "{said}");
        assert!(said.ends_with("other\tno rule fits\thello\n"), "{said}");
        assert!(
            !classified(&Classifier::shipped(), "", ["a\u{1b}[2J"].into_iter()).contains('\u{1b}')
        );
    }
}
