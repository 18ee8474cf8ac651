//! Flipped bits in a small spool: every one is found where it is, and a repair keeps what is whole.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests cut, match and unwrap freely"
)]

#[path = "support/disk.rs"]
#[allow(dead_code, reason = "not every test uses all of the disk")]
mod disk;
#[path = "support/mail.rs"]
#[allow(dead_code, reason = "not every test uses all kinds of states")]
mod mail;

#[path = "spool_check/repairs.rs"]
mod repairs;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use disk::{Disk, Image, maps};
use mail::{content, delivered, envelope, message, pending_state};
use relay_fast::base::ids::MessageId;
use relay_fast::base::prng::Prng;
use relay_fast::spool::check::{Checked, Finding, check};
use relay_fast::spool::format::{GroupHead, HeaderBlock, Record, RecordKind, SegmentHeader};
use relay_fast::spool::letter::Letter;
use relay_fast::spool::log::{Log, LogEvent, Options};
use relay_fast::spool::recovery::{Fault, recover};
use relay_fast::spool::stored::{EnvelopeAt, NewMessage, Standing};

const DIRECTORY: u16 = 3;
const OPTIONS: Options = Options { segment_bytes: 32 * 1024, reserve: 0, admits: true };

/// A spool that two runs left behind, and what is in it.
struct Scene {
    image: Image,
    /// Recipients' attempts of each message that is in the queue; `None`: final.
    queued: BTreeMap<MessageId, Vec<Option<u32>>>,
    ended: BTreeSet<MessageId>,
    contents: Vec<Vec<u8>>,
}

/// A run under way.
struct Run {
    log: Log,
    disk: Disk,
    at: BTreeMap<MessageId, EnvelopeAt>,
}

impl Run {
    fn new(image: &Image, seed: u64) -> Self {
        let opened = maps(image);
        let recovered = recover(DIRECTORY, &opened).unwrap();
        let log = Log::new(recovered.start, OPTIONS, Prng::from_number(seed));
        let mut run = Self { log, disk: Disk::new(image.clone(), opened), at: BTreeMap::new() };
        run.commit();
        run
    }

    fn commit(&mut self) {
        let at = &mut self.at;
        self.disk.settle(&mut self.log, |_, event| match event {
            LogEvent::Accepted(accepted) => drop(at.insert(accepted.id(), accepted.at())),
            // Nothing is moved here: where it lies is known.
            LogEvent::Noted { .. } | LogEvent::Move { .. } => {}
            other => panic!("{other:?}"),
        });
    }
}

impl Scene {
    fn new() -> Self {
        let (image, queued, contents) = (Image::new(), BTreeMap::new(), Vec::new());
        let mut scene = Self { image, queued, ended: BTreeSet::new(), contents };
        let mut first = Run::new(&scene.image, 1);
        let ended = scene.message(&mut first, &[300], 1);
        let tried = scene.message(&mut first, &[2_000, 9_000, 77], 3);
        scene.message(&mut first, &[0], 1);
        first.log.append_state(tried, &pending_state(1, 4));
        first.log.append_state(tried, &delivered(2));
        first.log.append_done(ended, first.at[&ended]);
        first.commit();
        scene.queued.insert(tried, vec![Some(0), Some(4), None]);
        scene.queued.remove(&ended);
        scene.ended.insert(ended);
        for _ in 0..3 {
            scene.message(&mut first, &[11_000], 1);
        }
        // An end without anything after it: the run's last group.
        let late = scene.message(&mut first, &[100], 1);
        first.log.append_done(late, first.at[&late]);
        first.commit();
        scene.queued.remove(&late);
        scene.ended.insert(late);
        scene.image = first.disk.durable.clone();
        let mut second = Run::new(&scene.image, 2);
        scene.message(&mut second, &[1_500], 2);
        scene.message(&mut second, &[1_200, 800], 1);
        scene.image = second.disk.durable.clone();
        scene
    }

    /// A message of these chunks in a group of its own.
    fn message(&mut self, run: &mut Run, chunks: &[usize], recipients: u16) -> MessageId {
        let id = run.log.next_id();
        let whole = content(id, chunks.iter().sum());
        let (last, first) = chunks.split_last().unwrap();
        let mut rest = whole.as_slice();
        for bytes in first {
            let (chunk, after) = rest.split_at(*bytes);
            run.log.append_content(id, chunk.to_vec()).unwrap();
            self.contents.push(chunk.to_vec());
            rest = after;
            run.commit();
        }
        assert_eq!(rest.len(), *last);
        self.contents.push(rest.to_vec());
        let new = NewMessage { content: rest.to_vec(), ..message(id, 0, recipients) };
        run.log.append_message(new).unwrap();
        run.commit();
        self.queued.insert(id, vec![Some(0); recipients.into()]);
        id
    }

    /// What checksums guard, by what became of the commit that wrote it.
    fn guarded(&self) -> Vec<Guarded> {
        let mut all = Vec::new();
        let mut groups: Vec<(u32, Range<u32>, u32)> = Vec::new();
        for (number, bytes) in &self.image {
            let HeaderBlock::Valid(_) = SegmentHeader::decode(bytes) else { continue };
            all.push((*number, 0..64));
            let mut start = 4_096;
            while let Some(record) = Record::decode(bytes, start, bytes.len() as u32) {
                let head = GroupHead::decode(&record, bytes.len() as u32 - start).unwrap();
                let mut offset = start;
                while offset < start + head.head_bytes {
                    let record = Record::decode(bytes, offset, start + head.head_bytes).unwrap();
                    all.push((*number, offset..offset + record.bytes()));
                    if record.header.kind == RecordKind::Index {
                        let end = bytes.len() as u32;
                        all.push((*number, end - 32..end));
                    }
                    offset = record.end();
                }
                groups.push((*number, start..start + head.bytes, head.epoch));
                start = (start + head.bytes).next_multiple_of(4_096);
            }
            for content in self.contents.iter().filter(|content| !content.is_empty()) {
                let found = bytes.windows(content.len()).position(|window| window == content);
                let range = |at: usize| at as u32..(at + content.len()) as u32;
                all.extend(found.map(|at| (*number, range(at))));
            }
        }
        let is_proven = |segment: u32, range: &Range<u32>| {
            // A header goes with the first group of its segment.
            let place = range.start.max(4_096);
            let at = groups
                .iter()
                .position(|(number, group, _)| *number == segment && group.contains(&place));
            let next = groups.get(at.unwrap() + 1);
            next.is_some_and(|next| next.2 == groups[at.unwrap()].2)
        };
        all.into_iter()
            .map(|(segment, range)| {
                let is_proven = is_proven(segment, &range);
                Guarded { segment, range, is_proven }
            })
            .collect()
    }
}

/// Octets under one checksum.
#[derive(Clone, Debug)]
struct Guarded {
    segment: u32,
    range: Range<u32>,
    /// A later group of the same run says that they were committed.
    is_proven: bool,
}

fn checked(image: &Image) -> Checked {
    check(DIRECTORY, maps(image).into_iter().collect()).unwrap()
}

fn flipped(image: &Image, segment: u32, offset: u32, bit: u32) -> Image {
    let mut image = image.clone();
    image.get_mut(&segment).unwrap()[offset as usize] ^= 1 << bit;
    image
}

fn names(findings: &[Finding], segment: u32, offset: u32) -> bool {
    findings.iter().any(|finding| {
        let damage = finding.damage;
        let range = damage.offset..damage.offset + damage.bytes;
        (damage.segment.directory, damage.segment.number) == (DIRECTORY, segment)
            && range.contains(&offset)
    })
}

/// Attempts of each recipient; `None`: final.
fn attempts(letter: &Letter<'_>) -> Vec<Option<u32>> {
    let attempts = |standing: &Standing| match standing {
        Standing::Pending { attempts, .. } => Some(*attempts),
        _ => None,
    };
    letter.standings.iter().map(attempts).collect()
}

/// The queue as it is told, each message compared with what was sent.
fn queue(checked: &Checked) -> BTreeMap<MessageId, Vec<Option<u32>>> {
    let letters = checked.messages().map(|letter| {
        let stretches = letter.content.iter().flat_map(|stretch| stretch.octets.unwrap());
        let octets: Vec<u8> = stretches.copied().collect();
        assert!(letter.is_whole());
        assert!(octets == content(letter.id, octets.len()), "{} is not whole", letter.id);
        assert_eq!(letter.envelope, envelope(letter.id, letter.standings.len() as u16));
        (letter.id, attempts(&letter))
    });
    letters.collect()
}

#[test]
fn a_spool_that_is_whole_is_told_as_it_is() {
    let scene = Scene::new();
    let checked = checked(&scene.image);
    assert_eq!((&checked.damage[..], &checked.torn[..]), (&[][..], &[][..]));
    assert!(!checked.needs_repair());
    assert_eq!(queue(&checked), scene.queued);
    let figures = checked.figures;
    assert_eq!((figures.live, figures.lost), (scene.queued.len() as u64, 0));
    assert_eq!(figures.done, scene.ended.len() as u64);
    assert_eq!(figures.segments, scene.image.len() as u64);
    let disk: usize = scene.image.values().map(Vec::len).sum();
    assert_eq!(figures.disk_bytes, disk as u64);
    let states = scene.queued.values().flatten();
    let (mut untried, mut deferred, mut ended) = (0, 0, 0);
    states.for_each(|state| match state {
        Some(0) => untried += 1,
        Some(_) => deferred += 1,
        None => ended += 1,
    });
    let told = figures.recipients;
    assert_eq!((told.untried, told.deferred, told.ended), (untried, deferred, ended));
    assert!(figures.live_bytes > 40_000 && figures.live_bytes < figures.disk_bytes);
}

#[test]
fn every_flipped_bit_under_a_checksum_is_found_at_its_place() {
    let scene = Scene::new();
    let mut prng = Prng::from_number(3);
    let mut counted = [0; 2];
    for Guarded { segment, range, is_proven } in scene.guarded() {
        // Every octet of headers and records; of a content its ends and some between.
        let step = if range.len() > 1_000 { 97 } else { 1 };
        for offset in range.clone().step_by(step).chain([range.end - 1]) {
            let image = flipped(&scene.image, segment, offset, prng.below(8) as u32);
            let checked = checked(&image);
            let context = format!("{segment} at {offset} of {range:?}");
            let (named, silent) = if is_proven {
                (&checked.damage, &checked.torn)
            } else {
                (&checked.torn, &checked.damage)
            };
            assert!(names(named, segment, offset), "{context}: {named:?}");
            assert!(silent.is_empty(), "{context}: {silent:?}");
            counted[usize::from(is_proven)] += 1;
        }
    }
    assert!(counted[0] > 300 && counted[1] > 1_500, "{counted:?} flips");
}

#[test]
fn flipped_bits_that_nothing_needs_are_no_damage() {
    let scene = Scene::new();
    let guarded = scene.guarded();
    let mut counted = 0;
    for (segment, bytes) in &scene.image {
        let is_guarded = |offset: &u32| {
            let mut of_segment = guarded.iter().filter(|one| one.segment == *segment);
            of_segment.any(|one| one.range.contains(offset))
        };
        let free = (0..bytes.len() as u32).filter(|offset| !is_guarded(offset));
        for offset in free.step_by(131) {
            let checked = checked(&flipped(&scene.image, *segment, offset, 3));
            assert!(checked.damage.is_empty() && checked.torn.is_empty(), "{segment} at {offset}");
            assert_eq!(queue(&checked), scene.queued);
            counted += 1;
        }
    }
    assert!(counted > 300, "{counted} flips");
}

/// Whose bits flipped as little as its writer's: its checksums are right.
#[test]
fn an_index_that_says_something_else_than_the_records_is_damage() {
    let scene = Scene::new();
    let is_index = |file: &Vec<u8>| file[file.len() - 32..].starts_with(b"RELAYIDX");
    let indexed: Vec<u32> =
        scene.image.iter().filter(|(_, file)| is_index(file)).map(|(number, _)| *number).collect();
    assert!(!indexed.is_empty(), "the first run filled a segment");
    for number in indexed {
        let file = &scene.image[&number];
        let trailer = file.len() - 32;
        let named = file[trailer + 12..trailer + 16].try_into().unwrap();
        let offset = u32::from_le_bytes(named);
        let record = Record::decode(file, offset, file.len() as u32).unwrap();
        assert_eq!(record.header.kind, RecordKind::Index);
        for place in 0..record.payload.len() {
            let mut image = scene.image.clone();
            let file = image.get_mut(&number).unwrap();
            let start = offset as usize;
            let payload = start + 40..start + 40 + record.payload.len();
            file[payload.start + place] ^= 1;
            let crc = crc32c::crc32c(&file[payload]);
            file[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
            let crc = crc32c::crc32c(&file[start + 4..start + 40]);
            file[start..start + 4].copy_from_slice(&crc.to_le_bytes());
            let checked = checked(&image);
            let damage: Vec<_> = checked.damage.iter().map(|one| one.damage).collect();
            let [one] = damage[..] else { panic!("octet {place}: {damage:?}") };
            assert_eq!((one.segment.number, one.offset), (number, offset), "octet {place}");
            assert!(matches!(one.fault, Fault::Index | Fault::Record), "{one:?}");
            assert_eq!(queue(&checked), scene.queued);
        }
    }
}

/// Whose checksums are right, as if a stranger had written it: nothing is looked for behind the
/// segment's end.
#[test]
fn a_group_that_claims_more_than_there_is_is_damage_of_nothing_known() {
    let scene = Scene::new();
    let (number, file) = scene.image.first_key_value().unwrap();
    let first = Record::decode(file, 4_096, file.len() as u32).unwrap();
    let first = GroupHead::decode(&first, file.len() as u32 - 4_096).unwrap();
    let second = 4_096 + first.bytes.next_multiple_of(4_096);
    let mut image = scene.image.clone();
    let group = &mut image.get_mut(number).unwrap()[second as usize..];
    group[40 + 24..40 + 28].fill(0xff);
    let crc = crc32c::crc32c(&group[40..72]);
    group[4..8].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&group[4..40]);
    group[..4].copy_from_slice(&crc.to_le_bytes());
    let checked = checked(&image);
    let claimed = checked.damage.iter().find(|one| one.damage.bytes > 1 << 31);
    let claimed = claimed.expect("what was committed is not there");
    assert_eq!((claimed.damage.fault, claimed.damage.segment.number), (Fault::Group, *number));
    assert_eq!(queue(&checked), scene.queued);
}

#[test]
fn a_commit_that_was_cut_is_a_torn_tail_and_no_damage() {
    let scene = Scene::new();
    let mut run = Run::new(&scene.image, 9);
    let before = queue(&checked(&run.disk.durable));
    let id = run.log.next_id();
    run.log.append_message(message(id, 5_000, 1)).unwrap();
    run.disk.run(&mut run.log);
    let write = run.disk.in_flight.clone().unwrap();
    for cut in (1..write.bytes.len()).step_by(7) {
        let image = run.disk.cut(|place, old, new| if place < cut { new } else { old });
        let checked = checked(&image);
        assert!(checked.damage.is_empty(), "cut at {cut}: {:?}", checked.damage);
        assert!(!checked.torn.is_empty() || cut < 24, "cut at {cut}: not told");
        assert_eq!(queue(&checked), before, "cut at {cut}");
        assert!(!checked.needs_repair());
    }
}
