//! A node that signs: what waits for its signature, and what does not wait for it.

use std::sync::Arc;

use relay_fast::mail::address::Domain;
use relay_fast::outcome::counters::Count;
use relay_fast::policy::signing::{PrivateKey, Selector, Signer, Signers};
use relay_fast::shard::commands::{Answer, Command};
use relay_fast::shard::settings::Settings;

use crate::agenda::{MS, SECOND};
use crate::node::{Row, settings};
use crate::scenarios::STANDARD;
use crate::town::{BACK, config, from_memory};
use crate::world::World;

/// The key of RFC 8463, appendix A.2: the same in every run.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

/// Signatures that a message gets here.
pub(crate) const SIGNATURES: usize = 2;

/// The same, with two keys for the domain of the reverse-paths and one for the node's own.
pub(crate) fn signed(settings: Arc<Settings>) -> Arc<Settings> {
    let signer = |domain: &str, selector: &str| Signer {
        domain: Domain::parse(domain).unwrap(),
        selector: Selector::parse(selector).unwrap(),
        subdomains: false,
        identities: Box::default(),
        tenants: Box::default(),
        key: Arc::new(PrivateKey::from_pem(KEY).unwrap()),
    };
    let signers = [signer(BACK, "one"), signer(BACK, "two"), signer("relay.example", "dsn")];
    let mut settings = Arc::into_inner(settings).expect("nobody has it yet");
    settings.signers = Arc::new(Signers::new(signers));
    Arc::new(settings)
}

impl Row {
    /// Signatures made so far.
    pub(crate) fn signatures(&mut self, now: relay_fast::base::time::Now) -> u64 {
        match self.ask(Command::Snapshot, now) {
            Answer::Snapshot(snapshot) => snapshot.counters.count(Count::Signatures),
            other => panic!("{other:?}"),
        }
    }
}

/// One shard that signs, of which each turn is watched, and a host that takes everything.
fn world(text: &str) -> World {
    let mut world = World::new(5, signed(settings(text)));
    world.ledger.signatures = SIGNATURES;
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_back();
    world.add_host(1);
    world.add_domain("a.example", &[(10, 1)]);
    world.boot(1);
    world.run_for(SECOND);
    world.row(0).watches_signatures = true;
    world
}

impl World {
    fn signatures(&mut self) -> u64 {
        let now = self.agenda.clocks();
        self.row(0).signatures(now)
    }
}

/// Replies of other sessions are sent between turns: none waits for more than one signature.
#[test]
fn a_turn_makes_one_signature_at_most() {
    let mut world = world(&config(STANDARD, ""));
    world.submit(40, ("user", "a.example"), 0);
    world.run_for(60 * SECOND);
    assert_eq!(world.delivered().len(), 40);
    assert_eq!(world.signatures(), 80, "the ledger looked at each");
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn dsns_are_signed_by_the_nodes_own_domain() {
    let mut world = world(&config(STANDARD, ""));
    world.ledger.hopeless.insert("missing.example".into());
    world.submit(10, ("user", "missing.example"), 0);
    world.run_for(60 * SECOND);
    assert_eq!((world.ledger.notices.len(), world.signatures()), (10, 30));
    world.ledger.audit();
    world.audit_rest();
}

/// What is promised from memory is promised signed.
#[test]
fn an_answer_from_memory_waits_for_the_signatures() {
    let mut world = world(&from_memory(&config(STANDARD, "")));
    world.ledger.answers_from_memory = true;
    world.commit_time = 3_600 * SECOND;
    world.submit(20, ("user", "a.example"), 0);
    world.run_for(5 * SECOND);
    assert_eq!((world.acknowledged(), world.signatures()), (20, 40));
    world.commit_time = 5 * MS;
    world.run_for(3_700 * SECOND);
    assert_eq!(world.delivered().len(), 20);
    world.ledger.audit();
    world.audit_rest();
}

/// What comes in for a relay domain says that it is from whomever it likes.
#[test]
fn strangers_get_no_signature() {
    let relay = "[[upstream]]\nname = \"g\"\nhosts = \"203.0.113.1\"\n\
        [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"g\"\n";
    let text = config(STANDARD, relay).replace("198.51.100.0/24", "198.18.0.0/15");
    let mut world = world(&text);
    world.ledger.signatures = 0;
    world.submit(5, ("user", "corp.example"), 0);
    world.run_for(60 * SECOND);
    assert_eq!((world.delivered().len(), world.signatures()), (5, 0));
    world.ledger.audit();
    world.audit_rest();
}
