//! The exchanges of the RFCs, and those of clients that mean no good.

use super::*;
use crate::base::prng::Prng;

const NAME: &str = "user";

fn verifier() -> ScramVerifier {
    let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
    ScramVerifier::derive(&password("pencil"), &salt, 4_096)
}

fn password(text: &str) -> Password {
    Password::prepare(text.as_bytes()).expect("a password")
}

fn begin(mechanism: Mechanism, initial: Option<&str>) -> Next {
    let initial =
        initial.map(|text| if text.is_empty() { "=".into() } else { encode(text.as_bytes()) });
    Exchange::begin(mechanism, Channel(None), initial.as_deref().map(str::as_bytes))
}

/// The challenge, decoded, and the exchange that waits for its response.
fn challenged(next: Next) -> (String, Exchange) {
    let Next::Challenge(text, exchange) = next else { panic!("no challenge: {next:?}") };
    let text = decode(text.as_bytes()).expect("base64").to_vec();
    (String::from_utf8(text).expect("ASCII"), exchange)
}

fn say(exchange: Exchange, response: &str) -> Next {
    exchange.handle_line(encode(response.as_bytes()).as_bytes())
}

fn refused(next: &Next) -> Option<Fault> {
    if let Next::Refused(fault) = next { Some(*fault) } else { None }
}

fn checked(next: Next) -> (String, Password) {
    let Next::Check(name, password) = next else { panic!("nothing to check: {next:?}") };
    (name.as_str().into(), password)
}

//= RFC 4616 §2, type=test
//# message = [authzid] UTF8NUL authcid UTF8NUL passwd
#[test]
fn plain_is_a_name_and_a_password() {
    for message in ["\0tim\0tanstaaftanstaaf", "tim\0tim\0tanstaaftanstaaf"] {
        let expected = ("tim".to_owned(), password("tanstaaftanstaaf"));
        assert_eq!(checked(begin(Mechanism::Plain, Some(message))), expected);
        let (challenge, exchange) = challenged(begin(Mechanism::Plain, None));
        assert_eq!(challenge, "");
        assert_eq!(checked(say(exchange, message)), expected);
    }
}

#[test]
fn plain_that_is_not_is_refused() {
    let cases = [
        ("", Fault::Malformed),
        ("\0tim", Fault::Malformed),
        ("\0tim\0a\0b", Fault::Malformed),
        ("\0\0secret", Fault::Unfit),
        ("\0tim\0", Fault::Unfit),
        ("\0t\u{7}im\0secret", Fault::Unfit),
        ("Ursel\0Kurt\0xipj3plmq", Fault::ActsForOther),
    ];
    for (message, fault) in cases {
        assert_eq!(refused(&begin(Mechanism::Plain, Some(message))), Some(fault), "{message:?}");
    }
}

#[test]
fn login_asks_for_both() {
    let (challenge, exchange) = challenged(begin(Mechanism::Login, None));
    assert_eq!(challenge, "Username:");
    let (challenge, exchange) = challenged(say(exchange, "tim"));
    assert_eq!(challenge, "Password:");
    assert_eq!(checked(say(exchange, "secret")), ("tim".into(), password("secret")));
    let (challenge, exchange) = challenged(begin(Mechanism::Login, Some("tim")));
    assert_eq!(challenge, "Password:");
    assert_eq!(checked(say(exchange, "secret")), ("tim".into(), password("secret")));
}

//= RFC 4954 §4, type=test
//# If the client wishes to cancel the authentication exchange, it issues a line with a single "*".
#[test]
fn a_star_cancels() {
    for mechanism in Mechanism::ALL {
        let channel = Channel(Some([0; 32]));
        let Next::Challenge(_, exchange) = Exchange::begin(mechanism, channel, None) else {
            panic!("{mechanism:?} asks first");
        };
        assert_eq!(refused(&exchange.handle_line(b"*")), Some(Fault::Cancelled));
    }
}

//= RFC 4954 §4, type=test
//# the server … MUST reject … any characters not in the base64 alphabet
#[test]
fn base64_is_taken_to_the_letter() {
    let lines: [&[u8]; 8] = [
        b"AHRpbQBz*",
        b"AHRpbQB",
        b"AHRpbQBzZ",
        b" AHRpbQBz",
        b"AHRp bQBz",
        b"AHR-",
        b"==",
        b"YR==",
    ];
    for line in lines {
        let (_, exchange) = challenged(begin(Mechanism::Plain, None));
        let text = String::from_utf8_lossy(line);
        assert_eq!(refused(&exchange.handle_line(line)), Some(Fault::NotBase64), "{text}");
    }
    let (_, exchange) = challenged(begin(Mechanism::Plain, None));
    assert_eq!(refused(&exchange.handle_line(b"")), Some(Fault::Malformed));
}

/// The exchange of RFC 7677 §3, up to the client's proof.
fn rfc7677() -> Exchange {
    let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let Next::Lookup(lookup) = begin(Mechanism::ScramSha256, Some(first)) else {
        panic!("the name is not looked up");
    };
    assert_eq!(lookup.name().as_str(), NAME);
    let ours = Nonce::known("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    let (first, exchange) = challenged(lookup.found(verifier(), &ours));
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(first, expected);
    exchange
}

const RFC7677_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

//= RFC 7677 §3, type=test
//# example of a SCRAM-SHA-256 authentication exchange: user "user", password "pencil"
#[test]
fn the_exchange_of_rfc7677_proves_both_sides() {
    let (last, exchange) = challenged(say(rfc7677(), RFC7677_FINAL));
    assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    let next = exchange.handle_line(b"");
    assert!(matches!(&next, Next::Proved(name) if name.as_str() == NAME), "{next:?}");
}

#[test]
fn a_proof_of_anything_else_proves_nothing() {
    let wrong = RFC7677_FINAL.replace("p=dHz", "p=dHy");
    let next = say(rfc7677(), &wrong);
    assert!(matches!(&next, Next::Disproved(name) if name.as_str() == NAME), "{next:?}");
    // An extension is signed too.
    let extended = RFC7677_FINAL.replace(",p=", ",x=1,p=");
    assert!(matches!(say(rfc7677(), &extended), Next::Disproved(_)));
    let cases = [
        (RFC7677_FINAL.replace("c=biws", "c=eSws"), Fault::WrongChannel),
        (RFC7677_FINAL.replace("c=biws", "c=biw"), Fault::Malformed),
        (RFC7677_FINAL.replace("lF$k0,", "lF$k1,"), Fault::Malformed),
        (RFC7677_FINAL.replace("lF$k0,", ","), Fault::Malformed),
        (RFC7677_FINAL.replace("p=dHzb", "p="), Fault::Malformed),
        (RFC7677_FINAL.replace(",p=", ",q="), Fault::Malformed),
        (RFC7677_FINAL.replace("c=biws,", ""), Fault::Malformed),
        (String::new(), Fault::Malformed),
    ];
    for (message, fault) in cases {
        assert_eq!(refused(&say(rfc7677(), &message)), Some(fault), "{message}");
    }
    let (_, exchange) = challenged(say(rfc7677(), RFC7677_FINAL));
    assert_eq!(refused(&say(exchange, "x")), Some(Fault::Malformed));
}

//= RFC 5802 §7, type=test
//# client-first-message = gs2-header client-first-message-bare
#[test]
fn a_first_message_against_the_grammar_is_refused() {
    let cases = [
        ("", Fault::Malformed),
        ("n,,", Fault::Malformed),
        ("n,,n=user", Fault::Malformed),
        ("n,,n=user,r=", Fault::Malformed),
        ("n,,n=user,r=a b", Fault::Malformed),
        ("n,,n=,r=abc", Fault::Unfit),
        ("n,,n=a=2cb,r=abc", Fault::Malformed),
        ("n,,n=a=,r=abc", Fault::Malformed),
        ("n,,r=abc,n=user", Fault::Malformed),
        ("n,,m=must,n=user,r=abc", Fault::Malformed),
        ("n,x,n=user,r=abc", Fault::Malformed),
        ("n,a=other,n=user,r=abc", Fault::ActsForOther),
        ("q,,n=user,r=abc", Fault::Malformed),
        ("p=tls-exporter,,n=user,r=abc", Fault::WrongChannel),
        ("p=tls-unique,,n=user,r=abc", Fault::WrongChannel),
    ];
    for (message, fault) in cases {
        let next = begin(Mechanism::ScramSha256, Some(message));
        assert_eq!(refused(&next), Some(fault), "{message}");
    }
    for message in ["n,a=a=2Cb=3D,n=a=2Cb=3D,r=abc", "y,,n=a=2Cb=3D,r=abc,x=1"] {
        let Next::Lookup(lookup) = begin(Mechanism::ScramSha256, Some(message)) else {
            panic!("{message} is not taken");
        };
        assert_eq!(lookup.name().as_str(), "a,b=");
    }
}

//= RFC 5802 §6, type=test
//# If the flag is set to "y" and the server supports channel binding, the server MUST fail
//# authentication.
#[test]
fn a_channel_that_is_bound_otherwise_than_offered_is_refused() {
    let channel = Channel(Some([7; 32]));
    let first = |mechanism, flag: &str| {
        let message = encode(format!("{flag},,n=user,r=abc").as_bytes());
        Exchange::begin(mechanism, channel, Some(message.as_bytes()))
    };
    for (mechanism, flag) in [
        (Mechanism::ScramSha256, "y"),
        (Mechanism::ScramSha256, "p=tls-exporter"),
        (Mechanism::ScramSha256Plus, "n"),
        (Mechanism::ScramSha256Plus, "y"),
        (Mechanism::ScramSha256Plus, "p=tls-unique"),
        (Mechanism::ScramSha256Plus, "p=tls-server-end-point"),
    ] {
        assert_eq!(refused(&first(mechanism, flag)), Some(Fault::WrongChannel), "{flag}");
    }
    assert!(matches!(first(Mechanism::ScramSha256, "n"), Next::Lookup(_)));
    assert!(matches!(first(Mechanism::ScramSha256Plus, "p=tls-exporter"), Next::Lookup(_)));
}

/// What comes of a client that knows the password, over `ours`, whose own channel is `theirs`.
fn over_channels(ours: [u8; 32], theirs: [u8; 32]) -> Next {
    let (header, bare) = ("p=tls-exporter,,", "n=user,r=abc");
    let message = encode(format!("{header}{bare}").as_bytes());
    let mechanism = Mechanism::ScramSha256Plus;
    let next = Exchange::begin(mechanism, Channel(Some(ours)), Some(message.as_bytes()));
    let Next::Lookup(lookup) = next else { panic!("the name is not looked up: {next:?}") };
    let (server_first, exchange) = challenged(lookup.found(verifier(), &Nonce::new([1; 18])));
    let nonce = server_first.split(',').next().expect("r= comes first").to_owned();
    let binding = encode(&[header.as_bytes(), &theirs].concat());
    let unproved = format!("c={binding},{nonce}");
    let said = format!("{bare},{server_first},{unproved}");
    let proof = encode(&client::proof("pencil", &verifier(), &said));
    say(exchange, &format!("{unproved},p={proof}"))
}

//= RFC 9266 §2, type=test
//# the channel binding data is the exported keying material of this connection
#[test]
fn plus_proves_that_nobody_stands_between() {
    let (last, exchange) = challenged(over_channels([7; 32], [7; 32]));
    assert!(last.starts_with("v="));
    assert!(matches!(exchange.handle_line(b""), Next::Proved(_)));
    assert_eq!(refused(&over_channels([7; 32], [8; 32])), Some(Fault::WrongChannel));
}

#[test]
fn a_name_that_nobody_has_looks_like_any_other_and_proves_nothing() {
    let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let Next::Lookup(lookup) = begin(Mechanism::ScramSha256, Some(first)) else {
        panic!("the name is not looked up");
    };
    let decoy = ScramVerifier::decoy(&[1; 32], NAME, &verifier());
    let (message, exchange) = challenged(lookup.found(decoy.clone(), &Nonce::new([0; 18])));
    assert!(message.ends_with(",i=4096"), "{message}");
    let nonce = message.split(',').next().expect("r= comes first").to_owned();
    let unproved = format!("c=biws,{nonce}");
    let said = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{message},{unproved}");
    let proof = encode(&client::proof("pencil", &decoy, &said));
    let next = say(exchange, &format!("{unproved},p={proof}"));
    assert!(matches!(next, Next::Disproved(_)), "{next:?}");
}

/// Whatever comes, an exchange ends in a few steps, and nobody is proved who has no proof.
#[test]
fn hostile_lines_prove_nobody() {
    let seeds = [
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "p=tls-exporter,,n=user,r=abc",
        RFC7677_FINAL,
        "\0tim\0secret",
        "v=,=,,",
        "",
    ];
    let octets = b"\0\r\n,=*npryac\xFF\xC3\xA4 $";
    for seed in 0..20_000 {
        let mut prng = Prng::from_number(seed);
        let mut below = |bound: usize| usize::try_from(prng.below(bound as u64)).expect("small");
        let mut line = || {
            let mut message = seeds[below(seeds.len())].as_bytes().to_vec();
            for _ in 0..below(4) {
                let at = below(message.len() + 1);
                match below(3) {
                    0 => message.insert(at, octets[below(octets.len())]),
                    1 => message.truncate(at),
                    _ if at < message.len() => message[at] = octets[below(octets.len())],
                    _ => message.extend_from_within(..),
                }
            }
            if below(10) == 0 { message } else { encode(&message).into_bytes() }
        };
        let mechanism = Mechanism::ALL[usize::try_from(seed % 4).expect("small")];
        let channel = Channel((seed % 3 == 0).then_some([7; 32]));
        let mut next = Exchange::begin(mechanism, channel, Some(&line()));
        for _ in 0..4 {
            next = match next {
                Next::Challenge(_, exchange) => exchange.handle_line(&line()),
                Next::Lookup(lookup) => lookup.found(verifier_of_zeros(), &Nonce::new([0; 18])),
                end => end,
            };
        }
        let ended = matches!(next, Next::Check(..) | Next::Disproved(_) | Next::Refused(_));
        assert!(ended, "seed {seed}: {next:?}");
    }
}

/// Cheap to make, and nobody knows its password.
fn verifier_of_zeros() -> ScramVerifier {
    let zeros = encode(&[0; 32]);
    let text = format!("SCRAM-SHA-256$4096:AAAA${zeros}:{zeros}");
    ScramVerifier::parse(&text).expect("a verifier")
}

/// The client's side of RFC 5802 §3, written down anew.
mod client {
    use aws_lc_rs::{digest, hmac, pbkdf2};

    use super::ScramVerifier;

    pub(super) fn proof(password: &str, verifier: &ScramVerifier, said: &str) -> Vec<u8> {
        let iterations = verifier.iterations().try_into().expect("some iterations");
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, verifier.salt(), password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
        };
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = sign(stored_key.as_ref(), said.as_bytes());
        client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect()
    }
}
