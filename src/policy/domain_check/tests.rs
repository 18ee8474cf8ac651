//! Domains in a zone in memory: what is found, and what to publish. A real name server:
//! `tests/peers/domain.rs`.

mod orders;
mod troubles;
mod world;

use super::*;
use world::{World, lines, statuses, subject};

/// What was found of one topic, worst first.
fn worst(report: &Report, topic: Topic) -> &Finding {
    let of_topic = report.findings.iter().filter(|finding| finding.topic == topic);
    of_topic.max_by_key(|finding| finding.status).expect("each topic is told of")
}

#[test]
fn a_domain_of_which_dns_says_all_passes() {
    let (report, _) = World::good().check(subject());
    for finding in &report.findings {
        let expected = if finding.topic == Topic::Bimi { Status::Info } else { Status::Pass };
        assert_eq!(finding.status, expected, "{finding:?}");
        assert!(finding.publish.is_empty() && finding.serve.is_none(), "{finding:?}");
    }
    let topics: Vec<&str> = report.findings.iter().map(|one| one.topic.as_str()).collect();
    let expected = "mx address address ptr ptr spf spf dkim dkim dmarc mta-sts tls-rpt dane bimi";
    assert_eq!(topics.join(" "), expected);
    assert_eq!((report.verdict(), report.failure()), (Verdict::Well, None));
    let spf = worst(&report, Topic::Spf);
    assert!(spf.found.contains("v=spf1"), "{spf:?}");
}

/// What is printed is published, and what is left is printed again.
#[test]
fn what_is_to_be_published_makes_a_domain_pass() {
    let mut world = World::bare();
    let (report, _) = world.check(subject());
    assert_eq!(report.verdict(), Verdict::Failed);
    let failing = "mx address address ptr ptr spf dkim dkim dmarc";
    let of_status = |report: &Report, status| {
        let those = report.findings.iter().filter(|one| one.status == status);
        those.map(|one| one.topic.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of_status(&report, Status::Fail), failing);
    world.publish(&report);
    let (second, _) = world.check(subject());
    assert_eq!(second.verdict(), Verdict::Well, "{:?}", lines(&second));
    // The careful beginnings of DMARC and MTA-STS are told to go on.
    assert_eq!(of_status(&second, Status::Warn), "dmarc mta-sts dane", "{:?}", lines(&second));
    world.publish(&second);
    let (third, _) = world.check(subject());
    assert_eq!(of_status(&third, Status::Warn), "", "{:?}", lines(&third));
    assert_eq!(lines(&third), Vec::<String>::new());
}

#[test]
fn a_relay_domain_without_keys_is_one_that_takes_mail() {
    let of = Subject { sends: false, takes: true, keys: Vec::new(), ..subject() };
    let (report, _) = World::good().check(of);
    assert!(statuses(&report, Topic::Spf).is_empty());
    assert!(statuses(&report, Topic::Dkim).is_empty());
    assert!(statuses(&report, Topic::Ptr).is_empty());
    assert_eq!(report.verdict(), Verdict::Well);
    let mut elsewhere = World::good();
    elsewhere.mx("news.example", 10, "mx.elsewhere.example");
    elsewhere.a("mx.elsewhere.example", "198.51.100.9");
    let of = Subject { sends: false, takes: true, keys: Vec::new(), ..subject() };
    let (report, _) = elsewhere.check(of.clone());
    let mx = worst(&report, Topic::Mx);
    assert_eq!(mx.status, Status::Warn);
    assert_eq!(mx.found, "none of its MX hosts is this node, relay.example");
    // An address of this node is enough, whatever the host is called.
    let of = Subject { addresses: vec!["198.51.100.9".parse().unwrap()], ..of };
    assert_eq!(worst(&elsewhere.check(of).0, Topic::Mx).status, Status::Pass);
}

#[test]
fn nothing_that_others_publish_reaches_a_terminal_as_it_is() {
    let mut world = World::good();
    world.txt("default._bimi.news.example", &["v=BIMI1; l=\u{1b}[31m\n\u{7}"]);
    world.txt("_dmarc.news.example", &["v=DMARC1; p=\u{1b}]0;x"]);
    let (report, _) = world.check(subject());
    for finding in &report.findings {
        assert!(finding.found.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{finding:?}");
    }
    for line in lines(&report) {
        assert!(line.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{line:?}");
    }
}
