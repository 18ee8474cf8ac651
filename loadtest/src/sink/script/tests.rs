//! The rules of a script, asked without a session.

use super::*;

fn conduct(text: &str) -> Conduct {
    let address = "127.0.1.3:25".parse().unwrap();
    Script::parse(text).unwrap().conduct(address, Extensions::all()).unwrap()
}

fn about(recipient: &str, now: Instant) -> Circumstance<'_> {
    Circumstance { recipient: recipient.as_bytes(), messages: 0, now }
}

fn refuses(conduct: &Conduct, about: &Circumstance<'_>, memory: &mut Memory) -> bool {
    conduct.decide(Stage::Rcpt, about, memory).reply.is_some()
}

#[test]
fn rules_without_sense_are_refused() {
    for (text, word) in [
        ("[[rule]]\nstage = \"rcpt\"", "no effect"),
        ("[[rule]]\nstage = \"rcpt\"\nreply = \"no\"", "not a reply"),
        ("[[rule]]\nstage = \"rcpt\"\nreply = \"700 no\"", "not a reply"),
        ("[[rule]]\nstage = \"rcpt\"\ndelay = \"5\"", "not a time"),
        ("[[rule]]\nstage = \"rcpt\"\ndelay = \"5s-1s\"", "backwards"),
        ("[[rule]]\nstage = \"rcpt\"\nanswer = \"250 x\"", "unknown field"),
        ("[[rule]]\nstage = \"content\"\nreply = \"451 x\"", "no reply"),
        ("[[rule]]\nstage = \"end\"\ncut = \"close\"\nafter_bytes = 1", "after_bytes"),
        ("[[rule]]\nstage = \"end\"\ncut = \"close\"\nprobability = 2.0", "probability"),
        ("[[listener]]\naddress = \"127.0.0.1-x:25\"", "last octet"),
        ("[[rule]]\nstage = \"ehlo\"\nbehind = \"stall\"", "behind belongs"),
        ("[[rule]]\nstage = \"starttls\"\nbehind = \"stall\"\ncut = \"close\"", "behind belongs"),
    ] {
        let error = format!("{:#}", Script::parse(text).unwrap_err());
        assert!(error.contains(word), "{text:?} gives {error}");
    }
}

#[test]
fn a_reply_of_two_lines_is_joined_by_a_hyphen() {
    let reply = ReplyText::try_from("451 4.7.1 one\n4.7.1 two".to_owned()).unwrap();
    assert_eq!(reply.0, b"451-4.7.1 one\r\n451 4.7.1 two\r\n");
}

#[test]
fn domains_match_exactly_or_by_suffix() {
    let now = Instant::now();
    let mut memory = Memory::new(1);
    let text = "[[rule]]\nstage = \"rcpt\"\ndomain = \"A.example\"\nreply = \"550 no\"\n\
                [[rule]]\nstage = \"rcpt\"\ndomain = \".b.example\"\nreply = \"550 no\"\n";
    let conduct = conduct(text);
    for (recipient, refused) in [
        ("u@a.example", true),
        ("u@xa.example", false),
        ("u@x.b.example", true),
        ("u@b.example", false),
        ("\"a@b\"@a.example", true),
    ] {
        assert_eq!(refuses(&conduct, &about(recipient, now), &mut memory), refused);
    }
}

#[test]
fn greylisting_passes_after_its_time_and_first_after_its_count() {
    let now = Instant::now();
    let mut memory = Memory::new(1);
    let grey =
        conduct("[[rule]]\nstage = \"rcpt\"\ngreylist = \"30s\"\nreply = \"451 4.7.1 Greylisted\"");
    assert!(refuses(&grey, &about("a@b", now), &mut memory));
    assert!(refuses(&grey, &about("a@b", now + Duration::from_secs(29)), &mut memory));
    assert!(!refuses(&grey, &about("a@b", now + Duration::from_secs(30)), &mut memory));
    assert!(refuses(&grey, &about("c@b", now + Duration::from_secs(30)), &mut memory));

    let first = conduct("[[rule]]\nstage = \"rcpt\"\nfirst = 2\nreply = \"451 no\"");
    let mut memory = Memory::new(1);
    let tries = [(); 3].map(|()| refuses(&first, &about("a@b", now), &mut memory));
    assert_eq!(tries, [true, true, false]);
}

#[test]
fn a_probability_is_kept() {
    let now = Instant::now();
    let mut memory = Memory::new(9);
    let half = conduct("[[rule]]\nstage = \"rcpt\"\nprobability = 0.5\nreply = \"451 no\"");
    let count = (0..10_000).filter(|_| refuses(&half, &about("a@b", now), &mut memory)).count();
    assert!((4_800..5_200).contains(&count), "{count}");
}

#[test]
fn a_session_may_be_closed_after_some_messages() {
    let now = Instant::now();
    let mut memory = Memory::new(9);
    let text = "[[rule]]\nstage = \"mail\"\nafter_messages = 2\nreply = \"421 4.7.0 Enough\"";
    let conduct = conduct(text);
    let at = |messages| Circumstance { messages, ..about("", now) };
    assert_eq!(conduct.decide(Stage::Mail, &at(1), &mut memory).reply, None);
    let reply = conduct.decide(Stage::Mail, &at(2), &mut memory).reply;
    assert_eq!(reply.as_deref(), Some(b"421 4.7.0 Enough\r\n".as_slice()));
}

#[test]
fn parts_for_other_listeners_do_not_apply() {
    let text = "[[listener]]\naddress = \"127.0.1.1-2:25\"\nhide = [\"CHUNKING\"]\n\
                [[listener]]\naddress = \"127.0.1.3:25\"\nsize = 5\nhide = [\"DSN\"]\n\
                [[rule]]\nlistener = \"127.0.1.4:25\"\nstage = \"rcpt\"\nreply = \"550 no\"";
    let conduct = conduct(text);
    assert_eq!(conduct.size_max, 5);
    assert!(conduct.offers.has(Extension::Chunking));
    assert!(!conduct.offers.has(Extension::Dsn));
    assert!(!conduct.has_rules(Stage::Rcpt));
}

#[test]
fn delays_add_up_before_the_reply() {
    let text = "[[rule]]\nstage = \"rcpt\"\ndelay = \"1s\"\n\
                [[rule]]\nstage = \"rcpt\"\ndelay = \"2s-3s\"\nreply = \"451 no\"";
    let decision =
        conduct(text).decide(Stage::Rcpt, &about("a@b", Instant::now()), &mut Memory::new(1));
    assert!(decision.delay >= Duration::from_secs(3));
    assert!(decision.delay <= Duration::from_secs(4));
    assert!(decision.reply.is_some());
}

#[test]
fn the_reference_is_a_script() {
    let text = REFERENCE.split_once('\n').unwrap().1.replace("reply =", "# reply =");
    let text = text.replace("after_bytes", "# after_bytes").replace("behind =", "# behind =");
    let script = Script::parse(&text).unwrap();
    assert_eq!((script.listener.len(), script.rule.len()), (1, 1));
}
