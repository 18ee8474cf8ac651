//! Repairs: what is whole stays, what is not goes, once and for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_fast::base::prng::Prng;
use relay_fast::spool::check::{Fate, Part};
use relay_fast::spool::format::{Record, RecordKind};
use relay_fast::spool::log::Io;
use relay_fast::spool::recovery::Fault;
use relay_fast::spool::repair::{Repair, RepairError};
use relay_fast::spool::segment::SegmentBytes;

use crate::disk::{ENOSPC, Image, Map};
use crate::{Guarded, Scene, checked, flipped, queue};

/// Repair an image; it after each step, the last one is what is left.
fn steps(image: &Image) -> Vec<Image> {
    let mut repair = Repair::new(checked(image), Prng::from_number(77));
    let mut maps: BTreeMap<u32, Arc<Map>> = BTreeMap::new();
    let mut steps = vec![image.clone()];
    while let Some(io) = repair.poll_io().unwrap() {
        let mut now = steps.last().unwrap().clone();
        match io {
            Io::Create { segment, bytes, .. } => {
                let zeros = vec![0; bytes as usize];
                let map = Map::new(zeros.clone());
                assert!(now.insert(segment.number, zeros).is_none(), "{segment} is new");
                maps.insert(segment.number, Arc::clone(&map));
                repair.handle_segment_ready(segment, Ok(map as Arc<dyn SegmentBytes>));
            }
            Io::Commit { segment, offset, buffers } => {
                let start = offset as usize;
                let bytes: Vec<u8> = buffers.iter().flat_map(|one| one.iter().copied()).collect();
                maps[&segment.number].write(start, &bytes);
                let file = now.get_mut(&segment.number).expect("it was created in this repair");
                file[start..start + bytes.len()].copy_from_slice(&bytes);
                repair.handle_committed(segment, Ok(()));
            }
            Io::Remove { segment } => {
                assert_eq!(now.keys().next(), Some(&segment.number), "oldest first");
                now.remove(&segment.number);
            }
        }
        steps.push(now);
    }
    steps
}

fn repaired(image: &Image) -> Image {
    steps(image).pop().unwrap()
}

/// A place in the content of a message that is in the queue and whose group is proven.
fn content_of_queued(scene: &Scene) -> Guarded {
    let mut places = scene.guarded().into_iter();
    let is_lost = |place: &Guarded| {
        let checked = checked(&flipped(&scene.image, place.segment, place.range.start, 0));
        checked.damage.iter().any(|one| one.subjects.iter().any(|it| it.part == Part::Content))
            && checked.figures.lost == 1
    };
    places.rfind(is_lost).expect("there is one")
}

#[test]
fn whatever_is_damaged_a_repair_keeps_all_that_is_whole_and_is_done_once() {
    let scene = Scene::new();
    for Guarded { segment, range, is_proven } in scene.guarded() {
        let places = [range.start, range.start + range.len() as u32 / 2, range.end - 1];
        for offset in places.into_iter().chain(range.clone().step_by(53).take(6)) {
            let image = flipped(&scene.image, segment, offset, 5);
            let before = checked(&image);
            assert_eq!(before.needs_repair(), is_proven);
            if !is_proven {
                continue;
            }
            let context = format!("{segment} at {offset} of {range:?}");
            let after = checked(&repaired(&image));
            assert!(after.damage.is_empty(), "{context}: {:?}", after.damage);
            assert!(!after.needs_repair(), "{context}: again");
            assert_eq!(queue(&after), queue(&before), "{context}: what is whole, and its states");
            assert_eq!(after.figures.lost, 0, "{context}");
            // What is gone was named, whatever was damaged of it, and is on paper.
            let gone = scene.queued.keys().filter(|id| !queue(&after).contains_key(*id));
            for id in gone {
                let mut subjects = before.damage.iter().flat_map(|finding| &finding.subjects);
                assert!(subjects.any(|one| one.id == *id || !one.is_sure), "{context}: {id}");
                assert!(before.salvage().next().is_some(), "{context}: {id}");
            }
        }
    }
}

#[test]
fn a_crash_at_any_step_of_a_repair_loses_nothing_and_it_can_be_repeated() {
    let scene = Scene::new();
    let place = content_of_queued(&scene);
    let image = flipped(&scene.image, place.segment, place.range.start + 5, 1);
    let before = queue(&checked(&image));
    let steps = steps(&image);
    assert!(steps.len() > 4, "{} steps", steps.len());
    for (number, step) in steps.iter().enumerate() {
        let half_way = checked(step);
        assert_eq!(queue(&half_way), before, "after step {number}");
        let again = if half_way.needs_repair() { repaired(step) } else { step.clone() };
        let after = checked(&again);
        assert!(!after.needs_repair(), "after step {number}: {:?}", after.damage);
        assert_eq!(queue(&after), before, "after step {number}");
    }
}

#[test]
fn what_is_left_of_a_damaged_message_is_written_out() {
    let scene = Scene::new();
    let place = content_of_queued(&scene);
    let image = flipped(&scene.image, place.segment, place.range.start, 0);
    let checked = checked(&image);
    let lost: Vec<_> = checked.lost().map(|letter| letter.id).collect();
    let [id] = lost[..] else { panic!("{lost:?}") };
    let salvage: Vec<_> = checked.salvage().collect();
    let [salvage] = &salvage[..] else { panic!("{salvage:?}") };
    assert_eq!(salvage.name, id.to_string());
    for words in [
        format!("damage: 003/{:08}.seg at {}", place.segment, place.range.start),
        format!("message: {id}"),
        "reverse-path: <sender@example.org>".to_owned(),
        format!("recipient: <{id}@example0.com>"),
        "not as written: octets ".to_owned(),
    ] {
        assert!(salvage.notes.contains(&words), "{words}: {}", salvage.notes);
    }
    let octets = salvage.message.as_deref().unwrap();
    assert!(octets.starts_with(format!("Received: with id {id}\r\n").as_bytes()));
    let whole = crate::content(id, 20_000);
    let prefix = format!("Received: with id {id}\r\n").len();
    let differ = octets[prefix..].iter().zip(&whole).filter(|(here, there)| here != there);
    assert_eq!(differ.count(), 1, "all but the flipped octet is there");
}

#[test]
fn an_envelope_that_is_damaged_is_told_by_its_id_and_its_content_is_saved() {
    let scene = Scene::new();
    let mut told = 0;
    let is_message = |place: &Guarded| {
        let bytes = &scene.image[&place.segment];
        let record = Record::decode(bytes, place.range.start, bytes.len() as u32);
        place.is_proven && record.is_some_and(|one| one.header.kind == RecordKind::Message)
    };
    for place in scene.guarded().into_iter().filter(is_message) {
        // In the prefix of a Message record, which nothing depends on.
        let image = flipped(&scene.image, place.segment, place.range.start + 40 + 64 + 3, 0);
        let checked = checked(&image);
        let envelope = checked.damage.iter().find_map(|finding| {
            let mut subjects = finding.subjects.iter();
            subjects.find(|one| one.part == Part::Envelope && one.fate != Fate::Ended)
        });
        let Some(subject) = envelope else { continue };
        assert!(subject.is_sure && subject.fate == Fate::Missing, "{subject}");
        assert!(scene.queued.contains_key(&subject.id));
        let salvage = checked.salvage().next().unwrap();
        assert!(salvage.raw.is_some() && salvage.notes.contains("beware: "), "{}", salvage.notes);
        assert!(salvage.notes.contains(&format!("recipient: <{}@example0.com>", subject.id)));
        let octets = salvage.message.unwrap();
        let prefix = format!("Received: with id {}\r\n", subject.id).len();
        assert_eq!(octets[prefix..], crate::content(subject.id, octets.len() - prefix));
        told += 1;
    }
    assert!(told >= 4, "{told} envelopes");
}

#[test]
fn damage_of_what_has_ended_costs_nothing_and_is_repaired_too() {
    let scene = Scene::new();
    let mut found = 0;
    for place in scene.guarded().into_iter().filter(|place| place.is_proven) {
        let image = flipped(&scene.image, place.segment, place.range.start, 0);
        let checked_image = checked(&image);
        let [finding] = &checked_image.damage[..] else { continue };
        let Fault::Content(id) = finding.damage.fault else { continue };
        if !scene.ended.contains(&id) {
            continue;
        }
        found += 1;
        assert_eq!(finding.subjects[0].fate, Fate::Ended);
        assert!(finding.to_string().ends_with("it has ended, nothing is lost"), "{finding}");
        assert_eq!(queue(&checked_image), scene.queued);
        assert_eq!(queue(&checked(&repaired(&image))), scene.queued);
    }
    assert!(found > 0);
}

#[test]
fn a_damaged_copy_yields_to_an_older_one_that_is_whole() {
    let scene = Scene::new();
    let place = content_of_queued(&scene);
    let image = flipped(&scene.image, place.segment, place.range.start, 0);
    let before = queue(&checked(&image));
    // The copies are on disk; that the old segments went is not.
    let mut both = repaired(&image);
    let fresh: Vec<u32> = both.keys().filter(|one| !image.contains_key(one)).copied().collect();
    both.extend(image.clone());
    assert_eq!(queue(&checked(&both)), before);
    let mut yielded = 0;
    for (segment, offset) in
        fresh.iter().flat_map(|one| (4_096..32_768).step_by(501).map(move |at| (*one, at)))
    {
        let twice = checked(&flipped(&both, segment, offset, 2));
        assert_eq!(queue(&twice), before, "{segment} at {offset}");
        let content = twice.damage.iter().filter(|one| one.damage.segment.number == segment);
        yielded += content.filter(|one| one.to_string().contains("an older copy")).count();
    }
    assert!(yielded > 0, "no content of a proven copy was hit");
}

#[test]
fn a_segment_of_another_spool_is_left_out_and_the_rest_stays_where_it_is() {
    let scene = Scene::new();
    let mut image = scene.image.clone();
    let mut other = crate::Run::new(&Image::new(), 4_711);
    other.commit();
    let foreign = other.disk.durable.values().next().unwrap().clone();
    let number = *image.keys().last().unwrap() + 1;
    // As if it had that number in its own spool.
    let mut block = foreign;
    block[32..36].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c(&block[12..64]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    image.insert(number, block);
    let found = checked(&image);
    let aside: Vec<u32> = found.foreign().map(|segment| segment.number).collect();
    assert_eq!(aside, [number]);
    assert_eq!(queue(&found), scene.queued);
    assert_eq!(steps(&image).len(), 1, "the log has nothing to do");
}

#[test]
fn a_disk_that_does_not_take_a_repair_ends_it() {
    let scene = Scene::new();
    let place = content_of_queued(&scene);
    let image = flipped(&scene.image, place.segment, place.range.start, 0);
    let mut repair = Repair::new(checked(&image), Prng::from_number(1));
    let Some(Io::Create { segment, .. }) = repair.poll_io().unwrap() else {
        panic!("a fresh segment comes first")
    };
    repair.handle_segment_ready(segment, Err(ENOSPC));
    assert_eq!(repair.poll_io().unwrap_err(), RepairError::Write { segment, errno: ENOSPC });
}
