//! ARC sets that are sealed, by whoever is on the way.

use super::*;
use crate::policy::signing::{Chain, Unsigned};

/// Whoever passes mail on, and the zone with its key too.
fn sealer(zone: Zone) -> (Zone, Arc<Signer>) {
    let key = Arc::new(PrivateKey::generate(Algorithm::Rsa).unwrap());
    let zone = zone.txt("arc._domainkey.relay.example", &[&key.record()]);
    let domain = Domain::parse("relay.example").unwrap();
    let selector = Selector::parse("arc").unwrap();
    (
        zone,
        Arc::new(Signer {
            domain,
            selector,
            subdomains: false,
            identities: Box::default(),
            tenants: Box::default(),
            key,
        }),
    )
}

fn sealed(mut set: Unsigned, content: &str) -> String {
    while set.left() > 0 {
        set.sign_one().unwrap();
    }
    let fields = String::from_utf8(set.into_fields()).unwrap();
    assert!(fields.split_inclusive("\r\n").all(|line| line.len() <= 998), "{fields}");
    fields + content
}

/// What a host says of the chain, and what it passes on.
fn hop(zone: &Zone, signer: &Arc<Signer>, content: &str) -> (Option<Chain>, String) {
    let (_, results) = verify(zone, session("192.0.2.7", "bill@sender.example"), content);
    let mut reader = ContentReader::new(None, HEADER_MAX).sealing(true);
    reader.push(content.as_bytes().to_vec());
    let (_, facts) = reader.end(Vec::new());
    let seal = results.seal(signer.clone()).unwrap();
    let set = seal.compose(&facts.header, &facts.relaxed.unwrap(), WallTime(1_795_491_661_007));
    (results.chain, sealed(set, content))
}

fn sets(content: &str) -> usize {
    content.matches("ARC-Seal: ").count()
}

//= RFC 8617 §5.2, type=test
//# Validator Actions: … the "cv" … "none" … "fail" … "pass"
#[test]
fn each_host_finds_right_what_those_before_have_sealed() {
    let (zone, message) = signed(sender());
    let (zone, signer) = sealer(zone);
    let (chain, once) = hop(&zone, &signer, &message);
    assert_eq!((chain, sets(&once)), (Some(Chain::None), 1));
    assert!(once.starts_with("ARC-Authentication-Results: i=1; mx.relay.example;"), "{once}");
    assert!(once.contains(" cv=none;") && once.contains("dkim=pass"), "{once}");
    let (chain, twice) = hop(&zone, &signer, &once);
    assert_eq!((chain, sets(&twice)), (Some(Chain::Pass), 2));
    let (chain, thrice) = hop(&zone, &signer, &twice);
    assert_eq!((chain, sets(&thrice)), (Some(Chain::Pass), 3));
    let (chain, _) = hop(&zone, &signer, &thrice);
    assert_eq!(chain, Some(Chain::Pass));
    let (_, results) = verify(&zone, session("192.0.2.7", ""), &thrice);
    let field = String::from_utf8(results.field).unwrap();
    assert!(field.contains("arc=pass"), "{field}");
}

//= RFC 8617 §5.1.2, type=test
//# In the case of a failed Authenticated Received Chain, the header fields included in the
//# signature scope of the AS header field b= value MUST only include the ARC Set header fields
//# created by the MTA that detected the malformed chain
#[test]
fn a_broken_chain_is_closed_once_and_left_alone() {
    let (zone, message) = signed(sender());
    let (zone, signer) = sealer(zone);
    let whole = hop(&zone, &signer, &hop(&zone, &signer, &message).1).1;
    let other_body = whole.replace("\r\n\r\nhello\r\n", "\r\n\r\nhullo\r\n");
    let other_results = whole.replacen("dkim=pass", "dkim=fail", 2);
    let lacks_one = whole.replacen("ARC-Seal: i=1;", "X-Seal: i=1;", 1);
    for broken in [other_body, other_results, lacks_one] {
        assert_ne!(broken, whole);
        let (chain, closed) = hop(&zone, &signer, &broken);
        assert_eq!((chain, sets(&closed)), (Some(Chain::Fail), sets(&broken) + 1), "{closed}");
        assert!(closed.contains("ARC-Seal: i=3;") && closed.contains(" cv=fail;"), "{closed}");
        let (chain, after) = hop(&zone, &signer, &closed);
        assert_eq!((chain, after), (Some(Chain::Fail), closed));
    }
}

//= RFC 8617 §4.2.1, type=test
//# … the maximum number of ARC Sets … is 50
#[test]
fn a_chain_has_its_length() {
    let (zone, signer) = sealer(sender());
    for (last, more) in [(49, 1), (50, 0), (4_000_000_000_u32, 0)] {
        let content = format!("ARC-Seal: i={last}; cv=pass\r\n{PLAIN}");
        assert_eq!(sets(&hop(&zone, &signer, &content).1), 1 + more, "{last}");
    }
}

#[test]
fn nobody_seals_what_nobody_knows() {
    let (zone, message) = signed(sender());
    let (zone, signer) = sealer(zone);
    let once = hop(&zone, &signer, &message).1;
    let silent = zone.with(
        "arc._domainkey.relay.example",
        Kind::Txt,
        Finding::Temporary("no answer".into()),
    );
    let (_, results) = verify(&silent, session("192.0.2.7", "bill@sender.example"), &once);
    assert_eq!(results.chain, None);
    assert!(results.seal(signer).is_none());
}

#[test]
fn what_milters_have_passed_is_sealed_however_it_comes() {
    let (zone, message) = signed(sender());
    let (zone, signer) = sealer(zone);
    let expected = hop(&zone, &signer, &message).1;
    for size in [1, 7, 64, 4_096] {
        let (_, results) = verify(&zone, session("192.0.2.7", "bill@sender.example"), &message);
        let mut sealing = Signing::sealing(results.seal(signer.clone()).unwrap(), HEADER_MAX);
        message.as_bytes().chunks(size).for_each(|piece| sealing.push(piece));
        let set = sealing.finish(WallTime(1_795_491_661_007));
        assert_eq!(sealed(set, &message), expected);
    }
}
