//! Inject messages by SMTP, each with an id, and write down which were accepted.
//!
//! Invariant: an id stands in the accepted file if and only if a server said 250 after its content.
//! Lives on: one thread, all connections as tasks of it.

mod connection;
mod corpus;
mod domains;
mod labels;
mod login;
mod options;
mod phases;
mod plan;
mod replies;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;

use crate::cpu;
use crate::dice::Dice;
use crate::line_log::LineLog;
use crate::message::{Filler, RunTag, Template};
use crate::tls::{Client, Mode};
use connection::{Connection, Pending, Settlement, places};
use corpus::Texts;
use domains::Domains;
pub(crate) use labels::Labels;
use login::Login;
pub(crate) use login::LoginFile;
pub(crate) use options::{Sizes, SourceOptions, Spread};
pub(crate) use phases::{Phase, Tally, at, latencies, quantiles};
use plan::{Job, Plan, RETRY_DELAY, Take};

/// How often a connection without work looks for some.
const IDLE_LOOK: Duration = Duration::from_millis(20);
/// Pause after a connection that could not be opened.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What a running source tells, and is told.
#[derive(Debug)]
pub(crate) struct SourceControl {
    /// Recipients accepted so far.
    pub(crate) accepted: AtomicU64,
    /// Messages that may have been begun by now.
    pub(crate) released: AtomicU64,
    /// Stop soon; what is not settled stays unsent.
    pub(crate) stop: AtomicBool,
}

impl SourceControl {
    /// A source that may send `released` messages for now.
    pub(crate) fn new(released: u64) -> Arc<Self> {
        let (accepted, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { accepted, released: AtomicU64::new(released), stop })
    }
}

/// What a source did.
#[derive(Debug)]
pub(crate) struct SourceReport {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    /// CPU that the source's thread used.
    pub(crate) cpu_us: u64,
    /// Whether every message was settled.
    pub(crate) finished: bool,
}

/// Buffers that a transaction needs for a moment.
#[derive(Debug, Default)]
struct Scratch {
    head: Vec<u8>,
    address: Vec<u8>,
}

/// Everything that the connections of a run share.
struct Run {
    options: SourceOptions,
    control: Arc<SourceControl>,
    plan: RefCell<Plan>,
    tally: RefCell<Tally>,
    scratch: RefCell<Scratch>,
    texts: Texts,
    domains: Domains,
    log: LineLog,
    /// What secures connections, where they are to be.
    tls: Option<Client>,
    login: Option<Login>,
    start: Instant,
    start_unix_ms: u64,
    reached: Cell<Instant>,
}

/// Runs a source to its end on this thread.
pub(crate) fn run(options: SourceOptions, control: Arc<SourceControl>) -> Result<SourceReport> {
    let cpu_before = cpu::of_this_thread_us();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .context("starting the source's runtime")?;
    let run = Rc::new(Run::new(options, control)?);
    let outcome = runtime.block_on(async {
        tokio::select! {
            () = Rc::clone(&run).send_all() => Ok(()),
            failed = run.log.flush_forever() => failed,
            caught = crate::stop::signalled() => caught,
        }
    });
    run.log.flush()?;
    outcome?;
    Ok(SourceReport {
        tally: run.tally.borrow().clone(),
        elapsed: run.start.elapsed(),
        cpu_us: cpu::of_this_thread_us() - cpu_before,
        finished: run.plan.borrow().is_finished(),
    })
}

impl Run {
    fn new(options: SourceOptions, control: Arc<SourceControl>) -> Result<Self> {
        let start = Instant::now();
        let wall =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let start_unix_ms = u64::try_from(wall.as_millis()).context("the clock is far ahead")?;
        let by_clock = u64::try_from(wall.as_nanos() & u128::from(u64::MAX)).unwrap_or_default();
        let seed = options.seed.unwrap_or(by_clock);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new();
        let date = date.timestamp_to_string(&Timestamp::now()).context("formatting the date")?;
        let domains = if options.to_domains.is_empty() {
            Domains::numbered(options.domains, options.zipf)
        } else {
            Domains::Named(options.to_domains.clone())
        };
        let arrivals = options.arrivals(seed)?;
        let plan = Plan::new(options.messages, options.recipients, options.retry, arrivals, start);
        let tag = RunTag::from_seed(seed);
        let texts = match &options.corpus {
            Some(folder) => Texts::from_folder(folder, tag)?,
            None => {
                let template = Template { from: options.from.clone(), date, tag };
                Texts::Made(Filler::new(options.size.most), template)
            }
        };
        Ok(Self {
            plan: RefCell::new(plan),
            tally: RefCell::new(Tally::new()),
            scratch: RefCell::default(),
            texts,
            domains,
            log: LineLog::open(options.accepted.as_deref())?,
            tls: match options.tls {
                Mode::None => None,
                Mode::Starttls | Mode::Implicit => Some(options.client()?),
            },
            login: options.auth.as_ref().map(LoginFile::read).transpose()?,
            start,
            start_unix_ms,
            reached: Cell::new(start),
            options,
            control,
        })
    }

    async fn send_all(self: Rc<Self>) {
        let mut workers = JoinSet::new();
        for _ in 0..self.options.connections.max(1) {
            let run = Rc::clone(&self);
            workers.spawn_local(async move { run.work().await });
        }
        workers.join_all().await;
    }

    /// One connection after the other, until nothing is left.
    async fn work(&self) {
        while let Some(job) = self.next_job().await {
            let limit = Duration::from_secs(self.options.timeout);
            match tokio::time::timeout(limit, Connection::open(self)).await {
                Ok(Ok(connection)) => {
                    self.reached.set(Instant::now());
                    self.converse(connection, job).await;
                }
                failed => {
                    self.broke(failed);
                    self.plan.borrow_mut().give_back(job, Instant::now());
                    if self.reached.get().elapsed() > Duration::from_secs(self.options.patience) {
                        self.control.stop.store(true, Ordering::Relaxed);
                    }
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
            }
        }
    }

    /// Sends `job` and more over one connection.
    async fn converse(&self, mut connection: Connection<'_>, job: Job) {
        let quota = match self.options.per_connection {
            0 => u32::MAX,
            limit => limit,
        };
        let (mut next, mut begun) = (Some(job), 0);
        loop {
            let step = self.step(&mut connection, &mut next, &mut begun, quota);
            let limit = Duration::from_secs(self.options.timeout);
            match tokio::time::timeout(limit, step).await {
                Ok(Ok(settlement)) => {
                    let usable = settlement.usable;
                    self.settle(settlement);
                    if !usable {
                        return self.take_back(&mut connection);
                    }
                }
                failed => {
                    self.broke(failed);
                    if let Some(job) = next {
                        self.plan.borrow_mut().give_back(job, Instant::now());
                    }
                    return self.take_back(&mut connection);
                }
            }
            if connection.in_flight() > 0 {
                continue;
            }
            if begun >= quota {
                return connection.quit().await;
            }
            next = self.next_job().await;
            if next.is_none() {
                return connection.quit().await;
            }
        }
    }

    fn broke<T>(&self, failed: Result<std::io::Result<T>, Elapsed>) {
        let why = match failed {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        self.tally.borrow_mut().broke(why);
    }

    /// Writes what may be written, and settles one job.
    async fn step(
        &self,
        connection: &mut Connection<'_>,
        next: &mut Option<Job>,
        begun: &mut u32,
        quota: u32,
    ) -> std::io::Result<Settlement> {
        if !connection.sends_ahead() {
            *begun += 1;
            let job = next.take().expect("a job for each step");
            return connection.transact(job).await;
        }
        loop {
            if next.is_none() && *begun < quota && connection.in_flight() < self.options.ahead {
                *next = self.job_due();
            }
            let Some(job) = next.take() else { break };
            *begun += 1;
            connection.submit(job).await?;
        }
        connection.collect().await
    }

    /// The next job, at its time; nothing when all are settled.
    async fn next_job(&self) -> Option<Job> {
        loop {
            if self.control.stop.load(Ordering::Relaxed) {
                return None;
            }
            let released = self.control.released.load(Ordering::Relaxed);
            let now = Instant::now();
            let take = self.plan.borrow_mut().take(now, released);
            match take {
                Take::Send(job) => {
                    if job.intended > now {
                        tokio::time::sleep_until(job.intended.into()).await;
                    }
                    return Some(job);
                }
                Take::Wait => tokio::time::sleep(IDLE_LOOK).await,
                Take::Done => return None,
            }
        }
    }

    /// A job that may go out at once behind others; with a rate there is none, since taking it
    /// would keep it from a connection that is free at its time.
    fn job_due(&self) -> Option<Job> {
        if self.options.rate.is_some() || self.control.stop.load(Ordering::Relaxed) {
            return None;
        }
        let released = self.control.released.load(Ordering::Relaxed);
        match self.plan.borrow_mut().take(Instant::now(), released) {
            Take::Send(job) => Some(job),
            Take::Wait | Take::Done => None,
        }
    }

    /// Writes down what was accepted and decides about the rest.
    fn settle(&self, settlement: Settlement) {
        let Settlement { mut job, accepted, refused, .. } = settlement;
        let mut tally = self.tally.borrow_mut();
        if accepted != 0 {
            tally.accepted += 1;
            tally.accepted_recipients += u64::from(accepted.count_ones());
            tally.took(Phase::Message, job.intended.elapsed());
            let count = u64::from(accepted.count_ones());
            self.control.accepted.fetch_add(count, Ordering::Relaxed);
            self.log.append(|out| self.accepted_line(&job, accepted, out));
            // The others were refused by name: no copy of theirs is anywhere.
            job.copies = 0;
        }
        tally.refused_recipients += u64::from((refused & job.wanted).count_ones());
        job.wanted &= !(accepted | refused);
        drop(tally);
        self.again(job, RETRY_DELAY);
    }

    /// Settles the jobs of a connection that broke.
    fn take_back(&self, connection: &mut Connection<'_>) {
        for Pending { mut job, content_sent, .. } in connection.abandon() {
            if content_sent {
                job.copies += 1;
                if self.options.retry {
                    self.tally.borrow_mut().possible_duplicates += 1;
                }
                self.again(job, RETRY_DELAY);
            } else {
                self.plan.borrow_mut().give_back(job, Instant::now() + RETRY_DELAY);
            }
        }
    }

    fn again(&self, job: Job, delay: Duration) {
        let mut plan = self.plan.borrow_mut();
        let mut tally = self.tally.borrow_mut();
        if job.wanted == 0 {
            plan.settle();
        } else if self.options.retry {
            tally.sent_again += 1;
            plan.give_back(job, Instant::now() + delay);
        } else {
            tally.given_up_recipients += u64::from(job.wanted.count_ones());
            plan.settle();
        }
    }

    fn accepted_line(&self, job: &Job, accepted: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.texts.tag().id(job.number));
        let after_start = job.intended.saturating_duration_since(self.start).as_millis();
        let unix_ms = u128::from(self.start_unix_ms) + after_start;
        write!(out, " {unix_ms} {}", job.copies).expect("memory takes every write");
        for place in places(accepted) {
            out.push(b' ');
            self.recipient(job.number, place, out);
        }
        out.push(b'\n');
    }

    fn recipient(&self, number: u32, place: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.options.users.as_bytes());
        self.domains.recipient(number, place, self.options.recipients, out);
    }

    fn size_of(&self, number: u32) -> usize {
        let Sizes { least, most } = self.options.size;
        let size = Dice::new(u64::from(number) ^ 0x51_2E).between(least as u64, most as u64);
        usize::try_from(size).expect("between two sizes")
    }
}

impl SourceReport {
    /// The report for a terminal.
    pub(crate) fn text(&self) -> String {
        let tally = &self.tally;
        let seconds = self.elapsed.as_secs_f64();
        let rate = f64_of(tally.accepted) / seconds;
        let mut out = tally.text();
        out += &format!(
            "accepted {} messages ({} recipients) in {seconds:.2} s: {rate:.0}/s\n\
             refused {} recipients by 5xx, gave up {}; sent {} again, \
             {} of them may be duplicates\n\
             {} connections, {} broken; source used {:.1} µs CPU a message\n",
            tally.accepted,
            tally.accepted_recipients,
            tally.refused_recipients,
            tally.given_up_recipients,
            tally.sent_again,
            tally.possible_duplicates,
            tally.connections,
            tally.broken_connections,
            f64_of(self.cpu_us) / f64_of(tally.accepted.max(1)),
        );
        if tally.tls_sessions > 0 {
            let (all, resumed) = (tally.tls_sessions, tally.tls_resumed);
            out += &format!("{all} TLS sessions, {resumed} of them resumed\n");
        }
        if let Some(trouble) = &tally.trouble {
            out += &format!("the last broken connection: {trouble}\n");
        }
        if !self.finished {
            out += "stopped before every message was settled\n";
        }
        out
    }

    /// The report for a machine.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut value = self.tally.json();
        value["seconds"] = self.elapsed.as_secs_f64().into();
        value["source_cpu_us"] = self.cpu_us.into();
        value["finished"] = self.finished.into();
        value
    }
}

/// A count as a number to divide by.
pub(crate) fn f64_of(count: u64) -> f64 {
    count as f64
}
