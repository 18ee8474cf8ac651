//! What can be wrong, one thing at a time: what is said, and what is to be published instead.

use super::world::{POLICY, World, another_chain, domain, keys, lines, signer, subject};
use super::*;
use crate::dns::{Finding as Found, Kind, MxRecord, Name, Records};
use crate::mail::tlsa::Tlsa;

/// In a good world but for one thing: the status of a topic, words of what is said of it, and one
/// of the lines to publish; none where that is empty.
fn said(world: &World, topic: Topic, status: Status, words: &str, line: &str) {
    let (report, _) = world.check(subject());
    let finding = worst(&report, topic);
    assert_eq!(finding.status, status, "{finding:?}");
    assert!(finding.found.contains(words), "{words}: {finding:?}");
    let printed: Vec<String> = finding.publish.iter().map(ToString::to_string).collect();
    if line.is_empty() {
        assert_eq!(printed, Vec::<String>::new());
    } else {
        assert!(printed.iter().any(|one| one.contains(line)), "{line}: {printed:?}");
    }
    let others = report.findings.iter().filter(|one| one.topic != topic);
    let bad: Vec<_> = others.filter(|one| one.status == Status::Fail).collect();
    // Without its host or its address other things are wrong too.
    let is_wide = matches!(topic, Topic::Mx | Topic::Address | Topic::Ptr);
    assert!(is_wide || bad.is_empty(), "{bad:?}");
}

fn with(change: impl FnOnce(&mut World)) -> World {
    let mut world = World::good();
    change(&mut world);
    world
}

//= RFC 7505 §4.2, type=test
//# A domain that is used as a sender should not have a null MX record.
#[test]
fn where_mail_goes() {
    let here = "news.example. IN MX 10 relay.example.";
    let mx = |records: Vec<MxRecord>| {
        with(|it| it.set("news.example", Kind::Mx, Found::Records(Records::Mx(records))))
    };
    let host = |host: &str| MxRecord { preference: 10, exchange: Name::parse(host).ok() };
    let null = mx(vec![MxRecord { preference: 0, exchange: None }]);
    said(&null, Topic::Mx, Status::Fail, "takes no mail (null MX)", here);
    let (report, _) = null.check(subject());
    for topic in [Topic::MtaSts, Topic::TlsRpt, Topic::Dane] {
        assert_eq!(worst(&report, topic).status, Status::Info);
    }
    said(&mx(vec![host("192.0.2.1")]), Topic::Mx, Status::Fail, "is an address", here);
    let nowhere = mx(vec![host("gone.example")]);
    said(&nowhere, Topic::Mx, Status::Fail, "gone.example has no address", "");
    let half = mx(vec![host("gone.example"), host("mx1.relay.example")]);
    said(&half, Topic::Mx, Status::Warn, "gone.example has no address", "");
    let implicit = with(|it| {
        it.set("news.example", Kind::Mx, Found::NoRecords);
        it.a("news.example", "192.0.2.9");
    });
    said(&implicit, Topic::Mx, Status::Warn, "no MX record", here);
    let nothing = with(|it| it.set("news.example", Kind::Mx, Found::NoRecords));
    said(&nothing, Topic::Mx, Status::Fail, "neither MX record nor address", here);
    let gone = with(|it| it.set("news.example", Kind::Mx, Found::NoSuchName));
    said(&gone, Topic::Mx, Status::Fail, "no such domain", here);
}

//= RFC 1912 §2.1, type=test
//# Make sure your PTR and A records match. For every IP address, there should be a matching PTR
//# record in the in-addr.arpa domain.
#[test]
fn names_of_sources() {
    let back = "1.2.0.192.in-addr.arpa. IN PTR mx1.relay.example.";
    let reverse = Name::reverse_of("192.0.2.1".parse().unwrap());
    let none = with(|it| it.remove(reverse.as_str(), Kind::Ptr));
    said(&none, Topic::Ptr, Status::Fail, "no PTR record", back);
    let unconfirmed = with(|it| it.ptr("192.0.2.1", "dsl-1.provider.example"));
    let words = "dsl-1.provider.example, which does not lead back to it";
    said(&unconfirmed, Topic::Ptr, Status::Fail, words, back);
    let elsewhere = with(|it| {
        it.ptr("192.0.2.1", "dsl-1.provider.example");
        it.a("dsl-1.provider.example", "192.0.2.2");
    });
    said(&elsewhere, Topic::Ptr, Status::Fail, words, "mx1.relay.example. IN A 192.0.2.1");
    let other = with(|it| {
        it.ptr("192.0.2.1", "other.example");
        it.a("other.example", "192.0.2.1");
    });
    said(&other, Topic::Ptr, Status::Warn, "but EHLO says mx1.relay.example", back);
    let wrong = with(|it| {
        it.a("mx1.relay.example", "192.0.2.9");
        it.a("names.example", "192.0.2.1");
        it.ptr("192.0.2.1", "names.example");
    });
    let forward = "mx1.relay.example. IN A 192.0.2.1";
    said(&wrong, Topic::Address, Status::Warn, "leads to 192.0.2.9, not to 192.0.2.1", forward);
    let (report, _) = with(|it| it.remove("mx1.relay.example", Kind::Aaaa)).check(subject());
    let address = worst(&report, Topic::Address);
    assert_eq!((address.status, &*address.found), (Status::Fail, "does not lead to 2001:db8::1"));
    assert_eq!(address.publish[0].to_string(), "mx1.relay.example. IN AAAA 2001:db8::1");
    let named = Subject {
        sources: vec![Source {
            address: "192.0.2.1".parse().unwrap(),
            hello: domain("[192.0.2.1]"),
        }],
        ..subject()
    };
    let (report, _) = World::good().check(named);
    assert_eq!(worst(&report, Topic::Address).found, "192.0.2.1 has no name in EHLO");
}

//= RFC 7208 §3.2, type=test
//# A domain name MUST NOT have multiple records that would cause an authorization check to select
//# more than one record.
#[test]
fn who_may_send() {
    let spf = |texts: &[&str]| with(|it| it.txt("news.example", texts));
    let own = "ip4:192.0.2.1 ip6:2001:db8::1";
    let several = spf(&["v=spf1 mx -all", "V=SPF1 include:_spf.news.example ip4:192.0.2.1 ~all"]);
    let merged = format!("\"v=spf1 {own} include:_spf.news.example mx ~all\"");
    said(&several, Topic::Spf, Status::Fail, "2 SPF records: permerror for all", &merged);
    let alone = format!("news.example. IN TXT \"v=spf1 {own} ~all\"");
    said(&spf(&["v=spf10 x"]), Topic::Spf, Status::Fail, "no SPF record", &alone);
    let others = spf(&["v=spf1 ip4:192.0.2.1 -all"]);
    let added = "\"v=spf1 ip6:2001:db8::1 ip4:192.0.2.1 -all\"";
    said(&others, Topic::Spf, Status::Fail, "2001:db8::1 gets fail", added);
    let soft = spf(&["v=spf1 ip6:2001:db8::/32 ~all"]);
    said(
        &soft,
        Topic::Spf,
        Status::Fail,
        "192.0.2.1 gets softfail",
        "ip4:192.0.2.1 ip6:2001:db8::/32",
    );
    said(&spf(&["v=spf1 x"]), Topic::Spf, Status::Fail, "permerror", &alone);
    let broken = spf(&["v=spf1 include:nowhere.example ip4:192.0.2.1 -all"]);
    said(&broken, Topic::Spf, Status::Fail, "permerror", &alone);
    let anyone = spf(&["v=spf1 mx +all"]);
    said(&anyone, Topic::Spf, Status::Warn, "anyone passes", "\"v=spf1 mx ~all\"");
    let backwards = spf(&["v=spf1 ptr:news.example a:mx1.relay.example -all"]);
    let without = format!("\"v=spf1 {own} a:mx1.relay.example -all\"");
    said(&backwards, Topic::Spf, Status::Warn, "ptr", &without);
    let sent_on = spf(&["v=spf1 redirect=_spf.news.example"]);
    assert_eq!(worst(&sent_on.check(subject()).0, Topic::Spf).status, Status::Pass);
    let hello = with(|it| it.remove("mx1.relay.example", Kind::Txt));
    let own = "mx1.relay.example. IN TXT \"v=spf1 a -all\"";
    said(&hello, Topic::Spf, Status::Warn, "no SPF record for the name in EHLO", own);
    let unknown = Subject { sources: Vec::new(), ..subject() };
    let (report, _) = spf(&[]).check(unknown);
    let printed = lines(&report);
    assert!(printed.contains(&"news.example. IN TXT \"v=spf1 a:relay.example ~all\"".to_owned()));
}

//= RFC 6376 §3.6.1, type=test
//# An empty value means that this public key has been revoked.
#[test]
fn keys_in_dns() {
    let name = "r._domainkey.news.example";
    let record = keys()[0].record();
    let key = |text: &str| with(|it| it.txt(name, &[text]));
    let right = &record[..60];
    for (text, status, words) in [
        ("v=DKIM1; p=", Status::Fail, "revoked"),
        ("v=DKIM1; k=rsa", Status::Fail, "no key in it"),
        ("some text", Status::Fail, "malformed"),
        ("v=DKIM2; p=QUJD", Status::Fail, "not of DKIM1"),
        (&keys()[1].record(), Status::Fail, "another kind of key"),
        ("v=DKIM1; p=QUJD", Status::Fail, "another key than the one here"),
        (&format!("{record}; t=y"), Status::Warn, "under test"),
        (&format!("{record}; h=sha1"), Status::Fail, "does not allow sha256"),
        (&format!("{record}; s=other"), Status::Fail, "not for mail"),
        (&format!("{record}; k=rsa"), Status::Fail, "malformed"),
    ] {
        said(&key(text), Topic::Dkim, status, words, right);
    }
    for text in [
        &format!("{record}; t=s; s=email; h=sha1:sha256; n=a note"),
        record.trim_start_matches("v=DKIM1; k=rsa; "),
    ] {
        let (report, _) = key(text).check(subject());
        assert_eq!(worst(&report, Topic::Dkim).status, Status::Pass, "{text}");
    }
    let two = with(|it| it.txt(name, &[&record, "v=DKIM1; p="]));
    said(&two, Topic::Dkim, Status::Fail, "2 records", right);
    let none = with(|it| it.remove(name, Kind::Txt));
    said(&none, Topic::Dkim, Status::Fail, "no key record", right);
    let (report, _) = World::good().check(Subject { keys: Vec::new(), ..subject() });
    let dkim = worst(&report, Topic::Dkim);
    assert_eq!(dkim.status, Status::Warn);
    assert!(dkim.found.contains("relay-fast dkim keygen news.example"), "{dkim:?}");
    // A key of another name is looked for there.
    let other = Subject { keys: vec![signer("x", &keys()[0])], ..subject() };
    let (report, _) = World::good().check(other);
    assert_eq!(&*worst(&report, Topic::Dkim).of, "x._domainkey.news.example");
}

//= RFC 9989 §4.10, type=test
//# the domain's own record, else that of its Organizational Domain, found by a walk up the tree; of
//# several at a name none counts
#[test]
fn policies_for_receivers() {
    let name = "_dmarc.news.example";
    let dmarc = |texts: &[&str]| with(|it| it.txt(name, texts));
    let usual = "\"v=DMARC1; p=none; rua=mailto:postmaster@news.example\"";
    said(&dmarc(&[]), Topic::Dmarc, Status::Fail, "no DMARC record", usual);
    said(&dmarc(&["v=DMARC1; p=all"]), Topic::Dmarc, Status::Fail, "p=all is no policy", usual);
    said(&dmarc(&["v=DMARC1; p"]), Topic::Dmarc, Status::Fail, "malformed", usual);
    let two = dmarc(&["v=DMARC1; p=none", "v=DMARC1; p=quarantine"]);
    said(&two, Topic::Dmarc, Status::Fail, "2 DMARC records", "\"v=DMARC1; p=quarantine\"");
    let rua = "rua=mailto:d@news.example";
    let kept = format!("\"v=DMARC1; p=quarantine; {rua}\"");
    let none = format!("v=DMARC1; p=none; {rua}");
    said(&dmarc(&[&none]), Topic::Dmarc, Status::Warn, "asked for nothing", &kept);
    let tested = format!("v=DMARC1; p=quarantine; t=y; pct=0; {rua}");
    said(&dmarc(&[&tested]), Topic::Dmarc, Status::Warn, "under test; pct=", &kept);
    let told = "\"v=DMARC1; p=reject; rua=mailto:postmaster@news.example\"";
    said(&dmarc(&["v=DMARC1;p=reject"]), Topic::Dmarc, Status::Warn, "nobody gets reports", told);
    let above = |text: &str| {
        with(|it| {
            it.remove(name, Kind::Txt);
            it.txt("_dmarc.example", &[text]);
        })
    };
    let (report, _) = above(&format!("v=DMARC1; p=none; sp=reject; {rua}")).check(subject());
    let found = worst(&report, Topic::Dmarc);
    assert_eq!(found.status, Status::Pass, "{found:?}");
    assert!(found.found.ends_with("(of example)"), "{found:?}");
    let weak = above(&format!("v=DMARC1; p=reject; sp=none; {rua}"));
    let own = "_dmarc.news.example. IN TXT \"v=DMARC1; p=quarantine;";
    said(&weak, Topic::Dmarc, Status::Warn, "asked for nothing", own);
}

#[test]
fn reports_that_go_elsewhere() {
    let name = "_dmarc.news.example";
    let rua = "rua=mailto:a@sub.news.example,mailto:b@reports.test!10m,https://x.test/";
    let dmarc = format!("v=DMARC1; p=reject; {rua}");
    let line = "news.example._report._dmarc.reports.test. IN TXT \"v=DMARC1\"";
    let silent = with(|it| it.txt(name, &[&dmarc]));
    said(&silent, Topic::Dmarc, Status::Warn, "most receivers send no reports there", line);
    let wanted = with(|it| {
        it.txt(name, &[&dmarc]);
        it.txt("news.example._report._dmarc.reports.test", &["v=DMARC1"]);
    });
    assert_eq!(worst(&wanted.check(subject()).0, Topic::Dmarc).status, Status::Pass);
    // The organization begins above: its other domains are no strangers.
    let family = with(|it| {
        it.txt(name, &["v=DMARC1; p=reject; rua=mailto:d@reports.example"]);
        it.txt("_dmarc.example", &["v=DMARC1; p=none"]);
    });
    assert_eq!(worst(&family.check(subject()).0, Topic::Dmarc).status, Status::Pass);
    let suffix = with(|it| {
        it.txt(name, &["v=DMARC1; p=reject; rua=mailto:d@reports.example"]);
        it.txt("_dmarc.example", &["v=DMARC1; p=none; psd=y"]);
    });
    assert_eq!(worst(&suffix.check(subject()).0, Topic::Dmarc).status, Status::Warn);
}

#[test]
fn policies_for_tls() {
    let name = "_mta-sts.news.example";
    let record = "_mta-sts.news.example. IN TXT \"v=STSv1; id=20261124T034101Z;\"";
    let none = with(|it| it.remove(name, Kind::Txt));
    said(&none, Topic::MtaSts, Status::Warn, "no policy", record);
    let two = with(|it| it.txt(name, &["v=STSv1; id=1;", "v=STSv1; id=2;"]));
    said(&two, Topic::MtaSts, Status::Fail, "2 records", record);
    let dashed = with(|it| it.txt(name, &["v=STSv1; id=2026-01-01;"]));
    said(&dashed, Topic::MtaSts, Status::Fail, "no id that is right", record);
    let nowhere = with(|it| it.remove("mta-sts.news.example", Kind::A));
    said(&nowhere, Topic::MtaSts, Status::Fail, "no host mta-sts.news.example", "");
    let serving = |text: &str| with(|it| it.policy = Ok(text.to_owned()));
    for (from, to, status, words) in [
        ("mx1.", "mx2.", Status::Fail, "mx1.relay.example is not in the policy"),
        ("enforce", "testing", Status::Warn, "nothing is enforced yet"),
        ("enforce", "none", Status::Warn, "as if there were no policy"),
        ("enforce", "perhaps", Status::Fail, "no `mode` that is known"),
        ("1209600", "86400", Status::Warn, "max_age: 86400"),
    ] {
        let world = serving(&POLICY.replace(from, to));
        said(&world, Topic::MtaSts, status, words, record);
        let (report, _) = world.check(subject());
        let served = worst(&report, Topic::MtaSts).serve.clone().unwrap();
        assert_eq!(served.url, "https://mta-sts.news.example/.well-known/mta-sts.txt");
        assert!(served.text.contains("\nmx: mx1.relay.example\n"), "{served:?}");
    }
    let two = serving(&POLICY.replace("mx1", "mx2").replace("enforce", "testing"));
    said(&two, Topic::MtaSts, Status::Warn, "is not in the policy", record);
    let wild = serving(&POLICY.replace("mx1", "*"));
    assert_eq!(worst(&wild.check(subject()).0, Topic::MtaSts).status, Status::Pass);
}

//= RFC 8460 §3, type=test
//# If the number of resulting records is not one, senders MUST assume the recipient domain does not
//# implement TLSRPT.
#[test]
fn reports_of_tls() {
    let name = "_smtp._tls.news.example";
    let right = "\"v=TLSRPTv1; rua=mailto:postmaster@news.example\"";
    let none = with(|it| it.remove(name, Kind::Txt));
    said(&none, Topic::TlsRpt, Status::Warn, "nobody is told", right);
    let one = "v=TLSRPTv1; rua=mailto:a@news.example";
    for (texts, words) in [
        (&[one, one][..], "2 records"),
        (&["v=TLSRPTv1;"], "no rua="),
        (&["v=TLSRPTv1; rua"], "malformed"),
        (&["v=TLSRPTv1; rua=http://a.example"], "neither mailto: nor https:"),
        (&["v=TLSRPTv1; rua=mailto:a@b.example,c@d.example"], "c@d.example is neither"),
    ] {
        said(&with(|it| it.txt(name, texts)), Topic::TlsRpt, Status::Fail, words, right);
    }
    let other = with(|it| it.txt(name, &["v=TLSRPTv2; rua=x", one]));
    assert_eq!(worst(&other.check(subject()).0, Topic::TlsRpt).status, Status::Pass);
}

//= RFC 7672 §2.2, type=test
//# Only records that DNSSEC vouches for count, all the way from the domain to them.
#[test]
fn certificates_in_signed_dns() {
    let right = "_25._tcp.mx1.relay.example. IN TLSA 3 1 1 ";
    let tlsa = "_25._tcp.mx1.relay.example";
    let vouched = |change: &dyn Fn(&mut World)| {
        with(|it| {
            change(it);
            it.vouch();
        })
    };
    let none = vouched(&|it| it.remove(tlsa, Kind::Tlsa));
    said(&none, Topic::Dane, Status::Warn, "signed, but it has no TLSA record", right);
    let other = another_chain();
    let wrong = vouched(&|it| it.tlsa("mx1.relay.example", &other));
    said(&wrong, Topic::Dane, Status::Fail, "no TLSA record fits", right);
    let useless = vouched(&|it| {
        let data = [1; 32].into();
        let record = Tlsa { usage: 1, selector: 1, matching: 1, data };
        it.tlsa_record("mx1.relay.example", record);
    });
    said(&useless, Topic::Dane, Status::Warn, "none of its TLSA records can be used", right);
    let unsigned = with(|it| it.mx("news.example", 10, "mx1.relay.example"));
    said(&unsigned, Topic::Dane, Status::Warn, "count for nothing", "");
    let neither = with(|it| {
        it.mx("news.example", 10, "mx1.relay.example");
        it.remove(tlsa, Kind::Tlsa);
    });
    said(&neither, Topic::Dane, Status::Warn, "no TLSA record; and no DNSSEC", right);
    // Of a host that is not this node nothing but the records is known.
    let stranger = vouched(&|it| {
        it.mx("news.example", 10, "mx.elsewhere.example");
        it.a("mx.elsewhere.example", "198.51.100.9");
        it.tlsa("mx.elsewhere.example", &other);
        it.policy = Ok(POLICY.replace("mx1.relay", "mx.elsewhere"));
    });
    let (report, _) = stranger.check(subject());
    let dane = worst(&report, Topic::Dane);
    assert_eq!(dane.status, Status::Pass);
    assert!(dane.found.contains("was not looked at"), "{dane:?}");
}
