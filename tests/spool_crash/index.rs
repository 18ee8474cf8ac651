//! An index says what the records say, wherever a crash cuts it.

use relay_fast::base::ids::MessageId;
use relay_fast::base::prng::Prng;
use relay_fast::spool::log::{Log, LogEvent};
use relay_fast::spool::recovery::{Progress, RecoverError, begin, recover};
use relay_fast::spool::stored::NewMessage;

use crate::disk::{EIO, Image, maps};
use crate::mail::{delivered, message, pending_state};
use crate::{DIRECTORY, OPTIONS, open};

/// What recovery says of an image, in words; but for what commits that never ended left behind,
/// which is of no use to anyone: an index tells nothing of its own group.
fn said(image: &Image) -> [String; 4] {
    let recovered = recover(DIRECTORY, &maps(image)).expect("it can be opened");
    let log = Log::new(recovered.start, OPTIONS, Prng::from_number(1));
    [
        format!("{:?}", recovered.messages.collect::<Vec<_>>()),
        format!("{:?}", recovered.damage),
        format!("{}", recovered.tally.done),
        format!("{:?}", log.stats()),
    ]
}

/// The same step by step, so many records at a time, with segments opened one after another.
fn said_in_steps(image: &Image, budget: usize) -> [String; 3] {
    let numbers = image.keys().copied().collect();
    let head = |number| Ok::<_, RecoverError>(image[&number].clone());
    let (start, mut recovery) = begin(DIRECTORY, numbers, head).expect("it can be opened");
    let mut log = Log::new(start, OPTIONS, Prng::from_number(1));
    let (mut maps, mut messages) = (maps(image).into_iter(), Vec::new());
    loop {
        match log.recover(&mut recovery, budget, |one| messages.push(one)).expect("readable") {
            Progress::GoesOn => {}
            Progress::Over => break,
            Progress::Waits => {
                let (number, map) = maps.next().expect("it waits for one that is there");
                while recovery.poll_open().is_some_and(|asked| asked < number) {}
                recovery.handle_opened(number, map);
            }
        }
    }
    [format!("{messages:?}"), format!("{:?}", recovery.damage()), format!("{:?}", log.stats())]
}

/// Recovery says the same of an image whether it reads indexes or records, and whether at once or
/// in steps; how many indexes there are.
pub(crate) fn agree(image: &Image, context: &str) -> usize {
    let is_index = |file: &&mut Vec<u8>| file[file.len() - 32..].starts_with(b"RELAYIDX");
    let mut without = image.clone();
    let indexes = without.values_mut().filter(is_index).map(|file| file.last_chunk_mut::<32>());
    let indexes = indexes.map(|trailer| trailer.expect("long enough").fill(0)).count();
    let by_index = said(image);
    assert_eq!(by_index, said(&without), "{context}");
    let [messages, damage, _, stats] = by_index;
    let steps = said_in_steps(image, 1 + indexes % 5);
    assert_eq!([messages, damage, stats], steps, "{context}, in steps");
    indexes
}

/// Some are.
fn is_quarantined(id: MessageId) -> bool {
    !id.0.is_multiple_of(2)
}

#[test]
fn cut_at_every_byte_of_an_index() {
    let (mut log, mut disk, _) = open(&Image::new(), 1);
    disk.settle(&mut log, |_, _| {});
    let mut ids = Vec::new();
    for size in [100, 3_000, 1_500] {
        ids.push(log.next_id());
        let message = message(ids[ids.len() - 1], size, 2);
        let is_quarantined = is_quarantined(message.id);
        log.append_message(NewMessage { is_quarantined, ..message }).expect("room");
        disk.settle(&mut log, |_, _| {});
    }
    log.append_state(ids[1], &pending_state(1, 1));
    log.append_state(ids[2], &delivered(0));
    disk.settle(&mut log, |_, _| {});
    let new = log.next_id();
    log.append_message(message(new, 20_000, 1)).expect("room");
    disk.run(&mut log);
    let write = disk.in_flight.clone().expect("the index, before the message that did not fit");
    assert_eq!((write.segment.number, write.range.end), (1, OPTIONS.segment_bytes as usize));
    let length = write.bytes.len();
    let check = |image: &Image, cut: usize| {
        let context = format!("cut at {cut} of {length}");
        let indexes = agree(image, &context);
        let recovered = recover(DIRECTORY, &maps(image)).expect("it can be opened");
        assert_eq!(recovered.damage, vec![], "{context}");
        let found: Vec<_> = recovered.messages.map(|one| one.expect("decodes")).collect();
        assert!(found.iter().map(|one| one.id).eq(ids.iter().copied()), "{context}");
        // Held since it came in, unless something was noted of the recipient since.
        for (one, pending) in found.iter().flat_map(|one| one.pending.iter().map(move |p| (one, p)))
        {
            let is_held = is_quarantined(one.id) && pending.last.is_none();
            assert_eq!(pending.held, is_held, "{context}: {one:?}");
        }
        indexes
    };
    let head = write.bytes.iter().rposition(|octet| *octet != 0).expect("a trailer") - 32;
    let head = write.bytes[..head].iter().rposition(|octet| *octet != 0).expect("a head") + 64;
    let cuts = (0..head).chain((head..length - 64).step_by(997)).chain(length - 64..=length);
    for cut in cuts {
        let image = disk.cut(|place, old, new| if place < cut { new } else { old });
        let indexes = check(&image, cut);
        assert!(indexes == 1 || cut < length, "all of it is there");
        assert!(indexes == 0 || cut > length - 32, "its trailer is not there");
        // The trailer is there, and not all of what it names.
        let image = disk.cut(|place, old, new| if place >= cut { new } else { old });
        check(&image, cut);
    }
    // A failed commit of an index costs nothing but the index.
    disk.fail(&mut log, EIO, |octet| octet % 3 != 0);
    let mut accepted = Vec::new();
    disk.settle(&mut log, |_, event| {
        if let LogEvent::Accepted(one) = event {
            accepted.push(one.id());
        }
    });
    assert_eq!(accepted, [new], "what was to follow is in the next segment");
    let image = disk.cut(|_, old, _| old);
    agree(&image, "after a failure");
    let recovered = recover(DIRECTORY, &maps(&image)).expect("it can be opened");
    assert_eq!(recovered.damage, vec![]);
    assert_eq!(recovered.messages.count(), 4);
}
