//! The list without its store: forms, the filter, rows, and what shards are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::rows::{Defaults, HEADER, NoHeader, Rows, WrongRow, write};
use super::*;
use crate::base::ids::MessageId;
use crate::base::limits::{
    SUPPRESSED_ADDRESS_MAX, SUPPRESSION_COLUMNS_MAX, SUPPRESSION_FILTER_MIN, SUPPRESSION_ROW_MAX,
    SUPPRESSION_WORDS_MAX,
};

const NOW: WallTime = WallTime(1_795_491_661_007);

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text, true).unwrap()
}

fn list(name: &str) -> ListName {
    name.parse().unwrap()
}

/// A store that is a map.
#[derive(Debug, Default)]
struct Map(Mutex<BTreeMap<(ListName, String), Entry>>);

impl Entries for Map {
    fn entry(&self, list: &ListName, subject: &str) -> Result<Option<Entry>, Unreadable> {
        Ok(self.0.lock().unwrap().get(&(list.clone(), subject.to_owned())).cloned())
    }
}

fn suppression(entries: &[(&str, &str, Entry)]) -> Arc<Suppression> {
    let of = |(name, subject, entry): &(&str, &str, Entry)| {
        ((list(name), (*subject).to_owned()), entry.clone())
    };
    let map = Map(Mutex::new(entries.iter().map(of).collect()));
    let suppression = Arc::new(Suppression::new(Arc::new(map), entries.len() as u64));
    let filter = Filter::with_room(entries.len() as u64, 7);
    suppression.set_filter(filter, false);
    for (name, subject, _) in entries {
        suppression.on_adding(&list(name), &Subject::parse(subject).unwrap());
    }
    suppression
}

//= RFC 5321 §2.4, type=test
//# The local-part of a mailbox MUST BE treated as case sensitive. … However, exploiting the case
//# sensitivity of mailbox local-parts impedes interoperability and is discouraged.
#[test]
fn addresses_are_one_where_people_take_them_for_one() {
    for (written, compared) in [
        ("a@b.example", "a@b.example"),
        ("A.B@B.Example", "a.b@b.example"),
        ("\"a\"@b.example", "a@b.example"),
        ("\"A\\b\"@b.example", "ab@b.example"),
        ("\"a b\"@b.example", "\"a b\"@b.example"),
        ("\"a\\\"b\"@b.example", "\"a\\\"b\"@b.example"),
        ("\"a\\\\b\"@b.example", "\"a\\\\b\"@b.example"),
        ("\"a..b\"@b.example", "\"a..b\"@b.example"),
        ("\"\"@b.example", "\"\"@b.example"),
        ("\"a@b\"@b.example", "\"a@b\"@b.example"),
        ("\u{dc}@b\u{fc}cher.example", "\u{dc}@xn--bcher-kva.example"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
    ] {
        let subject = Subject::parse(written).unwrap();
        assert_eq!(subject.as_str(), compared, "{written}");
        let key = Key::new(&mailbox(written));
        assert_eq!(key.address(), compared, "{written}");
        assert_eq!(key.domain(), &compared[compared.rfind('@').unwrap()..], "{written}");
        // What is exported can be imported.
        assert_eq!(Subject::parse(compared).as_ref(), Ok(&subject), "{written}");
    }
    let domain = Subject::parse("@B\u{fc}cher.example").unwrap();
    assert!(domain.is_domain() && domain.as_str() == "@xn--bcher-kva.example");
    assert_eq!(Subject::parse(" <A@b.example> ").unwrap().as_str(), "a@b.example");
    for wrong in ["", "@", "a", "a@", "a b@c.example", "@a..b", "a@b.example, c@d.example"] {
        assert!(Subject::parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn whatever_is_an_address_has_a_form(
        local in "\"(\\\\[ -~]|[!#-\\[\\]-~ ]){0,40}\"|[a-zA-Z.+]{1,64}",
        domain in "[a-zA-Z0-9.\u{e4}-]{1,80}",
    ) {
        let text = format!("{local}@{domain}");
        if let Ok(mailbox) = Mailbox::parse(&text, true) {
            let key = Key::new(&mailbox);
            prop_assert!(key.address().len() <= SUPPRESSED_ADDRESS_MAX);
            prop_assert_eq!(Subject::parse(key.address()), Ok(Subject::known(key.address())));
        }
    }

    #[test]
    fn entries_read_back(
        kind in 0..4_usize, words in ".{0,60}", when in any::<i64>(),
        expires in proptest::option::of(any::<i32>()), message in proptest::option::of(1..u64::MAX),
    ) {
        let mut entry = Entry::new(Kind::ALL[kind], &words, WallTime(when));
        entry.expires = expires.map(|at| WallTime(at.into()));
        entry.message = message.map(MessageId);
        let mut octets = Vec::new();
        entry.write(&mut octets);
        prop_assert_eq!(Entry::read(&octets), Some(entry));
        for end in 0..26 {
            prop_assert_eq!(Entry::read(&octets[..end]), None);
        }
        octets[0] = 2;
        prop_assert_eq!(Entry::read(&octets), None, "of a later version");
    }

    #[test]
    fn rows_read_back_in_pieces_of_any_size(
        words in proptest::collection::vec("[ -~\u{e4}\r\n]{0,40}", 1..6), piece in 1..50_usize,
    ) {
        let mut text = HEADER.as_bytes().to_vec();
        let row = |(place, words): (usize, &String)| {
            let mut entry = Entry::new(Kind::ALL[place % 4], words, NOW);
            entry.expires = (place % 2 == 0).then_some(WallTime(NOW.0 + 1_000));
            entry.message = (place % 3 == 0).then_some(MessageId(99));
            let subject = Subject::parse(&format!("a{place}@b.example")).unwrap();
            Located { list: list("t-1"), subject, entry }
        };
        let rows: Vec<Located> = words.iter().enumerate().map(row).collect();
        rows.iter().for_each(|row| write(row, &mut text));
        let mut read = Vec::new();
        let mut reader = Rows::new(defaults());
        for piece in text.chunks(piece) {
            reader.push(piece, |row| read.push(row.unwrap())).unwrap();
        }
        reader.finish(|row| read.push(row.unwrap())).unwrap();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn no_octets_break_the_reader(
        text in proptest::collection::vec(any::<u8>(), 0..300), piece in 1..40_usize,
    ) {
        let mut reader = Rows::new(defaults());
        let pushed = text.chunks(piece).try_for_each(|piece| reader.push(piece, drop));
        let _ = pushed.and_then(|()| reader.finish(drop));
    }
}

fn defaults() -> Defaults {
    Defaults { list: ListName::GLOBAL, kind: Kind::Manual, when: NOW }
}

/// Rows of a text, in pieces of `size` octets.
fn read(text: &str, size: usize) -> Result<Vec<Result<Located, WrongRow>>, NoHeader> {
    let (mut reader, mut rows) = (Rows::new(defaults()), Vec::new());
    for piece in text.as_bytes().chunks(size) {
        reader.push(piece, |row| rows.push(row))?;
    }
    reader.finish(|row| rows.push(row))?;
    Ok(rows)
}

#[test]
fn rows_that_are_wrong_are_told_by_their_line() {
    let long = "x".repeat(SUPPRESSION_ROW_MAX);
    let wide = ",".repeat(SUPPRESSION_COLUMNS_MAX);
    let text = format!(
        "address,when\r\n\r\na@b.example,\r\nnobody,\n\nc@d.example,yesterday\n\"e@f.\nexample\",\n\
        {long},\nx{wide}\ng@h.example,2026-11-27\n,\ni@j.example"
    );
    for size in [1, 2, 3, 7, 64, text.len()] {
        let rows = read(&text, size).unwrap();
        let lines: Vec<_> = rows
            .iter()
            .map(|row| match row {
                Ok(row) => row.subject.to_string(),
                Err(wrong) => wrong.line.to_string(),
            })
            .collect();
        let expected =
            ["a@b.example", "4", "6", "7", "9", "10", "g@h.example", "12", "i@j.example"];
        assert_eq!(lines, expected, "in pieces of {size}");
        let wrong = |place: usize| rows[place].as_ref().unwrap_err().what.as_str();
        assert_eq!(wrong(1), "nobody: malformed address");
        assert_eq!(wrong(2), "when: `yesterday` is no time, as 2026-11-27T03:41:01Z");
        assert!(wrong(4).starts_with("it is longer than"), "{}", wrong(4));
        assert_eq!(wrong(7), "it has no address");
        let dated = rows[6].as_ref().unwrap();
        assert_eq!(dated.entry.when.to_rfc3339(), "2026-11-27T00:00:00.000Z");
        let plain = rows[0].as_ref().unwrap();
        assert_eq!(plain.entry, Entry::new(Kind::Manual, "", NOW));
    }
}

#[test]
fn a_header_names_the_columns_in_any_order() {
    let rows = read("\u{feff}Reason , address,list\ncomplaint,a@b.example,t\n", 5).unwrap();
    let row = rows[0].as_ref().unwrap();
    assert_eq!((row.entry.kind, &row.list), (Kind::Complaint, &list("t")));
    for (wrong, why) in [
        ("", "there is no row, and no header"),
        ("\n\n", "there is no row, and no header"),
        (
            "a@b.example\n",
            "the first line names the columns, of address,list,reason,text,when,\
            expires,message; `a@b.example` is none",
        ),
        ("list,reason\n", "the first line names no column `address`"),
        ("address,address\n", "there are two columns `address`"),
    ] {
        assert_eq!(read(wrong, 3), Err(NoHeader(why.to_owned())), "{wrong}");
    }
    for (row, why) in [
        ("a@b.example,T 1,", "`T 1` names no list: "),
        ("a@b.example,t,spam", "no reason is called `spam`: say one of hard-bounce, complaint, "),
    ] {
        let rows = read(&format!("address,list,reason\n{row}"), 100).unwrap();
        let what = &rows[0].as_ref().unwrap_err().what;
        assert!(what.starts_with(why), "{what}");
    }
}

#[test]
fn names_of_lists_are_short_and_plain() {
    for right in ["global", "a", "0", "A.b-c_d", &"x".repeat(64)] {
        assert_eq!(list(right).as_str(), right);
    }
    assert_eq!(list("global"), ListName::GLOBAL);
    for wrong in ["", "a b", "a,b", "\u{e4}", "a\0b", &"x".repeat(65)] {
        assert!(wrong.parse::<ListName>().is_err(), "{wrong}");
    }
}

#[test]
fn words_are_cut() {
    let entry = Entry::new(Kind::Manual, &"\u{e4}".repeat(SUPPRESSION_WORDS_MAX), NOW);
    assert_eq!(entry.words.len(), SUPPRESSION_WORDS_MAX);
}

#[test]
fn a_filter_finds_all_and_little_else() {
    let filter = Filter::with_room(0, 1);
    let subject = |number: u64| format!("user{number}@example{}.example", number % 7);
    for number in 0..SUPPRESSION_FILTER_MIN {
        assert!(!filter.is_full(), "{number}");
        filter.insert("global", &subject(number));
    }
    assert!(filter.is_full());
    for number in 0..SUPPRESSION_FILTER_MIN {
        assert!(filter.may_hold("global", &subject(number)), "{number}");
    }
    let others = 200_000;
    let false_ones = |name: &str, from: u64| {
        (from..from + others).filter(|number| filter.may_hold(name, &subject(*number))).count()
    };
    // 16 bits each, in lines: 0.1 to 0.2 % where it is full.
    assert!(false_ones("global", 1 << 40) < 800);
    assert!(false_ones("t", 0) < 800, "another list");
    assert_eq!(filter.memory(), 128 * 1024);
}

#[test]
fn the_lists_that_hold_for_a_sender_are_asked() {
    let entry = |kind| Entry::new(kind, "why", NOW);
    let ended = Entry { expires: Some(NOW), ..entry(Kind::Manual) };
    let suppression = suppression(&[
        ("global", "a@b.example", entry(Kind::Complaint)),
        ("global", "old@b.example", ended.clone()),
        ("global", "@gone.example", entry(Kind::HardBounce)),
        ("t", "c@b.example", entry(Kind::Unsubscribe)),
        ("t", "old@b.example", entry(Kind::Manual)),
    ]);
    let tenant = TenantName::parse("t").unwrap();
    let another = TenantName::parse("u").unwrap();
    let found = |recipient: &str, tenant: Option<&TenantName>| {
        let lookup = suppression.suspects(&mailbox(recipient), Lists { tenant }, NOW)?;
        let found = lookup.run().unwrap()?;
        Some(format!("{} {}", found.list, found.subject))
    };
    let yes = |words: &str| Some(words.to_owned());
    assert_eq!(found("A@B.example", None), yes("global a@b.example"));
    assert_eq!(found("a@b.example", Some(&tenant)), yes("global a@b.example"));
    assert_eq!(found("anyone@GONE.example", None), yes("global @gone.example"));
    assert_eq!(found("anyone@sub.gone.example", None), None);
    assert_eq!(found("c@b.example", None), None);
    assert_eq!(found("c@b.example", Some(&tenant)), yes("t c@b.example"));
    assert_eq!(found("c@b.example", Some(&another)), None);
    assert_eq!(found("old@b.example", None), None, "it has expired");
    assert_eq!(found("old@b.example", Some(&tenant)), yes("t old@b.example"));
    let lookup = suppression.suspects(&mailbox("a@b.example"), Lists::default(), NOW).unwrap();
    let told = refused(&lookup.run().unwrap().unwrap()).to_string();
    assert_eq!(
        told,
        "550 5.7.1 The recipient is on the suppression list global: complaint of \
        2026-11-24"
    );
}

#[test]
fn without_a_filter_all_are_looked_up_and_without_entries_none() {
    let store = Arc::new(Map::default());
    let of = |count| Arc::new(Suppression::new(store.clone(), count));
    let recipient = mailbox("a@b.example");
    let none = of(0);
    assert!(none.suspects(&recipient, Lists::default(), NOW).is_none() && none.wants_filter());
    let unbuilt = of(1);
    let lookup = unbuilt.suspects(&recipient, Lists::default(), NOW).unwrap();
    assert_eq!(lookup.run(), Ok(None));
    unbuilt.set_filter(Filter::with_room(1, 1), false);
    assert!(unbuilt.suspects(&recipient, Lists::default(), NOW).is_none());
    assert!(!unbuilt.wants_filter());
}
