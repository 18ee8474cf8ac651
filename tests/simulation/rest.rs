//! Audit what is left of a run: nothing outstanding, nobody busy, an end in good order.

use relay_fast::base::ids::ShardId;
use relay_fast::outcome::counters::Count;
use relay_fast::shard::commands::{Answer, Command};

use crate::agenda::{MS, SECOND};
use crate::world::World;

/// Turns of one shard in an hour without mail: its spool, its sites and its wheels may want a few.
const IDLE_TURNS: u64 = 400;

impl World {
    /// All mail has come to its end: so must all that was lent, opened or begun for it.
    pub(crate) fn audit_rest(&mut self) {
        self.idle_for(3_600 * SECOND);
        let before: Vec<u64> = self.turns();
        self.idle_for(3_600 * SECOND);
        for (before, after) in before.iter().zip(self.turns()) {
            let turns = after - before;
            assert!(turns <= IDLE_TURNS, "an idle shard took {turns} turns in an hour");
        }
        for shard in 0..self.shards() {
            let Answer::Snapshot(snapshot) = self.ask(shard, Command::Snapshot) else {
                panic!("a snapshot")
            };
            assert!(snapshot.admits && !snapshot.failing, "the spool works");
            let damaged = snapshot.counters.count(Count::SpoolDamaged);
            assert_eq!(damaged, 0, "a crash damages nothing that was committed");
            let kernel = &self.row(shard).kernel;
            assert_eq!(kernel.connections.len(), 0, "connections are left on shard {shard}");
            assert_eq!(kernel.questions.len(), 0, "questions are left on shard {shard}");
            let id = ShardId(u8::try_from(shard).expect("few shards"));
            let shared = &self.node.as_ref().expect("it runs").shared;
            assert_eq!(shared.loads.load(id), 0, "shard {shard} carries something still");
        }
        // No credit is outstanding: a drain would wait for its report.
        self.drain();
        let end = self.agenda.now + 5 * SECOND;
        while !self.reap() {
            assert!(self.agenda.now < end, "an idle relay drains at once");
            self.run_for(50 * MS);
        }
    }

    /// Let time pass; a start that was put off comes too late to matter.
    fn idle_for(&mut self, time: u64) {
        let end = self.agenda.now + time;
        while self.agenda.now < end {
            self.run_until(end);
            self.due_steps.clear();
        }
    }

    /// What is left, for a failure's message.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = String::new();
        for shard in 0..self.shards() {
            let id = ShardId(u8::try_from(shard).expect("few shards"));
            let load = self.node.as_ref().map_or(0, |node| node.shared.loads.load(id));
            let connections = self.row(shard).kernel.connections.len();
            text += &format!("shard {shard}: load {load}, {connections} connections\n");
        }
        for message in self.queue() {
            for story in message.recipients {
                let last = story.last.map(|reason| format!("{} {}", reason.peer, reason.detail));
                text += &format!(
                    "{} {}: {:?} after {} attempts, next {:?}, last {last:?}, limit {:?}\n",
                    message.id,
                    story.forward_path.as_str(),
                    story.state,
                    story.attempts,
                    story.next_attempt,
                    story.limit
                );
            }
        }
        text
    }

    fn turns(&self) -> Vec<u64> {
        let rows = self.node.iter().flat_map(|node| &node.rows);
        rows.map(|row| row.kernel.turns).collect()
    }

    /// What tells one run from another.
    pub(crate) fn digest(&self) -> Vec<u64> {
        let deliveries = self.ledger.deliveries.iter();
        let times = deliveries.map(|(number, _, delivery)| *number ^ delivery.at);
        let notices = self.ledger.notices.iter().map(|(number, _, notice)| *number ^ notice.at);
        let attempts = self.hosts.iter().flat_map(|host| host.attempts.iter().copied());
        times.chain(notices).chain(attempts).chain([self.agenda.now, self.zone.asked]).collect()
    }
}
