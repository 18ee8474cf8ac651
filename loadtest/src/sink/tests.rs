//! The sink's session without a socket: replies, records and violations, at every split.

use std::rc::Rc;
use std::time::Duration;

use super::script::Cut;
use super::session::{Listener, Session, Want};
use super::*;
use crate::message::{RunTag, Template};
use std::time::Instant;

/// A session on a listener with a script, its received file, and the clock.
struct Bench {
    session: Session,
    shared: Rc<Shared>,
    received: PathBuf,
    _folder: tempfile::TempDir,
    now: Instant,
    replies: String,
    last: Want,
}

impl Bench {
    fn new(script: &str, hide: &[Extension]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let received = folder.path().join("received");
        let address: SocketAddr = "127.0.0.1:25".parse().unwrap();
        let options = SinkOptions::plain(vec![address], Some(received.clone()))
            .answering(folder.path().join("answered"));
        let plan = Plan {
            options,
            counters: Arc::new(vec![Counters::default()]),
            conducts: Vec::new(),
            sound: None,
            returns: None,
            open_returns: Arc::default(),
        };
        let shared = Rc::new(Shared::new(plan).unwrap());
        let mut offers = Extensions::all();
        hide.iter().for_each(|extension| offers.hide(*extension));
        let conduct = Script::parse(script).unwrap().conduct(address, offers).unwrap();
        let listener = Rc::new(Listener::new("L".to_owned(), conduct));
        let session = Session::new(Rc::clone(&shared), listener, (0, address.ip()));
        let (now, replies, last) = (Instant::now(), String::new(), Want::More);
        let mut bench = Self { session, shared, received, _folder: folder, now, replies, last };
        bench.feed(b"");
        bench
    }

    /// Feeds bytes as a socket would, waits out pauses, and returns what was left unread.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut used = 0;
        loop {
            let (count, want) = self.session.advance(&bytes[used..], self.now);
            used += count;
            self.replies += std::str::from_utf8(&self.session.output).unwrap();
            self.session.output.clear();
            self.last = want;
            match want {
                Want::Pause(time) => self.now += time,
                Want::Secure => {
                    assert_eq!(used, bytes.len(), "nothing may stand behind STARTTLS");
                    self.session.secured();
                }
                Want::More | Want::Stall | Want::Close | Want::Cut(_) => {
                    return bytes[used..].to_vec();
                }
            }
        }
    }

    /// Feeds one piece after the other, what was left unread first.
    fn feed_pieces(&mut self, pieces: &[&[u8]]) {
        let mut held = Vec::new();
        for piece in pieces {
            held.extend_from_slice(piece);
            held = self.feed(&held);
        }
    }

    fn codes(&self) -> Vec<&str> {
        let last_lines = self.replies.lines().filter(|line| line.as_bytes()[3] == b' ');
        last_lines.map(|line| &line[..3]).collect()
    }

    /// Id, recipient and kind of each line.
    fn lines(&self) -> Vec<(String, String, String)> {
        self.shared.log.flush().unwrap();
        let text = std::fs::read_to_string(&self.received).unwrap();
        let split = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words.len(), words[1]), (5, "L"), "{line}");
            (words[0].to_owned(), words[2].to_owned(), words[4].to_owned())
        };
        text.lines().map(split).collect()
    }

    /// What was answered to recipients.
    fn answered(&self) -> String {
        self.shared.answered.flush().unwrap();
        std::fs::read_to_string(self.received.with_file_name("answered")).unwrap()
    }

    fn violations(&self) -> Vec<String> {
        self.shared.violations.borrow().clone()
    }
}

fn load_message(stuffed: bool) -> Vec<u8> {
    let template = Template {
        from: "a@b.example".into(),
        date: "Mon, 01 Jan 2024 00:00:00 +0000".into(),
        tag: RunTag::from_seed(1),
    };
    let filler = Filler::new(1_200);
    let mut message = Vec::new();
    let body = template.head(5, b"u@d.example", 1_200, &mut message);
    let text = if stuffed { filler.stuffed(body) } else { filler.plain(body) };
    message.extend_from_slice(text);
    message.extend_from_slice(b"\r\n");
    message
}

fn by_data() -> Vec<u8> {
    let envelope = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@d.example>\r\nDATA\r\n";
    [envelope, &load_message(true)[..], b".\r\nQUIT\r\n"].concat()
}

fn by_bdat() -> Vec<u8> {
    let message = load_message(false);
    let (one, two) = message.split_at(400);
    let envelope = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@d.example>\r\n".to_vec();
    let first = format!("BDAT {}\r\n", one.len()).into_bytes();
    let last = format!("BDAT {} LAST\r\n", two.len()).into_bytes();
    [&envelope, &first, one, &last, two, b"QUIT\r\n"].concat()
}

fn one_ok() -> Vec<(String, String, String)> {
    let id = String::from_utf8(RunTag::from_seed(1).id(5).to_vec()).unwrap();
    vec![(id, "u@d.example".to_owned(), "ok".to_owned())]
}

#[test]
fn a_session_is_the_same_at_every_split() {
    for (bytes, codes) in [
        (by_data(), &["220", "250", "250", "250", "354", "250", "221"]),
        (by_bdat(), &["220", "250", "250", "250", "250", "250", "221"]),
    ] {
        for cut in 0..bytes.len() {
            let mut bench = Bench::new("", &[]);
            bench.feed_pieces(&[&bytes[..cut], &bytes[cut..]]);
            assert_eq!(bench.codes(), codes, "cut at {cut}");
            assert_eq!(bench.lines(), one_ok(), "cut at {cut}");
            assert_eq!(bench.last, Want::Close);
        }
    }
}

#[test]
fn a_session_survives_one_octet_at_a_time() {
    for bytes in [by_data(), by_bdat()] {
        let mut bench = Bench::new("", &[]);
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        bench.feed_pieces(&pieces);
        assert_eq!(bench.lines(), one_ok());
        assert_eq!(bench.violations(), Vec::<String>::new());
    }
}

#[test]
fn commands_out_of_order_are_refused_and_nothing_is_recorded() {
    let mut bench = Bench::new("", &[]);
    bench.feed(b"MAIL FROM:<a@b>\r\nEHLO c\r\n");
    bench.feed(b"RCPT TO:<a@b>\r\nDATA\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nDATA\r\n");
    bench.feed(b"BDAT 6 LAST\r\nNOOP\r\nRSET\r\n");
    let codes = ["220", "503", "250", "503", "503", "250", "503", "503", "503", "250"];
    assert_eq!(bench.codes(), codes);
    assert!(bench.lines().is_empty());
}

#[test]
fn a_client_that_asks_for_what_is_not_offered_is_found_out() {
    let hide = [Extension::Pipelining, Extension::Chunking, Extension::Dsn];
    let mut bench = Bench::new("", &hide);
    bench.feed(b"EHLO c\r\n");
    bench.feed(b"MAIL FROM:<a@b> RET=HDRS\r\n");
    bench.feed(b"MAIL FROM:<a@b> BODY=8BITMIME SIZE=5\r\nRCPT TO:<a@b>\r\n");
    bench.feed(b"BDAT 3 LAST\r\n\r\n.");
    bench.feed(b"NOOP\n");
    let found = bench.violations();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].contains("RET=HDRS"));
    assert!(found[1].contains("had to wait"));
    assert!(found[2].contains("BDAT"));
    assert!(found[3].contains("bare LF"));
}

#[test]
fn addresses_are_taken_to_the_end_of_their_path() {
    let mut bench = Bench::new("", &[]);
    bench.feed(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<\"a>b \\\" c\"@d.example> NOTIFY=NEVER\r\n");
    bench.feed(b"RCPT TO:<a@b\r\nRCPT TO:a@b\r\nRCPT TO:<>\r\nRCPT TO:<a@b>x\r\n");
    bench.feed(b"DATA\r\n");
    bench.feed(b"Subject: hi\r\n\r\nhi\r\n.\r\n");
    let codes = ["220", "250", "250", "250", "501", "501", "501", "501", "354", "250"];
    assert_eq!(bench.codes(), codes);
    let (id, recipient, kind) = bench.lines().remove(0);
    assert_eq!((id.as_str(), kind.as_str()), ("-", "unknown"));
    assert_eq!(recipient, "\"a>b_\\\"_c\"@d.example");
}

#[test]
fn a_script_refuses_at_each_stage() {
    for (stage, code, expected) in [
        ("greeting", "554", "554"),
        ("ehlo", "550", "220 550 503 503 503 500"),
        ("mail", "451", "220 250 451 503 503 500"),
        ("rcpt", "550", "220 250 250 550 503 500"),
        ("data", "451", "220 250 250 250 451 500"),
        ("end", "452", "220 250 250 250 354 452"),
    ] {
        let script = format!("[[rule]]\nstage = \"{stage}\"\nreply = \"{code} No\"");
        let mut bench = Bench::new(&script, &[]);
        if bench.last == Want::More {
            bench.feed(b"EHLO c\r\n");
            bench.feed(b"MAIL FROM:<a@b>\r\n");
            bench.feed(b"RCPT TO:<c@d>\r\n");
            bench.feed(b"DATA\r\n");
            bench.feed(b".\r\n");
        }
        assert_eq!(bench.codes().join(" "), expected, "{stage}");
        assert!(bench.lines().is_empty());
    }
}

//= RFC 3207 §4.2, type=test
//# The server MUST discard any knowledge obtained from the client
#[test]
fn after_starttls_a_session_begins_anew() {
    let mut bench = Bench::new("", &[]);
    bench.feed(b"STARTTLS\r\n");
    bench.feed(b"EHLO c\r\n");
    assert!(bench.replies.contains("250 STARTTLS\r\n"));
    bench.feed(b"MAIL FROM:<a@b>\r\n");
    bench.feed(b"STARTTLS\r\nRSET\r\n");
    bench.feed(b"STARTTLS\r\n");
    bench.feed(b"MAIL FROM:<a@b>\r\n");
    bench.replies.clear();
    bench.feed(b"EHLO c\r\n");
    assert!(!bench.replies.contains("STARTTLS"));
    bench.feed(&by_bdat()[b"EHLO c\r\n".len()..]);
    assert_eq!(bench.lines(), one_ok());
    assert_eq!(bench.shared.counters[0].tls_messages.load(Ordering::Relaxed), 1);
    assert_eq!(bench.violations(), Vec::<String>::new());
}

#[test]
fn starttls_is_for_those_to_whom_it_is_offered_and_who_wait() {
    let mut bench = Bench::new("", &[Extension::Starttls]);
    bench.feed(b"EHLO c\r\n");
    bench.feed(b"STARTTLS\r\n");
    assert_eq!(bench.codes(), ["220", "250", "502"]);
    assert!(bench.violations()[0].contains("not offered"));
    let mut bench = Bench::new("", &[]);
    bench.feed(b"EHLO c\r\n");
    bench.feed(b"STARTTLS\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!((bench.last, bench.codes().last()), (Want::Close, Some(&"503")));
    assert!(bench.violations()[0].contains("behind STARTTLS"));
}

#[test]
fn a_script_breaks_starttls_in_each_way() {
    for (rule, code, last) in [
        ("reply = \"454 4.7.0 Not now\"", "454", Want::More),
        ("cut = \"close\"", "250", Want::Cut(Cut::Close)),
        ("behind = \"close\"", "220", Want::Cut(Cut::Close)),
        ("behind = \"reset\"", "220", Want::Cut(Cut::Reset)),
        ("behind = \"stall\"", "220", Want::Stall),
    ] {
        let mut bench = Bench::new(&format!("[[rule]]\nstage = \"starttls\"\n{rule}"), &[]);
        bench.feed(b"EHLO c\r\n");
        bench.feed(b"STARTTLS\r\n");
        assert_eq!((bench.codes().last(), bench.last), (Some(&code), last), "{rule}");
    }
    let broken = |way: &str| {
        let script = format!("[[rule]]\nstage = \"starttls\"\nbehind = \"{way}\"");
        let mut bench = Bench::new(&script, &[]);
        bench.feed(b"EHLO c\r\n");
        bench.feed(b"STARTTLS\r\n");
        bench
    };
    let bench = broken("garbage");
    assert!(bench.replies.contains("\r\nWhat is this") && bench.last == Want::Close);
    // The client of this test goes on all the same.
    let bench = broken("clear");
    assert!(bench.replies.ends_with("220 2.0.0 Go ahead\r\n250 2.0.0 Said in clear\r\n"));
    assert!(bench.violations()[0].contains("in spite of octets in clear"));
}

#[test]
fn a_refused_first_chunk_is_swallowed_and_answered_once() {
    let script = "[[rule]]\nstage = \"data\"\nreply = \"452 4.3.1 Full\"";
    let mut bench = Bench::new(script, &[]);
    bench.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 4 LAST\r\nabcdNOOP\r\n");
    assert_eq!(bench.codes(), ["220", "250", "250", "250", "452", "250"]);
}

#[test]
fn a_421_closes_after_the_messages_that_the_script_allows() {
    let script = "[[rule]]\nstage = \"mail\"\nafter_messages = 1\nreply = \"421 4.7.0 Enough\"";
    let mut bench = Bench::new(script, &[]);
    bench.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2 LAST\r\n\r\n");
    assert_eq!(bench.last, Want::More);
    bench.feed(b"MAIL FROM:<a@b>\r\n");
    assert_eq!(bench.codes().last(), Some(&"421"));
    assert_eq!(bench.last, Want::Close);
}

#[test]
fn a_cut_in_the_middle_records_nothing() {
    let script = "[[rule]]\nstage = \"content\"\nafter_bytes = 500\ncut = \"reset\"";
    for bytes in [by_data(), by_bdat()] {
        let mut bench = Bench::new(script, &[]);
        bench.feed(&bytes);
        assert_eq!(bench.last, Want::Cut(Cut::Reset));
        assert!(bench.lines().is_empty());
    }
}

#[test]
fn a_tarpit_answers_after_its_delay_and_records_then() {
    let script = "[[rule]]\nstage = \"end\"\ndelay = \"5s\"\ndomain = \"d.example\"";
    let mut bench = Bench::new(script, &[]);
    let begin = bench.now;
    bench.feed(&by_data());
    assert_eq!(bench.now - begin, Duration::from_secs(5));
    assert_eq!(bench.lines(), one_ok());
}

#[test]
fn a_dsn_is_recorded_under_the_id_that_it_returns() {
    let mut bench = Bench::new("", &[]);
    let report = "Subject: Undelivered\r\n\r\nFinal-Recipient: rfc822; u@d.example\r\n\
        Action: failed\r\nStatus: 5.1.1\r\n\r\nX-Load-Id: abcdefgh-00000007\r\n";
    bench.feed(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n");
    bench.feed(format!("BDAT {} LAST\r\n{report}", report.len()).as_bytes());
    let words = ["abcdefgh-00000007", "u@d.example", "dsn:failed:5.1.1"].map(str::to_owned);
    let [id, recipient, kind] = words;
    assert_eq!(bench.lines(), vec![(id, recipient, kind)]);
}

#[test]
fn a_message_over_the_size_is_refused_by_its_parameter_and_by_its_octets() {
    let mut bench = Bench::new("[[listener]]\nsize = 10", &[]);
    bench
        .feed(b"EHLO c\r\nMAIL FROM:<a@b> SIZE=11\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    bench.feed(b"12345678901\r\n.\r\n");
    assert_eq!(bench.codes(), ["220", "250", "552", "250", "250", "354", "552"]);
    assert!(bench.lines().is_empty());
}

#[test]
fn no_input_panics() {
    for seed in 0..300 {
        let mut dice = crate::dice::Dice::new(seed);
        let mut bytes = [by_data(), by_bdat()].concat();
        for _ in 0..20 {
            let place = usize::try_from(dice.between(0, bytes.len() as u64 - 1)).unwrap();
            bytes[place] = dice.roll().to_le_bytes()[0];
        }
        let mut bench = Bench::new("", &[]);
        let mut held = Vec::new();
        for piece in bytes.chunks(37) {
            if bench.last != Want::More {
                break;
            }
            held.extend_from_slice(piece);
            let (count, want) = bench.session.advance(&held, bench.now);
            bench.last = want;
            held.drain(..count);
        }
    }
}

#[test]
fn each_answer_that_decides_about_a_recipient_is_written_down() {
    let script = r#"
        [[rule]]
        stage = "mail"
        first = 1
        reply = "421 4.7.0 Go away"
        [[rule]]
        stage = "rcpt"
        domain = "no.example"
        reply = "550 5.1.1 Nobody"
        [[rule]]
        stage = "end"
        domain = "later.example"
        reply = "452 Full"
    "#;
    let mut bench = Bench::new(script, &[]);
    bench.feed(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\n");
    let line = |recipient: &str, answer: &str| format!("127.0.0.1 L {recipient} {answer}\n");
    let mut all = line("-", "421 4.7.0");
    assert_eq!(bench.answered(), all);
    bench.session.listener.conduct.relented.set(true);
    bench.feed(&by_data()[8..]);
    all += &line("u@d.example", "250 2.0.0");
    assert_eq!(bench.answered(), all);
    bench.session.listener.conduct.relented.set(false);
    let rcpt = |to: &str| format!("RCPT TO:<u@{to}.example>\r\n");
    let more = ["MAIL FROM:<a@b.example>\r\n".into(), rcpt("no"), rcpt("yes"), rcpt("later")];
    bench.session.listener.conduct.relented.set(true);
    bench.feed(more[0].as_bytes());
    bench.session.listener.conduct.relented.set(false);
    bench.feed((more[1..].concat() + "BDAT 3 LAST\r\nx\r\n").as_bytes());
    all += &line("u@no.example", "550 5.1.1");
    all += &(line("u@yes.example", "452 -") + &line("u@later.example", "452 -"));
    assert_eq!(bench.answered(), all);
}
