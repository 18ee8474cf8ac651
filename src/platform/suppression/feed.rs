//! Put addresses on the list that bounce, complain or unsubscribe: read the event log, as it is
//! written.
//!
//! In: event files below a spool, and how often an address bounces before it is suppressed. Out:
//! entries of the tenant's list, of the node's own where there is none. Invariant: what a batch of
//! lines led to and how far the file was read are one commit, so that a bounce that is in the log
//! counts once, whenever the process is killed. A bounce that had not reached the log counts when
//! its message is tried again. What comes back later counts if its token says that it is about this
//! recipient: whoever has merely had the message could name anybody.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use memchr::memmem;

use crate::base::limits::{SUPPRESSION_BATCH_MAX, SUPPRESSION_READ_MAX, SUPPRESSION_REREAD_MAX};
use crate::config::options::HardBounces;
use crate::mail::address::Mailbox;
use crate::mail::handling::TenantName;
use crate::outcome::classes::Class;
use crate::outcome::event::{Event, Kind as EventKind};
use crate::platform::event_log;
use crate::platform::suppression::Keeper;
use crate::platform::suppression::store::wrong;
use crate::policy::suppression::{Change, Entry, Kind, ListName, Located, Subject, Unreadable};

/// Where the reading has come to.
#[derive(Debug)]
pub(super) struct Feed {
    events: PathBuf,
    /// By file; `None` until it was asked of the store.
    read: Option<BTreeMap<String, u64>>,
}

/// What leads onto a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How often an address bounces; `None`: however often.
    pub(super) hard_bounces: Option<HardBounces>,
    /// Whoever complains.
    pub(super) complaints: bool,
    /// Whoever unsubscribes.
    pub(super) unsubscribes: bool,
}

/// A hard bounce; or a complaint or an unsubscribe, which count at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounce {
    pub(super) list: ListName,
    pub(super) subject: Subject,
    pub(super) entry: Entry,
}

impl Feed {
    /// Of the event log in this folder.
    pub(super) fn new(events: PathBuf) -> Self {
        Self { events, read: None }
    }

    /// Read all that is there.
    pub(super) fn follow(&mut self, keeper: &Keeper, rules: Rules) -> Result<(), Unreadable> {
        if self.read.is_none() {
            self.read = Some(keeper.store.read_up_to()?.into_iter().collect());
        }
        let names = self.names().map_err(wrong)?;
        let read = self.read.get_or_insert_default();
        let gone: Vec<String> = read.keys().filter(|name| !names.contains(name)).cloned().collect();
        if !gone.is_empty() {
            keeper.write(|batch| gone.iter().try_for_each(|file| batch.forget_read(file)))?;
            read.retain(|name, _| !gone.contains(name));
        }
        let mut room = Vec::new();
        for name in names {
            let path = self.events.join(&name);
            let mut from = read.get(&name).copied().unwrap_or(0);
            // Nearly all of them ended long ago, and one may be gone since.
            if fs::metadata(&path).map_or(0, |file| file.len()) <= from {
                continue;
            }
            let file = File::open(path).map_err(wrong)?;
            room.resize(SUPPRESSION_READ_MAX, 0);
            while let Some(until) = take_in((&file, &name), from, &mut room, keeper, rules)? {
                from = until;
                // What led to nothing is seldom written down: it is read once more after a crash.
                read.insert(name.clone(), from);
            }
        }
        Ok(())
    }

    /// All event files, by shard and by age.
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = match event_log::names(&self.events) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        names.retain(|name| name.ends_with(".jsonl"));
        Ok(names)
    }
}

/// Take in the lines of a file behind `from`, as many as fit in `room`: where they end, or that
/// there are none.
fn take_in(
    (file, name): (&File, &str),
    from: u64,
    room: &mut [u8],
    keeper: &Keeper,
    rules: Rules,
) -> Result<Option<u64>, Unreadable> {
    let length = file.read_at(room, from).map_err(wrong)?;
    let lines = &room[..length];
    // A last line without its end is still being written.
    let Some(end) = memchr::memrchr(b'\n', lines) else {
        // A line that fills all that is read is none of ours.
        let is_full = length == room.len();
        return Ok(is_full.then_some(from + length as u64));
    };
    let (bounces, taken) = bounces(&lines[..=end]);
    let until = from + taken as u64;
    let is_far = from / SUPPRESSION_REREAD_MAX != until / SUPPRESSION_REREAD_MAX;
    if bounces.is_empty() && !is_far {
        return Ok(Some(until));
    }
    let limits = rules.hard_bounces.map(|rule| {
        let window_ms = i64::try_from(rule.within.as_millis()).unwrap_or(i64::MAX);
        (window_ms, usize::try_from(rule.count).unwrap_or(usize::MAX))
    });
    keeper.write(|batch| {
        for Bounce { list, subject, entry } in &bounces {
            let when = entry.when;
            let is_over = match (entry.kind, limits) {
                (Kind::Complaint, _) => rules.complaints,
                (Kind::Unsubscribe, _) => rules.unsubscribes,
                (_, Some(limits)) => batch.bounced(list, subject.as_str(), when, limits)?,
                (_, None) => false,
            };
            if is_over {
                let (list, subject, entry) = (list.clone(), subject.clone(), entry.clone());
                batch.change(&Change::Add(Located { list, subject, entry }), when)?;
            }
        }
        batch.set_read(name, until)
    })?;
    Ok(Some(until))
}

/// The hard bounces, complaints and unsubscribes among whole lines, as many as fit in a batch; and
/// how many octets that were.
fn bounces(lines: &[u8]) -> (Vec<Bounce>, usize) {
    let mut found = Vec::new();
    let mut taken = 0;
    for line in lines.split_inclusive(|octet| *octet == b'\n') {
        if found.len() == SUPPRESSION_BATCH_MAX {
            break;
        }
        taken += line.len();
        found.extend(bounce(line));
    }
    (found, taken)
}

/// The hard bounce, complaint or unsubscribe that a line tells of. What a DSN came to is none: its
/// recipient was a sender, whom anybody may have named.
pub(super) fn bounce(line: &[u8]) -> Option<Bounce> {
    let kinds: [&[u8]; 3] =
        [b"\"kind\":\"bounced", b"\"kind\":\"complained\"", b"\"kind\":\"unsubscribed\""];
    kinds.iter().find(|kind| memmem::find(line, kind).is_some())?;
    let event = Event::parse(line).ok()?;
    let is_hard = [Class::BadMailbox, Class::Inactive, Class::BadDomain]
        .iter()
        .any(|class| class.as_str() == event.class);
    let about = event.returned.as_ref().filter(|returned| returned.vouched == "recipient");
    let kind = match (event.kind, about) {
        (EventKind::Bounced, _) if is_hard && !event.reverse_path.is_empty() => Kind::HardBounce,
        (EventKind::BouncedLater, Some(_)) if is_hard => Kind::HardBounce,
        (EventKind::Complained, Some(_)) => Kind::Complaint,
        (EventKind::Unsubscribed, _) => Kind::Unsubscribe,
        _ => return None,
    };
    let recipient = Mailbox::parse(&event.recipient, true).ok()?;
    let mut entry = Entry::new(kind, &words(&event), event.time);
    let original = about.and_then(|returned| returned.original);
    entry.message = original.or(Some(event.id));
    let tenant = TenantName::parse(&event.tenant).ok();
    let list = tenant.as_ref().map_or(ListName::GLOBAL, ListName::from);
    Some(Bounce { list, subject: Subject::from(&recipient), entry })
}

/// What was said, in one line.
fn words(event: &Event<'_>) -> String {
    let code = event.code.map_or_else(String::new, |code| format!("{code} "));
    let status = event.status.map_or_else(String::new, |status| format!("{status} "));
    let reply: String = event.reply.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{code}{status}{reply}")
}
