//! Cut a recorded run at many points, and compare what is left with what was promised.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use relay_fast::base::prng::Prng;

use crate::campaign::{self, Campaign};
use crate::cut::{self, Cut, Device};
use crate::facts::{Facts, Ledger};
use crate::node::{Node, wait_for};
use crate::place::{Folder, Mounted, file_system};
use crate::recorder::{Recorder, Recording, copy};
use crate::spool::{self, Queued};
use crate::taker::{self, Mood};
use crate::tape::{Entry, Moment};

/// What to audit, and how much.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) states: usize,
    /// The relay is started after one cut in so many.
    pub(crate) restart_every: usize,
    /// After one cut in so many the power is cut again while a relay recovers from it.
    pub(crate) again_every: usize,
    pub(crate) seed: u64,
}

/// Second cuts in one recovery.
const AGAIN: usize = 4;

/// What came of it, over all cuts.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) states: usize,
    pub(crate) restarted: usize,
    /// Cuts while a relay recovered from a cut.
    pub(crate) again: usize,
    /// Messages acknowledged before the cut.
    pub(crate) acknowledged: usize,
    /// Octets that no flush had followed.
    pub(crate) unsure: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) lost_states: usize,
    pub(crate) lost_states_restarted: usize,
    pub(crate) garbage: Vec<String>,
    /// Damage in what was committed, file systems that cannot be mounted, what came out though the
    /// spool knew better.
    pub(crate) broken: Vec<String>,
    /// Recipients that had it before the cut and get it again.
    pub(crate) repeated: usize,
    /// Flushes from when one of these had it to the end of that life of the relay, at most.
    pub(crate) longest_flight: usize,
    /// Those of them to whom a relay that was started delivered it again.
    pub(crate) duplicates: usize,
}

impl Sum {
    /// All that must not be, at most a screenful.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let all = self.lost.iter().chain(&self.garbage).chain(&self.broken);
        all.take(40).cloned().collect()
    }
}

/// Run `plan.binary` under load once, then cut its power `plan.states` times.
pub(crate) fn audit(plan: &Plan<'_>) -> Sum {
    let folder = Folder::new();
    let began = Instant::now();
    let campaign = campaign::run(plan.binary, folder.path());
    let entries = &campaign.recording.entries;
    let during = &entries[campaign.span.0..campaign.span.1];
    let flushes = during.iter().filter(|entry| matches!(entry, Entry::Flush)).count();
    eprintln!(
        "recorded in {:.1} s on {}: {} messages acknowledged, {} block writes and {} flushes, \
         {} segments came and went",
        began.elapsed().as_secs_f64(),
        file_system(),
        campaign.facts.acknowledged.len(),
        during.len() - flushes,
        flushes,
        campaign.segments_gone,
    );
    let acknowledged: Vec<Moment> = campaign.facts.acknowledged.values().copied().collect();
    let cuts = cut::choose(entries, plan.states, campaign.span, &acknowledged, plan.seed);
    copy(&campaign.recording.before, &folder.path().join("replayed"));
    let mut device = Device::new(entries, &folder.path().join("replayed"));
    let next_hop = taker::start(&campaign.ledger, Mood::TakesAll, None);
    let mut sum = Sum::default();
    sum.garbage.clone_from(&campaign.facts.garbage);
    for (place, cut) in cuts.iter().enumerate() {
        let image = folder.path().join("cut");
        sum.unsure += device.cut(cut, &image);
        let is_cut_again = place % plan.again_every == plan.again_every / 2;
        let twice = folder.path().join("twice");
        if is_cut_again {
            std::fs::create_dir_all(&twice).unwrap();
            copy(&image, &twice.join("before"));
        }
        let since = &Queued::default();
        let mut state = State { campaign: &campaign, cut, again: None, since, sum: &mut sum };
        let restart = (place % plan.restart_every == 0).then_some((plan.binary, next_hop));
        let is_usable = state.check(&image, &folder.path().join("mounted"), restart);
        if is_cut_again && is_usable {
            state.cut_again(&twice, plan.binary, next_hop);
        }
        if (place + 1) % 50 == 0 || place + 1 == cuts.len() {
            eprintln!("{:.0} s: {}", began.elapsed().as_secs_f64(), sum.in_one_line());
        }
    }
    sum
}

impl Sum {
    fn in_one_line(&self) -> String {
        format!(
            "{} cut states ({} with a start of the relay, {} in a recovery; {} KiB unsynced, \
             dropped, kept or torn): {} acknowledgements checked, {} lost (in {} states), \
             {} garbage, {} broken, {} recipients repeated (in flight for {} flushes at most), \
             {} duplicates delivered",
            self.states,
            self.restarted,
            self.again,
            self.unsure >> 10,
            self.acknowledged,
            self.lost.len(),
            self.lost_states,
            self.garbage.len(),
            self.broken.len(),
            self.repeated,
            self.longest_flight,
            self.duplicates,
        )
    }
}

/// What one cut leaves.
struct State<'a> {
    campaign: &'a Campaign,
    cut: &'a Cut,
    /// A second one, in the life of the relay that came after it.
    again: Option<&'a Cut>,
    /// What came out in that life.
    since: &'a Queued,
    sum: &'a mut Sum,
}

impl State<'_> {
    /// Whether the file system could be mounted.
    fn check(&mut self, image: &Path, path: &Path, restart: Option<(&Path, SocketAddr)>) -> bool {
        self.sum.states += 1;
        let mounted = match Mounted::image(image, path, false) {
            Ok(mounted) => mounted,
            Err(why) => {
                self.sum.broken.push(format!("{}: {why}", self.name()));
                return false;
            }
        };
        let ledger = &self.campaign.ledger;
        let queued = spool::read(&mounted.path.join("spool"), ledger);
        let name = self.name();
        let told = |what: &String| format!("{name}: {what}");
        self.sum.garbage.extend(queued.garbage.iter().map(told));
        self.sum.broken.extend(queued.damage.iter().map(told));
        self.sum.acknowledged += self.acknowledged().count();
        let before = self.sum.lost.len();
        self.compare(&queued, "not in the spool");
        self.sum.lost_states += usize::from(self.sum.lost.len() > before);
        if self.again.is_none() {
            queued.pending.iter().for_each(|recipient| self.repeated(recipient));
        }
        if let Some((binary, next_hop)) = restart {
            let cores = self.next_cores();
            let out = deliver(binary, &mounted.path, next_hop, cores, ledger);
            self.restarted(&queued, out);
        }
        true
    }

    /// Another number of shards each time.
    fn next_cores(&self) -> usize {
        1 + (self.sum.restarted + self.sum.again) % 4
    }

    fn name(&self) -> String {
        self.again.map_or_else(String::new, |again| format!("{again:?} in the life after "))
            + &format!("{:?}", self.cut)
    }

    /// Start the relay on what the cut left in `folder/before`, on a device that records, and cut
    /// the power again: while it recovers, and while it delivers.
    fn cut_again(&mut self, folder: &Path, binary: &Path, next_hop: SocketAddr) {
        let ledger = &self.campaign.ledger;
        let recorder = Recorder::over(folder.join("before"), folder);
        drop(ledger.forget_what_came_out());
        let clocked = taker::start(ledger, Mood::TakesAll, Some(recorder.tape.clone()));
        let mut node = campaign::start(binary, recorder.path(), clocked, self.next_cores());
        let ready = recorder.tape.now();
        empty(&node);
        node.kill();
        let Recording { before, entries } = recorder.stop();
        let out = ledger.forget_what_came_out();
        self.sum.garbage.extend(out.garbage.iter().cloned());

        let mut prng = Prng::from_number(self.cut.seed);
        let mut cuts: Vec<Cut> = (0..AGAIN)
            .map(|place| {
                let (from, to) = if place % 2 == 0 { (0, ready) } else { (ready, entries.len()) };
                Cut::at(from + prng.below((to - from + 1) as u64) as usize, &mut prng)
            })
            .collect();
        cuts.sort_by_key(|cut| cut.entries);
        let mut device = Device::new(&entries, &before);
        let [image, mounted] = ["cut", "mounted"].map(|name| folder.join(name));
        for (place, again) in cuts.iter().enumerate() {
            self.sum.unsure += device.cut(again, &image);
            let since = &came_before(again, &out);
            let (campaign, cut) = (self.campaign, self.cut);
            let mut state = State { campaign, cut, again: Some(again), since, sum: self.sum };
            let restart = (place == AGAIN - 1).then_some((binary, next_hop));
            state.check(&image, &mounted, restart);
            self.sum.again += 1;
        }
    }

    /// What came out of a relay that was started on what the cut left.
    fn restarted(&mut self, queued: &Queued, out: Facts) {
        self.sum.restarted += 1;
        let before = self.sum.lost.len();
        let delivered = Queued {
            pending: out.taken.keys().cloned().collect(),
            told: out.told.keys().copied().collect(),
            ..Queued::default()
        };
        self.compare(&delivered, "not delivered after a start");
        let stuck = queued.pending.difference(&delivered.pending);
        let name = self.name();
        let stuck = stuck.map(|one| format!("{name}: {one} is in the spool and stays there"));
        self.sum.lost.extend(stuck);
        self.sum.lost_states_restarted += usize::from(self.sum.lost.len() > before);
        self.sum.garbage.extend(out.garbage);
        for (recipient, moments) in &out.taken {
            let had = self.had(self.campaign.facts.taken.get(recipient));
            self.sum.duplicates += usize::from(had);
            if moments.len() > 1 || !queued.pending.contains(recipient) {
                let times = moments.len();
                let what = format!("{}: {recipient} got it {times} times more", self.name());
                self.sum.broken.push(what);
            }
        }
    }

    /// A recipient is to get something; if it had it, then it was in flight at the cut, or at the
    /// kill -9 that ended that life of the relay.
    fn repeated(&mut self, recipient: &String) {
        let taken = self.campaign.facts.taken.get(recipient).into_iter().flatten();
        let Some(last) = taken.filter(|moment| **moment < self.cut.entries).max() else { return };
        self.sum.repeated += 1;
        let kills = self.campaign.kills.iter().filter(|kill| *kill >= last);
        let end = kills.min().map_or(self.cut.entries, |kill| self.cut.entries.min(*kill));
        let entries = &self.campaign.recording.entries[*last..end];
        let flushes = entries.iter().filter(|entry| matches!(entry, Entry::Flush)).count();
        self.sum.longest_flight = self.sum.longest_flight.max(flushes);
    }

    /// Whether something came out before the cut.
    fn had(&self, moments: Option<&Vec<Moment>>) -> bool {
        moments.is_some_and(|moments| moments.iter().any(|moment| *moment < self.cut.entries))
    }

    /// The messages that were acknowledged before the cut.
    fn acknowledged(&self) -> impl Iterator<Item = usize> {
        let all = self.campaign.facts.acknowledged.iter();
        all.filter(|(_, moment)| **moment <= self.cut.entries).map(|(number, _)| *number)
    }

    /// Each recipient of what was acknowledged: had it, or is to get it, or its sender was told.
    fn compare(&mut self, queued: &Queued, how: &str) {
        let facts = &self.campaign.facts;
        let mut lost = Vec::new();
        for number in self.acknowledged() {
            let is_told = queued.told.contains(&number)
                || self.since.told.contains(&number)
                || self.had(facts.told.get(&number));
            for recipient in &self.campaign.ledger.messages[number].recipients {
                let is_kept = queued.pending.contains(recipient)
                    || self.since.pending.contains(recipient)
                    || self.had(facts.taken.get(recipient))
                    || is_told && recipient.starts_with("never.");
                if !is_kept {
                    lost.push(format!("{}: {recipient} is {how}", self.name()));
                }
            }
        }
        self.sum.lost.extend(lost);
    }
}

/// Start the relay on what is left, with as many shards as it may be, and let it deliver all of it;
/// what came out.
fn deliver(
    binary: &Path,
    place: &Path,
    next_hop: SocketAddr,
    cores: usize,
    ledger: &Arc<Ledger>,
) -> Facts {
    drop(ledger.forget_what_came_out());
    let mut node = campaign::start(binary, place, next_hop, cores);
    empty(&node);
    node.kill();
    ledger.forget_what_came_out()
}

/// Let a relay deliver all that it has.
fn empty(node: &Node) {
    wait_for("an empty queue", || {
        node.ask(&["flush", "--all"]);
        (node.stat("messages") == 0).then_some(())
    });
}

/// What a next hop had before the cut.
fn came_before(cut: &Cut, out: &Facts) -> Queued {
    let is_before = |moments: &Vec<Moment>| moments.iter().any(|moment| *moment < cut.entries);
    let taken = out.taken.iter().filter(|(_, moments)| is_before(moments));
    let told = out.told.iter().filter(|(_, moments)| is_before(moments));
    Queued {
        pending: taken.map(|(recipient, _)| recipient.clone()).collect(),
        told: told.map(|(number, _)| *number).collect(),
        ..Queued::default()
    }
}
