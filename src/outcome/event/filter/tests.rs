//! Which events which terms want, and what cannot be asked.

use super::*;
use proptest::prelude::*;

const BOUNCED: &str = "{\"sequence\":7,\"time\":\"2026-11-24T03:41:01.007Z\",\"shard\":3,\
    \"kind\":\"bounced\",\"id\":\"0000000000001\",\"reverse_path\":\"s@a.example\",\
    \"recipient\":\"R@b.example\",\"domain\":\"b.example\",\"size\":10240,\
    \"durability\":\"commit\",\"site\":\"mx.b.example\",\"stage\":\"RCPT\",\"code\":552,\
    \"status\":\"5.2.2\",\"class\":\"quota\",\"reply\":\"over \\\"quota\\\", come later\",\
    \"attempt\":2,\"delays\":{\"connect\":0.0}}\n";

fn wants(terms: &str) -> bool {
    let filter = Filter::parse(terms).unwrap_or_else(|error| panic!("{terms}: {error}"));
    let glance = filter.look(BOUNCED.as_bytes()).expect("an event");
    assert_eq!((glance.sequence, glance.time), (7, WallTime(1_795_491_661_007)));
    glance.is_wanted
}

fn error(terms: &str) -> String {
    Filter::parse(terms).expect_err(terms).to_string()
}

#[test]
fn all_terms_must_hold() {
    for (terms, expected) in [
        ("", true),
        ("  ", true),
        ("kind=bounced", true),
        ("kind=delivered", false),
        ("kind=delivered,bounced", true),
        ("kind!=delivered,bounced", false),
        ("kind!=delivered", true),
        ("kind=bounced domain=b.example", true),
        ("kind=bounced domain=c.example", false),
        ("domain=B.EXAMPLE recipient=r@b.example", true),
        ("recipient~@b.", true),
        ("class=quota,reputation", true),
        ("class!=quota", false),
        ("code=552", true),
        ("code=5xx", true),
        ("code=55x,4xx", true),
        ("code=4xx", false),
        ("code!=4xx", true),
        ("code>=500 code<553", true),
        ("code<552", false),
        ("status=5.2.2", true),
        ("status=5.x.x", true),
        ("status=5.2.x,4.x.x", true),
        ("status=4.x.x", false),
        ("stage=rcpt", true),
        ("attempt>1", true),
        ("attempt>2", false),
        ("attempt=2 shard=3 size<=10240 size>=10240", true),
        ("size>10240", false),
        ("reply~quota", true),
        ("reply~\"later\"", true),
        ("reply~nothing,later", true),
        // What an event does not have is empty.
        ("milter=", true),
        ("milter!=", false),
        ("milter=\"\"", true),
        ("milter!=rspamd", true),
        ("milter=rspamd", false),
        ("class=", false),
        ("class!=", true),
        ("status!=", true),
        ("by=person", false),
        ("by!=machine", true),
        ("url~shop", false),
    ] {
        assert_eq!(wants(terms), expected, "{terms}");
    }
    assert!(wants("reply~\"later\" kind=bounced"));
    let spaces = Filter::parse("reply~\"come later\"").expect("one term");
    assert_eq!(spaces.terms.len(), 1);
    assert!(spaces.look(BOUNCED.as_bytes()).expect("an event").is_wanted);
    let comma = Filter::parse("reply~\", come\"").expect("one term");
    assert_eq!(comma.terms[0].values, [", come"]);
}

#[test]
fn what_no_event_can_have_is_an_error() {
    let fields = names();
    assert_eq!(
        error("colour=red"),
        format!("events have no field `colour` that can be asked for; they have {fields}")
    );
    assert!(error("kind").starts_with("`kind` is no term: write a field, `=`"));
    assert!(error("bounced").starts_with("`bounced` is no term"));
    assert!(error("kind!bounced").starts_with("`kind!bounced` is no term"));
    assert!(error("=x").starts_with("events have no field ``"));
    let bounces = error("kind=bounces");
    assert!(bounces.starts_with("`bounces` is nothing that `kind` can be: unknown variant"));
    assert!(bounces.contains("`bounced`"), "{bounces}");
    assert!(error("class=full").contains("`quota`"));
    assert!(error("by=bot").contains("`machine`"));
    assert!(error("code=five").contains("three digits"));
    assert!(error("code=5555").contains("three digits"));
    assert!(error("status=5.1").contains("three numbers"));
    assert!(error("status=5.1.1.1").contains("three numbers"));
    assert!(error("attempt=many").contains("a whole number"));
    assert!(error("code>5xx").contains("a whole number"));
    assert_eq!(
        error("domain>a"),
        "`domain` is no number: `<` and `>` are for attempt, size, shard and code"
    );
    assert_eq!(error("reply~\"over quota"), "a quotation mark is not closed");
    assert!(error("delays=1").contains("no field `delays`"));
    let many = "attempt=1 ".repeat(EVENT_TERMS_MAX + 1);
    assert!(error(&many).starts_with("more than"));
    let most = "attempt=2 ".repeat(EVENT_TERMS_MAX);
    assert!(wants(&most));
    let values = vec!["a.example"; EVENT_TERM_VALUES_MAX + 1].join(",");
    assert!(error(&format!("domain={values}")).starts_with("more than"));
}

#[test]
fn every_field_that_can_be_asked_for_is_in_some_event() {
    let source = include_str!("../../event.rs");
    for (name, _) in FIELDS {
        assert!(source.contains(&format!("pub {name}: ")), "{name}");
    }
}

#[test]
fn lines_that_are_no_events_are_errors() {
    let all = Filter::default();
    for line in
        ["", "{}", "[]", "\0\0\0", "{\"sequence\":1}", "{\"time\":\"2026-11-24T03:41:01Z\"}"]
    {
        assert!(all.look(line.as_bytes()).is_err(), "{line}");
    }
    for end in 0..BOUNCED.len() - 1 {
        assert!(all.look(&BOUNCED.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn no_terms_and_no_line_panic(
        terms in ".{0,40}",
        line in proptest::collection::vec(any::<u8>(), 0..99),
    ) {
        if let Ok(filter) = Filter::parse(&terms) {
            let _ = filter.look(&line);
            prop_assert!(filter.look(BOUNCED.as_bytes()).is_ok());
        }
    }

    #[test]
    fn a_term_and_its_opposite_divide_all_events(value in "[a-z]{1,3}") {
        let (is, is_not) = (format!("domain={value}"), format!("domain!={value}"));
        prop_assert!(wants(&is) != wants(&is_not));
    }
}
