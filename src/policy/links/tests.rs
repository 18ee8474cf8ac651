//! What a link says, to us alone, and what is none.

use super::*;
use proptest::prelude::*;

const NEW: &str = "0123456789abcdef0123456789abcdef-new";
const OLD: &str = "0123456789abcdef0123456789abcdef-old";
const HOST: &str = "links.example";

fn links(secrets: &[&str]) -> Links {
    Links::new(&Secrets::parse(&secrets.join("\n")).expect("secrets"))
}

fn about() -> About {
    About {
        message: MessageId(0x0123_4567_89ab_cdef),
        taken: WallTime(1_795_491_661_000),
        recipient: Some(Mailbox::parse("reader@b.example", true).expect("an address")),
        tenant: Some(TenantName::parse("acme").expect("a name")),
        campaign: Some(CampaignName::parse("spring-2027").expect("a name")),
    }
}

fn actions() -> [Action; 3] {
    let target = "https://shop.example/?a=1&b=%20#top";
    [Action::Unsubscribe, Action::Open, Action::Click(target.into())]
}

fn path(url: &str) -> &str {
    url.strip_prefix("https://links.example").expect("it is there")
}

#[test]
fn a_link_says_what_it_was_made_for_and_is_short() {
    let links = links(&[NEW]);
    let nobody = About { recipient: None, tenant: None, campaign: None, ..about() };
    for about in [about(), nobody] {
        for action in actions() {
            let url = links.url(HOST, &about, &action);
            let expected = Link { about: about.clone(), action };
            assert_eq!(links.read(HOST, path(&url)), Some(expected), "{url}");
        }
    }
    assert!(links.url(HOST, &about(), &Action::Unsubscribe).len() < 130);
    assert_eq!(links.url(HOST, &about(), &Action::Open), links.url(HOST, &about(), &Action::Open));
}

#[test]
fn nothing_personal_can_be_read() {
    for action in actions() {
        let url = links(&[NEW]).url(HOST, &about(), &action);
        let octets = BASE64.decode(&path(&url)[3..]).expect("base64");
        for word in ["reader", "b.example", "acme", "spring", "shop", "https"] {
            assert!(!url[8..].contains(word), "{word} in {url}");
            assert!(memchr::memmem::find(&octets, word.as_bytes()).is_none(), "{word}");
        }
    }
}

#[test]
fn no_other_octet_host_or_use_is_taken() {
    let links = links(&[NEW]);
    for action in actions() {
        let url = links.url(HOST, &about(), &action);
        let path = path(&url);
        assert_eq!(links.read("other.example", path), None, "another tenant's host");
        assert_eq!(links.read(HOST, &path[..path.len() - 1]), None);
        for other in ["/u/", "/o/", "/c/", "/x/", "/é/"] {
            let is_same = *other == path[..3];
            assert_eq!(links.read(HOST, &format!("{other}{}", &path[3..])).is_some(), is_same);
        }
        let octets = BASE64.decode(&path[3..]).expect("base64");
        for place in 0..octets.len() {
            let mut changed = octets.clone();
            changed[place] ^= 1;
            let changed = format!("{}{}", &path[..3], BASE64.encode(changed));
            assert_eq!(links.read(HOST, &changed), None, "octet {place}");
        }
    }
    for nothing in ["", "/", "/u", "/u/", "/c/AAAA", "/c/https://evil.example/", "/u/%41"] {
        assert_eq!(links.read(HOST, nothing), None, "{nothing}");
    }
    let long = format!("/c/{}", "A".repeat(LINK_TOKEN_MAX + 1));
    assert_eq!(links.read(HOST, &long), None);
}

#[test]
fn secrets_change_without_breaking_what_was_sent() {
    let (old, both, new) = (links(&[OLD]), links(&[NEW, OLD]), links(&[NEW]));
    let before = old.url(HOST, &about(), &Action::Unsubscribe);
    assert!(both.read(HOST, path(&before)).is_some());
    assert_eq!(new.read(HOST, path(&before)), None);
    let after = both.url(HOST, &about(), &Action::Unsubscribe);
    assert_eq!(
        (new.read(HOST, path(&after)).is_some(), old.read(HOST, path(&after))),
        (true, None)
    );
}

#[test]
fn links_lead_to_the_web_and_nowhere_else() {
    let long = format!("https://a.example/{}", "x".repeat(LINK_TARGET_MAX));
    for (url, may) in [
        ("https://a.example", true),
        ("HTTP://a.example:8080/b?c=d&e=%C3%A9#f", true),
        ("https://[2001:db8::1]/", true),
        ("https://xn--bcher-kva.example/~a/(b)/[c],;:@!$'*+=", true),
        ("https://", false),
        ("https:///path", false),
        ("https://user@a.example/", false),
        ("https://a.example\\@b.example/", false),
        ("https://a.example/{{name}}", false),
        ("https://a.example/a b", false),
        ("https://a.example/\u{e9}", false),
        ("https://a.example/\r\nSet-Cookie:x", false),
        ("javascript:alert(1)", false),
        ("mailto:a@b.example", false),
        ("ftp://a.example/", false),
        ("//a.example/", false),
        ("#top", false),
        ("", false),
        (&long, false),
    ] {
        assert_eq!(may_lead_to(url), may, "{url}");
    }
}

proptest! {
    #[test]
    fn no_path_panics_or_is_taken(host in ".{0,20}", path in ".{0,60}") {
        prop_assert_eq!(links(&[NEW]).read(&host, &path), None);
    }

    #[test]
    fn every_link_reads_back(
        id in any::<u64>(),
        seconds in any::<u32>(),
        rest in "[!-!#-;=?-Z_a-z~]{0,900}",
    ) {
        let about = About {
            message: MessageId(id),
            taken: WallTime(i64::from(seconds) * 1_000),
            ..about()
        };
        let action = Action::Click(format!("https://a.example/{rest}").into());
        let links = links(&[NEW]);
        let url = links.url(HOST, &about, &action);
        prop_assert!(path(&url).len() <= LINK_TOKEN_MAX + 3);
        prop_assert_eq!(links.read(HOST, path(&url)), Some(Link { about, action }));
    }
}
