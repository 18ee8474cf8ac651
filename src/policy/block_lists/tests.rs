//! Who is on which list, in whatever order answers come.

use proptest::prelude::*;

use super::*;
use crate::base::time::Monotonic;
use crate::mail::address::Mailbox;

const CLIENT: &str = "192.0.2.99";

fn list(zone: &str, of: Of, action: Action) -> BlockList {
    BlockList { zone: Name::parse(zone).unwrap(), of, answers: vec![AnswerRange::USUAL], action }
}

fn inquiry(lists: &[BlockList]) -> Inquiry {
    Inquiry::new(lists.into())
}

fn question(name: &str, kind: Kind) -> Question {
    Question { name: Name::parse(name).unwrap(), kind }
}

fn answer(question: Question, finding: Finding) -> Answer {
    Answer { question, finding, authenticated: false, expires: Monotonic(0) }
}

/// A name server that knows these addresses and texts.
struct World<'a>(&'a [(&'a str, &'a str)]);

impl World<'_> {
    fn answer(&self, question: &Question) -> Answer {
        let records = self.0.iter().filter(|(name, _)| *name == question.name.as_str());
        let (addresses, texts): (Vec<_>, Vec<_>) =
            records.map(|(_, record)| *record).partition(|it| it.parse::<Ipv4Addr>().is_ok());
        let finding = match question.kind {
            Kind::A if !addresses.is_empty() => {
                let parsed = addresses.iter().map(|one| one.parse().unwrap());
                Finding::Records(Records::A(parsed.collect()))
            }
            Kind::Txt if !texts.is_empty() => {
                let octets = texts.iter().map(|text| Box::from(text.as_bytes()));
                Finding::Records(Records::Txt(octets.collect()))
            }
            _ => Finding::NoSuchName,
        };
        answer(question.clone(), finding)
    }

    /// Answer all that is asked, the `turn`th of what is open each time.
    fn settle(&self, inquiry: &mut Inquiry, mut open: Vec<Question>, turns: &[usize]) {
        let mut turns = turns.iter().cycle();
        while !open.is_empty() {
            let place = turns.next().copied().unwrap_or(0) % open.len();
            let question = open.swap_remove(place);
            open.extend(inquiry.handle_answer(&self.answer(&question)));
        }
    }

    /// What its recipients are told, and on which lists it is.
    fn judge(&self, lists: &[BlockList], subject: Subject<'_>) -> (Option<String>, Vec<usize>) {
        let mut inquiry = inquiry(lists);
        let questions = inquiry.ask(subject, nobody_rests);
        self.settle(&mut inquiry, questions, &[]);
        assert!(!inquiry.is_open());
        verdict(&mut inquiry)
    }
}

fn nobody_rests(_: &BlockList) -> bool {
    false
}

fn verdict(inquiry: &mut Inquiry) -> (Option<String>, Vec<usize>) {
    let told = inquiry.refusal(&to("r@corp.example")).map(|reply| reply.to_string());
    let found = std::iter::from_fn(|| inquiry.poll_found()).map(|found| found.place).collect();
    (told, found)
}

fn to(address: &str) -> ForwardPath {
    ForwardPath::Mailbox(Mailbox::parse(address, false).unwrap())
}

fn client(address: &str) -> Subject<'_> {
    Subject { client: address.parse().unwrap(), hello: "", sender: None }
}

fn refused(world: &[(&str, &str)], lists: &[BlockList], subject: Subject<'_>) -> Option<String> {
    World(world).judge(lists, subject).0
}

//= RFC 5782 §2.1, type=test
//# If, for example, the DNSxL is called bad.example.com, and the IPv4 address to be listed is
//# 192.0.2.99, the name of the DNS entry would be 99.2.0.192.bad.example.com
#[test]
fn addresses_are_asked_for_backwards() {
    let lists = [list("bad.example.com", Of::Client, Action::Reject)];
    let world = [
        ("99.2.0.192.bad.example.com", "127.0.0.2"),
        ("99.2.0.192.bad.example.com", "Dynamic address, see http://bad.example.com?192.0.2.99"),
    ];
    let told = refused(&world, &lists, client(CLIENT)).unwrap();
    assert_eq!(
        told,
        "550 5.7.1 192.0.2.99 is on the block list bad.example.com: Dynamic address, see \
         http://bad.example.com?192.0.2.99"
    );
    assert_eq!(refused(&world, &lists, client("192.0.2.98")), None);
}

//= RFC 5782 §2.4, type=test
//# Each entry's name MUST be a 32-component hex nibble-reversed IPv6 address suffixed by the DNSxL
//# domain.
#[test]
fn ipv6_addresses_are_asked_for_by_nibbles() {
    let lists = [list("v6.example", Of::Client, Action::Reject)];
    let mut inquiry = inquiry(&lists);
    let asked = inquiry.ask(client("2001:db8:1:2:3:4:567:89ab"), nobody_rests);
    let name = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.v6.example";
    assert_eq!(asked, [question(name, Kind::A)]);
    let world = World(&[(name, "127.0.0.2")]);
    let more = inquiry.handle_answer(&world.answer(&asked[0]));
    let nobody = "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.v6.example";
    assert_eq!(more, [question(name, Kind::Txt), question(nobody, Kind::A)]);
}

#[test]
fn domains_are_asked_for_as_they_are() {
    let lists = [
        list("rhs.example", Of::Sender, Action::Reject),
        list("hello.example", Of::Hello, Action::Reject),
    ];
    let domain = Domain::parse("spam.test").unwrap();
    let subject = Subject { hello: "MX.spam.test", sender: Some(&domain), ..client(CLIENT) };
    let sender = refused(&[("spam.test.rhs.example", "127.0.0.2")], &lists, subject);
    assert_eq!(sender.unwrap(), "550 5.7.1 spam.test is on the block list rhs.example");
    let hello = refused(&[("mx.spam.test.hello.example", "127.0.0.2")], &lists, subject);
    assert_eq!(hello.unwrap(), "550 5.7.1 MX.spam.test is on the block list hello.example");
    // Nothing can be asked about these.
    let long = "a.".repeat(124);
    for hello in ["", "[192.0.2.99]", "192.0.2.99", "a b", "ü", &long] {
        let subject = Subject { hello, ..client(CLIENT) };
        let mut inquiry = inquiry(&lists);
        assert_eq!(inquiry.ask(subject, nobody_rests), [], "{hello}");
        assert!(!inquiry.is_open());
    }
}

//= RFC 5782 §2.1, type=test
//# The A record contents conventionally have the value 127.0.0.2, but MAY have other values
#[test]
fn what_a_list_does_not_say_puts_nobody_on_it() {
    let lists = [list("l.example", Of::Client, Action::Reject)];
    for (record, is_on) in [
        ("127.0.0.2", true),
        ("127.0.1.255", true),
        ("127.254.255.255", true),
        ("127.0.0.1", false),
        ("127.0.0.0", false),
        ("127.255.255.254", false),
        ("192.0.2.1", false),
        ("128.0.0.2", false),
        ("only a text", false),
    ] {
        let told = refused(&[("99.2.0.192.l.example", record)], &lists, client(CLIENT));
        assert_eq!(told.is_some(), is_on, "{record}");
    }
    let told = [("99.2.0.192.l.example", "192.0.2.1"), ("99.2.0.192.l.example", "127.0.0.9")];
    assert!(refused(&told, &lists, client(CLIENT)).is_some(), "one of several");
}

#[test]
fn a_list_may_have_answers_of_its_own() {
    let range =
        |first: &str, last: &str| AnswerRange::new(first.parse().unwrap(), last.parse().unwrap());
    let answers = [range("127.0.0.2", "127.0.0.2"), range("127.0.0.4", "127.0.0.11")];
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    let shown: Vec<_> = answers.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.2", "127.0.0.4-127.0.0.11"]);
    let lists = [BlockList { answers, ..list("l.example", Of::Client, Action::Reject) }];
    for (record, is_on) in [
        ("127.0.0.2", true),
        ("127.0.0.3", false),
        ("127.0.0.4", true),
        ("127.0.0.11", true),
        ("127.0.0.12", false),
    ] {
        let told = refused(&[("99.2.0.192.l.example", record)], &lists, client(CLIENT));
        assert_eq!(told.is_some(), is_on, "{record}");
    }
    assert_eq!(range("127.0.0.4", "127.0.0.3"), None);
    assert_eq!(range("127.0.0.4", "128.0.0.1"), None);
}

//= RFC 5782 §5, type=test
//# IPv4-based DNSxLs MUST contain an entry for 127.0.0.2 for testing purposes. IPv4-based DNSxLs
//# MUST NOT contain an entry for 127.0.0.1.
#[test]
fn a_list_that_has_everything_on_it_has_nobody_on_it() {
    let lists = [
        list("dead.example", Of::Client, Action::Reject),
        list("rhs.example", Of::Sender, Action::Reject),
        list("live.example", Of::Client, Action::Reject),
    ];
    let domain = Domain::parse("spam.test").unwrap();
    let subject = Subject { sender: Some(&domain), ..client(CLIENT) };
    let mut world = vec![
        ("99.2.0.192.dead.example", "127.0.0.2"),
        ("1.0.0.127.dead.example", "127.0.0.2"),
        ("spam.test.rhs.example", "127.0.0.2"),
        ("invalid.rhs.example", "127.0.0.2"),
    ];
    assert_eq!(World(&world).judge(&lists, subject), (None, vec![]));
    assert_eq!(World(&world).judge(&lists, client("127.0.0.1")), (None, vec![]));
    world.push(("99.2.0.192.live.example", "127.0.0.2"));
    let (told, found) = World(&world).judge(&lists, subject);
    assert!(told.unwrap().contains("live.example"));
    assert_eq!(found, [2]);
}

#[test]
fn lists_that_are_late_or_fail_have_nobody_on_them() {
    let lists = [list("l.example", Of::Client, Action::Reject)];
    let mut late = inquiry(&lists);
    let asked = late.ask(client(CLIENT), nobody_rests);
    assert!(late.is_open());
    late.give_up();
    assert!(!late.is_open());
    let world = World(&[("99.2.0.192.l.example", "127.0.0.2")]);
    assert_eq!(late.handle_answer(&world.answer(&asked[0])), [], "it is too late");
    assert_eq!(verdict(&mut late), (None, vec![]));

    let mut failing = inquiry(&lists);
    let asked = failing.ask(client(CLIENT), nobody_rests);
    failing.handle_answer(&answer(asked[0].clone(), Finding::Temporary("SERVFAIL".into())));
    assert!(!failing.is_open());
    assert_eq!(verdict(&mut failing), (None, vec![]));

    // Too much is asked already.
    let mut crowded = inquiry(&lists);
    let asked = crowded.ask(client(CLIENT), nobody_rests);
    crowded.unanswered(&question("99.2.0.192.l.example", Kind::Txt));
    assert!(crowded.is_open());
    crowded.unanswered(&asked[0]);
    assert!(!crowded.is_open());
    let mut crowded = inquiry(&lists);
    let asked = crowded.ask(client(CLIENT), nobody_rests);
    let more = crowded.handle_answer(&world.answer(&asked[0]));
    more.iter().for_each(|question| crowded.unanswered(question));
    assert!(!crowded.is_open() && verdict(&mut crowded).0.is_some());

    // It has answered, and only its words are late.
    let mut short = inquiry(&lists);
    let asked = short.ask(client(CLIENT), nobody_rests);
    assert_eq!(short.handle_answer(&world.answer(&asked[0])).len(), 2);
    assert!(short.is_open());
    short.give_up();
    let told = "550 5.7.1 192.0.2.99 is on the block list l.example";
    assert_eq!(verdict(&mut short), (Some(told.to_owned()), vec![0]));
}

//= RFC 5321 §4.5.1, type=test
//# SMTP systems are expected to make every reasonable effort to accept mail directed to Postmaster
//# from any other system on the Internet.
#[test]
fn the_postmaster_can_be_told_of_a_mistake() {
    let lists = [list("l.example", Of::Client, Action::Reject)];
    let mut inquiry = inquiry(&lists);
    let questions = inquiry.ask(client(CLIENT), nobody_rests);
    let world = World(&[("99.2.0.192.l.example", "127.0.0.2")]);
    world.settle(&mut inquiry, questions, &[]);
    assert_eq!(inquiry.refusal(&ForwardPath::Postmaster), None);
    assert_eq!(inquiry.refusal(&to("PostMaster@corp.example")), None);
    assert!(inquiry.refusal(&to("postmaster2@corp.example")).is_some());
}

#[test]
fn who_is_only_told_of_is_refused_nothing() {
    let lists = [
        list("log.example", Of::Client, Action::Log),
        list("reject.example", Of::Client, Action::Reject),
    ];
    let mut inquiry = inquiry(&lists);
    let asked = inquiry.ask(client(CLIENT), nobody_rests);
    let world = World(&[("99.2.0.192.log.example", "127.0.0.2")]);
    inquiry.handle_answer(&world.answer(&asked[1]));
    assert!(!inquiry.is_open(), "nobody waits for a list that refuses nobody");
    world.settle(&mut inquiry, asked, &[]);
    assert_eq!(verdict(&mut inquiry), (None, vec![0]));
    assert_eq!(inquiry.poll_found(), None, "each is told once");
}

#[test]
fn a_list_that_rests_is_not_asked() {
    let lists = [
        list("tired.example", Of::Client, Action::Reject),
        list("l.example", Of::Client, Action::Reject),
    ];
    let mut inquiry = inquiry(&lists);
    let asked = inquiry.ask(client(CLIENT), |list| list.zone.as_str() == "tired.example");
    assert_eq!(asked, [question("99.2.0.192.l.example", Kind::A)]);
    assert!(lists[1].serves(&asked[0].name) && !lists[0].serves(&asked[0].name));
    let other = Name::parse("99.2.0.192.not-l.example").unwrap();
    assert!(!lists[1].serves(&other) && !lists[1].serves(&lists[1].zone));
    World(&[]).settle(&mut inquiry, asked, &[]);
    assert!(!inquiry.is_open());
}

#[test]
fn words_are_cut_and_cannot_forge_a_reply() {
    let lists = [list("l.example", Of::Client, Action::Reject)];
    let text = format!("a\r\n250 ok\u{0}é{}", "x".repeat(1_000));
    let world = [("99.2.0.192.l.example", "127.0.0.2"), ("99.2.0.192.l.example", text.as_str())];
    let told = refused(&world, &lists, client(CLIENT)).unwrap();
    let (_, words) = told.split_once("l.example: ").unwrap();
    assert!(words.starts_with("a??250 ok???xxx"), "{words}");
    assert_eq!(words.len(), BLOCK_TEXT_MAX);
}

#[test]
fn what_is_known_in_a_session_is_not_asked_again() {
    let lists = [
        list("l.example", Of::Client, Action::Reject),
        list("l.example", Of::Client, Action::Log),
        list("rhs.example", Of::Sender, Action::Reject),
    ];
    let mut inquiry = inquiry(&lists);
    let (first, second) = (Domain::parse("a.test").unwrap(), Domain::parse("b.test").unwrap());
    let of = |sender| Subject { sender: Some(sender), ..client(CLIENT) };
    let world = World(&[("a.test.rhs.example", "127.0.0.2")]);
    let asked = inquiry.ask(of(&first), nobody_rests);
    let names: Vec<_> = asked.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["99.2.0.192.l.example", "a.test.rhs.example"], "none twice");
    world.settle(&mut inquiry, asked, &[]);
    assert!(inquiry.refusal(&to("r@corp.example")).is_some());
    assert_eq!(inquiry.ask(of(&first), nobody_rests), []);
    let asked = inquiry.ask(of(&second), nobody_rests);
    assert_eq!(asked, [question("b.test.rhs.example", Kind::A)]);
    world.settle(&mut inquiry, asked, &[]);
    assert_eq!(inquiry.refusal(&to("r@corp.example")), None);
    assert_eq!(
        inquiry.ask(client("192.0.2.1"), nobody_rests).len(),
        1,
        "another client, and no domain"
    );
}

proptest! {
    #[test]
    fn the_order_of_answers_makes_no_difference(
        turns in prop::collection::vec(0_usize..8, 1..20),
        on in prop::collection::vec(any::<bool>(), 8),
    ) {
        let lists = [
            list("one.example", Of::Client, Action::Reject),
            list("two.example", Of::Sender, Action::Reject),
            list("three.example", Of::Hello, Action::Log),
            list("four.example", Of::Hello, Action::Reject),
        ];
        let records = [
            ("99.2.0.192.one.example", "127.0.0.2"), ("99.2.0.192.one.example", "one's words"),
            ("1.0.0.127.one.example", "127.0.0.2"), ("a.test.two.example", "127.0.0.2"),
            ("invalid.two.example", "127.0.0.2"), ("h.test.three.example", "127.0.0.3"),
            ("h.test.four.example", "127.0.0.4"), ("h.test.four.example", "four's words"),
        ];
        let records: Vec<_> = records.into_iter().zip(on).filter(|(_, on)| *on).collect();
        let records: Vec<_> = records.into_iter().map(|(record, _)| record).collect();
        let world = World(&records);
        let domain = Domain::parse("a.test").unwrap();
        let subject = Subject { hello: "h.test", sender: Some(&domain), ..client(CLIENT) };
        let in_order = world.judge(&lists, subject);
        let mut inquiry = inquiry(&lists);
        let questions = inquiry.ask(subject, nobody_rests);
        world.settle(&mut inquiry, questions, &turns);
        prop_assert!(!inquiry.is_open());
        prop_assert_eq!(verdict(&mut inquiry), in_order);
    }
}

#[test]
fn domains_of_urls_are_asked_for_as_somebody_registered_them_and_for_one_message() {
    let lists = [
        list("bl.example", Of::Client, Action::Reject),
        list("uri.example", Of::Url, Action::Reject),
        list("told.example", Of::Url, Action::Log),
    ];
    let world = World(&[
        ("bad.test.uri.example", "127.0.0.2"),
        ("bad.test.uri.example", "seen in spam"),
        ("bad.test.told.example", "127.0.0.2"),
    ]);
    let mut inquiry = inquiry(&lists);
    assert!(inquiry.asks_for_urls());
    let asked = inquiry.ask(client(CLIENT), nobody_rests);
    assert_eq!(asked.len(), 1, "nothing is known of URLs yet");
    world.settle(&mut inquiry, asked, &[]);
    let address = CLIENT.parse().unwrap();
    let urls = |inquiry: &mut Inquiry, domains: &[&str]| {
        let domains: Vec<Box<str>> = domains.iter().map(|one| Box::from(*one)).collect();
        inquiry.ask_urls(&domains, address, nobody_rests)
    };
    let asked = urls(&mut inquiry, &["www.a.good.test", "good.test"]);
    let names: Vec<_> = asked.iter().map(|question| question.name.as_str()).collect();
    let expected = ["good.test.uri.example", "a.good.test.uri.example"];
    let told = ["good.test.told.example", "a.good.test.told.example"];
    assert_eq!(names, [expected, told].concat(), "two labels and three, each once");
    world.settle(&mut inquiry, asked, &[1, 0]);
    assert_eq!(verdict(&mut inquiry), (None, vec![]));
    // Others may be found further on; what is known is not asked again.
    let asked = urls(&mut inquiry, &["good.test", "www.bad.test"]);
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(inquiry.is_open());
    world.settle(&mut inquiry, asked, &[2, 0, 1]);
    let words = "550 5.7.1 bad.test is on the block list uri.example: seen in spam";
    assert_eq!(verdict(&mut inquiry), (Some(words.to_owned()), vec![1, 2]));
    assert_eq!(inquiry.refusal(&to("postmaster@corp.example")), None);
    // The next message is another one.
    assert_eq!(inquiry.ask(client(CLIENT), nobody_rests), []);
    assert_eq!(verdict(&mut inquiry), (None, vec![]));
    assert_eq!(inquiry.ask_urls(&["bad.test".into()], address, |_| true), [], "they rest");
}
