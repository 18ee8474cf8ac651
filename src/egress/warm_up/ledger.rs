//! Count what leaves from sources that are warmed up, over all shards.
//!
//! Each ration has one atomic count, and a *lease*: how far the count may go by what is written
//! down. A count is raised only below both the day's number and the lease, so a process that is
//! killed and begins at what was written has not sent more than that. Leases are asked for before
//! they run out, and written by somebody else ([`Ledger::wishes`], [`Ledger::grant`]).
//!
//! ```text
//!   0 ──────── sent ──────── lease (on disk) ──────── the day's number
//!               └─ may go ────┘ └─ once it is written ──┘
//! ```
//!
//! The day is one for all: it is never an earlier one again, unless the clock was set back by more
//! than a day; then what was counted counts for the earlier day. Lives on: the process.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hashbrown::HashMap;

use crate::base::days::Day;
use crate::base::limits::{
    WARM_UP_CLOCK_SEEN_FOR, WARM_UP_LEASE_PART, WARM_UP_LOOK_AGAIN, WARM_UP_RATIONS_MAX,
};
use crate::base::time::{Monotonic, Now};
use crate::egress::cause::Why;
use crate::egress::warm_up::{Planned, Roster};

/// What the sites beyond `WARM_UP_RATIONS_MAX` are called.
const OTHERS: &str = "other sites";

/// What all shards know of sources that are warmed up.
#[derive(Debug, Default)]
pub struct Ledger {
    pub(super) today: Today,
    pub(super) books: Mutex<Books>,
    writer: Writer,
}

/// The present day.
#[derive(Debug, Default)]
pub(super) struct Today {
    day: AtomicI32,
    /// When it is over; 0: it is not known.
    until: AtomicU64,
    /// When the clock is to be seen again.
    seen_until: AtomicU64,
    /// When it is over, for people.
    words: Mutex<Arc<str>>,
}

/// Who writes leases down.
#[derive(Default)]
struct Writer {
    /// There is one: leases are its to give.
    is_there: AtomicBool,
    wishes: Mutex<Vec<Wish>>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("is_there", &self.is_there).finish_non_exhaustive()
    }
}

/// What is behind a lock: sources and rations come and go rarely.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) courses: HashMap<Box<str>, Arc<Course>>,
    /// By source and provider.
    pub(super) rations: HashMap<(Box<str>, Box<str>), Arc<Count>>,
}

/// Where a source is in its plan.
#[derive(Debug)]
pub(super) struct Course {
    /// The plan and the first day that the configuration gave when this was made.
    pub(super) given: (Box<str>, Day),
    /// Day 1.
    begun: AtomicI32,
    /// The day of the plan that an operator holds it at; 0: none.
    held: AtomicU32,
}

impl Course {
    pub(super) fn new(plan: &str, from: Day, begun: Day, held: u32) -> Self {
        let (begun, held) = (AtomicI32::new(begun.0), AtomicU32::new(held));
        Self { given: (plan.into(), from), begun, held }
    }

    fn of(planned: &Planned) -> Self {
        Self::new(&planned.plan.name, planned.from, planned.from, 0)
    }

    pub(super) fn begun(&self) -> Day {
        Day(self.begun.load(Ordering::Relaxed))
    }

    pub(super) fn held(&self) -> Option<u32> {
        Some(self.held.load(Ordering::Relaxed)).filter(|held| *held > 0)
    }

    pub(super) fn set(&self, begun: Day, held: Option<u32>) {
        self.begun.store(begun.0, Ordering::Relaxed);
        self.held.store(held.unwrap_or(0), Ordering::Relaxed);
    }

    /// The day of the plan: 1 is the first; below, it has not begun.
    pub(super) fn number(&self, today: Day) -> i64 {
        self.held().map_or_else(|| today.since(self.begun()) + 1, i64::from)
    }

    /// The number of messages today by `days`; `None`: the source is warm.
    pub(super) fn allowed(&self, days: &[u32], today: Day) -> Option<u32> {
        let place = self.number(today) - 1;
        match usize::try_from(place) {
            Err(_) => Some(0),
            Ok(place) => days.get(place).copied(),
        }
    }
}

/// What one source has sent to one provider on a day.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) source: Box<str>,
    pub(super) provider: Box<str>,
    sent: Dated,
    lease: Dated,
    /// A longer lease is being asked for.
    is_wished: AtomicBool,
}

/// A number of a day.
#[derive(Debug, Default)]
struct Dated(AtomicU64);

impl Dated {
    fn pack(day: Day, number: u32) -> u64 {
        u64::from(day.0.unsigned_abs()) << 32 | u64::from(number)
    }

    /// The bits, and the number of `today`: one of a later day counts, since the clock was set
    /// back.
    fn load(&self, today: Day) -> (u64, u32) {
        let bits = self.0.load(Ordering::Acquire);
        let number = u32::try_from(bits & u64::from(u32::MAX)).expect("32 bits");
        (bits, if bits >> 32 >= u64::from(today.0.unsigned_abs()) { number } else { 0 })
    }

    fn store(&self, day: Day, number: u32) {
        self.0.store(Self::pack(day, number), Ordering::Release);
    }

    fn day(&self) -> Day {
        Day(i32::try_from(self.0.load(Ordering::Acquire) >> 32).unwrap_or(i32::MAX))
    }
}

impl Count {
    fn new(source: &str, provider: &str) -> Self {
        let (source, provider) = (source.into(), provider.into());
        let (sent, lease) = <(Dated, Dated)>::default();
        Self { source, provider, sent, lease, is_wished: AtomicBool::new(false) }
    }

    /// What was sent on that day.
    pub(super) fn sent(&self, day: Day) -> u32 {
        self.sent.load(day).1
    }

    /// What may have been sent on that day by a process that is killed.
    pub(super) fn leased(&self, day: Day) -> u32 {
        self.lease.load(day).1.max(self.sent(day))
    }

    /// So much was sent that day, or may have been.
    pub(super) fn restore(&self, day: Day, sent: u32) {
        self.sent.store(day, sent);
        self.lease.store(day, sent);
    }

    /// The clock was set back to that day: what was counted since counts for it.
    fn not_after(&self, day: Day) {
        for dated in [&self.sent, &self.lease] {
            let (relaxed, latest) = (Ordering::Relaxed, u64::from(day.0.unsigned_abs()));
            let earlier = |bits: u64| {
                (bits >> 32 > latest).then_some(latest << 32 | bits & u64::from(u32::MAX))
            };
            // That it is no later one is no failure.
            let _ = dated.0.fetch_update(Ordering::AcqRel, relaxed, earlier);
        }
    }

    pub(super) fn day(&self) -> Day {
        self.sent.day().max(self.lease.day())
    }
}

/// A longer lease that is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    count: Arc<Count>,
    /// Of this day.
    pub day: Day,
    /// Up to this number.
    pub to: u32,
}

impl Wish {
    /// Of which source.
    pub fn source(&self) -> &str {
        &self.count.source
    }

    /// For which provider.
    pub fn provider(&self) -> &str {
        &self.count.provider
    }
}

/// One source's days at one provider, as one site of one shard has them.
#[derive(Clone, Debug)]
pub struct Ration {
    count: Arc<Count>,
    course: Arc<Course>,
    days: Arc<[u32]>,
    ledger: Arc<Ledger>,
}

/// Why a ration lets no message go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The day's number is sent.
    UsedUp(Monotonic),
    /// It is being written down that more is sent: ask again then.
    NotWritten(Monotonic),
}

impl Ration {
    /// Until when nothing more may be sent, if the day's number is sent.
    pub fn used_up(&self, now: Monotonic) -> Option<Monotonic> {
        let (today, until) = self.ledger.today.at(now)?;
        let allowed = self.course.allowed(&self.days, today)?;
        (self.count.sent(today) >= allowed).then_some(until)
    }

    /// Whether a message may be sent now, or why not.
    pub fn check(&self, now: Monotonic) -> Result<(), Refusal> {
        self.look(now).map(drop)
    }

    /// Count a message, or say why it may not be sent.
    pub fn take(&self, now: Monotonic) -> Result<(), Refusal> {
        while let Some((today, before, sent)) = self.look(now)? {
            let after = Dated::pack(today, sent + 1);
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            let sent = &self.count.sent.0;
            if sent.compare_exchange(before, after, success, failure).is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// The day, the count's bits, and what is sent, where a message may be; `None`: it is warm.
    fn look(&self, now: Monotonic) -> Result<Option<(Day, u64, u32)>, Refusal> {
        let again = now + WARM_UP_LOOK_AGAIN;
        // Nobody has seen the clock since midnight: soon somebody has.
        let (today, until) = self.ledger.today.at(now).ok_or(Refusal::NotWritten(again))?;
        let Some(allowed) = self.course.allowed(&self.days, today) else { return Ok(None) };
        let (before, sent) = self.count.sent.load(today);
        if sent >= allowed {
            return Err(Refusal::UsedUp(until));
        }
        match sent < self.lease(today, (sent, allowed)) {
            true => Ok(Some((today, before, sent))),
            false => Err(Refusal::NotWritten(again)),
        }
    }

    /// A message will be sent soon.
    pub fn prepare(&self, now: Monotonic) {
        if let Some((today, _)) = self.ledger.today.at(now)
            && let Some(allowed) = self.course.allowed(&self.days, today)
        {
            self.lease(today, (self.count.sent(today), allowed));
        }
    }

    /// How far the count may go, where `sent` are; more is asked for before that.
    fn lease(&self, today: Day, (sent, allowed): (u32, u32)) -> u32 {
        let writer = &self.ledger.writer;
        if !writer.is_there.load(Ordering::Acquire) {
            return allowed;
        }
        let part = (allowed / WARM_UP_LEASE_PART).max(1);
        let lease = || self.count.lease.load(today).1;
        let is_short = |lease: u32| lease < allowed && lease.saturating_sub(sent) <= part / 2;
        if is_short(lease()) && !self.count.is_wished.swap(true, Ordering::AcqRel) {
            // Only who wishes has it changed: what it is now, it stays until then.
            let lease = lease();
            if is_short(lease) {
                let to = sent.max(lease).saturating_add(part).min(allowed);
                writer.wish(Wish { count: self.count.clone(), day: today, to });
            } else {
                self.count.is_wished.store(false, Ordering::Release);
            }
        }
        lease()
    }

    /// Why nothing more goes from there today.
    pub fn why(&self, now: Monotonic) -> Why {
        let Count { source, provider, .. } = &*self.count;
        let until = self.ledger.today.words();
        let begun = self.course.begun();
        let has_begun = self.ledger.today.at(now).is_none_or(|(day, _)| day >= begun);
        Why::WarmUp(
            match has_begun {
                true => format!("the warm-up of {source} at {provider} is used up until {until}"),
                false => format!("the warm-up of {source} begins on {begun}"),
            }
            .into(),
        )
    }
}

impl Writer {
    fn wish(&self, wish: Wish) {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).push(wish);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}

impl Today {
    /// The day at `now`, and when it is over; `None`: that is to be seen yet.
    fn at(&self, now: Monotonic) -> Option<(Day, Monotonic)> {
        let until = self.until.load(Ordering::Acquire);
        (now.0 < until).then(|| (Day(self.day.load(Ordering::Relaxed)), Monotonic(until)))
    }

    /// The day that was seen last.
    pub(super) fn day(&self) -> Day {
        Day(self.day.load(Ordering::Relaxed))
    }

    /// When it is over.
    pub(super) fn words(&self) -> Arc<str> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Ledger {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        // They are whole between any two of their calls.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See what time it is.
    pub fn see(&self, now: Now, roster: &Roster) {
        if now.mono.0 >= self.today.seen_until.load(Ordering::Acquire) {
            self.look(now, roster);
        }
    }

    /// The same, however short a time ago it was seen.
    pub fn look(&self, now: Now, roster: &Roster) {
        let mut words = self.today.words.lock().unwrap_or_else(PoisonError::into_inner);
        let (day, end) = roster.days.at(now.wall);
        let before = self.today.day();
        // A clock that is set right by some seconds is not to begin the day before again.
        let is_again = day < before && before.since(day) == 1;
        let (day, end) = match is_again {
            true => (before, roster.days.at(end).1),
            false => (day, end),
        };
        let until = now.mono_at(end);
        // Whoever reads between the stores sees no day that is over as one that is not.
        self.today.until.store(0, Ordering::Release);
        self.today.day.store(day.0, Ordering::Release);
        self.today.until.store(until.0, Ordering::Release);
        let again = (now.mono + WARM_UP_CLOCK_SEEN_FOR).min(until);
        self.today.seen_until.store(again.0, Ordering::Release);
        *words = roster.days.show(end).into();
        drop(words);
        if day != before {
            self.books().rations.values().for_each(|count| count.not_after(day));
        }
    }

    /// The last run saw this day.
    pub(super) fn seen(&self, day: Day) {
        self.today.day.store(day.0.max(self.today.day().0), Ordering::Release);
    }

    /// These sources are to be warmed up from now on, as the configuration says. What an operator
    /// said of one holds as long as its plan's name and its first day are the same.
    pub fn set(&self, roster: &Roster) {
        let mut books = self.books();
        let mut before = std::mem::take(&mut books.courses);
        for planned in roster.sources() {
            let same = |course: &Arc<Course>| {
                let (plan, from) = &course.given;
                *plan == planned.plan.name && *from == planned.from
            };
            let course = before.remove(&planned.source).filter(same);
            let course = course.unwrap_or_else(|| Arc::new(Course::of(planned)));
            books.courses.insert(planned.source.clone(), course);
        }
    }

    /// The days of a source at a provider; `None`: it is warm everywhere.
    pub fn ration(
        self: &Arc<Self>,
        roster: &Roster,
        source: &str,
        provider: &str,
    ) -> Option<Ration> {
        let planned = roster.of(source)?;
        let mut books = self.books();
        let course = books.courses.entry(source.into());
        let course = course.or_insert_with(|| Arc::new(Course::of(planned))).clone();
        let count = books.count(source, provider, self.today.day());
        let days = planned.plan.days(provider).clone();
        drop(books);
        Some(Ration { count, course, days, ledger: self.clone() })
    }

    /// Somebody writes leases down from now on, and is woken by `wake`.
    pub fn keep(&self, wake: impl Fn() + Send + Sync + 'static) {
        // There is one writer in a process.
        let _ = self.writer.wake.set(Box::new(wake));
        self.writer.is_there.store(true, Ordering::Release);
    }

    /// What is to be written down; each is to be granted then.
    pub fn wishes(&self) -> Vec<Wish> {
        std::mem::take(&mut *self.writer.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are written down.
    pub fn grant(&self, wishes: Vec<Wish>) {
        for Wish { count, day, to } in wishes {
            count.lease.store(day, to);
            count.is_wished.store(false, Ordering::Release);
        }
    }

    /// How many sources are not warm yet, and of how many rations nothing is left today.
    pub fn standing(&self, roster: &Roster) -> (u64, u64) {
        let (books, today) = (self.books(), self.today.day());
        let (mut sources, mut used_up) = (0, 0);
        for planned in roster.sources() {
            let Some(course) = books.courses.get(&planned.source) else { continue };
            let length = i64::try_from(planned.plan.length()).unwrap_or(i64::MAX);
            sources += u64::from(course.number(today) <= length);
        }
        for ((source, provider), count) in &books.rations {
            let planned = roster.of(source).zip(books.courses.get(source));
            let allowed = planned
                .and_then(|(planned, course)| course.allowed(planned.plan.days(provider), today));
            let sent = count.sent(today);
            used_up += u64::from(sent > 0 && allowed.is_some_and(|allowed| sent >= allowed));
        }
        (sources, used_up)
    }
}

impl Books {
    /// The count of a source at a provider.
    pub(super) fn count(&mut self, source: &str, provider: &str, today: Day) -> Arc<Count> {
        if let Some(count) = self.rations.get(&(source.into(), provider.into())) {
            return count.clone();
        }
        if self.rations.len() >= WARM_UP_RATIONS_MAX {
            // What is of an earlier day says nothing any more.
            self.rations.retain(|_, count| Arc::strong_count(count) > 1 || count.day() >= today);
        }
        let provider = if self.rations.len() < WARM_UP_RATIONS_MAX { provider } else { OTHERS };
        let key = (source.into(), provider.into());
        let count =
            self.rations.entry(key).or_insert_with(|| Arc::new(Count::new(source, provider)));
        count.clone()
    }
}
