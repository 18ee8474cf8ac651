//! Keep campaigns by what stands for them in reverse-paths, from one run to the next.
//!
//! In: those that mail leaves of. Out: a file below the spool, `DAY TENANT CAMPAIGN` a line, the
//! last line of a campaign counts. A new one is appended as soon as it is there, by a thread of its
//! own, which sleeps otherwise; it is there once anything comes back to us, and stays. Not synced:
//! who is killed has it all the same, who loses power loses those of the last seconds. What could
//! not come back any more is left out when the file is read, and it is made anew then.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::base::limits::{
    VERP_CAMPAIGNS_FILE_MAX, VERP_CAMPAIGNS_LINES_MAX, VERP_CAMPAIGNS_WAITING_MAX, VERP_DAY,
};
use crate::base::time::WallTime;
use crate::config::options::ReturnOptions;
use crate::platform::{clock, files};
use crate::policy::returns::campaigns::{KnownCampaigns, Noted};

/// The file below a spool.
const FILE: &str = "campaigns";

/// Who keeps them.
#[derive(Debug)]
pub(super) struct CampaignKeeper {
    known: Arc<KnownCampaigns>,
    path: PathBuf,
    /// `None` until the file was read, and the thread is there.
    book: Mutex<Option<Arc<Mutex<Book>>>>,
}

/// The file as it is written.
#[derive(Debug)]
struct Book {
    file: File,
    /// Since it was made anew.
    lines: usize,
    is_failing: bool,
}

impl CampaignKeeper {
    /// The file is in `spool`.
    pub(super) fn new(spool: &Path) -> Self {
        Self { known: Arc::default(), path: spool.join(FILE), book: Mutex::default() }
    }

    /// What is known.
    pub(super) fn known(&self) -> Arc<KnownCampaigns> {
        self.known.clone()
    }

    /// What comes back to us, if anything does.
    pub(super) fn set(&self, returns: Option<&ReturnOptions>) -> io::Result<()> {
        let mut book = lock(&self.book);
        let Some(returns) = returns.filter(|_| book.is_none()) else { return Ok(()) };
        // A token is good to the end of its last day.
        recall(&self.path, clock::now().wall - returns.lifetime - VERP_DAY, &self.known);
        let new = Arc::new(Mutex::new(Book::new(&self.path, &self.known)?));
        let (sender, told) = sync_channel(VERP_CAMPAIGNS_WAITING_MAX);
        let (known, path, shared) = (self.known.clone(), self.path.clone(), new.clone());
        thread::Builder::new().name("campaigns".to_owned()).spawn(move || {
            for noted in told {
                lock(&shared).add(&noted, &path, &known);
            }
        })?;
        self.known.tell(sender);
        *book = Some(new);
        Ok(())
    }

    /// The shards have ended: what the thread has not written yet is written.
    pub(super) fn finish(&self) {
        if let Some(book) = &*lock(&self.book) {
            lock(book).begin_anew(&self.path, &self.known);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    /// All that is known, and nothing else.
    fn new(path: &Path, known: &KnownCampaigns) -> io::Result<Self> {
        let text: String = known.all().iter().map(|noted| format!("{noted}\n")).collect();
        files::replace(path, text)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { file, lines: 0, is_failing: false })
    }

    fn begin_anew(&mut self, path: &Path, known: &KnownCampaigns) {
        let made = Self::new(path, known).map(|new| *self = new);
        self.tell(made);
    }

    fn add(&mut self, noted: &Noted, path: &Path, known: &KnownCampaigns) {
        if self.lines == VERP_CAMPAIGNS_LINES_MAX || self.is_failing {
            return self.begin_anew(path, known);
        }
        self.lines += 1;
        let written = self.file.write_all(format!("{noted}\n").as_bytes());
        self.tell(written);
    }

    fn tell(&mut self, done: io::Result<()>) {
        if let Err(error) = &done
            && !self.is_failing
        {
            tracing::warn!(%error, "campaigns of what comes back cannot be kept");
        }
        self.is_failing = done.is_err();
    }
}

/// Know what an earlier run knew, and used since `oldest`.
fn recall(path: &Path, oldest: WallTime, known: &KnownCampaigns) {
    let mut text = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(VERP_CAMPAIGNS_FILE_MAX as u64).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            let path = path.display();
            tracing::warn!(%error, "{path} is no use: bounces of before have no campaign");
        }
    }
    // The last line may be cut.
    let lines = String::from_utf8_lossy(&text);
    lines.split_inclusive('\n').for_each(|line| {
        if let Some(noted) = line.strip_suffix('\n').and_then(|line| line.parse().ok()) {
            known.restore(noted, oldest);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::mail::address::Mailbox;
    use crate::mail::handling::{CampaignName, TenantName};

    fn returns() -> ReturnOptions {
        ReturnOptions {
            address: Mailbox::parse("b@b.example", false).unwrap(),
            secrets: "secrets".into(),
            mode: Default::default(),
            lifetime: Duration::from_secs(30 * 86_400),
            classic: false,
            complaints: Vec::new(),
            announces: false,
            forward_to: None,
        }
    }

    fn run(spool: &Path) -> CampaignKeeper {
        let keeper = CampaignKeeper::new(spool);
        keeper.set(Some(&returns())).expect("a thread");
        keeper
    }

    #[test]
    fn the_next_run_knows_what_mail_left_of_and_could_still_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let acme = TenantName::parse("acme").unwrap();
        let note = |keeper: &CampaignKeeper, name: &str, now| {
            let campaign = CampaignName::parse(name).unwrap();
            keeper.known.note(&acme, &campaign, now).expect("room")
        };
        let first = run(folder.path());
        let now = clock::now().wall;
        let new = note(&first, "new", now);
        let old = note(&first, "old", now - Duration::from_secs(40 * 86_400));
        // It is appended with no need of an orderly end.
        let count = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
        while count(&path) < 2 {
            thread::yield_now();
        }
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"no line\n30000 acme cut").unwrap();
        let second = run(folder.path());
        assert_eq!(second.known.find(&acme, new), CampaignName::parse("new").ok());
        assert_eq!(second.known.find(&acme, old), None);
        assert_eq!(count(&path), 1, "made anew");
        note(&second, "more", now);
        second.finish();
        // The thread may have come to the new one after that: then it stands there twice.
        let text = fs::read_to_string(&path).unwrap();
        let names: BTreeSet<_> = text.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(names, BTreeSet::from(["more", "new"]));
    }

    #[test]
    fn nothing_is_kept_where_nothing_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = CampaignKeeper::new(folder.path());
        keeper.set(None).expect("nothing to do");
        keeper.finish();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
