//! Segments: what is committed is read back through the map, and found again at the next start.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::platform::event_log::EventLogOptions;
use crate::platform::spool_dir::{self, Spool, SpoolError};
use crate::platform::tests::support::{Shards, acting, event_lines, pattern, words};
use crate::shard::mesh::Crossing;
use crate::shard::platform::{Event, Platform};
use crate::spool::segment::{SegmentBytes, SegmentName};

const SEGMENT: SegmentName = SegmentName { directory: 0, number: 1 };
const BYTES: u32 = 8 * 1024 * 1024;

fn segment(number: u32) -> SegmentName {
    SegmentName { directory: 0, number }
}

/// What the shard's segments hold, for the test to look at.
#[derive(Clone, Default)]
struct Maps(Arc<Mutex<Vec<(SegmentName, Arc<dyn SegmentBytes>)>>>);

impl Maps {
    fn add(&self, name: SegmentName, bytes: Arc<dyn SegmentBytes>) {
        self.0.lock().unwrap().push((name, bytes));
    }

    fn bytes(&self, name: SegmentName) -> Arc<dyn SegmentBytes> {
        let maps = self.0.lock().unwrap();
        Arc::clone(&maps.iter().find(|(n, _)| *n == name).unwrap().1)
    }
}

/// Create segment 1 and commit each of `commits` to it in turn; the first `Drain` starts it.
fn committing(
    commits: Vec<(u32, Vec<Arc<Vec<u8>>>)>,
    maps: Maps,
    tell: Sender<String>,
) -> impl FnMut(Event<'_>, &mut dyn Platform) {
    let mut commits = commits.into_iter();
    let mut go_on = move |platform: &mut dyn Platform| {
        if let Some((offset, buffers)) = commits.next() {
            platform.commit(SEGMENT, offset, buffers);
        }
    };
    move |event, platform| match event {
        Event::Crossing(Crossing::Drain) => platform.create_segment(SEGMENT, BYTES, 0),
        Event::SegmentReady { segment, result } => {
            tell.send(format!("ready {:?}", result.as_ref().map(|map| map.bytes().len()))).unwrap();
            if let Ok(map) = result {
                maps.add(segment, map);
            }
            go_on(platform);
        }
        Event::Committed { result, .. } => {
            tell.send(format!("{result:?}")).unwrap();
            go_on(platform);
        }
        _ => {}
    }
}

#[test]
fn what_is_committed_is_read_back_through_the_map() {
    // One large buffer; many small ones, more than one write takes; none at all; empty ones.
    let large = Arc::new(pattern(3_000_000));
    let small: Vec<_> = pattern(25_000).chunks(10).map(|c| Arc::new(c.to_vec())).collect();
    let empty = Arc::new(Vec::new());
    let mixed = vec![empty.clone(), Arc::new(b"a".to_vec()), empty, Arc::new(b"b".to_vec())];
    let past_the_end = vec![Arc::new(vec![1; 2])];
    let commits = vec![
        (0, vec![large.clone()]),
        (3_000_000, small),
        (4_000_000, Vec::new()),
        (5_000_000, mixed),
        (BYTES - 1, past_the_end),
    ];
    let (tell, told) = words();
    let maps = Maps::default();
    let script_maps = maps.clone();
    let shards = Shards::start(1, move |_| {
        acting(2, committing(commits.clone(), script_maps.clone(), tell.clone()))
    });
    shards.drain();
    assert_eq!(told.recv().unwrap(), format!("ready Ok({BYTES})"));
    for _ in 0..4 {
        assert_eq!(told.recv().unwrap(), "Ok(())");
    }
    assert_eq!(told.recv().unwrap(), format!("Err(IoError {{ errno: {} }})", libc::EFBIG));
    let map = maps.bytes(SEGMENT);
    let file = fs::read(shards.spool.path().join(SEGMENT.to_string())).unwrap();
    assert!(file == map.bytes(), "the map shows the file");
    assert!(file[..3_000_000] == large[..]);
    assert!(file[3_000_000..3_025_000] == pattern(25_000)[..]);
    assert_eq!(&file[5_000_000..5_000_003], b"ab\0");
    assert_eq!(file.len(), BYTES as usize);
    assert_eq!(Arc::strong_count(&large), 2, "the kernel's share is given back");
    shards.end();
}

#[test]
fn segments_are_found_again_and_leftovers_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path()).unwrap();
    for number in [0, 7] {
        spool.prepare(number).unwrap();
    }
    for name in [segment(2), segment(1), SegmentName { directory: 7, number: 123_456_789 }] {
        spool_dir::create(directory.path(), name, 4_096, 0).unwrap();
    }
    let again = spool_dir::create(directory.path(), segment(2), 4_096, 0);
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    for leftover in ["000/00000003.new", "000/notes.txt", "000/3.seg", "x.seg"] {
        fs::write(directory.path().join(leftover), "x").unwrap();
    }
    let found = spool.segments().unwrap();
    assert_eq!(found, [segment(1), segment(2), SegmentName { directory: 7, number: 123_456_789 }]);
    assert!(!directory.path().join("000/00000003.new").exists());
    assert!(directory.path().join("000/notes.txt").exists(), "what is not ours stays");
}

#[test]
fn a_removed_segment_is_reused_unless_somebody_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    Spool::open(root).unwrap().prepare(0).unwrap();
    let names = || {
        let entries = fs::read_dir(root.join("000")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.join(" ")
    };
    let first = spool_dir::create(root, segment(1), 4_096, 0).unwrap();
    let second = spool_dir::create(root, segment(2), 4_096, 0).unwrap();
    fs::write(root.join("000/00000002.seg"), [7; 4_096]).unwrap();
    let reader = Arc::clone(&second.map);
    spool_dir::remove(root, segment(1), first.map).unwrap();
    spool_dir::remove(root, segment(2), second.map).unwrap();
    assert_eq!(names(), "00000001.old");
    let third = spool_dir::create(root, segment(3), 4_096, 0).unwrap();
    assert_eq!(names(), "00000003.seg");
    assert_eq!(reader.bytes(), [7; 4_096], "a reader's segment is nobody else's");
    // A spare of another size is of no use.
    spool_dir::remove(root, segment(3), third.map).unwrap();
    let fourth = spool_dir::create(root, segment(4), 8_192, 0).unwrap();
    assert_eq!((names().as_str(), fourth.map.bytes().len()), ("00000004.seg", 8_192));
}

#[test]
fn a_shard_adopts_what_it_finds_reads_ahead_and_removes() {
    let directory = tempfile::tempdir().unwrap();
    {
        let spool = Spool::open(directory.path()).unwrap();
        spool.prepare(0).unwrap();
        spool_dir::create(directory.path(), SEGMENT, 1 << 20, 0).unwrap();
    }
    let (tell, told) = words();
    let shards = Shards::start_in(directory, 1, EventLogOptions::default(), move |_| {
        let tell = tell.clone();
        acting(2, move |event, platform| match event {
            Event::Crossing(Crossing::Drain) => {
                platform.open_segment(segment(9));
                platform.open_segment(SEGMENT);
            }
            Event::SegmentOpened { segment, result: Err(error) } => {
                tell.send(format!("{segment} {}", error.errno)).unwrap();
            }
            Event::SegmentOpened { segment, result: Ok(map) } => {
                tell.send(format!("{segment} {}", map.bytes().len())).unwrap();
                drop(map);
                platform.populate(1, SEGMENT, 4_095, 70_000);
                platform.populate(2, SEGMENT, 1 << 20, 1);
                platform.populate(3, self::segment(9), 0, 1);
                platform.commit(self::segment(9), 0, vec![Arc::new(vec![1])]);
                platform.commit(SEGMENT, 0, vec![Arc::new(vec![1])]);
                // While its commit is under way: removed after it.
                platform.remove_segment(SEGMENT);
            }
            Event::Populated { ticket } => tell.send(format!("populated {ticket}")).unwrap(),
            Event::Committed { segment, result } => {
                tell.send(format!("{segment} {}", result.is_ok())).unwrap();
                if result.is_ok() {
                    platform.create_segment(self::segment(2), 1 << 20, 0);
                }
            }
            // The removal was asked for before: the file has become this one.
            Event::SegmentReady { segment, result } => {
                tell.send(format!("{segment} {}", result.unwrap().bytes()[0])).unwrap();
            }
            _ => {}
        })
    });
    shards.drain();
    let mut said: Vec<_> = (0..8).map(|_| told.recv().unwrap()).collect();
    said.sort();
    let expected = [
        "000/00000001.seg 1048576",
        "000/00000001.seg true",
        "000/00000002.seg 1",
        "000/00000009.seg 2",
        "000/00000009.seg false",
        "populated 1",
        "populated 2",
        "populated 3",
    ];
    assert_eq!(said, expected);
    shards.end();
}

#[test]
fn a_second_relay_on_one_spool_is_refused_and_told_who_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = Spool::open(directory.path()).unwrap();
    let refused = Spool::open(directory.path()).unwrap_err();
    assert!(matches!(refused, SpoolError::InUse { .. }));
    let line = refused.to_string();
    assert!(line.contains(&format!("process {}", std::process::id())), "{line}");
    assert!(line.contains("--spool") && !line.contains('\n'), "{line}");
    drop(first);
    Spool::open(directory.path()).unwrap();
}

#[test]
fn a_spool_that_is_no_directory_is_refused_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = Spool::open(&file.path().join("spool")).unwrap_err();
    assert!(matches!(refused, SpoolError::Unusable { .. }));
    assert!(!refused.to_string().contains('\n'));
}

/// A file system of so many octets, unmounted when this is dropped; `None` without the right.
pub(super) struct Small(TempDir);

impl Small {
    pub(super) fn mount(octets: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={octets}");
        let arguments = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let mounted = Command::new("mount").args(arguments).arg(directory.path()).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then(|| Self(directory))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_frees_what_it_took() {
    let Some(small) = Small::mount(10 * 1024 * 1024) else {
        eprintln!("SKIPPED a_full_disk_is_an_error: only root can mount a small file system");
        return;
    };
    Spool::open(small.path()).unwrap().prepare(0).unwrap();
    spool_dir::create(small.path(), segment(1), BYTES, 0).unwrap();
    let refused = spool_dir::create(small.path(), segment(2), BYTES, 0).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    assert!(!small.path().join("000/00000002.new").exists());
    // There is room for a smaller one, so the failed one left nothing; but not for new mail, which
    // is to leave some of the disk free.
    let kept = spool_dir::create(small.path(), segment(2), 1024 * 1024, 1 << 40).unwrap_err();
    assert_eq!(kept.raw_os_error(), Some(libc::ENOSPC));
    spool_dir::create(small.path(), segment(2), 1024 * 1024, 0).unwrap();
}

#[test]
fn events_wait_for_room_on_a_full_disk() {
    let Some(small) = Small::mount(1024 * 1024) else {
        eprintln!("SKIPPED events_wait_for_room: only root can mount a small file system");
        return;
    };
    let directory = tempfile::tempdir_in(small.path()).unwrap();
    let filler = small.path().join("filler");
    let (tell, told) = words();
    let file = filler.clone();
    // One file is kept: a second one would push out what the first has.
    let options = EventLogOptions { files: 1, ..EventLogOptions::default() };
    let shards = Shards::start_in(directory, 1, options, move |_| {
        let (tell, file) = (tell.clone(), file.clone());
        let mut lines = 0;
        acting(3, move |event, platform| {
            if matches!(event, Event::Crossing(Crossing::Drain)) {
                // 20,000 lines of 60 octets: more than there is room for, until the end.
                (0..10_000).for_each(|_| {
                    platform.log_events(format!("{{\"sequence\":{lines:048}}}\n").as_bytes());
                    lines += 1;
                });
                if lines == 20_000 {
                    let _ = fs::remove_file(&file);
                }
                tell.send(lines.to_string()).unwrap();
            }
        })
    });
    fs::write(&filler, vec![0; 900 * 1024]).unwrap();
    let events = shards.spool.path().join("events");
    shards.drain();
    assert_eq!(told.recv().unwrap(), "10000");
    // Wait until the disk is full, so that a write has failed.
    while fs::write(small.path().join("probe"), [0; 65_536]).is_ok() {
        std::thread::yield_now();
    }
    fs::remove_file(small.path().join("probe")).unwrap();
    fs::remove_file(&filler).unwrap();
    let collected = event_lines(&events, 10_000);
    let expected: Vec<_> = (0..10_000).map(|n| format!("{{\"sequence\":{n:048}}}")).collect();
    assert!(collected == expected, "each line once and in order");
    shards.drain();
    shards.end();
}
