//! One sender's mail to a domain waits, and that of others goes on.

use super::shares::handling;
use super::*;
use crate::mail::handling::Handling;

const PLACE: &str = "big.example";
const MINUTE: Duration = Duration::from_secs(60);

impl Bench {
    /// Refuse this departure for its sender's sake.
    fn refuse(&mut self, departure: &Departure) {
        let over = self.queue.park_flow(departure, self.now + MINUTE, "enough of them".into());
        assert!(over.is_empty(), "{over:?}");
    }

    /// Let everything go that does, refusing what is of messages up to `refused`; what went.
    fn go(&mut self, refused: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        while let Some(departure) = self.queue.pop_ready() {
            match self.number(&departure) {
                number if number <= refused => self.refuse(&departure),
                number => {
                    gone.push(number);
                    self.finish(&departure);
                }
            }
        }
        gone
    }

    fn view(&self, id: u64) -> RecipientView {
        self.queue.show(MessageId(id)).expect("queued").recipients[0].clone()
    }
}

#[test]
fn others_go_on_and_the_refused_wait_for_a_probe() {
    for refused in ["acme/news", ""] {
        let mut bench = Bench::new();
        let refused = if refused.is_empty() { Handling::default() } else { handling(refused, 0) };
        bench.send(10, 2, &refused);
        bench.send(3, 1, &handling("globex", 0));
        // One is tried before it is known.
        assert_eq!(bench.go(10), [11, 12, 13]);
        assert_eq!((bench.queue.stats().parked, bench.queue.stats().ready), (20, 0));
        let view = bench.view(4);
        assert_eq!(view.why.as_deref(), Some("enough of them"));
        assert!(view.parked && view.parked_until == Some(bench.now + MINUTE), "{view:?}");
        // Who comes meanwhile waits with the others, and nobody else.
        bench.send(1, 1, &refused);
        bench.send(1, 1, &handling("initech", 0));
        assert_eq!(bench.go(14), [15]);
        // A minute later one is tried: it is refused again.
        assert!(bench.pass(MINUTE).is_empty());
        let probe = bench.pop();
        assert!(bench.queue.pop_ready().is_none(), "the others wait for it");
        assert!(bench.view(10).parked && bench.view(10).parked_until.is_none());
        bench.refuse(&probe);
        assert!(bench.queue.pop_ready().is_none());
        // And then it is not: all follow.
        bench.pass(MINUTE);
        let probe = bench.pop();
        assert!(bench.queue.pop_ready().is_none());
        bench.finish(&probe);
        assert_eq!(bench.go(0).len(), 10);
        assert!(bench.queue.stats().messages == 0 && bench.queue.next_due().is_none());
    }
}

#[test]
fn a_probe_that_comes_back_for_another_reason_frees_the_others() {
    let mut bench = Bench::new();
    bench.send(5, 1, &handling("acme", 0));
    let first = bench.pop();
    bench.refuse(&first);
    bench.pass(MINUTE);
    let probe = bench.pop();
    bench.queue.park(&probe, Some(bench.now + MINUTE));
    assert!(bench.queue.pop_ready().is_none(), "the domain is parked");
    bench.queue.unpark(probe.domain, 9);
    assert_eq!(bench.go(0).len(), 5);
    // Deferred it is an answer too.
    bench.send(5, 1, &handling("acme", 0));
    let first = bench.pop();
    bench.refuse(&first);
    bench.pass(MINUTE);
    let probe = bench.pop();
    let due = bench.now + 10 * MINUTE;
    bench.queue.defer(probe.message, 0, 1, due, None).expect("dispatched");
    assert_eq!(bench.go(0).len(), 4);
}

#[test]
fn operators_find_what_rests_and_a_pause_holds_beside_it() {
    let mut bench = Bench::new();
    let acme = handling("acme", 0);
    bench.send(4, 1, &acme);
    let first = bench.pop();
    bench.refuse(&first);
    let pause = Pause { tenant: acme.tenant.clone().expect("a name"), campaign: None };
    assert!(bench.queue.pause(&pause));
    bench.pass(MINUTE);
    assert!(bench.queue.pop_ready().is_none(), "it is paused");
    assert!(bench.queue.resume(&pause));
    let probe = bench.pop();
    bench.refuse(&probe);
    // All that rest are held, and released into the same line.
    let held = bench.queue.operate(Verb::Hold, &by_domain(PLACE), Place::default());
    assert_eq!(held.touched.len(), 4);
    assert_eq!(bench.queue.stats().parked, 0);
    bench.queue.operate(Verb::Release, &by_domain(PLACE), Place::default());
    assert_eq!(bench.go(0).len(), 4, "a rest is forgotten with what stands in line");
    assert!(bench.queue.stats().messages == 0);
}
