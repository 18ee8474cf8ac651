//! Postfix as client: the relay is its relayhost.

use super::mail::message;
use super::network::Network;
use super::node::Node;
use super::postfix::Postfix;
use super::process::until;
use super::python::{self, read_dsn};
use super::sink::{ALL, Sink};

/// A relay on port 2525 that takes `dsn.example` to a sink that offers DSN, all else to one that
/// does not.
fn relay<'n>(network: &'n Network, with_dsn: &Sink, without: &Sink) -> Node<'n> {
    let config = format!(
        "default_route = \"without\"\n[[listener]]\naddress = \"127.0.0.1:2525\"\n\
         [[upstream]]\nname = \"with\"\nhosts = \"{}\"\n\
         [[upstream]]\nname = \"without\"\nhosts = \"{}\"\n\
         [[route]]\ndomains = [\"dsn.example\"]\nto = \"with\"\n",
        with_dsn.address(),
        without.address()
    );
    Node::start(network, &config)
}

const RELAYHOST: &str = "relayhost = [127.0.0.1]:2525";

#[test]
fn postfix_relays_through_us() {
    if !python::is_here() {
        return;
    }
    let Some(network) = Network::own() else { return };
    let offers = [&ALL[..], &["DSN"]].concat();
    let (with_dsn, without) = (Sink::start(&network, &offers), Sink::start(&network, &ALL));
    let node = relay(&network, &with_dsn, &without);
    let Some(postfix) = Postfix::start(&network, RELAYHOST) else { return };

    let body: String = (0..20_000).map(|n| format!("{n} line after line\r\n")).collect();
    let to: Vec<String> = (0..30).map(|n| format!("r{n}@{}.example", n % 3)).collect();
    let mut arguments = vec!["-f", "s@sender.example"];
    arguments.extend(to.iter().map(String::as_str));
    postfix.sendmail(&arguments, &message("s@sender.example", "all", &body));

    for address in &to {
        let content = without.wait_for(address).content();
        assert!(content.ends_with(body.as_bytes()), "{address}");
    }
    node.wait_until_empty();
    let recipients: usize = without.kept().iter().map(|kept| kept.rcpt.len()).sum();
    assert_eq!(recipients, to.len(), "none came twice");
}

#[test]
fn what_postfix_asks_of_dsns_goes_on_or_is_answered_here() {
    if !python::is_here() {
        return;
    }
    let Some(network) = Network::own() else { return };
    let offers = [&ALL[..], &["DSN"]].concat();
    let (with_dsn, without) = (Sink::start(&network, &offers), Sink::start(&network, &ALL));
    let node = relay(&network, &with_dsn, &without);
    let Some(postfix) = Postfix::start(&network, RELAYHOST) else { return };

    let content = message("s@sender.example", "r", "asks for reports\r\n");
    for to in ["r@dsn.example", "r@other.example", "unknown@other.example"] {
        let options = ["-f", "s@sender.example", "-N", "success,failure,delay", "-R", "full"];
        postfix.sendmail(&[&options[..], &["-V", "id+1=2", to]].concat(), &content);
    }

    let kept = with_dsn.wait_for("r@dsn.example");
    assert!(kept.mail.contains(" RET=FULL") && kept.mail.contains(" ENVID=id+2B1+3D2"), "{kept:?}");
    let rcpt = &kept.rcpt[0];
    assert!(rcpt.contains(" ORCPT=rfc822;r@dsn.example"), "{rcpt}");
    let notify = rcpt.split(" NOTIFY=").nth(1).unwrap().split(' ').next().unwrap();
    let mut notify: Vec<_> = notify.split(',').collect();
    notify.sort_unstable();
    assert_eq!(notify, ["DELAY", "FAILURE", "SUCCESS"]);

    // The other sink cannot report, so this node does.
    let kept = without.wait_for("r@other.example");
    assert!(!kept.mail.contains("RET=") && !kept.rcpt[0].contains("NOTIFY="), "{kept:?}");
    let reports = until("two reports", || {
        let mut kept = without.kept();
        kept.retain(|kept| kept.is_for("s@sender.example"));
        (kept.len() == 2).then_some(kept)
    });
    node.wait_until_empty();
    let mut told: Vec<_> = reports
        .iter()
        .map(|kept| {
            let dsn = read_dsn(&kept.content());
            assert_eq!(dsn["message"]["original-envelope-id"], "id+1=2");
            let about = &dsn["recipients"][0];
            let fields = ["final-recipient", "original-recipient", "action", "status"];
            fields.map(|field| about[field].as_str().unwrap().to_owned())
        })
        .collect();
    told.sort();
    let expected =
        [("r@other.example", "relayed", "2.0.0"), ("unknown@other.example", "failed", "5.1.1")];
    for (told, (address, action, status)) in told.iter().zip(expected) {
        let address = format!("rfc822; {address}");
        assert_eq!(*told, [&address, &address, action, status]);
    }
}
