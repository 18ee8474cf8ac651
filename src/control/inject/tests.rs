//! What is handed in, and the messages that are made of it, read back by another's parser.

use mail_parser::{MessageParser, MimeHeaders as _};
use serde_json::{Map, Value, json};

use crate::base::limits::{
    INJECT_FUEL_ALL, INJECT_FUEL_MAX, INJECT_HEADER_MAX, INJECT_TEMPLATES_MAX,
};
use crate::base::time::WallTime;
use crate::control::inject::compose::{Audience, Composer, Fuel, Stamp};
use crate::control::inject::request::{Body, Letter, Text, Wrong};
use crate::mail::handling::TenantName;
use crate::policy::senders::labels::FieldNames;

const NOW: WallTime = WallTime(1_795_491_661_000);
const STAMP: Stamp<'_> = Stamp { message_id: "1@node.example", now: NOW };

fn names() -> FieldNames {
    FieldNames { tenant: "X-Tenant".into(), campaign: "X-Campaign".into(), keep: false }
}

fn letter(request: &Value) -> Result<Letter, Wrong> {
    letter_of(None, request)
}

fn letter_of(bound: Option<&str>, request: &Value) -> Result<Letter, Wrong> {
    let bound = bound.map(|name| TenantName::parse(name).expect("a name"));
    let body = Body::parse(request.to_string().as_bytes())?;
    let mut requests = body.requests.into_iter();
    requests.next().expect("one").letter(bound.as_ref(), Some(&names()), NOW)
}

/// The messages of all recipients, or what is said to them.
fn messages(request: &Value) -> Vec<Result<String, String>> {
    let (letter, fuel) = (letter(request).expect("a request"), Fuel::new(INJECT_FUEL_ALL));
    let composer = Composer::new(&letter, &fuel).expect("templates");
    let each = letter.recipients.iter().map(|to| {
        let named = to.who.as_ref().map_err(ToString::to_string)?;
        let audience = match &to.substitutions {
            Some(values) => Audience::Own(named, values),
            None => Audience::One(named),
        };
        let made = composer.compose(audience, STAMP).map_err(|reply| reply.to_string())?;
        Ok(String::from_utf8(made).expect("it is UTF-8"))
    });
    each.collect()
}

fn message(request: &Value) -> String {
    messages(request).remove(0).unwrap_or_else(|reply| panic!("{reply}: {request}"))
}

/// A request with this content, to somebody with these values.
fn request(content: &Value, substitutions: Option<Value>) -> Value {
    let mut to = json!({ "to": "Ann <ann@a.example>" });
    if let Some(values) = substitutions {
        to["substitutions"] = values;
    }
    json!({ "from": "News <news@acme.example>", "content": content, "recipients": [to] })
}

#[test]
fn a_message_has_what_a_message_has_to_have() {
    let text = message(&request(&json!({ "subject": "Hello", "text": "Hi\n" }), None));
    let parsed = MessageParser::new().parse(&text).expect("a message");
    assert_eq!(parsed.subject(), Some("Hello"));
    assert_eq!(parsed.from().and_then(|from| from.first()?.address()), Some("news@acme.example"));
    let to = parsed.to().and_then(|to| to.first()).expect("to");
    assert_eq!((to.name(), to.address()), (Some("Ann"), Some("ann@a.example")));
    assert_eq!(parsed.message_id(), Some("1@node.example"));
    assert_eq!(parsed.date().map(|date| date.to_timestamp()), Some(NOW.0 / 1_000));
    assert_eq!(parsed.body_text(0).as_deref().map(str::trim_end), Some("Hi"));
    for line in ["MIME-Version: 1.0", "Content-Type: text/plain; charset=\"utf-8\""] {
        assert!(text.contains(&format!("{line}\r\n")), "{text}");
    }
    let own = json!({ "subject": "s", "text": "t", "headers": {
        "date": "Mon, 01 Jan 2024 00:00:00 +0000", "message-id": "<own@acme.example>",
        "To": "list@acme.example", "X-Two": ["a", "b"], "List-Unsubscribe": "<https://a.example/u>",
        "Reply-To": "Jürgen <j@acme.example>", "X-Text": "größer",
    } });
    let text = message(&request(&own, None));
    let parsed = MessageParser::new().parse(&text).expect("a message");
    assert_eq!(parsed.message_id(), Some("own@acme.example"));
    assert_eq!(text.matches("\r\nTo: ").count() + text.matches("\r\nDate: ").count(), 2, "{text}");
    assert!(text.contains("X-Two: a\r\nX-Two: b\r\n"), "{text}");
    assert!(text.contains("List-Unsubscribe: <https://a.example/u>\r\n"), "{text}");
    let reply_to = parsed.reply_to().and_then(|all| all.first()).expect("reply-to");
    assert_eq!((reply_to.name(), reply_to.address()), (Some("Jürgen"), Some("j@acme.example")));
    assert!(text.contains("X-Text: =?utf-8?B?Z3LDtsOfZXI=?=\r\n"), "{text}");
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn eight_bit_text_and_long_lines_go_through_seven_bits() {
    let long = "wörd ".repeat(1_000);
    let content =
        json!({ "subject": "Grüße ".repeat(60), "text": long, "html": format!("<p>{long}") });
    let text = message(&request(&content, None));
    assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 998), "{text}");
    let parsed = MessageParser::new().parse(&text).expect("a message");
    assert_eq!(parsed.subject().map(str::trim_end), Some("Grüße ".repeat(60).trim_end()));
    assert_eq!(parsed.body_text(0).as_deref().map(str::trim_end), Some(long.trim_end()));
    assert!(parsed.body_html(0).is_some_and(|html| html.contains(long.trim_end())));
}

#[test]
fn files_come_back_as_they_were() {
    let octets: Vec<u8> = (0..=255u8).cycle().take(5_000).collect();
    let data =
        |octets: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets);
    let content = json!({
        "subject": "s", "text": "t", "html": "<img src='cid:logo'>",
        "attachments": [
            { "name": "größe.bin", "data": data(&octets) },
            { "name": "a.csv", "type": "text/csv", "data": data(b"a,b\n1,2\n") },
            { "cid": "logo", "type": "image/png", "data": data(b"\x89PNG") },
        ],
    });
    let text = message(&request(&content, None));
    let parsed = MessageParser::new().parse(&text).expect("a message");
    let found: Vec<_> = parsed
        .attachments()
        .map(|part| (part.attachment_name().map(str::to_owned), part.contents().to_vec()))
        .collect();
    let named = |name: &str| found.iter().find(|(one, _)| one.as_deref() == Some(name));
    assert_eq!(named("größe.bin").map(|(_, octets)| octets), Some(&octets), "{text}");
    assert_eq!(named("a.csv").map(|(_, octets)| &octets[..]), Some(&b"a,b\n1,2\n"[..]), "{text}");
    let logo = parsed.parts.iter().find(|part| part.content_id() == Some("logo")).expect("shown");
    assert_eq!(logo.contents(), b"\x89PNG", "{text}");
    assert!(text.contains("multipart/related") && text.contains("multipart/alternative"), "{text}");
}

#[test]
fn values_go_into_templates_and_nowhere_else() {
    let content = json!({
        "subject": "For {{ name }}", "text": "{{ name }}{% if gold %}!{% endif %}",
        "html": "<b>{{ name }}</b>", "headers": { "X-For": "{{ name }}" },
    });
    let mut all = request(&content, Some(json!({ "name": "<Ann> & \"Bob\"", "gold": true })));
    all["recipients"] = json!([
        all["recipients"][0],
        { "to": "b@b.example", "substitutions": { "name": "b\r\nBcc: c@c.example", "gold": 0 } },
        { "to": "c@c.example", "substitutions": {} },
        { "to": "d@d.example" },
        { "to": "e e@e.example", "substitutions": {} },
    ]);
    let made = messages(&all);
    let first = made[0].as_ref().expect("a message");
    let parsed = MessageParser::new().parse(first).expect("a message");
    assert_eq!(parsed.subject(), Some("For <Ann> & \"Bob\""));
    assert_eq!(parsed.body_text(0).as_deref().map(str::trim_end), Some("<Ann> & \"Bob\"!"));
    let html = parsed.body_html(0).expect("html");
    assert!(html.contains("<b>&lt;Ann&gt; &amp; &quot;Bob&quot;</b>"), "{html}");
    for (number, expected) in [
        (1, "554 5.6.0 subject: a header field has no line ends"),
        (2, "554 5.6.0 subject: undefined value"),
        (4, "501 5.1.3 Malformed forward-path"),
    ] {
        let told = made[number].as_ref().expect_err("refused");
        assert!(told.starts_with(expected), "{told}");
    }
    assert!(made[3].as_ref().is_ok_and(|text| text.contains("Subject: For {{ name }}\r\n")));
}

#[test]
fn a_template_costs_no_more_than_it_may() {
    for (source, why) in [
        ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", "fuel"),
        ("{{ 'x' * 90000000 }}", "fuel"),
        ("{% for a in range(999999) %}x{% endfor %}", "range"),
    ] {
        let told = messages(&request(&json!({ "text": source }), Some(json!({})))).remove(0);
        let told = told.expect_err(source);
        assert!(told.starts_with("554 5.6.0 text: ") && told.contains(why), "{source}: {told}");
    }
    let broken = letter(&request(&json!({ "text": "{{ a" }), Some(json!({})))).expect("a request");
    let Err(Wrong(422, words)) = Composer::new(&broken, &Fuel::new(INJECT_FUEL_ALL)) else {
        panic!("it is no template")
    };
    assert!(words.starts_with("text: syntax error"), "{words}");
    let files = json!({ "text": "{% include 'a' %}" });
    let broken = letter(&request(&files, Some(json!({})))).expect("a request");
    assert!(
        Composer::new(&broken, &Fuel::new(INJECT_FUEL_ALL)).is_err(),
        "there are no other templates"
    );
}

#[test]
fn the_templates_of_a_body_have_a_bound_together() {
    let costly = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    let fuel = Fuel::new(INJECT_FUEL_MAX + 99);
    let made = |text: &str| {
        let letter =
            letter(&request(&json!({ "text": text }), Some(json!({})))).expect("a request");
        let composer = Composer::new(&letter, &fuel).expect("a template");
        let (to, values) = (letter.recipients[0].who.as_ref().expect("somebody"), Map::new());
        let made = composer.compose(Audience::Own(to, &values), STAMP);
        made.map(drop).map_err(|reply| reply.to_string())
    };
    assert_eq!(made("{{ 1 }}"), Ok(()));
    assert!(made(costly).is_err_and(|told| told.starts_with("554 5.6.0 text: ")));
    assert_eq!(made("{{ 1 }}"), Ok(()), "some is left");
    assert!(made(costly).is_err_and(|told| told.starts_with("554 5.6.0 text: ")));
    assert!(made("{{ 1 }}").is_err_and(|told| told.starts_with("452 4.3.1 ")));
    let long = "x".repeat(INJECT_TEMPLATES_MAX);
    let content = json!({ "text": long, "subject": "s" });
    let large = letter(&request(&content, Some(json!({})))).expect("a request");
    assert!(matches!(Composer::new(&large, &Fuel::new(INJECT_FUEL_ALL)), Err(Wrong(413, _))));
    let plain = letter(&request(&content, None)).expect("a request");
    assert!(Composer::new(&plain, &Fuel::new(INJECT_FUEL_ALL)).is_ok(), "it is no template");
}

#[test]
fn no_header_says_that_a_message_is_somebody_elses() {
    let raw = |header: &str| {
        let raw = format!("{header}From: a@a.example\r\n\r\nX-Tenant: text\r\n");
        request(&json!({ "raw": raw }), None)
    };
    let said = |bound: Option<&str>, request: &Value| {
        let letter = letter_of(bound, request).map_err(|Wrong(status, _)| status)?;
        let Text::Raw(raw) = letter.text else { panic!("it is whole") };
        let text = String::from_utf8(raw).expect("text");
        assert_eq!(text, "From: a@a.example\r\n\r\nX-Tenant: text\r\n", "they are taken out");
        let name = |name: Option<String>| name.unwrap_or_default();
        let (tenant, campaign) = (letter.handling.tenant, letter.handling.campaign);
        Ok((name(tenant.map(|it| it.to_string())), name(campaign.map(|it| it.to_string()))))
    };
    let known = |tenant: &str, campaign: &str| Ok((tenant.to_owned(), campaign.to_owned()));
    let both = "x-tenant: globex\r\nX-Campaign: news\r\n";
    assert_eq!(said(None, &raw("")), known("", ""));
    assert_eq!(said(None, &raw(both)), known("globex", "news"));
    assert_eq!(said(Some("globex"), &raw(both)), known("globex", "news"));
    assert_eq!(said(Some("acme"), &raw(both)), Err(403));
    assert_eq!(said(Some("acme"), &raw("X-Campaign: news\r\n")), known("acme", "news"));
    assert_eq!(said(None, &raw("X-Campaign: news\r\n")), Err(422), "nobody's");
    assert_eq!(said(None, &raw(&both.repeat(2))), Err(422), "twice");
    let mut other = raw("X-Campaign: news\r\n");
    other["tenant"] = json!("acme");
    other["campaign"] = json!("spring");
    assert_eq!(said(None, &other), Err(422));
    let field = json!({ "text": "t", "headers": { "x-TENANT": "globex" } });
    let Err(Wrong(422, words)) = letter(&request(&field, None)) else { panic!("it is taken") };
    assert!(words.contains("say `tenant`"), "{words}");
}

#[test]
fn a_whole_message_has_a_header_that_can_be_read() {
    let raw = |fields: usize| {
        let raw = "A:\r\n".repeat(fields) + "From: a@a.example\r\n\r\n" + &"B:\r\n".repeat(300_000);
        letter(&request(&json!({ "raw": raw }), None))
    };
    assert!(raw(9).is_ok());
    assert!(matches!(raw(INJECT_HEADER_MAX / 4 + 1), Err(Wrong(422, _))));
}

#[test]
fn a_whole_message_stays_as_it_is() {
    let raw = "From: a@a.example\nSubject: s\n\nline\r\nlast";
    let text = message(&request(&json!({ "raw": raw }), None));
    let rest = "From: a@a.example\r\nSubject: s\r\n\r\nline\r\nlast\r\n";
    assert!(text.ends_with(rest), "{text}");
    assert!(
        text.starts_with("Date: ") && text.contains("\r\nMessage-ID: <1@node.example>\r\nFrom")
    );
    let whole = format!("Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <o@a>\r\n{rest}");
    assert_eq!(message(&request(&json!({ "raw": whole }), None)), whole);
    let long = "x".repeat(999);
    for (body, reply) in [
        (&*format!("{long}\n"), "500 5.6.0"),
        ("a\rb\n", "554 5.6.0 Bare CR"),
        ("a\0b\n", "554 5.6.0 NUL"),
    ] {
        let raw = format!("From: a@a.example\n\n{body}");
        let told = messages(&request(&json!({ "raw": raw }), None)).remove(0);
        assert!(told.as_ref().is_err_and(|told| told.starts_with(reply)), "{told:?}");
    }
}

#[test]
fn who_shares_a_message_is_not_told() {
    let fuel = Fuel::new(INJECT_FUEL_ALL);
    let letter = letter(&request(&json!({ "text": "t" }), None)).expect("a request");
    let composer = Composer::new(&letter, &fuel).expect("no templates");
    let made = composer.compose(Audience::Several, STAMP).expect("a message");
    let text = String::from_utf8(made).expect("text");
    assert!(text.contains("undisclosed-recipients") && !text.contains("a.example"), "{text}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let fine = request(&json!({ "subject": "s", "text": "t" }), None);
    let with = |name: &str, value: Value| {
        let mut changed = fine.clone();
        changed[name] = value;
        changed
    };
    let content = |content: Value| with("content", content);
    for (request, status, words) in [
        (with("form", json!("x")), 422, "unknown field `form`"),
        (with("recipients", json!([])), 422, "`recipients` is empty"),
        (with("campaign", json!("news")), 422, "say `tenant`"),
        (with("tenant", json!("a b")), 422, "tenant a b: "),
        (with("priority", json!(10)), 422, "priority"),
        (with("expires", json!("2020-01-01T00:00:00Z")), 422, "expires: it would be over"),
        (with("expires", json!("soon")), 422, "`soon` is no time"),
        (with("not_before", json!("90d")), 422, "not_before: nothing is held for so long"),
        (with("reverse_path", json!("x y")), 422, "reverse_path x y"),
        (content(json!({})), 422, "say `text`, `html`, both, or `raw`"),
        (content(json!({ "raw": "x", "text": "t" })), 422, "goes with nothing else"),
        (content(json!({ "raw": "Subject: s\n\nno author" })), 422, "`From:` is in it"),
        (content(json!({ "text": "t", "headers": { "Bcc": "c@c.example" } })), 422, "`bcc` is not"),
        (
            content(json!({ "text": "t", "headers": { "Content-Type": "x" } })),
            422,
            "is not for you",
        ),
        (content(json!({ "text": "t", "headers": { "A\r\nB": "x" } })), 422, "no field's name"),
        (content(json!({ "attachments": [{ "data": "!" }] })), 422, "is no base64"),
        (content(json!({ "attachments": [{ "type": "a/b; c=d", "data": "" }] })), 422, "`type`"),
        (content(json!({ "attachments": [{ "name": "a\r\nb", "data": "" }] })), 422, "`name`"),
        (content(json!({ "attachments": [{ "cid": "<a>", "data": "" }] })), 422, "`cid`"),
    ] {
        let Wrong(found, told) = letter(&request).expect_err(words);
        assert!(found == status && told.contains(words), "{request}: {found} {told}");
    }
    let Err(Wrong(400, _)) = Body::parse(b"{\"from\": ") else { panic!("it is no JSON") };
    assert!(Body::parse(b"[]").is_err());
    let line = "a header field has no line ends";
    let subject = content(json!({ "subject": "a\nBcc: b@b.example", "text": "t" }));
    assert!(messages(&subject)[0].as_ref().is_err_and(|told| told.contains(line)));
}

#[test]
fn a_bound_token_hands_in_mail_of_its_tenants() {
    let fine = request(&json!({ "text": "t" }), None);
    let tenant = |bound, request: &Value| {
        let handling = letter_of(bound, request).map(|letter| letter.handling);
        handling.map(|handling| handling.labels().0.to_owned())
    };
    assert_eq!(tenant(Some("acme"), &fine), Ok("acme".to_owned()));
    assert_eq!(tenant(None, &fine), Ok(String::new()));
    let mut said = fine;
    said["tenant"] = json!("acme");
    assert_eq!(tenant(Some("acme"), &said), Ok("acme".to_owned()));
    assert!(matches!(tenant(Some("globex"), &said), Err(Wrong(403, _))));
}
