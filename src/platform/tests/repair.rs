//! Repairs on real files: room, copies, what is left alone.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::platform::spool_dir::{QuietSpool, Spool, SpoolError};
use crate::platform::spool_repair::{SpoolRepairError, SpoolRepaired, repair};
use crate::platform::tests::disk::Small;
use crate::spool::check::check;
use crate::spool::format::SegmentHeader;
use crate::spool::recovery::Fault;
use crate::spool::segment::SegmentName;

const MIB: u32 = 1024 * 1024;
const FOREIGN: SegmentName = SegmentName { directory: 0, number: 1 };

/// A spool whose only segment, of so many octets, is another directory's.
fn foreign(root: &Path, bytes: u32) {
    Spool::open(root).unwrap().prepare(0).unwrap();
    let mut block = Vec::new();
    SegmentHeader { identity: 1, nonce: 2, number: 1, epoch: 1, directory: 9 }.encode(&mut block);
    let path = root.join(FOREIGN.to_string());
    fs::write(&path, &block).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(bytes.into()).unwrap();
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<PathBuf> = entries.collect();
    names.sort();
    names
}

/// Do what needs the lock of a spool that was let go: a process that another test starts may hold a
/// copy of the descriptor until it becomes another program.
fn released<T>(ask: impl Fn() -> Result<T, SpoolError>) -> T {
    for _ in 0..60_000 {
        match ask() {
            Err(SpoolError::Runs { .. } | SpoolError::InUse { .. }) => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            answer => return answer.unwrap_or_else(|error| panic!("{error}")),
        }
    }
    panic!("the lock is never released")
}

/// Repair what nobody uses.
fn unlocked(root: &Path) -> Result<Option<SpoolRepaired>, SpoolRepairError> {
    released(|| match repair(root) {
        Err(SpoolRepairError::Spool(error)) => Err(error),
        answer => Ok(answer),
    })
}

#[test]
fn a_segment_of_another_spool_is_copied_and_set_aside_once() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    foreign(&root, MIB);
    let was = fs::read(root.join(FOREIGN.to_string())).unwrap();
    fs::create_dir(place.path().join("spool.before-repair-1")).unwrap();
    // As a repair that was killed leaves it.
    fs::create_dir_all(place.path().join("spool.before-repair.part/000")).unwrap();
    let SpoolRepaired { copy, directories } = unlocked(&root).unwrap().expect("it is damaged");
    assert!(copy.ends_with("spool.before-repair-2"), "an older copy is kept: {copy:?}");
    assert_eq!((directories.len(), &directories[0].set_aside[..]), (1, &[FOREIGN][..]));
    for kept in [copy.join(FOREIGN.to_string()), root.join("damaged").join(FOREIGN.to_string())] {
        assert!(fs::read(&kept).unwrap() == was, "{kept:?}");
    }
    assert_eq!(names(&root.join("000")), [] as [PathBuf; 0]);
    assert!(unlocked(&root).unwrap().is_none(), "nothing more is to be done");
    assert_eq!(names(place.path()).len(), 3);
}

#[test]
fn without_room_for_the_copy_nothing_is_changed() {
    let Some(small) = Small::mount(24 * MIB) else {
        eprintln!("SKIPPED without_room_for_the_copy: only root can mount a small file system");
        return;
    };
    let root = small.path().join("spool");
    // Sparse: it fits once, and would not fit a second time.
    foreign(&root, 16 * MIB);
    let before = (names(small.path()), names(&root));
    let refused = unlocked(&root).unwrap_err();
    assert!(matches!(refused, SpoolRepairError::Room { .. }), "{refused}");
    let line = refused.to_string();
    assert!(line.contains("a copy of the spool and fresh segments take"), "{line}");
    assert_eq!((names(small.path()), names(&root)), before);
    assert!(root.join(FOREIGN.to_string()).exists());
}

#[test]
fn who_reads_a_spool_keeps_relays_out_and_no_other_reader() {
    let root = tempfile::tempdir().unwrap();
    foreign(root.path(), MIB);
    let relay = released(|| Spool::open(root.path()));
    for refused in [
        QuietSpool::open(root.path()).unwrap_err(),
        QuietSpool::open_alone(root.path()).unwrap_err(),
    ] {
        assert!(
            matches!(&refused, SpoolError::Runs { holder, .. }
            if *holder == std::process::id().to_string()),
            "{refused}"
        );
    }
    drop(relay);
    let one = released(|| QuietSpool::open(root.path()));
    let two = QuietSpool::open(root.path()).unwrap();
    assert!(matches!(Spool::open(root.path()), Err(SpoolError::InUse { .. })));
    assert!(matches!(QuietSpool::open_alone(root.path()), Err(SpoolError::Runs { .. })));
    drop((one, two));
    let alone = released(|| QuietSpool::open_alone(root.path()));
    assert!(alone.is_locked() && QuietSpool::open(root.path()).is_err());
}

#[test]
fn a_file_that_was_shortened_is_damage_and_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("spool");
    foreign(&root, MIB);
    File::create(root.join(FOREIGN.to_string())).unwrap();
    let quiet = released(|| QuietSpool::open(&root));
    assert_eq!(quiet.directories().unwrap(), [0]);
    let checked = check(0, quiet.segments(0).unwrap()).unwrap();
    assert_eq!((checked.figures.segments, checked.figures.disk_bytes), (1, 0));
    let [finding] = &checked.damage[..] else { panic!("{:?}", checked.damage) };
    assert_eq!((finding.damage.fault, finding.damage.segment), (Fault::Header, FOREIGN));
    drop((checked, quiet));
    let repaired = unlocked(&root).unwrap().expect("it is damaged");
    assert_eq!(repaired.directories[0].set_aside, [FOREIGN]);
    assert!(unlocked(&root).unwrap().is_none(), "nothing more is to be done");
    let fresh = names(&root.join("000"));
    assert!(fresh.iter().all(|path| path.ends_with("00000002.seg")), "numbers go on: {fresh:?}");
}

#[test]
fn a_repair_by_root_leaves_everything_to_the_owner_of_the_spool() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED a_repair_by_root: only root can give files away");
        return;
    }
    const OWNER: u32 = 65_534;
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    foreign(&root, MIB);
    File::create(root.join(FOREIGN.to_string())).unwrap();
    let tree = |root: &Path| -> Vec<PathBuf> {
        let here = names(root);
        let below = here.iter().filter(|path| path.is_dir()).flat_map(|path| names(path));
        let below: Vec<PathBuf> = below.collect();
        [here, below, vec![root.to_owned()]].concat()
    };
    tree(&root).iter().for_each(|path| chown(path, Some(OWNER), Some(OWNER)).unwrap());
    let SpoolRepaired { copy, .. } = unlocked(&root).unwrap().expect("it is damaged");
    assert!(root.join("000/00000002.seg").exists(), "a fresh segment");
    for path in [tree(&root), tree(&copy), tree(&root.join("damaged"))].concat() {
        assert_eq!(fs::metadata(&path).unwrap().uid(), OWNER, "{path:?}");
    }
}
