//! One run by seed: a campaign through a storm of faults, then calm, then the audit.

use crate::agenda::{Agenda, Happening, MS, SECOND};
use crate::client::{Abort, Client, Habits};
use crate::ledger::Notify;
use crate::node::settings;
use crate::peer::{Moods, Reach};
use crate::shaping::{RULES, shaped};
use crate::signing::{SIGNATURES, signed};
use crate::town::{config, from_memory};
use crate::world::World;
use crate::zone::Owner;

const MINUTE: u64 = 60 * SECOND;
const DOMAINS: [&str; 12] = [
    "a.example",
    "b.example",
    "c.example",
    "d.example",
    "e.example",
    "alias.example",
    "shaky.example",
    "corp.example",
    "corp.example",
    "null.example",
    "missing.example",
    "gone.example",
];

/// A fault, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Crash,
    Start(usize),
    Drain,
    DiskFull(bool),
    DiskFails(u64),
    /// The wall clock is set, by so many seconds.
    SetClock(i64),
    Calm,
}

/// A run under way.
struct Storm {
    world: World,
    plan: Vec<Step>,
    calm_at: u64,
    starts: u64,
    trouble_since: Option<u64>,
}

/// Run the seed; panics where a promise is broken.
pub(crate) fn run(seed: u64) -> Vec<u64> {
    let mut storm = Storm::new(seed);
    storm.prepare_hosts();
    storm.prepare_mail();
    storm.prepare_faults();
    storm.blow();
    storm.settle();
    storm.audit();
    storm.world.digest()
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut agenda = Agenda::new(seed);
        let hot = ["0B", "16KiB", "64MiB"][agenda.index(3)];
        let list =
            ["203.0.113.101,203.0.113.102*2", "203.0.113.101;203.0.113.102"][agenda.index(2)];
        let retry = ["5s", "20s", "1m"][agenda.index(3)];
        let (lifetime, minutes) = [("1h", 60), ("3m", 3)][agenda.index(2)];
        let queue = format!(
            "retry_first = \"{retry}\"\nretry_longest = \"5m\"\nlifetime = \"{lifetime}\"\n\
             delay_report = \"1m\""
        );
        // One in five asks about recipients of the relay domain.
        let recipients = match seed % 10 {
            2 => "recipients = \"callout\"\n",
            7 => "recipients = \"callout\"\nunverified = \"defer\"\n",
            _ => "",
        };
        let more = format!(
            "[spool]\nhot_memory = \"{hot}\"\n\
             [[upstream]]\nname = \"pair\"\nhosts = \"{list}\"\n\
             [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"pair\"\n{recipients}"
        );
        // One storm in three blows over a listener that answers from memory.
        let answers_from_memory = seed % 3 == 1;
        let text = config(&queue, &more);
        let text = if answers_from_memory { from_memory(&text) } else { text };
        // One in four signs.
        let signs = seed % 4 == 3;
        // One in five is shaped, by rules that let all of it through in time.
        let settings = settings(&text);
        let settings = if seed % 5 == 4 { shaped(settings, RULES) } else { settings };
        let mut world = World::new(seed, if signs { signed(settings) } else { settings });
        world.ledger.signatures = if signs { SIGNATURES } else { 0 };
        world.agenda = agenda;
        world.ledger.refuses_recipients = !recipients.is_empty();
        world.ledger.answers_from_memory = answers_from_memory;
        world.ledger.lifetime = minutes * MINUTE;
        let calm_at = world.agenda.between(2 * MINUTE, 10 * MINUTE);
        // Its last outages end 3 minutes after it.
        world.ledger.storm = calm_at + 15 * MINUTE;
        Self { world, plan: Vec::new(), calm_at, starts: 1, trouble_since: None }
    }

    fn prepare_hosts(&mut self) {
        let calm_at = self.calm_at;
        let world = &mut self.world;
        for octet in [1, 2, 3, 4, 101, 102] {
            let host = world.add_host(octet);
            let agenda = &mut world.agenda;
            let host = &mut world.hosts[host];
            host.pipelining = agenda.chance(800);
            host.chunking = agenda.chance(500);
            host.dsn = agenda.chance(300);
            host.moods = moods(agenda);
            host.calm_at = calm_at;
            host.greylists_for = if agenda.chance(200) { SECOND } else { 0 };
        }
        for host in 0..world.hosts.len() {
            for _ in 0..world.agenda.index(3) {
                let agenda = &mut world.agenda;
                let from = agenda.between(0, calm_at);
                let to = from + agenda.between(SECOND, 3 * MINUTE);
                let ways = [Reach::Refuses, Reach::Unreachable, Reach::Silent];
                let reach = ways[agenda.index(3)];
                world.add_outage(host, from, to, reach);
            }
        }
        let back = world.add_back();
        let moods = Moods { take_and_cut: 30, cut: 5, leave: 200, ..Moods::default() };
        (world.hosts[back].moods, world.hosts[back].calm_at) = (moods, calm_at);
        let gone = world.add_host(9);
        world.add_outage(gone, 0, u64::MAX, Reach::Refuses);
        world.add_domain("a.example", &[(10, 1)]);
        world.add_domain("b.example", &[(10, 2), (10, 3)]);
        world.add_domain("c.example", &[(10, 3), (20, 4)]);
        world.add_domain("d.example", &[(10, 9), (20, 1)]);
        world.add_domain("e.example", &[(10, 4)]);
        world.add_domain("shaky.example", &[(10, 2)]);
        world.add_domain("gone.example", &[(10, 9)]);
        let names = &mut world.zone.names;
        names.insert("alias.example".into(), Owner::Alias("a.example".into()));
        names.insert("null.example".into(), Owner::NullMx);
        let hopeless = ["null.example", "missing.example"].map(str::to_owned);
        world.ledger.hopeless.extend(hopeless);
        world.ledger.dead.insert("gone.example".into());
        world.zone.failing.insert("shaky.example".into(), calm_at);
        world.zone.lossy = 30;
        world.zone.truncating = 100;
    }

    fn prepare_mail(&mut self) {
        let world = &mut self.world;
        let clients = world.agenda.between(2, 6);
        let each = world.agenda.between(4, 20);
        let pause = world.agenda.between(0, self.calm_at / each);
        for _ in 0..clients {
            let agenda = &mut world.agenda;
            let habits = Habits {
                pipelines: agenda.chance(500),
                chunks: agenda.chance(300),
                eager: agenda.chance(300),
                pause: if agenda.chance(300) { 0 } else { pause },
            };
            let queue = (0..each).map(|_| (one_mail(world), abort(&mut world.agenda)));
            let queue = queue.collect();
            world.clients.push(Client::new(habits, queue));
        }
        world.start_clients();
    }

    fn prepare_faults(&mut self) {
        for _ in 0..self.world.agenda.index(4) {
            let from = self.world.agenda.between(SECOND, self.calm_at - SECOND);
            let to = self.world.agenda.between(from + 1, self.calm_at);
            // Where mail expires amid the storm, the disk works.
            let kinds = if self.world.ledger.lifetime < self.world.ledger.storm { 3 } else { 5 };
            match self.world.agenda.index(kinds) {
                0 | 1 => self.stop(Step::Crash, from),
                2 => self.stop(Step::Drain, from),
                3 => {
                    self.at(from, Step::DiskFull(true));
                    self.at(to, Step::DiskFull(false));
                }
                _ => {
                    let often = [50, 300, 1_000][self.world.agenda.index(3)];
                    self.at(from, Step::DiskFails(often));
                    self.at(to.min(from + 20 * SECOND), Step::DiskFails(0));
                }
            }
        }
        if self.world.agenda.chance(400) {
            for _ in 0..self.world.agenda.between(1, 4) {
                let at = self.world.agenda.between(SECOND, self.calm_at - SECOND);
                let most = [2, 600, 10_000, 1_000_000][self.world.agenda.index(4)];
                let seconds = i64::try_from(self.world.agenda.between(0, 2 * most)).unwrap();
                self.at(at, Step::SetClock(seconds - i64::try_from(most).unwrap()));
            }
        }
        self.at(self.calm_at, Step::Calm);
    }

    fn stop(&mut self, step: Step, at: u64) {
        let shards = self.world.agenda.index(4) + 1;
        let pause = self.world.agenda.between(MS, 30 * SECOND);
        self.at(at, step);
        self.at(at + pause, Step::Start(shards));
    }

    fn at(&mut self, time: u64, step: Step) {
        self.plan.push(step);
        self.world.agenda.at(time, Happening::Plan(self.plan.len() - 1));
    }

    /// Run until the storm is over.
    fn blow(&mut self) {
        let shards = self.world.agenda.index(4) + 1;
        self.world.boot(shards);
        let mut calm = false;
        while !calm {
            self.world.run_until(u64::MAX);
            for step in std::mem::take(&mut self.world.due_steps) {
                let step = self.plan[step];
                calm |= step == Step::Calm;
                self.take(step);
            }
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.world.agenda.now;
        match step {
            Step::Crash if self.world.node.is_some() => self.world.crash(),
            Step::Start(shards) if self.world.node.is_none() => {
                self.starts += 1;
                self.world.boot(shards);
            }
            Step::Drain if self.world.node.is_some() => self.drain(),
            Step::Crash | Step::Start(_) | Step::Drain => {}
            Step::DiskFull(full) => self.world.store.full = full,
            Step::DiskFails(often) => self.world.store.failing = often,
            Step::SetClock(seconds) => self.world.set_clock(seconds),
            Step::Calm => {
                self.world.store.full = false;
                self.world.store.failing = 0;
                self.world.zone.lossy = 0;
                if self.world.node.is_none() {
                    self.starts += 1;
                    self.world.boot(2);
                }
            }
        }
        let troubled = self.world.store.full || self.world.store.failing > 0;
        match (self.trouble_since, troubled) {
            (None, true) => self.trouble_since = Some(now),
            (Some(since), false) => {
                self.world.ledger.disk_trouble.push((since, now));
                self.trouble_since = None;
            }
            _ => {}
        }
    }

    /// A stop in good order; steps that come due meanwhile are taken after it.
    fn drain(&mut self) {
        self.world.drain();
        let due = std::mem::take(&mut self.world.due_steps);
        // Past its deadline of 30 s it cuts what is left, so it ends soon after.
        let end = self.world.agenda.now + 40 * SECOND;
        while !self.world.reap() {
            let works = self.world.store.failing == 0 && !self.world.store.full;
            if self.world.agenda.now >= end {
                assert!(!works, "a drain that does not end");
                return self.world.crash();
            }
            self.world.run_for(100 * MS);
            let later = std::mem::take(&mut self.world.due_steps);
            for step in later {
                let soon = self.world.agenda.now + 40 * SECOND;
                self.world.agenda.at(soon, Happening::Plan(step));
            }
        }
        self.world.due_steps = due;
    }

    /// In the calm after the storm all comes to its end.
    fn settle(&mut self) {
        // Who is told at RCPT to come again does so for a while.
        let again = if self.world.ledger.refuses_recipients { 30 * MINUTE } else { 0 };
        let end = self.world.agenda.now + 3 * self.world.ledger.lifetime + again;
        loop {
            self.world.run_for(MINUTE);
            // A start that was put off, while it runs already.
            self.world.due_steps.clear();
            let clients_done = self.world.clients.iter().all(Client::is_done);
            if clients_done && self.world.queued() == 0 {
                return;
            }
            let late = self.world.agenda.now > end;
            assert!(!late, "still queued: {}", self.world.rest());
        }
    }

    fn audit(&mut self) {
        self.world.ledger.audit();
        self.audit_attempts();
        self.world.audit_rest();
    }

    /// A host that is down is tried as often as its outage is long, whatever waits for it.
    fn audit_attempts(&self) {
        for host in &self.world.hosts {
            for (from, to, reach) in &host.outages {
                let end = (*to).min(self.world.agenda.now);
                let during = host.attempts.iter().filter(|at| (*from..end).contains(*at));
                // Sites of one host, times shards, times processes; each site is tried after 1 s,
                // 2 s, and so on up to 2 minutes.
                let sites = 4 * 4 * self.starts;
                let bound = sites * (12 + end.saturating_sub(*from) / (100 * SECOND));
                let tried = during.count() as u64;
                assert!(tried <= bound, "{} ({reach:?}): {tried} > {bound}", host.address);
            }
        }
    }
}

fn moods(agenda: &mut Agenda) -> Moods {
    let all = Moods {
        greet_421: 100,
        greet_silence: 20,
        mail_421: 50,
        mail_451: 50,
        rcpt_450: 100,
        rcpt_550: 30,
        data_451: 50,
        end_451: 50,
        end_554: 20,
        cut: 20,
        take_and_cut: 20,
        take_and_hang: 5,
        slow: 10,
        leave: 100,
    };
    match agenda.index(3) {
        0 => Moods::default(),
        1 => all,
        _ => Moods { leave: 300, rcpt_450: 300, take_and_cut: 100, ..Moods::default() },
    }
}

fn one_mail(world: &mut World) -> u64 {
    let agenda = &mut world.agenda;
    let recipients = if agenda.chance(700) { 1 } else { agenda.between(2, 8) };
    let to: Vec<_> = (0..recipients)
        .map(|_| {
            let kind = match agenda.index(20) {
                0 => "nobody",
                1 => "full",
                _ => "user",
            };
            let domain = DOMAINS[agenda.index(DOMAINS.len())];
            let notify = match agenda.index(10) {
                0 => Notify::Never,
                1 => Notify::Success,
                _ => Notify::Default,
            };
            (kind, domain, notify)
        })
        .collect();
    let filler = [0, 300, 3_000, 20_000][agenda.index(4)];
    let number = world.add_mail(&to, filler);
    if world.agenda.chance(50) {
        world.ledger.mail(number).reverse_path.clear();
    }
    number
}

fn abort(agenda: &mut Agenda) -> Abort {
    match agenda.index(30) {
        0 => Abort::Reset,
        1 => Abort::InContent,
        2 => Abort::BeforeReply,
        _ => Abort::Never,
    }
}
