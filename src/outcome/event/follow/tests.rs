//! A log on a disk of the test's own: every split, every order, whatever is lost.

use std::collections::BTreeMap;

use super::*;
use crate::base::time::WallTime;
use proptest::prelude::*;

/// Files by their starts.
#[derive(Clone, Debug, Default)]
struct Disk(BTreeMap<i64, Vec<u8>>);

fn line(sequence: u64) -> String {
    format!(
        "{{\"sequence\":{sequence},\"time\":\"1970-01-01T00:00:00.{:03}Z\"}}\n",
        sequence % 1000
    )
}

impl Disk {
    fn write(&mut self, file: i64, text: &str) {
        self.0.entry(file).or_default().extend_from_slice(text.as_bytes());
    }

    fn lines(&mut self, file: i64, numbers: std::ops::RangeInclusive<u64>) {
        numbers.for_each(|number| self.write(file, &line(number)));
    }

    fn starts(&self) -> Vec<i64> {
        self.0.keys().copied().collect()
    }

    /// What there is from a place on, at most so many octets.
    fn read(&self, (file, offset): (i64, u64), most: usize) -> Option<Vec<u8>> {
        let content = self.0.get(&file)?;
        let rest = content.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        Some(rest[..rest.len().min(most)].to_vec())
    }
}

/// Take the one line that is there.
fn take(follower: &mut Follower) -> u64 {
    let glance = follower.head().expect("a line");
    let mut text = Vec::new();
    follower.take(&mut text, &Filter::default());
    assert_eq!(String::from_utf8(text).unwrap(), line(glance.sequence));
    glance.sequence
}

/// Read what there is, so many octets at a time: numbers and gaps.
fn read(follower: &mut Follower, disk: &Disk, most: usize) -> (Vec<u64>, Vec<Gap>) {
    follower.handle_files(&disk.starts());
    let mut numbers = Vec::new();
    while let Some(place) = follower.wants() {
        match disk.read(place, most) {
            None => follower.handle_gone(),
            Some(octets) if octets.is_empty() => {
                follower.handle_end(disk.0[&place.0].len() as u64);
            }
            Some(octets) => follower.handle_octets(&octets, &Filter::default()),
        }
        while follower.head().is_some() {
            numbers.push(take(follower));
        }
    }
    (numbers, std::iter::from_fn(|| follower.poll_gap()).collect())
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn every_split_of_reads_and_of_writes_gives_each_line_once() {
    let mut whole = Disk::default();
    whole.lines(10, 1..=3);
    whole.lines(20, 4..=5);
    let text = [whole.0[&10].clone(), whole.0[&20].clone()];
    for most in 1..80 {
        assert_eq!(
            read(&mut Follower::default(), &whole, most),
            (numbers(1..=5), vec![]),
            "{most}"
        );
    }
    // As it grows octet by octet, and is read each time.
    for seen in 1..=text[0].len() {
        let mut follower = Follower::new(None);
        let mut all = Vec::new();
        let mut disk = Disk::default();
        disk.0.insert(10, text[0][..seen].to_vec());
        all.extend(read(&mut follower, &disk, 7).0);
        disk.0.insert(10, text[0].clone());
        all.extend(read(&mut follower, &disk, 7).0);
        assert_eq!(read(&mut follower, &disk, 7), (vec![], vec![]), "nothing is left");
        disk.0.insert(20, text[1].clone());
        all.extend(read(&mut follower, &disk, 7).0);
        assert_eq!(all, numbers(1..=5), "{seen}");
    }
}

#[test]
fn a_reader_that_is_killed_anywhere_goes_on_behind_its_mark() {
    let mut disk = Disk::default();
    disk.lines(10, 1..=3);
    disk.lines(20, 4..=5);
    disk.lines(30, 1_000..=1_002);
    let all: Vec<u64> = numbers(1..=5).into_iter().chain(1_000..=1_002).collect();
    for killed_after in 0..=all.len() {
        let mut follower = Follower::new(None);
        let mut before = Vec::new();
        follower.handle_files(&disk.starts());
        while before.len() < killed_after {
            if follower.head().is_some() {
                before.push(take(&mut follower));
                continue;
            }
            let place = follower.wants().expect("there is more");
            match disk.read(place, 50).unwrap() {
                octets if octets.is_empty() => follower.handle_end(u64::MAX),
                octets => follower.handle_octets(&octets, &Filter::default()),
            }
        }
        let mut next = Follower::new(follower.mark());
        let (after, gaps) = read(&mut next, &disk, 50);
        assert_eq!([before, after].concat(), all, "killed after {killed_after}");
        assert_eq!(gaps, [], "a new run's numbers are no gap");
    }
}

#[test]
fn a_line_that_was_cut_is_not_given_out_in_part() {
    let mut disk = Disk::default();
    disk.lines(10, 1..=2);
    disk.write(10, &line(3)[..20]);
    let mut follower = Follower::new(None);
    assert_eq!(read(&mut follower, &disk, 99), (numbers(1..=2), vec![]));
    // The next run writes it in a file of its own.
    let mut next = disk.clone();
    next.lines(20, 3..=4);
    assert_eq!(read(&mut follower, &next, 99), (numbers(3..=4), vec![]));
    // Or the same run goes on, over what was cut.
    let mut follower = Follower::new(None);
    read(&mut follower, &disk, 99);
    let mut same = Disk::default();
    same.lines(10, 1..=4);
    assert_eq!(read(&mut follower, &same, 99), (numbers(3..=4), vec![]));
}

#[test]
fn files_that_went_unread_are_told_of() {
    let mut disk = Disk::default();
    disk.lines(10, 1..=3);
    let mut follower = Follower::new(None);
    assert_eq!(read(&mut follower, &disk, 99).0, numbers(1..=3));
    disk.lines(20, 4..=6);
    disk.lines(30, 7..=8);
    // All that was read: nothing is missing.
    let mut passed = Follower::new(follower.mark());
    disk.0.remove(&10);
    assert_eq!(read(&mut passed, &disk, 99), (numbers(4..=8), vec![]));
    disk.0.remove(&20);
    let gap = Gap::Removed { after: 3, before: 7 };
    assert_eq!(read(&mut follower, &disk, 99), (numbers(7..=8), vec![gap]));
    assert!(gap.to_string().contains("those after number 3, up to number 7"));
    // Everything is gone: there is nothing to wait for, and nothing hangs.
    disk.0.clear();
    assert_eq!(read(&mut follower, &disk, 99), (vec![], vec![]));
    disk.lines(90, 20..=20);
    let gap = Gap::Removed { after: 8, before: 20 };
    assert_eq!(read(&mut follower, &disk, 99), (vec![20], vec![gap]));
}

#[test]
fn a_file_that_goes_while_it_is_read_is_left() {
    let mut disk = Disk::default();
    disk.lines(10, 1..=3);
    disk.lines(20, 4..=4);
    let mut follower = Follower::new(None);
    follower.handle_files(&disk.starts());
    let octets = disk.read(follower.wants().unwrap(), line(1).len() * 2).unwrap();
    follower.handle_octets(&octets, &Filter::default());
    // Lines that were read are still there.
    disk.0.remove(&10);
    follower.handle_files(&disk.starts());
    assert_eq!((take(&mut follower), take(&mut follower)), (1, 2));
    assert_eq!(follower.head(), None);
    let gap = Gap::Removed { after: 2, before: 4 };
    assert_eq!(read(&mut follower, &disk, 99), (vec![4], vec![gap]));
}

#[test]
fn numbers_that_are_missing_in_a_file_were_lost() {
    let mut disk = Disk::default();
    disk.lines(10, 1..=2);
    disk.lines(10, 7..=8);
    let gap = Gap::Lost { after: 2, before: 7 };
    assert_eq!(read(&mut Follower::new(None), &disk, 99), (vec![1, 2, 7, 8], vec![gap]));
    assert_eq!(gap.to_string(), "4 events were never written: between 2 and 7");
    // A mark within the file knows the number before.
    let mut first = Disk::default();
    first.lines(10, 1..=2);
    let mut follower = Follower::new(None);
    read(&mut follower, &first, 99);
    let mut next = Follower::new(follower.mark());
    assert_eq!(read(&mut next, &disk, 99), (vec![7, 8], vec![gap]));
}

#[test]
fn what_is_no_event_is_passed_and_told_of() {
    let mut disk = Disk::default();
    disk.lines(10, 1..=1);
    disk.write(10, "\0\0\0\0\nnothing\n");
    disk.lines(10, 2..=2);
    let offset = line(1).len() as u64;
    let gaps = [
        Gap::Damaged { file: 10, offset, octets: 5 },
        Gap::Damaged { file: 10, offset: offset + 5, octets: 8 },
    ];
    for most in 1..60 {
        let read = read(&mut Follower::new(None), &disk, most);
        assert_eq!(read, (vec![1, 2], gaps.to_vec()), "{most}");
    }
}

#[test]
fn a_line_without_end_takes_bounded_memory() {
    let mut disk = Disk::default();
    disk.write(10, &"x".repeat(3 * EVENT_LINE_MAX));
    disk.write(10, "\n");
    disk.lines(10, 1..=1);
    let mut follower = Follower::new(None);
    let (numbers, gaps) = read(&mut follower, &disk, 65_536);
    assert_eq!(numbers, [1]);
    assert!(gaps.len() >= 3 && follower.buffer.capacity() <= 4 * EVENT_LINE_MAX);
    // As many as nobody asks for.
    let mut disk = Disk::default();
    disk.write(10, &"\n".repeat(10 * EVENT_NOTES_MAX));
    assert_eq!(read(&mut Follower::new(None), &disk, 65_536).1.len(), EVENT_NOTES_MAX);
}

#[test]
fn a_file_that_became_shorter_is_read_anew() {
    let mut disk = Disk::default();
    disk.lines(10, 1..=3);
    let mut follower = Follower::new(None);
    read(&mut follower, &disk, 99);
    // Another file by the same name, after a power cut and with a clock that stood still.
    let mut other = Disk::default();
    other.lines(10, 50..=50);
    let gap = Gap::Shrunk { file: 10 };
    assert_eq!(read(&mut follower, &other, 99), (vec![50], vec![gap]));
}

#[test]
fn unwanted_lines_can_be_passed() {
    let filter = Filter::parse("shard=1").unwrap();
    let mut follower = Follower::new(None);
    follower.handle_files(&[10]);
    let text = line(1) + &line(2).replace('}', ",\"shard\":1}");
    follower.handle_octets(text.as_bytes(), &filter);
    assert!(!follower.head().unwrap().is_wanted);
    follower.pass(&filter);
    assert!(follower.head().unwrap().is_wanted);
    assert_eq!(follower.mark().unwrap().time, WallTime(1));
}

proptest! {
    /// Writes, new files, crashes and readers that begin again, in any order: each line once, and
    /// what is missing is told.
    #[test]
    fn no_line_is_missing_or_comes_twice(
        steps in proptest::collection::vec((0..6_u8, 1..40_usize), 1..60),
    ) {
        let (mut disk, mut file, mut number) = (Disk::default(), 1_i64, 0_u64);
        let mut follower = Follower::new(None);
        let (mut got, mut told) = (Vec::new(), Vec::new());
        let mut expected = Vec::new();
        for (step, size) in steps {
            match step {
                0 | 1 => {
                    number += 1;
                    disk.write(file, &line(number));
                    expected.push(number);
                }
                2 => file += 1,
                3 => {
                    // A crash in the middle of a line, and the next run.
                    disk.write(file, &line(number + 1)[..size.min(30)]);
                    (file, number) = (file + 1, number + 1_000);
                }
                4 => follower = Follower::new(follower.mark()),
                _ => {
                    let (numbers, gaps) = read(&mut follower, &disk, size);
                    got.extend(numbers);
                    told.extend(gaps);
                }
            }
        }
        let (numbers, gaps) = read(&mut follower, &disk, 64);
        got.extend(numbers);
        told.extend(gaps);
        prop_assert_eq!(got, expected);
        prop_assert_eq!(told, []);
    }
}
