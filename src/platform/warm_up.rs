//! Keep what sources that are warmed up have sent, from one run to the next.
//!
//! In: leases that shards wish for, what operators say. Out: a file of lines below the spool; each
//! line is on stable storage before it is acted on, so that not even a process that is killed, or a
//! machine that loses power, sends more than a plan has. Many wishes are written together. On a
//! thread of its own, which is there once a source is to be warmed up, and stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::base::limits::{WARM_UP_LINES_SPARE, WARM_UP_STATE_MAX, WARM_UP_WRITE_AGAIN};
use crate::egress::throttle::SharedSites;
use crate::egress::warm_up::ledger::Wish;
use crate::egress::warm_up::saved::Line;
use crate::egress::warm_up::status::{OrderError, SourceStatus, Verb};
use crate::egress::warm_up::{Ledger, Roster};
use crate::platform::clock;

/// The file below a spool.
const FILE: &str = "warm-up.jsonl";

/// Who keeps it.
#[derive(Debug)]
pub(super) struct Keeper {
    ledger: Arc<Ledger>,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    roster: Option<Arc<Roster>>,
    /// Once something is to be warmed up.
    book: Option<Book>,
}

/// The file, and how many lines it has.
#[derive(Debug)]
struct Book {
    file: File,
    lines: usize,
    /// Lines that it had when it was last written anew.
    in_force: usize,
}

impl Keeper {
    /// Of what is known in `sites`; the file is in `spool`.
    pub(super) fn new(sites: &SharedSites, spool: &Path) -> Self {
        Self { ledger: sites.warm_up.clone(), path: spool.join(FILE), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are to be warmed up from now on, or nothing.
    pub(super) fn set(self: &Arc<Self>, roster: Option<&Arc<Roster>>) -> io::Result<()> {
        let mut state = self.state();
        state.roster = roster.cloned();
        let Some(roster) = roster else { return Ok(()) };
        let is_first = state.book.is_none();
        if is_first {
            self.recall()?;
        }
        self.ledger.set(roster);
        self.ledger.look(clock::now(), roster);
        if is_first {
            state.book = Some(self.write_anew(false)?);
            let keeper = self.clone();
            let thread = thread::Builder::new().name("warm-up".to_owned());
            let thread = thread.spawn(move || keeper.run())?.thread().clone();
            self.ledger.keep(move || thread.unpark());
        }
        Ok(())
    }

    /// What another run left.
    fn recall(&self) -> io::Result<()> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(WARM_UP_STATE_MAX).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let whole = text.iter().rposition(|octet| *octet == b'\n').map_or(0, |last| last + 1);
        let unread = self.ledger.restore(&String::from_utf8_lossy(&text[..whole]));
        if unread > 0 {
            let path = self.path.display();
            tracing::warn!("{unread} lines of {path} are no use: what they counted is forgotten");
        }
        Ok(())
    }

    /// Only what is in force.
    fn write_anew(&self, exactly: bool) -> io::Result<Book> {
        let lines = self.ledger.save(exactly);
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(lines.iter().map(Line::render).collect::<String>().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(Book { file, lines: lines.len(), in_force: lines.len() })
    }

    /// Write what is wished for, for ever.
    fn run(&self) {
        let mut wishes: Vec<Wish> = Vec::new();
        loop {
            wishes.append(&mut self.ledger.wishes());
            if wishes.is_empty() {
                thread::park();
                continue;
            }
            let lines: Vec<Line> = wishes.iter().map(Line::from).collect();
            // Granted before anybody else writes: who writes anew writes what is granted.
            let mut state = self.state();
            match self.write(&mut state, &lines) {
                Ok(()) => self.ledger.grant(std::mem::take(&mut wishes)),
                Err(error) => {
                    drop(state);
                    let path = self.path.display();
                    tracing::warn!(%error, "{path}: sources that are warmed up wait for it");
                    thread::sleep(WARM_UP_WRITE_AGAIN);
                }
            }
        }
    }

    fn write(&self, state: &mut State, lines: &[Line]) -> io::Result<()> {
        let Some(book) = &mut state.book else { return Ok(()) };
        let is_long = book.lines > 2 * book.in_force + WARM_UP_LINES_SPARE;
        if is_long {
            *book = self.write_anew(false)?;
        }
        let text: String = lines.iter().map(Line::render).collect();
        let length = book.file.metadata()?.len();
        let written = book.file.write_all(text.as_bytes()).and_then(|()| book.file.sync_data());
        if written.is_err() {
            // A part of a line would spoil the next one. A failed sync is not to be trusted again.
            let cut = book.file.set_len(length).and_then(|()| self.write_anew(false));
            cut.map(|new| *book = new)?;
        }
        book.lines += lines.len();
        written
    }

    /// How sources stand that are warmed up, all or one.
    pub(super) fn status(&self, source: Option<&str>) -> Vec<SourceStatus> {
        let state = self.state();
        let Some(roster) = &state.roster else { return Vec::new() };
        self.ledger.look(clock::now(), roster);
        self.ledger.status(roster, source)
    }

    /// Do something with a source; how it stands then.
    pub(super) fn order(&self, source: &str, verb: Verb) -> Result<Vec<SourceStatus>, OrderError> {
        let mut state = self.state();
        let nobody = || OrderError::NoSource(source.to_owned());
        let roster = state.roster.clone().ok_or_else(nobody)?;
        self.ledger.look(clock::now(), &roster);
        let line = self.ledger.order(&roster, source, verb)?;
        let written = self.write(&mut state, std::slice::from_ref(&line));
        let path = self.path.display();
        written.map_err(|error| OrderError::NotWritten(format!("{path}: {error}")))?;
        self.ledger.follow(&line);
        Ok(self.ledger.status(&roster, Some(source)))
    }

    /// The shards have ended: what they sent is known exactly.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        if state.book.is_some() {
            match self.write_anew(true) {
                Ok(book) => state.book = Some(book),
                Err(error) => tracing::warn!(%error, "what was sent from sources is not kept"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
