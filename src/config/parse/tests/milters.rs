//! `[[milter]]`: what is read, and what is refused.

use super::*;
use crate::policy::filtering::OnFailure;

fn milter(name: &str, address: &str) -> String {
    format!("[[milter]]\nname = \"{name}\"\naddress = \"{address}\"\n")
}

#[test]
fn milters_are_read_in_their_order() {
    let clamav = "
[[milter]]
name = \"clamav\"
address = \"inet:7357@127.0.0.1\"
listeners = [\"[::1]:2525\"]
on_failure = \"reject\"
null_reverse_path = \"pass\"
connections = 4
end_timeout = \"5m\"
";
    let config = read_file(&format!("{WHOLE}{clamav}"));
    let [rspamd, clamav] = &config.milters[..] else { panic!("two milters") };
    assert_eq!((&*rspamd.name, rspamd.address.to_string()), ("rspamd", "127.0.0.1:11332".into()));
    assert_eq!((&rspamd.listeners[..], rspamd.sees_null), (&[0, 1][..], true));
    assert_eq!((rspamd.on_failure, rspamd.connections), (OnFailure::Tempfail, 16));
    assert_eq!((&clamav.listeners[..], clamav.sees_null), (&[1][..], false));
    assert_eq!((clamav.on_failure, clamav.end), (OnFailure::Reject, Duration::from_secs(300)));
}

#[test]
fn milters_that_could_not_be_asked_are_refused() {
    for (text, expected) in [
        (milter("m", "127.0.0.1:1").repeat(2), "4: there are two milters named `m`"),
        (milter("m", "m.example:1"), "3: `m.example:1` is no address of a milter"),
        (milter("m m", "127.0.0.1:1"), "2: `m m` is no name"),
        (
            milter("m", "127.0.0.1:1") + "listeners = [\"127.0.0.1:9\"]",
            "4: no listener has the address 127.0.0.1:9",
        ),
        (
            milter("m", "127.0.0.1:1") + "[limits]\nmemory = \"64MiB\"",
            "1: `message_size` (50MiB) is above half of `limits.memory` (32MiB)",
        ),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|one| one.starts_with(expected)), "{text}\n{found:#?}");
    }
}

#[test]
fn a_milter_of_a_listener_that_a_flag_did_away_with_is_refused() {
    let text = milter("m", "127.0.0.1:1") + "listeners = [\"127.0.0.1:9\"]\n";
    let text = text + "[[listener]]\naddress = \"127.0.0.1:9\"\n";
    assert_eq!(read_file(&text).milters[0].listeners, [0]);
    let flags = Flags { listen: vec![String::from("127.0.0.1:8")], ..Flags::default() };
    let problems = read_with(&text, &flags).expect_err("nothing would be filtered").to_string();
    assert!(problems.contains("no listener has the address 127.0.0.1:9"), "{problems}");
}

#[test]
fn without_milters_memory_need_not_hold_a_message_twice() {
    assert!(read_file("[limits]\nmemory = \"64MiB\"").milters.is_empty());
}
