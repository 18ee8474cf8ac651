//! Keep what is known of sources at sites from one run to the next.
//!
//! In: what the shards know together. Out: a file below the spool, written anew every
//! `SHAPING_WRITTEN_EVERY` if something has changed, and once at the end. On a thread of its own,
//! which is there once shaping is on, and stays. A process that is killed forgets the last seconds.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::base::limits::{SHAPING_STATE_MAX, SHAPING_WRITTEN_EVERY};
use crate::egress::shaping::saved::Saved;
use crate::egress::throttle::SharedSites;
use crate::platform::{clock, files};

/// The file below a spool.
const FILE: &str = "shaping.json";

/// Who keeps it.
#[derive(Debug)]
pub(super) struct Keeper {
    sites: Arc<SharedSites>,
    path: PathBuf,
    /// Whether it was read, and the thread is there.
    is_running: Mutex<bool>,
}

impl Keeper {
    /// Of what is known in `sites`; the file is in `spool`.
    pub(super) fn new(sites: Arc<SharedSites>, spool: &Path) -> Self {
        Self { sites, path: spool.join(FILE), is_running: Mutex::new(false) }
    }

    /// Shaping is on, or not.
    pub(super) fn set(&self, is_on: bool) -> io::Result<()> {
        let mut is_running = self.is_running.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_on || *is_running {
            return Ok(());
        }
        if let Some(saved) = recall(&self.path) {
            self.sites.outlets.restore(&saved, clock::now());
        }
        let (sites, path) = (self.sites.clone(), self.path.clone());
        thread::Builder::new().name("shaping".to_owned()).spawn(move || {
            loop {
                thread::sleep(SHAPING_WRITTEN_EVERY);
                write_changes(&sites, &path);
            }
        })?;
        *is_running = true;
        Ok(())
    }

    /// The shards have ended.
    pub(super) fn finish(&self) {
        if *self.is_running.lock().unwrap_or_else(PoisonError::into_inner) {
            write_changes(&self.sites, &self.path);
        }
    }
}

fn write_changes(sites: &SharedSites, path: &Path) {
    let Some(saved) = sites.outlets.save_changes(clock::now()) else { return };
    if let Err(error) = remember(path, &saved) {
        tracing::warn!(%error, "cannot keep how sources stand at sites");
    }
}

/// What was kept; `None` where that is nothing, or of no use.
fn recall(path: &Path) -> Option<Saved> {
    let mut content = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| file.take(SHAPING_STATE_MAX).read_to_end(&mut content))
        .and_then(|_| Ok(serde_json::from_slice(&content)?));
    match read {
        Ok(saved) => Some(saved),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, "{} is no use: rates begin anew", path.display());
            None
        }
    }
}

fn remember(path: &Path, saved: &Saved) -> io::Result<()> {
    files::replace(path, serde_json::to_vec(saved)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::egress::shaping::Shape;

    #[test]
    fn what_is_known_outlives_the_run_that_learned_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = || {
            let keeper = Keeper::new(Arc::default(), folder.path());
            keeper.set(true).expect("a thread");
            keeper
        };
        let outlet = |keeper: &Keeper| {
            let now = clock::now().mono;
            keeper.sites.outlets.site("mx.example", now).outlet("192.0.2.1")
        };
        let first = run();
        let shape = Shape::new(1, 1, None);
        assert!(outlet(&first).slow_down(&shape, None, Duration::ZERO, clock::now().mono));
        first.finish();
        assert!(outlet(&run()).slowed(clock::now().mono).is_some());
        fs::write(folder.path().join(FILE), "{").expect("a file");
        assert!(outlet(&run()).slowed(clock::now().mono).is_none(), "of no use, and no harm");
    }
}
