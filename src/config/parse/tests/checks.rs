//! A relay's own checks: what is read, and what is refused.

use super::*;
use crate::policy::block_lists::{Action, AnswerRange, Of};
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

#[test]
fn block_lists_are_read_in_their_order() {
    let config = read_file(
        "[[block_list]]\nzone = \"Zen.example.\"\n\
         [[block_list]]\nzone = \"rhs.example\"\nof = \"sender\"\naction = \"log\"\n\
         answers = [\"127.0.0.2\", \"127.0.0.4-127.0.0.11\"]\n\
         [[block_list]]\nzone = \"h.example\"\nof = \"hello\"\n",
    );
    let lists = config.checks.block_lists;
    let shown: Vec<_> = lists
        .iter()
        .map(|list| (list.zone.to_string(), list.of, list.action, list.answers.len()))
        .collect();
    assert_eq!(
        shown,
        [
            ("zen.example".into(), Of::Client, Action::Reject, 1),
            ("rhs.example".into(), Of::Sender, Action::Log, 2),
            ("h.example".into(), Of::Hello, Action::Reject, 1),
        ]
    );
    assert_eq!(lists[0].answers, [AnswerRange::USUAL]);
}

#[test]
fn lists_that_could_not_be_asked_are_refused() {
    let list = |zone: &str, more: &str| format!("[[block_list]]\nzone = \"{zone}\"\n{more}\n");
    for (text, expected) in [
        (list("a b", ""), "2: `a b` is no domain of a block list"),
        (list("192.0.2.1", ""), "2: `192.0.2.1` is no domain of a block list"),
        (String::from("[[block_list]]\n"), "1: `zone` is missing in [[block_list]]"),
        (
            list("l.example", "answers = [\"192.0.2.1\"]"),
            "3: `192.0.2.1` is no answer of a block list",
        ),
        (
            list("l.example", "answers = [\"127.0.0.4-127.0.0.3\"]"),
            "3: `127.0.0.4-127.0.0.3` is no answer of a block list",
        ),
        (list("l.example", "").repeat(17), "49: there are 16 block lists already"),
    ] {
        let told = problems(&text);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
}
