//! Both sides against each other, octet by octet, with certificates made for the occasion.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use super::*;
use crate::base::time::WallTime;

/// 2026-11-24.
const NOW: WallTime = WallTime(1_795_491_661_000);

fn clock() -> Arc<Clock> {
    let clock = Arc::new(Clock::default());
    clock.set(NOW);
    clock
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no host");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    fn roots(&self) -> Roots {
        Roots::from_pem(self.0.pem().as_bytes()).expect("one authority")
    }

    /// A certificate for `names` until the end of that year.
    fn identity(&self, names: &[&str], last_year: i32) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("host names");
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 12, 31));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
            .expect("they go together")
    }
}

fn name(host: &str) -> PeerName {
    PeerName::new(host, IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Both ends of a connection, and what each has said in plain.
struct Pair {
    client: Tls,
    server: Tls,
    at_client: Vec<u8>,
    at_server: Vec<u8>,
}

impl Pair {
    fn new(acceptor: &Acceptor, connector: &Connector, host: &str) -> Self {
        Self {
            client: Tls::connect(connector, name(host)).expect("a hello"),
            server: Tls::accept(acceptor).expect("a server"),
            at_client: Vec::new(),
            at_server: Vec::new(),
        }
    }

    /// Carry octets both ways, so many at a time, until nothing is left to say.
    fn settle(&mut self, step: usize) -> Result<(), TlsError> {
        loop {
            let mut out = Vec::new();
            self.client.take_output(&mut out);
            for part in out.chunks(step) {
                self.server.handle_bytes(part, &mut self.at_server)?;
            }
            let mut back = Vec::new();
            self.server.take_output(&mut back);
            for part in back.chunks(step) {
                self.client.handle_bytes(part, &mut self.at_client)?;
            }
            if out.is_empty() && back.is_empty() {
                return Ok(());
            }
        }
    }
}

fn shaken(acceptor: &Acceptor, connector: &Connector, host: &str) -> Result<Pair, TlsError> {
    let mut pair = Pair::new(acceptor, connector, host);
    pair.settle(usize::MAX)?;
    assert!(pair.client.is_up() && pair.server.is_up());
    Ok(pair)
}

fn acceptor(identities: &[Identity]) -> Acceptor {
    Acceptor::new(identities, None, &clock()).expect("an acceptor")
}

#[test]
fn whatever_the_splits_what_is_said_arrives() {
    let authority = Authority::new();
    let acceptor = acceptor(&[authority.identity(&["mx.example.com"], 2030)]);
    let connector = Connector::verifying(&authority.roots(), None, &clock()).expect("roots");
    let long: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for step in [1, 2, 5, 7, 100, 16_384, usize::MAX] {
        let mut pair = Pair::new(&acceptor, &connector, "mx.example.com");
        assert!(!pair.client.is_up() && pair.client.facts().is_none());
        pair.settle(step).expect("a handshake");
        let facts = pair.client.facts().expect("it is up");
        assert_eq!(facts.version, "TLS1.3");
        assert!(facts.cipher.starts_with("TLS_AES_"), "as IANA has it: {}", facts.cipher);
        assert!(facts.certified && !pair.server.facts().expect("it is up").certified);
        pair.client.send(&long);
        pair.server.send(b"250 ok\r\n");
        pair.settle(step).expect("octets");
        assert!(pair.at_server == long && pair.at_client == b"250 ok\r\n", "step {step}");
        pair.client.send(b"QUIT\r\n");
        pair.client.close();
        let mut out = Vec::new();
        pair.client.take_output(&mut out);
        pair.at_server.clear();
        assert_eq!(pair.server.handle_bytes(&out, &mut pair.at_server), Ok(Read::Ended));
        assert_eq!(pair.at_server, b"QUIT\r\n");
    }
}

#[test]
fn a_certificate_is_verified_in_all_that_it_says() {
    let (known, unknown) = (Authority::new(), Authority::named("another"));
    let connector = Connector::verifying(&known.roots(), None, &clock()).expect("roots");
    let anyone = Connector::opportunistic(None, &clock()).expect("a connector");
    let good = acceptor(&[known.identity(&["mx.example.com"], 2030)]);
    shaken(&good, &connector, "mx.example.com").expect("all is right");
    shaken(&good, &connector, "MX.example.com.").expect("it is the same name");
    let expired = acceptor(&[known.identity(&["mx.example.com"], 2025)]);
    let stranger = acceptor(&[unknown.identity(&["mx.example.com"], 2030)]);
    let judge = |pair: Pair, host| pair.client.judge(&name(host), &known.roots(), &clock());
    let pair = shaken(&good, &anyone, "mx.example.com").expect("anyone will do");
    assert_eq!(judge(pair, "mx.example.com"), Ok(()));
    for (acceptor, host, words, fault) in [
        (&good, "mx.example.net", "not valid for name", Fault::OtherName),
        (&good, "192.0.2.1", "not valid for name", Fault::OtherName),
        (&expired, "mx.example.com", "expired", Fault::Expired),
        (&stranger, "mx.example.com", "UnknownIssuer", Fault::Untrusted),
    ] {
        let error = shaken(acceptor, &connector, host).err().expect("not to be trusted");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.fault(), fault);
        // Who takes anyone can still be told who it was.
        let pair = shaken(acceptor, &anyone, host).expect("anyone will do");
        assert_eq!(judge(pair, host), Err(error));
    }
}

#[test]
fn the_other_end_is_told_why_a_certificate_was_refused() {
    let authority = Authority::new();
    let connector = Connector::verifying(&authority.roots(), None, &clock()).expect("roots");
    let acceptor = acceptor(&[Authority::named("another").identity(&["mx.example.com"], 2030)]);
    let mut pair = Pair::new(&acceptor, &connector, "mx.example.com");
    pair.settle(usize::MAX).expect_err("not to be trusted");
    let mut alert = Vec::new();
    pair.client.take_output(&mut alert);
    let told = pair.server.handle_bytes(&alert, &mut pair.at_server).expect_err("it is over");
    assert!(told.to_string().contains("UnknownCA"), "{told}");
    assert!(!pair.client.is_up() && !pair.server.is_up());
    assert!(pair.at_server.is_empty() && pair.at_client.is_empty());
}

#[test]
fn the_certificate_is_that_of_the_name_asked_for() {
    let authority = Authority::new();
    let connector = Connector::verifying(&authority.roots(), None, &clock()).expect("roots");
    let acceptor = acceptor(&[
        authority.identity(&["first.example"], 2030),
        authority.identity(&["second.example", "*.third.example"], 2030),
    ]);
    for host in ["first.example", "second.example", "SECOND.example", "mx.third.example"] {
        shaken(&acceptor, &connector, host).expect(host);
    }
    for host in ["third.example", "a.b.third.example", "fourth.example"] {
        let error = shaken(&acceptor, &connector, host).err().expect("the first is shown");
        assert!(error.to_string().contains("first.example"), "{error}");
    }
}

#[test]
fn a_session_is_resumed_by_the_connector_that_began_it_alone() {
    let authority = Authority::new();
    let acceptor = acceptor(&[authority.identity(&["mx.example.com"], 2030)]);
    let anyone = Connector::opportunistic(None, &clock()).expect("a connector");
    let connector = Connector::verifying(&authority.roots(), None, &clock()).expect("roots");
    let resumed = |connector: &Connector, host: &str| {
        let pair = shaken(&acceptor, connector, host).expect("a handshake");
        let facts = [pair.client.facts(), pair.server.facts()].map(|it| it.expect("up").resumed);
        assert_eq!(facts[0], facts[1]);
        facts[0]
    };
    assert!(!resumed(&anyone, "mx.example.com"));
    assert!(resumed(&anyone, "mx.example.com"));
    assert!(!resumed(&anyone, "mx2.example.com"), "another name is another peer");
    assert!(!resumed(&connector, "mx.example.com"), "what nobody verified is not verified now");
    assert!(resumed(&connector, "mx.example.com"));
}

#[test]
fn a_client_is_known_by_its_certificate() {
    let (authority, ours) = (Authority::new(), Authority::new());
    let identity = authority.identity(&["mx.example.com"], 2030);
    let acceptor = Acceptor::new(&[identity], Some(&ours.roots()), &clock()).expect("an acceptor");
    let connect = |identity: Option<&Identity>| {
        let connector = Connector::opportunistic(identity, &clock()).expect("a connector");
        shaken(&acceptor, &connector, "mx.example.com")
    };
    let certified = |pair: &Pair| pair.server.facts().expect("up").certified;
    assert!(!certified(&connect(None).expect("none is needed")));
    let member = ours.identity(&["app.example.com"], 2030);
    assert!(certified(&connect(Some(&member)).expect("one of ours")));
    for stranger in [authority.identity(&["app.example.com"], 2030), ours.identity(&["a"], 2025)] {
        let connector = Connector::opportunistic(Some(&stranger), &clock()).expect("a connector");
        let mut pair = Pair::new(&acceptor, &connector, "mx.example.com");
        pair.settle(usize::MAX).expect_err("not one of ours");
        assert!(!pair.server.is_up());
    }
}

//= RFC 9266 §3, type=test
//# Both ends export the same keying material under the label of `tls-exporter`, and each connection
//# has its own.
#[test]
fn keying_material_is_exported_alike_on_both_ends() {
    let authority = Authority::new();
    let acceptor = acceptor(&[authority.identity(&["mx.example.com"], 2030)]);
    let connector = Connector::opportunistic(None, &clock()).expect("a connector");
    let material = || {
        let pair = shaken(&acceptor, &connector, "mx.example.com").expect("a handshake");
        let label = b"EXPORTER-Channel-Binding";
        let both = [pair.client.exporter(label), pair.server.exporter(label)];
        assert_eq!(both[0], both[1]);
        both[0].expect("it is TLS 1.3")
    };
    assert_ne!(material(), material());
    let fresh = Tls::connect(&connector, name("mx.example.com")).expect("a hello");
    assert_eq!(fresh.exporter(b"EXPORTER-Channel-Binding"), None);
}

#[test]
fn what_is_no_handshake_is_an_error_and_nothing_comes_through() {
    let authority = Authority::new();
    let acceptor = acceptor(&[authority.identity(&["mx.example.com"], 2030)]);
    for octets in [&b"EHLO client.example\r\nMAIL FROM:<a@b>\r\n"[..], &[0; 64], &[0x16; 70_000]] {
        for step in [1, 1_000] {
            let mut server = Tls::accept(&acceptor).expect("a server");
            let mut plain = Vec::new();
            let mut failed = false;
            for part in octets.chunks(step) {
                failed |= server.handle_bytes(part, &mut plain).is_err();
            }
            assert!(failed && plain.is_empty() && !server.is_up());
        }
    }
}

#[test]
fn certificates_and_keys_that_are_none_are_told_apart() {
    let authority = Authority::new();
    let pem = authority.0.pem();
    let other = KeyPair::generate().expect("a key").serialize_pem();
    let wrong = |certificate: &str, key: &str| {
        let result = Identity::from_pem(certificate.as_bytes(), key.as_bytes());
        result.expect_err("it is none").to_string()
    };
    assert!(wrong("", &other).starts_with("no certificate in it"));
    assert!(wrong(&other, &other).starts_with("no certificate in it"));
    assert!(wrong(&pem, &pem).starts_with("no private key in it"));
    assert_eq!(wrong(&pem, &other), "the key is not that of the certificate");
    assert!(wrong(&pem.repeat(11), &other).starts_with("11 certificates"));
    assert!(
        wrong("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", &other)
            .starts_with("not a PEM certificate")
    );
    assert_eq!(Roots::from_pem(b"").err(), Some(RootsError::Empty));
}

#[test]
fn without_a_time_nothing_is_trusted() {
    let authority = Authority::new();
    let acceptor = acceptor(&[authority.identity(&["mx.example.com"], 2030)]);
    let timeless = Arc::new(Clock::default());
    let connector = Connector::verifying(&authority.roots(), None, &timeless).expect("roots");
    assert!(shaken(&acceptor, &connector, "mx.example.com").is_err());
}
