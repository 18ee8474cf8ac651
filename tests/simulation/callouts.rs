//! Recipients that servers behind are asked about, on virtual time.

use crate::agenda::SECOND;
use crate::client::Client;
use crate::ledger::Verdict;
use crate::peer::Reach;
use crate::scenarios::{STANDARD, relay_domain, world};
use crate::world::World;

fn asking(hosts: &str, more: &str) -> String {
    format!("{}recipients = \"callout\"\n{more}", relay_domain(hosts))
}

impl World {
    /// Messages whose recipients were all taken, or none of them.
    fn taken(&self, kind: &str) -> (usize, usize) {
        let of_kind = self.ledger.mail.iter().filter(|mail| mail.to[0].address.starts_with(kind));
        let (taken, refused): (Vec<_>, Vec<_>) = of_kind.partition(|mail| mail.to[0].taken);
        (taken.len(), refused.len())
    }
}

/// All of them are guesses of one kind or the other, each asked about once.
#[test]
fn a_flood_of_guesses_is_refused_over_a_few_connections() {
    let mut world = world(STANDARD, &asking("203.0.113.101", ""));
    world.ledger.refuses_recipients = true;
    let host = world.add_host(101);
    world.boot(2);
    world.submit(400, ("nobody", "corp.example"), 0);
    world.submit(400, ("user", "corp.example"), 0);
    world.run_until(120 * SECOND);
    assert!(world.clients.iter().all(Client::is_done));
    assert_eq!((world.taken("nobody"), world.taken("user")), ((0, 400), (400, 0)));
    assert_eq!((world.delivered().len(), world.queued()), (400, 0));
    assert_eq!(world.ledger.notices, [], "nothing bounced");
    // Eight questions each, and those that carry mail.
    let connections = world.hosts[host].attempts.len();
    assert!(connections <= 800 / 8 + 2 * 4 + 100, "{connections}");
    world.ledger.audit();
    world.audit_rest();
}

//= RFC 5321 §4.5.3.2.3, type=test
//# RCPT Command: 5 Minutes
/// Is what a client waits: it is answered long before, whatever the server behind does.
#[test]
fn a_server_behind_that_falls_silent_delays_few_and_loses_nothing() {
    for (reach, unverified, is_taken) in [
        (Reach::Silent, "", true),
        (Reach::Refuses, "", true),
        (Reach::Silent, "unverified = \"defer\"\n", false),
    ] {
        let mut world = world(STANDARD, &asking("203.0.113.101", unverified));
        world.ledger.refuses_recipients = true;
        let host = world.add_host(101);
        world.add_outage(host, 0, 60 * SECOND, reach);
        world.boot(1);
        world.submit(40, ("user", "corp.example"), 0);
        // Ten seconds for the first of each client; then it is known that nobody answers.
        world.run_until(30 * SECOND);
        let verdicts = world.ledger.mail.iter();
        let taken = verdicts.filter(|mail| matches!(mail.verdict, Verdict::Acknowledged(_)));
        assert_eq!(taken.count(), if is_taken { 40 } else { 0 }, "{reach:?}");
        let tried = world.hosts[host].attempts.len();
        assert!(tried <= 40, "{tried} connections in vain");
        world.run_until(400 * SECOND);
        let all = world.delivered().len();
        assert_eq!(all, if is_taken { 40 } else { world.taken("user").0 }, "{reach:?}");
        world.ledger.audit();
        world.audit_rest();
    }
}

#[test]
fn another_upstream_is_asked_while_the_first_is_silent() {
    let mut world = world(STANDARD, &asking("203.0.113.101;203.0.113.102", ""));
    world.ledger.refuses_recipients = true;
    let (first, _) = (world.add_host(101), world.add_host(102));
    world.add_outage(first, 0, 300 * SECOND, Reach::Silent);
    world.boot(1);
    // They wait in vain for the first; the others are asked about at the second.
    world.submit(4, ("user", "corp.example"), 0);
    world.run_until(12 * SECOND);
    world.submit(40, ("nobody", "corp.example"), 0);
    world.submit(40, ("user", "corp.example"), 0);
    world.run_until(40 * SECOND);
    assert_eq!((world.taken("nobody"), world.taken("user")), ((0, 40), (44, 0)));
    // Deliveries are more patient with the first one.
    world.run_until(120 * SECOND);
    assert_eq!(world.delivered().len(), 44);
    world.audit_rest();
}
