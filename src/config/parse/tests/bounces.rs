//! `[bounces]` and `[complaints]`: what comes back, and what needs what.

use super::*;
use crate::policy::returns::Mode;

#[test]
fn what_comes_back_is_read_and_shown_again() {
    let config = read_file(
        "[bounces]\naddress = \"b@back.example\"\nsecrets = \"/s\"\nverp = \"recipient\"\n\
        lifetime = \"7d\"\nclassic = \"yes\"\nforward_to = \"desk@a.example\"\n\
        [complaints]\naddresses = [\"fbl@back.example\", \"abuse@a.example\"]\ncfbl = \"yes\"\n",
    );
    let returns = config.returns.as_ref().expect("something comes back");
    assert_eq!(returns.address.as_str(), "b@back.example");
    assert_eq!((returns.mode, returns.classic, returns.announces), (Mode::Recipient, true, true));
    assert_eq!(returns.lifetime, Duration::from_secs(7 * 86_400));
    assert_eq!(returns.complaints.len(), 2);
    let shown = config.describe(Some("relay.toml"));
    assert_eq!(read_file(&shown).returns, config.returns, "{shown}");
    let least = read_file("[bounces]\naddress = \"b@back.example\"\nsecrets = \"/s\"\n");
    assert_eq!(least.returns.expect("something").mode, Mode::Message);
    assert_eq!(read_file("[bounces]\nrules = \"/r\"\n").returns, None);
}

#[test]
fn what_cannot_come_back_is_refused() {
    let ours = "[bounces]\naddress = \"b@back.example\"\nsecrets = \"/s\"\n";
    for (text, expected) in [
        (
            "[bounces]\naddress = \"b@back.example\"\n".to_owned(),
            "2: nothing comes back = set `bounces.secrets`",
        ),
        ("[bounces]\nsecrets = \"/s\"\n".into(), "2: nothing comes back = set `bounces.address`"),
        (
            "[complaints]\naddresses = [\"fbl@a.example\"]\n".into(),
            "2: nothing comes back = set `bounces.address`",
        ),
        (
            "[bounces]\naddress = \"b@[192.0.2.1]\"\nsecrets = \"/s\"\n".into(),
            "2: `b@[192.0.2.1]` has no domain that others can write to",
        ),
        (
            format!("[bounces]\naddress = \"{}@a.example\"\nsecrets = \"/s\"\n", "x".repeat(17)),
            "2: no token fits behind `xxxxxxxxxxxxxxxxx` = 16 characters at most",
        ),
        (
            format!("{ours}[complaints]\ncfbl = \"yes\"\n"),
            "4: `cfbl` has no address to tell = set `complaints.addresses`",
        ),
        (format!("{ours}lifetime = \"1h\"\n"), "4: "),
        (format!("{ours}verp = \"always\"\n"), "4: `always` is not one of off, message, recipient"),
    ] {
        let problems = problems(&text);
        assert!(problems[0].starts_with(expected), "{text}: {problems:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
    let many: Vec<String> = (0..17).map(|n| format!("\"{n}@a.example\"")).collect();
    let problems = problems(&format!("{ours}[complaints]\naddresses = [{}]\n", many.join(", ")));
    assert!(problems[0].contains("there are more than 16 addresses"), "{problems:?}");
}
