//! The spool, read after a crash, a fault of the disk, or by whoever wrote something else there.
//!
//! Input: what is done to a spool that two runs left; then the octets it is done with. Recovery
//! ends, says the same at once and in steps, yields no message whose checksums are wrong; what is
//! lost is reported; what a torn tail follows is all there; and the log goes on from it.

#[path = "../../support/disk.rs"]
#[allow(dead_code, reason = "the disk of the tests of the spool")]
mod disk;
#[path = "../../support/mail.rs"]
#[allow(dead_code, reason = "the messages of the tests of the spool")]
mod mail;
mod scene;

use std::collections::{BTreeMap, BTreeSet};

use relay_fast::base::ids::MessageId;
use relay_fast::base::limits::DAMAGE_MAX;
use relay_fast::base::prng::Prng;
use relay_fast::spool::check::check as verify;
use relay_fast::spool::log::{Log, LogEvent, Options, Room};
use relay_fast::spool::recovery::{
    Damage, Fault, HEAD_BYTES, Progress, RecoverError, Recovered, begin, recover,
};

use disk::{Disk, Image, maps};
use mail::{content, message, whole};
use scene::scene;

const DIRECTORY: u16 = 3;
const OPTIONS: Options = Options { segment_bytes: 32 * 1024, reserve: 0, admits: true };

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    match how % 4 {
        0 => any_octets(rest),
        1 => one_burst(rest),
        2 => a_torn_tail(rest),
        _ => other_records(rest),
    }
}

/// Segments of octets that nobody wrote as a spool; the first may have a header.
fn any_octets(data: &[u8]) {
    let Some((&[header, size], rest)) = data.split_first_chunk() else { return };
    let size = 64 + usize::from(size) * 32;
    let mut image = Image::new();
    for (number, octets) in (1..4).zip(rest.chunks(size)) {
        let mut file = vec![0; OPTIONS.segment_bytes as usize];
        let start = usize::from(header >> 4) * 512;
        file[start..start + octets.len()].copy_from_slice(octets);
        if header & number as u8 != 0 {
            let name = scene().header(number);
            file[..name.len()].copy_from_slice(&name);
        }
        image.insert(number, file);
    }
    examine(&image);
    go_on(&image, &BTreeSet::new());
}

/// Up to four octets beside each other are not what they were: CRC-32C tells that for sure.
fn one_burst(data: &[u8]) {
    let Some((&[segment, high, low], burst)) = data.split_first_chunk() else { return };
    let scene = scene();
    let mut image = scene.image.clone();
    let number = 1 + u32::from(segment) % u32::try_from(image.len()).expect("a few");
    let file = image.get_mut(&number).expect("numbered from 1");
    let start = usize::from(u16::from_be_bytes([high, low])) % file.len();
    for (octet, change) in file[start..].iter_mut().zip(burst.iter().take(4)) {
        *octet ^= change;
    }
    let found = examine(&image);
    found.assert_unchanged();
    let is_told = found.told > 0;
    for id in &scene.queued {
        assert!(is_told || found.whole.contains_key(id), "{id} is lost, and nobody is told");
    }
    for id in found.whole.keys() {
        let known = scene.queued.contains(id) || (is_told && scene.ended.contains(id));
        assert!(known, "{id} comes from nowhere");
    }
}

/// Of the last write of a run nothing is what it was to be.
fn a_torn_tail(data: &[u8]) {
    let scene = scene();
    let mut octets = data.iter().copied();
    // Runs of octets: as they were before, as they were to be, or what the input says.
    let (mut kind, mut left) = (0, 0);
    let image = scene.torn.cut(|_, old, new| {
        if left == 0 {
            kind = octets.next().unwrap_or(0);
            left = usize::from(kind >> 2).pow(2) + 1;
        }
        left -= 1;
        match kind & 3 {
            0 => old,
            1 => new,
            2 => new ^ octets.next().unwrap_or(0),
            _ => octets.next().unwrap_or(0),
        }
    });
    let found = examine(&image);
    found.assert_unchanged();
    assert_eq!(found.damage, [], "a torn tail is no damage");
    let whole: BTreeSet<_> = found.whole.keys().copied().collect();
    assert!(scene.queued.is_subset(&whole), "{whole:?}");
    let is_known = |id: &MessageId| scene.queued.contains(id) || *id == scene.new;
    assert!(whole.iter().all(is_known), "{whole:?}");
    go_on(&image, &BTreeSet::new());
}

/// Records and headers say what the input says, and their checksums say that it is right.
fn other_records(data: &[u8]) {
    let mut image = scene().image.clone();
    for edit in data.chunks_exact(5).take(24) {
        let [record, high, low, value, kind] = *edit else { unreachable!("five octets") };
        let place = usize::from(u16::from_be_bytes([high, low]));
        scene().write(&mut image, record.into(), place, value, kind);
    }
    examine(&image);
    let scene = scene();
    go_on(&image, &scene.queued.union(&scene.ended).copied().collect());
}

/// What was found in an image.
#[derive(Debug, Default)]
struct Found {
    /// Messages that can be sent, with their octets.
    whole: BTreeMap<MessageId, Vec<u8>>,
    /// Each has as many as recovery says.
    is_sized: bool,
    damage: Vec<Damage>,
    /// How much damage is told of, that of a check included.
    told: usize,
}

impl Found {
    /// What can be sent is what was taken.
    fn assert_unchanged(&self) {
        assert!(self.is_sized, "recovery says another size");
        for (id, octets) in &self.whole {
            let prefix = message(*id, 0, 1).prefix;
            let sent = octets.strip_prefix(&*prefix).expect("its own prefix");
            assert!(sent == content(*id, sent.len()), "{id} goes out as something else");
        }
    }
}

/// Read it in every way there is. Empty, if it cannot be opened at all.
fn examine(image: &Image) -> Found {
    let Ok(at_once) = recover(DIRECTORY, &maps(image)) else {
        assert!(in_steps(image).is_err());
        return Found::default();
    };
    let Recovered { messages, damage, torn, start, .. } = at_once;
    assert!(damage.len() <= DAMAGE_MAX && torn.len() <= DAMAGE_MAX);
    let messages: Vec<_> = messages.collect();
    let steps = in_steps(image).expect("it can be opened");
    assert_eq!(format!("{messages:?}{damage:?}{torn:?}"), steps, "in steps it says otherwise");
    let log = Log::new(start, OPTIONS, Prng::from_number(1));
    let (mut whole_ones, mut is_sized) = (BTreeMap::new(), true);
    let mut ids = BTreeSet::new();
    for found in messages.iter().flatten() {
        assert!(ids.insert(found.id), "{} is found twice", found.id);
        let Ok(stored) = log.load(found.id, found.at) else { continue };
        let octets = whole(&stored);
        // By its segment's index, if that has a right checksum, whoever wrote it.
        is_sized &= octets.len() as u64 == found.bytes;
        whole_ones.insert(found.id, octets);
    }
    // Contents are verified by a check, and when a message is sent.
    let told = verified(image) + damage.len() + torn.len();
    let lost = messages.len() - whole_ones.len();
    assert!(lost == 0 || told > 0, "{lost} cannot be loaded, and nobody is told");
    Found { whole: whole_ones, is_sized, damage, told }
}

/// A check's messages are what their checksums say. How much damage it finds.
fn verified(image: &Image) -> usize {
    let checked = verify(DIRECTORY, maps(image).into_iter().collect()).expect("it can be opened");
    for letter in checked.messages() {
        assert!(letter.is_whole(), "{} is called whole", letter.id);
        for stretch in &letter.content {
            let octets = stretch.octets.expect("a whole one");
            assert_eq!(crc32c::crc32c(octets), stretch.extent.crc, "{}", letter.id);
        }
    }
    // Records with right checksums that make no sense are no damage, and their messages are lost.
    let lost = usize::try_from(checked.figures.lost).expect("a few");
    checked.damage.len() + checked.torn.len() + lost
}

/// What recovery says, record by record, segment by segment.
fn in_steps(image: &Image) -> Result<String, RecoverError> {
    let numbers = image.keys().copied().collect();
    let head = |number| Ok::<_, RecoverError>(image[&number][..HEAD_BYTES as usize].to_vec());
    let (start, mut recovery) = begin(DIRECTORY, numbers, head)?;
    let mut log = Log::new(start, OPTIONS, Prng::from_number(1));
    let maps: BTreeMap<_, _> = maps(image).into_iter().collect();
    let mut messages = Vec::new();
    loop {
        match log.recover(&mut recovery, 1, |one| messages.push(one))? {
            Progress::GoesOn => {}
            Progress::Over => break,
            Progress::Waits => {
                let number = recovery.poll_open().expect("it waits for one");
                recovery.handle_opened(number, maps[&number].clone());
            }
        }
    }
    Ok(format!("{messages:?}{:?}{:?}", recovery.damage(), recovery.torn()))
}

/// A log that begins here takes a message, and it is found. `before`: ids that were given before.
fn go_on(image: &Image, before: &BTreeSet<MessageId>) {
    let opened = maps(image);
    let Ok(recovered) = recover(DIRECTORY, &opened) else { return };
    // The disk of the tests knows of none that are left lying between others.
    if recovered.damage.iter().any(|damage| damage.fault == Fault::Foreign) {
        return;
    }
    let mut log = Log::new(recovered.start, OPTIONS, Prng::from_number(7));
    let mut disk = Disk::new(image.clone(), opened);
    disk.settle(&mut log, |_, _| {});
    assert_eq!(log.room(), Room::Open);
    let id = log.next_id();
    // Headers that say an earlier epoch than their records were written in, checksums included,
    // let an id be given twice: nothing but the headers is read before the log goes on.
    if before.iter().any(|one| *one >= id) {
        return;
    }
    log.append_message(message(id, 700, 1)).expect("room");
    let mut accepted = None;
    disk.settle(&mut log, |_, event| {
        if let LogEvent::Accepted(one) = event {
            accepted = Some(one.id());
        }
    });
    assert_eq!(accepted, Some(id));
    let recovered = recover(DIRECTORY, &maps(&disk.durable)).expect("it was opened before");
    let found = recovered.messages.flatten().find(|one| one.id == id).expect("it was promised");
    let log = Log::new(recovered.start, OPTIONS, Prng::from_number(8));
    let stored = log.load(id, found.at).expect("it was promised");
    assert!(whole(&stored).ends_with(&content(id, 700)));
}
