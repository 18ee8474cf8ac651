//! What becomes of a message, by what its tenant wants and what it is.

use super::*;
use crate::mail::handling::CampaignName;
use crate::policy::verp::Secrets;
use proptest::prelude::*;

const HOST: &str = "links.example";
const PAGE: &str = "<p><a href=\"https://shop.example/\">Shop</a></p>\r\n";

fn terms(unsubscribe: Unsubscribe, is_tracked: bool) -> Terms {
    Terms { unsubscribe, opens: is_tracked, clicks: is_tracked, host: HOST.into() }
}

fn rules(terms: Terms) -> Arc<Rules> {
    let secrets = Secrets::parse(&"s".repeat(40)).expect("a secret");
    let acme = TenantName::parse("acme").expect("a name");
    Arc::new(Rules { links: Some(Links::new(&secrets)), terms: HashMap::from([(acme, terms)]) })
}

fn sender(tenant: &str) -> Option<Sender> {
    let tenant = TenantName::parse(tenant).ok();
    Some(Sender { tenant, campaign: CampaignName::parse("spring").ok() })
}

/// Lead a message through, cut after so many octets each.
fn lead(
    terms: Terms,
    content: &[u8],
    cut: usize,
    who: Option<Sender>,
) -> Result<(Vec<u8>, Done), Reply> {
    let recipient = Mailbox::parse("reader@b.example", true).ok();
    let mut linker = Linker::new(rules(terms), MessageId(77), WallTime(5_000), recipient);
    let mut out = Vec::new();
    for piece in content.chunks(cut) {
        out.extend(linker.push(piece.to_vec()));
        if linker.asks() {
            out.extend(linker.sent_by(who.clone()));
        }
        assert!(linker.memory() <= 2 * (TRACKED_BYTES_MAX + cut));
    }
    if linker.is_in_header() {
        out.extend(linker.sent_by(who));
    }
    let (rest, done) = linker.end()?;
    out.extend(rest);
    Ok((out, done))
}

fn text(terms: Terms, content: &str) -> (String, Done) {
    let (out, done) = lead(terms, content.as_bytes(), 10, sender("acme")).expect("it is taken");
    (String::from_utf8(out).expect("text"), done)
}

fn html(header: &str) -> String {
    format!("{header}From: a@a.example\r\nContent-Type: text/html\r\n\r\n{PAGE}")
}

/// What the first link of ours says that begins so.
fn read(text: &str, path: &str) -> crate::policy::links::Link {
    let secrets = Secrets::parse(&"s".repeat(40)).expect("a secret");
    let start = text.find(path).expect("it is there");
    let end = text[start..].find(['"', '>']).expect("it ends") + start;
    Links::new(&secrets).read(HOST, &text[start..end]).expect("it is one of ours")
}

#[test]
fn a_message_gets_what_its_tenant_wants() {
    let (out, done) = text(terms(Unsubscribe::Add, true), &html(""));
    assert!(out.starts_with("List-Unsubscribe: <https://links.example/u/"), "{out}");
    assert_eq!(done, Done { unsubscribe: true, tracked: Some(Tracked::Links(2)) });
    let click = read(&out, "/c/");
    assert_eq!(click.action, Action::Click("https://shop.example/".into()));
    let about = read(&out, "/u/").about;
    assert_eq!((about.message, about.taken), (MessageId(77), WallTime(5_000)));
    assert_eq!(about.recipient.as_ref().map(Mailbox::as_str), Some("reader@b.example"));
    assert_eq!(about.campaign.as_ref().map(CampaignName::as_str), Some("spring"));
    assert_eq!((&click.about, &read(&out, "/o/").about), (&about, &about));
}

#[test]
fn others_messages_pass_as_they_came() {
    let content = html("");
    for who in [sender("globex"), Some(Sender::default()), None] {
        let led = lead(terms(Unsubscribe::Add, true), content.as_bytes(), 7, who).expect("taken");
        assert_eq!(led, (content.clone().into_bytes(), Done::default()));
    }
}

#[test]
fn what_somebody_signed_or_sealed_passes_as_it_came() {
    for (header, unsubscribe) in [
        ("DKIM-Signature: v=1; h=from:list-unsubscribe\r\n", false),
        ("DKIM-Signature: v=1; h=from:to\r\n", true),
    ] {
        let content = html(header);
        let (out, done) = text(terms(Unsubscribe::Add, true), &content);
        assert_eq!(done, Done { unsubscribe, tracked: Some(Tracked::Signed) });
        assert!(out.ends_with(&content), "{out}");
    }
    let sealed = "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b--\r\n";
    let (out, done) = text(terms(Unsubscribe::Off, true), sealed);
    assert_eq!((&*out, done.tracked), (sealed, Some(Tracked::Signed)));
    let plain = "Subject: x\r\n\r\nhttps://shop.example/\r\n";
    let (out, done) = text(terms(Unsubscribe::Off, true), plain);
    assert_eq!((&*out, done.tracked), (plain, Some(Tracked::None)));
}

#[test]
fn what_is_too_large_passes_as_it_came() {
    let large = format!("{}{}", html(""), "x\r\n".repeat(TRACKED_BYTES_MAX / 3));
    for cut in [1_000, TRACKED_BYTES_MAX * 2] {
        let led = lead(terms(Unsubscribe::Off, true), large.as_bytes(), cut, sender("acme"));
        let (out, done) = led.expect("it is taken");
        assert!(out == large.as_bytes());
        assert_eq!(done.tracked, Some(Tracked::Large));
    }
}

#[test]
fn a_message_that_lacks_one_click_is_refused_where_it_is_checked() {
    let check = || terms(Unsubscribe::Check, false);
    let refused = lead(check(), html("").as_bytes(), 9, sender("acme")).expect_err("refused");
    assert!(refused.to_string().starts_with("550 5.7.1 List-Unsubscribe"), "{refused}");
    let own = "List-Unsubscribe: <https://a.example/u>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    for terms in [check(), terms(Unsubscribe::Add, false)] {
        let (out, done) = text(terms, &html(own));
        assert_eq!((out, done), (html(own), Done::default()), "it says so by itself");
    }
    assert!(lead(check(), html("").as_bytes(), 9, sender("globex")).is_ok());
}

#[test]
fn where_there_are_several_recipients_a_link_says_of_the_message_alone() {
    let rules = rules(terms(Unsubscribe::Add, true));
    let mut linker = Linker::new(rules, MessageId(77), WallTime(0), None);
    let mut out = linker.push(html("").into_bytes());
    out.extend(linker.sent_by(sender("acme")));
    let (rest, done) = linker.end().expect("it is taken");
    out.extend(rest);
    let out = String::from_utf8(out).expect("text");
    assert!(!out.contains("/u/") && !done.unsubscribe, "nobody could be told from the others");
    assert_eq!(read(&out, "/o/").about.recipient, None);
}

#[test]
fn links_to_unsubscribe_and_our_own_stay() {
    let own = "List-Unsubscribe: <https://a.example/u?x=1>\r\n";
    let body = "<a href=\"https://a.example/u?x=1\"><a href=\"https://LINKS.example/c/X\">\r\n";
    let content = format!("{own}Content-Type: text/html\r\n\r\n{body}");
    let clicks = Terms { opens: false, ..terms(Unsubscribe::Off, true) };
    let (out, done) = text(clicks, &content);
    assert_eq!((out, done.tracked), (content, Some(Tracked::None)));
}

#[test]
fn a_message_without_a_body_has_a_header_all_the_same() {
    let (out, done) = text(terms(Unsubscribe::Add, true), "From: a@a.example\r\n");
    assert!(out.starts_with("List-Unsubscribe: <") && out.ends_with("From: a@a.example\r\n"));
    assert_eq!(done, Done { unsubscribe: true, tracked: Some(Tracked::None) });
    let (out, _) = text(terms(Unsubscribe::Add, true), "\r\nbody\r\n");
    assert!(out.ends_with("One-Click\r\n\r\nbody\r\n"), "{out}");
}

proptest! {
    #[test]
    fn it_is_the_same_however_it_is_cut(
        body in "(<a href=\"https://a.example/[a-z]{3}\">|</body>|\r\n|[a-z ]{1,9}){0,20}",
        cut in 1usize..200,
    ) {
        let content = format!("X: y\r\nContent-Type: text/html\r\n\r\n{body}").into_bytes();
        let whole = lead(terms(Unsubscribe::Add, true), &content, content.len(), sender("acme"));
        let cut = lead(terms(Unsubscribe::Add, true), &content, cut, sender("acme"));
        prop_assert_eq!(whole, cut);
    }
}
