//! Files of credentials: what is read, what is refused and where, and what an edit leaves alone.

use super::*;
use crate::mail::address::ReversePath;

/// The password is `password`; cheap.
const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$\
    nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn password(text: &str) -> Password {
    Password::prepare(text.as_bytes()).expect("a password")
}

/// The password is `pencil`.
fn scram() -> ScramVerifier {
    ScramVerifier::derive(&password("pencil"), b"some salt", 4_096)
}

fn named(text: &str) -> Name {
    name(text).expect("a name")
}

fn credentials(text: &str) -> Credentials {
    Credentials::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn either_verifier_proves_a_password() {
    let text = format!("# who\n\nargon:{ARGON2}\nscram:{}\nboth:{ARGON2} {0}\n", scram());
    let read = credentials(&text);
    assert_eq!(read.len(), 3);
    for (name, right, wrong) in [
        ("argon", "password", "pencil"),
        ("scram", "pencil", "password"),
        ("both", "password", "x"),
    ] {
        assert!(read.verify(&named(name), &password(right)), "{name}");
        assert!(!read.verify(&named(name), &password(wrong)), "{name}");
    }
    assert!(!read.verify(&named("nobody"), &password("password")));
    assert!(!credentials("").verify(&named("nobody"), &password("password")));
}

#[test]
fn a_decoy_is_told_from_nothing_that_a_client_sees() {
    let secret = format!(":decoys:{}\n", "A".repeat(43) + "=");
    let text = format!("{secret}scram:{}\nargon:{ARGON2}\n", scram());
    let read = credentials(&text);
    assert_eq!(read.scram(&named("scram")), scram());
    for name in ["nobody", "argon"] {
        let decoy = read.scram(&named(name));
        assert_eq!(decoy, read.scram(&named(name)), "the same each time");
        assert_eq!(decoy.iterations(), 4_096);
        assert_eq!(decoy.salt().len(), scram().salt().len());
        assert!(!decoy.is_of(&password("pencil")));
        let reloaded = credentials(&format!("{text}other:{ARGON2}\n"));
        assert_eq!(reloaded.scram(&named(name)), decoy, "and after the file has changed");
    }
    assert_eq!(credentials("").scram(&named("a")).iterations(), SCRAM_ITERATIONS_DEFAULT);
}

#[test]
fn an_identity_sends_as_its_domains() {
    let text = format!("all:{ARGON2}\nsome:{}:domains=a.example,.b.example\n", scram());
    let read = credentials(&text);
    let may = |name: &str, path: &str| {
        let (path, _) = ReversePath::split(path, false).expect("a path");
        let identity = read.identity(&named(name)).expect("an identity");
        identity.may_send_as(&path).map_err(|reply| reply.code.as_u16())
    };
    assert_eq!(may("all", "<x@anything.example>"), Ok(()));
    for path in ["<x@a.example>", "<x@A.Example>", "<x@sub.b.example>", "<>"] {
        assert_eq!(may("some", path), Ok(()), "{path}");
    }
    for path in ["<x@sub.a.example>", "<x@b.example>", "<\"x@a.example\"@c.example>"] {
        assert_eq!(may("some", path), Err(553), "{path}");
    }
}

#[test]
fn a_malformed_file_says_where() {
    let verifier = scram().to_string();
    let cases = [
        ("name".into(), 1, 1),
        (format!("a:{ARGON2}\n:{ARGON2}"), 2, 1),
        (format!("a b :{ARGON2}"), 1, 1),
        (format!("\u{2168}:{ARGON2}"), 1, 1),
        (format!("a\u{7}:{ARGON2}"), 1, 1),
        (format!("a:{ARGON2}\n\na:{ARGON2}"), 3, 1),
        ("é:secret".into(), 1, 3),
        ("a:".into(), 1, 3),
        ("a:$argon2id$v=19$m=256,t=2".into(), 1, 3),
        ("a:SCRAM-SHA-256$4096:AAAA".into(), 1, 17),
        (format!("a:{ARGON2} {ARGON2}"), 1, 4 + ARGON2.len()),
        (format!("a:{ARGON2} "), 1, 4 + ARGON2.len()),
        (format!("a:{verifier}:"), 1, 4 + verifier.len()),
        (format!("a:{verifier}:domain=x"), 1, 4 + verifier.len()),
        (format!("a:{verifier}:domains=a.example,b..c"), 1, 22 + verifier.len()),
        (":decoys:AAAA".into(), 1, 9),
    ];
    for (text, line, column) in cases {
        let error = Credentials::parse(&text).map(|_| ()).expect_err(&text);
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
    }
}

fn salts() -> Salts {
    Salts { argon2: [1; SALT_BYTES], scram: [2; SALT_BYTES], decoys: [3; 32] }
}

#[test]
fn an_edit_changes_one_identity_alone() {
    let text = format!("# ours\none:{ARGON2}\n\n# theirs\ntwo:{ARGON2}:domains=a.example");
    let changed = put(&text, &named("two"), &password("new"), None, &salts()).expect("sound");
    let lines: Vec<_> = changed.lines().collect();
    assert!(lines[0].starts_with(":decoys:AwMD"));
    assert_eq!(lines[1..5], ["# ours", &format!("one:{ARGON2}"), "", "# theirs"]);
    assert!(lines[5].starts_with("two:$argon2id$") && lines[5].ends_with(":domains=a.example"));
    let read = credentials(&changed);
    assert!(read.verify(&named("two"), &password("new")));
    assert!(!read.verify(&named("two"), &password("password")));
    assert!(read.scram(&named("two")).is_of(&password("new")));

    let bound = put(&changed, &named("new"), &password("x"), Some(".c.example"), &salts());
    let bound = bound.expect("sound");
    assert!(bound.starts_with(&changed) && bound.ends_with(":domains=.c.example\n"));
    let freed = put(&bound, &named("two"), &password("x"), Some(""), &salts()).expect("sound");
    assert!(!freed.contains("domains=a.example"));
    let deleted = delete(&bound, &named("new")).expect("sound");
    assert_eq!(deleted.as_deref(), Some(changed.as_str()));
    assert_eq!(delete(&bound, &named("nobody")), Ok(None));
    assert!(put("nonsense", &named("a"), &password("x"), None, &salts()).is_err());
}

#[test]
fn any_octets_are_read_or_refused() {
    let sound = format!("a:{ARGON2} {}:domains=a.example,.b\n# c\n", scram());
    let (mut read, mut refused) = (0, 0);
    for at in 0..sound.len() {
        for put in ["", ":", " ", "$", "\n", "=", "é", "\0"] {
            let mut text = sound.clone();
            text.replace_range(at..at + usize::from(at % 2 == 0), put);
            match Credentials::parse(&text) {
                Ok(credentials) => read += credentials.len(),
                Err(error) => {
                    refused += 1;
                    assert!((1..=3).contains(&error.line), "{text}: {error}");
                }
            }
        }
    }
    assert!(read > 0 && refused > read, "{read} read, {refused} refused");
}
