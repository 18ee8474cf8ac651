//! `[web]` and what tenants want of links: what is read, and what is refused.

use std::time::Duration;

use super::{problems, read_file};
use crate::policy::links::letter::Unsubscribe;

const WEB: &str = "[web]\nhost = \"Links.Example\"\nsecrets = \"/s\"\n";

#[test]
fn there_are_no_links_unless_said() {
    let config = read_file("[[tenant]]\nname = \"acme\"\n");
    assert_eq!(config.web, None);
    assert!(config.senders.tenants[0].links.is_off() && config.suppression.unsubscribes);
}

#[test]
fn links_are_read() {
    let more = "listen = [\"0.0.0.0:8443\", \"[::]:8443\"]\ncertificate = \"/c\"\nkey = \"/k\"\n\
        machine_within = \"9s\"\ndo_not_track = \"ignore\"\n[suppression]\nat = \"queue\"\n\
        [[tenant]]\nname = \"acme\"\nunsubscribe = \"add\"\ntracking = \"all\"\n\
        tracking_host = \"Click.Acme.Example\"\n\
        [[tenant]]\nname = \"globex\"\nunsubscribe = \"check\"\ntracking = \"clicks\"\n";
    let config = read_file(&format!("{WEB}{more}"));
    let web = config.web.expect("it is there");
    assert_eq!((&*web.host, web.listen.len()), ("links.example", 2));
    assert_eq!((web.soon, web.honours_do_not_track), (Duration::from_secs(9), false));
    assert!(web.certificate.is_some());
    let [acme, globex] = config.senders.tenants.as_slice() else { panic!("two") };
    assert_eq!((acme.links.unsubscribe, acme.links.opens), (Unsubscribe::Add, true));
    assert_eq!(acme.links.host.as_deref(), Some("click.acme.example"));
    assert_eq!((globex.links.unsubscribe, globex.links.clicks), (Unsubscribe::Check, true));
    assert!(!globex.links.opens && globex.links.host.is_none());
}

#[test]
fn links_that_nobody_would_answer_are_refused() {
    let tenant = |knob: &str| format!("[[tenant]]\nname = \"acme\"\n{knob}\n");
    let add = tenant("unsubscribe = \"add\"");
    let lists = "[suppression]\nat = \"rcpt\"\n";
    for (text, expected) in [
        ("[web]\nhost = \"a.example\"\n".to_owned(), "there are no links = set `web.secrets`"),
        ("[web]\nsecrets = \"/s\"\n".to_owned(), "there are no links = set `web.host`"),
        ("[web]\nlisten = [\"127.0.0.1:1\"]\n".to_owned(), "there are no links"),
        (format!("{WEB}key = \"/k\"\n"), "a certificate and its key go together"),
        (format!("{WEB}listen = {:?}\n", ["127.0.0.1:1"; 9]), "more than 8 addresses"),
        (tenant("tracking = \"opens\""), "its links would lead nowhere"),
        (format!("{lists}{add}"), "its links would lead nowhere"),
        (format!("{WEB}{add}"), "whoever unsubscribes would go on getting"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|one| one.contains(expected)), "{text}: {found:?}");
    }
    read_file(&tenant("unsubscribe = \"check\""));
    read_file(&format!("{WEB}{lists}{add}"));
    read_file(&format!("{WEB}[suppression]\nunsubscribes = \"ignore\"\n{add}"));
}
