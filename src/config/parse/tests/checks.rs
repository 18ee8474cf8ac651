//! A relay's own checks: what is read, and what is refused.

use super::*;
use crate::policy::checks::Mode;

const CHECKED: &str = "[[listener]]\naddress = \"127.0.0.1:1\"\nchecks = \"reject\"\n";

#[test]
fn checks_are_off_unless_a_listener_has_them() {
    let config = read_file("");
    assert_eq!(config.listeners[0].checks, None);
    assert!(config.checks.refuse_attachments.is_empty());
    let config = read_file(&format!("{CHECKED}[checks]\nrefuse_attachments = [\"EXE\", \"7z\"]\n"));
    assert_eq!(config.listeners[0].checks, Some(Mode::Reject));
    assert_eq!(config.checks.refuse_attachments, ["exe", "7z"].map(Box::from));
}

#[test]
fn types_that_are_none_or_refused_nowhere_are_told() {
    let types = |list: &str| format!("[checks]\nrefuse_attachments = [{list}]\n");
    let told = problems(&types("\"exe\""));
    assert_eq!(told, ["2: no listener checks anything = set `checks` of a [[listener]]"]);
    for wrong in [".exe", "", "a.b", "e/e", "é", &"x".repeat(33)] {
        let told = problems(&format!("{CHECKED}{}", types(&format!("\"{wrong}\""))));
        let expected = format!("5: `{wrong}` is no extension of a file's name");
        assert!(told[0].starts_with(&expected), "{told:?}");
    }
    let many: String = (0..257).map(|number| format!("\"x{number}\", ")).collect();
    let told = problems(&format!("{CHECKED}{}", types(&many)));
    assert_eq!(told, ["5: there are 256 types already"]);
}
