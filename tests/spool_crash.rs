//! Power cuts, failed syncs and flipped bits, against a model of what was promised.
//!
//! The model knows what was acknowledged. After each crash all of that is found with its exact
//! content and states; nothing that is not whole or has ended is; no id is given twice.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests match freely")]

#[path = "support/disk.rs"]
mod disk;
#[path = "spool_crash/index.rs"]
mod index;
#[path = "support/mail.rs"]
#[allow(dead_code, reason = "not every test uses all kinds of messages")]
mod mail;

use std::collections::{BTreeMap, BTreeSet};

use disk::{Disk, EIO, Image, maps};
use mail::{bounced, content, delivered, envelope, message, pending_state, whole};
use relay_fast::base::ids::MessageId;
use relay_fast::base::prng::Prng;
use relay_fast::spool::log::{Log, LogEvent, MovedRecipient, Options, Room};
use relay_fast::spool::recovery::{Recovered, RecoveredMessage, recover};
use relay_fast::spool::stored::{EnvelopeAt, NewMessage, RecipientState, Standing, StateAt};

const OPTIONS: Options = Options { segment_bytes: 32 * 1024, reserve: 0, admits: true };
const DIRECTORY: u16 = 3;

/// A recipient's last state by attempts; `None`: final.
type State = Option<u32>;

/// What the shard knows, and what it was promised.
#[derive(Clone, Debug)]
struct Known {
    bytes: usize,
    /// Acknowledged: where the record is.
    at: Option<EnvelopeAt>,
    /// Its end was appended; `Some(true)`: and committed.
    ended: Option<bool>,
    /// For each recipient all states since the last one that is surely on disk, that one first.
    states: Vec<Vec<State>>,
    noted: BTreeMap<u16, StateAt>,
    /// Refused, and a later commit says so on disk.
    surely_refused: bool,
    is_refused: bool,
}

impl Known {
    fn new(bytes: usize, recipients: u16) -> Self {
        Self {
            bytes,
            at: None,
            ended: None,
            states: vec![vec![Some(0)]; recipients.into()],
            noted: BTreeMap::new(),
            surely_refused: false,
            is_refused: false,
        }
    }

    fn now(&self, recipient: usize) -> State {
        *self.states[recipient].last().expect("never empty")
    }
}

struct World {
    seed: u64,
    prng: Prng,
    log: Log,
    disk: Disk,
    known: BTreeMap<MessageId, Known>,
    /// All ids ever given.
    given: BTreeSet<MessageId>,
    crashes: u32,
    moved: u32,
    indexed: usize,
}

fn open(image: &Image, seed: u64) -> (Log, Disk, Recovered) {
    let opened = maps(image);
    let mut recovered = recover(DIRECTORY, &opened).expect("it can be opened");
    let fresh = recover(DIRECTORY, &[]).expect("empty").start;
    let start = std::mem::replace(&mut recovered.start, fresh);
    let log = Log::new(start, OPTIONS, Prng::from_number(seed));
    (log, Disk::new(image.clone(), opened), recovered)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::from_number(seed);
        let (log, disk, _) = open(&Image::new(), prng.next_u64());
        let (known, given) = (BTreeMap::new(), BTreeSet::new());
        Self { seed, prng, log, disk, known, given, crashes: 0, moved: 0, indexed: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.prng.below(bound as u64)).expect("small")
    }

    fn pick(&mut self) -> Option<MessageId> {
        let ids: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.at.is_some() && known.ended.is_none())
            .map(|(id, _)| *id)
            .collect();
        if ids.is_empty() { None } else { Some(ids[self.below(ids.len())]) }
    }

    fn step(&mut self) {
        match self.below(100) {
            0..=34 => self.append(),
            35..=49 => self.append_state(),
            50..=69 => self.append_done(),
            70..=79 => self.disk.run(&mut self.log),
            80..=95 => self.disk.finish(&mut self.log),
            96..=97 => self.fail(),
            _ => self.crash(),
        }
        self.events();
        if self.log.is_idle() {
            self.known.values_mut().for_each(Known::all_is_on_disk);
        }
    }

    fn append(&mut self) {
        if self.log.room() != Room::Open {
            return self.log.retry();
        }
        let id = self.log.next_id();
        assert!(self.given.insert(id), "seed {}: {id} was given before", self.seed);
        let (bytes, recipients) = (self.below(6_000), 1 + self.below(3));
        let recipients = u16::try_from(recipients).expect("small");
        let all = content(id, bytes);
        let chunks = if self.below(4) == 0 { 1 + self.below(3) } else { 0 };
        let mut rest = all.as_slice();
        for _ in 0..chunks {
            let (chunk, after) = rest.split_at(self.below(rest.len() + 1));
            rest = after;
            if self.log.append_content(id, chunk.to_vec()).is_err() || self.below(10) == 0 {
                return self.log.abandon(id);
            }
            match self.below(3) {
                0 => self.disk.run(&mut self.log),
                1 => self.disk.finish(&mut self.log),
                _ => {}
            }
        }
        let last = NewMessage { content: rest.to_vec(), ..message(id, 0, recipients) };
        if self.log.append_message(last).is_ok() {
            self.known.insert(id, Known::new(bytes, recipients));
        }
    }

    fn append_state(&mut self) {
        let Some(id) = self.pick() else { return };
        let known = self.known.get(&id).expect("picked").clone();
        let recipient = self.below(known.states.len());
        let Some(attempts) = known.now(recipient) else {
            return;
        };
        let place = u16::try_from(recipient).expect("small");
        let (state, new) = match self.below(4) {
            0 => (delivered(place), None),
            1 => (bounced(place), None),
            _ => (pending_state(place, attempts + 1), Some(attempts + 1)),
        };
        self.log.append_state(id, &state);
        self.known.get_mut(&id).expect("picked").states[recipient].push(new);
    }

    fn append_done(&mut self) {
        let Some(id) = self.pick() else { return };
        let known = self.known.get_mut(&id).expect("picked");
        known.ended = Some(false);
        self.log.append_done(id, known.at.expect("picked"));
    }

    fn fail(&mut self) {
        if self.disk.in_flight.is_some() {
            let seed = self.prng.next_u64();
            self.disk.fail(&mut self.log, EIO, |octet| (seed >> (octet / 512 % 64)) & 1 == 1);
        }
        self.log.retry();
    }

    fn events(&mut self) {
        while let Some(event) = self.log.poll_event() {
            match event {
                LogEvent::Accepted(accepted) => {
                    let known = self.known.get_mut(&accepted.id()).expect("appended");
                    assert!(known.at.replace(accepted.at()).is_none(), "seed {}", self.seed);
                    self.refusals_are_sure();
                }
                LogEvent::Refused { id, .. } => {
                    self.known.get_mut(&id).expect("appended").is_refused = true;
                }
                LogEvent::Noted { id, recipient, at } => {
                    if let Some(known) = self.known.get_mut(&id) {
                        known.noted.insert(recipient, at);
                    }
                }
                LogEvent::Move { id } => self.move_message(id),
                LogEvent::Moved { id, at, states } => {
                    self.moved += 1;
                    let known = self.known.get_mut(&id).expect("it lives");
                    known.at = Some(at);
                    known.noted = states.into_iter().collect();
                }
                LogEvent::Unhealthy { errno, .. } => assert_eq!(errno, EIO),
                LogEvent::Healthy => self.refusals_are_sure(),
            }
        }
    }

    fn refusals_are_sure(&mut self) {
        for known in self.known.values_mut() {
            known.surely_refused |= known.is_refused;
        }
    }

    fn move_message(&mut self, id: MessageId) {
        let Some(known) = self.known.get(&id).filter(|known| known.ended.is_none()) else {
            return;
        };
        let recipients = 0..u16::try_from(known.states.len()).expect("small");
        let due = mail::pending().1;
        let pending = recipients.filter_map(|recipient| {
            let attempts = known.now(recipient.into())?;
            let last = known.noted.get(&recipient).copied();
            Some(MovedRecipient { recipient, attempts, due, held: false, last })
        });
        let pending: Vec<_> = pending.collect();
        let at = known.at.expect("accepted");
        self.log.append_move(id, at, &pending).expect("readable");
    }

    /// A power cut: of the write in flight anything may have come through.
    fn crash(&mut self) {
        let (mode, seed) = (self.below(7), self.prng.next_u64());
        let length = self.disk.in_flight.as_ref().map_or(1, |write| write.bytes.len());
        let cut = self.below(length + 1);
        let mut noise = Prng::from_number(seed);
        let page = |place: usize, bytes: usize| (seed >> (place / bytes % 61)) & 1 == 1;
        let image = self.disk.cut(|place, old, new| {
            let kept = match mode {
                0 => false,
                1 => true,
                2 => place < cut,
                3 => place >= cut,
                4 => page(place, 512),
                _ => page(place, 4_096),
            };
            match (kept, mode) {
                (true, _) => new,
                (false, 6) => noise.next_u64().to_le_bytes()[0],
                (false, _) => old,
            }
        });
        self.reopen(&image);
    }

    fn reopen(&mut self, image: &Image) {
        self.crashes += 1;
        let (log, disk, recovered) = open(image, self.prng.next_u64());
        (self.log, self.disk) = (log, disk);
        let context = format!("seed {}, crash {}", self.seed, self.crashes);
        self.indexed += index::agree(image, &context);
        assert_eq!(recovered.damage, vec![], "{context}");
        let messages = recovered.messages.map(|one| one.expect("decodes"));
        let found: BTreeMap<_, _> = messages.map(|one| (one.id, one)).collect();
        for (id, known) in &self.known {
            if !found.contains_key(id) {
                let all_final = known.states.iter().all(|states| states.contains(&None));
                let may_go = known.at.is_none() || known.ended.is_some() || all_final;
                assert!(may_go, "{context}: {id} is lost: {known:?}");
            }
        }
        self.known = found.into_values().map(|one| self.compare(&one, &context)).collect();
    }

    /// What was found of a message is what may be found of it, and what is known of it now.
    fn compare(&self, found: &RecoveredMessage, context: &str) -> (MessageId, Known) {
        let id = found.id;
        let known = self.known.get(&id);
        let known = known.unwrap_or_else(|| panic!("{context}: {id} came from nowhere"));
        assert_ne!(known.ended, Some(true), "{context}: {id} was resurrected");
        assert!(!known.surely_refused, "{context}: {id} was refused");
        let stored = self.log.load(id, found.at).expect("whole");
        let recipients = u16::try_from(known.states.len()).expect("small");
        let expected = message(id, known.bytes, recipients);
        assert_eq!(whole(&stored), [expected.prefix, expected.content].concat(), "{context}: {id}");
        assert_eq!(*stored.envelope, envelope(id, recipients), "{context}: {id}");
        let mut now = Known::new(known.bytes, recipients);
        now.at = Some(found.at);
        for (recipient, allowed) in (0..recipients).zip(&known.states) {
            let pending = found.pending.iter().find(|one| one.recipient == recipient);
            let state = pending.map(|one| one.attempts);
            assert!(allowed.contains(&state), "{context}: {id} {recipient}: {state:?} {allowed:?}");
            now.states[usize::from(recipient)] = vec![state];
            if let Some(last) = pending.and_then(|one| one.last) {
                now.noted.insert(recipient, last);
                self.check_reason(last, state, context);
            }
        }
        (id, now)
    }

    fn check_reason(&self, last: StateAt, attempts: State, context: &str) {
        let RecipientState { standing, .. } = self.log.load_state(last).expect("readable");
        let Standing::Pending { attempts: read, .. } = standing else {
            panic!("{context}: {standing:?} is not pending");
        };
        assert_eq!(Some(read), attempts, "{context}");
    }
}

impl Known {
    /// Nothing waits to be written: the last of everything is on disk.
    fn all_is_on_disk(&mut self) {
        self.ended = self.ended.map(|_| true);
        for states in &mut self.states {
            states.drain(..states.len() - 1);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_a_power_cut_leaves() {
    let (mut crashes, mut moved, mut accepted, mut indexed) = (0, 0, 0, 0);
    for seed in 0..150 {
        let mut world = World::new(seed);
        (0..500).for_each(|_| world.step());
        (crashes, moved) = (crashes + world.crashes, moved + world.moved);
        (accepted, indexed) = (accepted + world.given.len(), indexed + world.indexed);
    }
    let counts = (crashes > 1_000, moved > 100, accepted > 10_000, indexed > 1_000);
    assert_eq!(counts, (true, true, true, true), "{crashes} {moved} {accepted} {indexed}");
}

#[test]
fn crashes_while_old_messages_are_moved_lose_nothing() {
    let (mut moved, mut indexed) = (0, 0);
    for seed in 1_000..1_040 {
        let mut world = World::new(seed);
        for round in 0..250 {
            world.append();
            world.disk.run(&mut world.log);
            world.events();
            world.disk.finish(&mut world.log);
            world.events();
            // End all but every tenth, so that old segments hold a little each.
            let open =
                world.known.iter().filter(|(_, one)| one.at.is_some() && one.ended.is_none());
            let open: Vec<_> = open.map(|(id, one)| (*id, one.at.expect("open"))).collect();
            for (id, at) in open.into_iter().filter(|(id, _)| id.0 % 10 != 0) {
                world.known.get_mut(&id).expect("open").ended = Some(false);
                world.log.append_done(id, at);
            }
            if round % 7 == 0 {
                world.crash();
            }
        }
        (moved, indexed) = (moved + world.moved, indexed + world.indexed);
    }
    assert!(moved > 500 && indexed > 500, "{moved} {indexed}");
}

/// Three messages accepted; in flight: the end of the first, a state of the second, a fourth one.
struct Scene {
    log: Log,
    disk: Disk,
    ids: Vec<MessageId>,
    ats: Vec<EnvelopeAt>,
}

fn scene(sizes: [usize; 4], fresh_segment: bool) -> Scene {
    let (mut log, mut disk, _) = open(&Image::new(), 1);
    disk.settle(&mut log, |_, _| {});
    let (mut ids, mut ats) = (Vec::new(), Vec::new());
    for size in &sizes[..3] {
        let id = log.next_id();
        log.append_message(message(id, *size, 1)).expect("room");
        disk.settle(&mut log, |_, event| {
            if let LogEvent::Accepted(accepted) = event {
                ats.push(accepted.at());
            }
        });
        ids.push(id);
    }
    if fresh_segment {
        let filler = log.next_id();
        log.append_message(message(filler, 25_000, 1)).expect("room");
        disk.settle(&mut log, |_, _| {});
        ids.push(filler);
    }
    let id = log.next_id();
    log.append_done(ids[0], ats[0]);
    log.append_state(ids[1], &pending_state(0, 1));
    log.append_message(message(id, sizes[3], 1)).expect("room");
    ids.push(id);
    disk.run(&mut log);
    Scene { log, disk, ids, ats }
}

impl Scene {
    /// Recover from what a cut leaves.
    fn check(&self, image: &Image, context: &str) -> BTreeSet<MessageId> {
        let (log, _, recovered) = open(image, 2);
        assert_eq!(recovered.damage, vec![], "{context}");
        self.found(&log, recovered, context)
    }

    /// And once more after the next run put its epoch on disk.
    fn check_twice(&self, image: &Image, context: &str) -> BTreeSet<MessageId> {
        let found = self.check(image, context);
        let (mut log, mut disk, _) = open(image, 2);
        disk.settle(&mut log, |_, _| {});
        let (log, _, recovered) = open(&disk.cut(|_, old, _| old), 3);
        assert_eq!(recovered.damage, vec![], "{context}, again");
        assert_eq!(self.found(&log, recovered, context), found, "{context}, again");
        found
    }

    fn found(&self, log: &Log, recovered: Recovered, context: &str) -> BTreeSet<MessageId> {
        let found: Vec<_> = recovered.messages.map(|one| one.expect("decodes")).collect();
        for one in &found {
            let stored = log.load(one.id, one.at).expect("whole");
            let bytes = usize::try_from(stored.content_bytes).expect("small");
            assert!(whole(&stored).ends_with(&content(one.id, bytes)), "{context}");
            let attempts = one.pending[0].attempts;
            assert!(attempts == 0 || (attempts == 1 && one.id == self.ids[1]), "{context}");
        }
        let found: BTreeSet<_> = found.into_iter().map(|one| one.id).collect();
        let kept = &self.ids[1..self.ids.len() - 1];
        assert!(kept.iter().all(|id| found.contains(id)), "{context}: {found:?}");
        assert!(found.iter().all(|id| self.ids.contains(id)), "{context}: {found:?}");
        found
    }
}

#[test]
fn cut_at_every_byte_of_the_last_group() {
    for fresh_segment in [false, true] {
        let scene = scene([100, 5_000, 700, 1_500], fresh_segment);
        let write = scene.disk.in_flight.as_ref().expect("in flight");
        let length = write.bytes.len();
        assert_eq!(write.range.start == 0, fresh_segment, "{:?}", write.range);
        let new = *scene.ids.last().expect("five or so");
        for cut in 0..=length {
            let image = scene.disk.cut(|place, old, new| if place < cut { new } else { old });
            let context = format!("cut at {cut} of {length}");
            let twice = cut % 32 == 0 || cut == length;
            let check = if twice { Scene::check_twice } else { Scene::check };
            let found = check(&scene, &image, &context);
            assert_eq!(found.contains(&new), cut == length, "{context}");
        }
        for cut in 1..=length {
            let image = scene.disk.cut(|place, old, new| if place >= cut { new } else { old });
            scene.check(&image, &format!("from {cut} of {length}"));
        }
    }
}

#[test]
fn every_subset_of_the_last_groups_sectors() {
    for garbage in [false, true] {
        let scene = scene([100, 300, 700, 4_000], false);
        let length = scene.disk.in_flight.as_ref().expect("in flight").bytes.len();
        let sectors = length.div_ceil(512);
        assert!((8..=12).contains(&sectors), "{sectors}");
        let mut noise = Prng::from_number(9);
        for subset in 0..1u32 << sectors {
            let image = scene.disk.cut(|place, old, new| match subset >> (place / 512) & 1 {
                1 => new,
                _ if garbage => noise.next_u64().to_le_bytes()[0],
                _ => old,
            });
            let found = scene.check(&image, &format!("sectors {subset:b}, garbage: {garbage}"));
            let is_whole = subset == (1 << sectors) - 1;
            assert_eq!(found.contains(&scene.ids[3]), is_whole, "sectors {subset:b}");
            assert!(!(is_whole && found.contains(&scene.ids[0])), "its end is on disk");
        }
    }
}

#[test]
fn a_finished_commit_survives_any_number_of_crashes() {
    let mut scene = scene([100, 300, 700, 4_000], false);
    scene.disk.finish(&mut scene.log);
    let mut image = scene.disk.cut(|_, old, _| old);
    for round in 0..20 {
        let (mut log, mut disk, recovered) = open(&image, round);
        assert_eq!((recovered.damage, recovered.torn, scene.ats.len()), (vec![], vec![], 3));
        let found = recovered.messages.map(|one| one.expect("decodes").id);
        assert_eq!(found.collect::<Vec<_>>(), scene.ids[1..]);
        disk.run(&mut log);
        image = disk.cut(|_, old, new| if round % 2 == 0 { old } else { new });
    }
}
