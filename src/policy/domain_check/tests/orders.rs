//! Answers in any order, missing ones, failing ones, and nonsense.

use super::world::{World, subject};
use super::*;
use crate::base::limits::CHECK_QUESTIONS_MAX;
use crate::base::prng::Prng;
use crate::dns::{Finding as Found, Kind, MxRecord, Records};
use crate::mail::tlsa::Tlsa;

#[test]
fn the_report_does_not_depend_on_the_order_of_answers() {
    let (first, asked) = World::good().check(subject());
    for seed in 1..60 {
        let (report, again) = World { seed, ..World::good() }.check(subject());
        assert_eq!(report, first, "seed {seed}");
        assert_eq!(again.len(), asked.len(), "seed {seed}");
    }
    let (bare, _) = World::bare().check(subject());
    for seed in 1..60 {
        assert_eq!(World { seed, ..World::bare() }.check(subject()).0, bare, "seed {seed}");
    }
}

/// What a name server fails to say is never taken for right or wrong.
#[test]
fn each_question_that_fails_could_not_be_checked() {
    let (_, asked) = World::good().check(subject());
    assert!(asked.len() >= 18, "{asked:?}");
    for question in asked {
        let mut world = World::good();
        world.fail(&question);
        let (report, _) = world.check(subject());
        let name = question.name.as_str();
        // Of these nothing else depends: the logo, and policies above one that is there.
        let is_idle = name.starts_with("default._bimi") || name == "_dmarc.example";
        let expected = if is_idle { Verdict::Well } else { Verdict::Unchecked };
        // The other family is there, and so is what a wrong address would be compared with.
        let is_half = name == "mta-sts.news.example";
        let is_known = report.verdict() == expected || is_half;
        assert!(is_known, "{question}: {:?}", report.findings);
        assert_eq!(report.failure(), None, "{question}");
    }
}

#[test]
fn whoever_gives_up_gets_a_report_of_what_is_known() {
    let (whole, asked) = World::good().check(subject());
    for patience in 0..=asked.len() {
        for seed in 0..4 {
            let world = World { patience, seed, ..World::good() };
            let (report, _) = world.check(subject());
            assert_eq!(report.failure(), None, "{patience} {seed}");
            let is_whole = report == whole;
            assert!(is_whole || report.verdict() == Verdict::Unchecked, "{patience} {seed}");
        }
    }
    let (report, _) = World { patience: 0, ..World::bare() }.check(subject());
    assert!(report.findings.iter().all(|one| one.status >= Status::Info), "{report:?}");
}

//= RFC 8461 §3.3, type=test
//# A policy that the policy host does not serve is not one that could not be asked for.
#[test]
fn a_policy_that_cannot_be_fetched_from_here_could_not_be_checked() {
    let mut world = World::good();
    world.policy = Err(PolicyTrouble::Unknown("timeout".into()));
    let (report, _) = world.check(subject());
    assert_eq!(worst(&report, Topic::MtaSts).status, Status::Unchecked);
    world.policy = Err(PolicyTrouble::NotServed("404".into()));
    let (report, _) = world.check(subject());
    assert_eq!(worst(&report, Topic::MtaSts).status, Status::Fail);
}

#[test]
fn sources_and_questions_are_bounded() {
    let hello = subject().sources[0].hello.clone();
    let source = |number: u32| Source {
        address: std::net::Ipv4Addr::from(0xc000_0200 + number).into(),
        hello: hello.clone(),
    };
    let many = Subject { sources: (0..400).map(source).collect(), ..subject() };
    let (report, asked) = World::good().check(many);
    assert!(asked.len() <= CHECK_QUESTIONS_MAX, "{}", asked.len());
    let ptr: Vec<_> =
        report.findings.iter().filter(|finding| finding.topic == Topic::Ptr).collect();
    assert_eq!(ptr.len(), CHECK_SOURCES_MAX + 1);
    let left_out = ptr.iter().find(|finding| finding.status == Status::Unchecked).unwrap();
    assert_eq!(left_out.found, "144 sources beyond the first 256");
    let none = Subject { sources: Vec::new(), ..subject() };
    let (report, _) = World::good().check(none);
    assert_eq!(report.verdict(), Verdict::Unchecked);
    assert!(worst(&report, Topic::Ptr).found.contains("--source"));
}

/// Whatever comes, there is an end and a report.
#[test]
fn random_zones_are_gone_through_to_their_end() {
    for seed in 0..150 {
        let mut prng = Prng::from_number(seed);
        let mut world = World { seed, ..World::good() };
        let (_, asked) = world.check(subject());
        for question in asked {
            if prng.below(3) == 0 {
                let found = random(question.kind, &mut prng);
                world.set(question.name.as_str(), question.kind, found);
            }
        }
        let (report, _) = world.check(subject());
        assert!(report.findings.len() >= 10, "seed {seed}: {report:?}");
        let again = world.check(subject()).0;
        assert_eq!(report, again, "seed {seed}");
    }
}

fn random(kind: Kind, prng: &mut Prng) -> Found {
    let name = |prng: &mut Prng| {
        let names = ["news.example", "mx1.relay.example", "192.0.2.1", "other.example"];
        crate::dns::Name::parse(names[usize::try_from(prng.below(4)).unwrap()]).unwrap()
    };
    match prng.below(6) {
        0 => Found::NoRecords,
        1 => Found::NoSuchName,
        2 => Found::Temporary("SERVFAIL".into()),
        _ => Found::Records(match kind {
            Kind::Mx => {
                let exchange = (prng.below(3) > 0).then(|| name(prng));
                Records::Mx(vec![
                    MxRecord { preference: 10, exchange };
                    usize::try_from(prng.below(3)).unwrap()
                ])
            }
            Kind::A => {
                Records::A(vec![std::net::Ipv4Addr::from(0xc000_0200 + prng.below(4) as u32)])
            }
            Kind::Aaaa => Records::Aaaa(Vec::new()),
            Kind::Txt => Records::Txt((0..prng.below(3)).map(|_| text(prng)).collect()),
            Kind::Ptr => Records::Ptr((0..prng.below(3)).map(|_| name(prng)).collect()),
            Kind::Tlsa => Records::Tlsa(vec![Tlsa {
                usage: prng.below(5) as u8,
                selector: prng.below(3) as u8,
                matching: prng.below(4) as u8,
                data: vec![1; usize::try_from(prng.below(66)).unwrap()].into(),
            }]),
        }),
    }
}

/// Pieces of all kinds of records, one after another.
fn text(prng: &mut Prng) -> Box<[u8]> {
    let pieces = [
        "v=spf1",
        " ",
        "v=DMARC1",
        ";",
        "p=",
        "none",
        "v=STSv1; id=",
        "9",
        "v=TLSRPTv1",
        "rua=",
        "mailto:",
        "@",
        "v=DKIM1",
        "k=rsa",
        "\u{ff}",
        "include:news.example",
        "redirect=",
        "-all",
        "=",
        "a",
        "ptr",
        "exists:%{i}",
        "psd=y",
        "t=y",
    ];
    let mut text = String::new();
    for _ in 0..prng.below(8) {
        text += pieces[prng.below(pieces.len() as u64) as usize];
    }
    text.into_bytes().into()
}
