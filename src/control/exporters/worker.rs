//! Work for one exporter: read, hand over, write down how far it came; wait where nobody takes it.
//!
//! Invariant: what is written down was taken. One batch is in memory, and its consumer has it or
//! not: nothing is read ahead.

use std::fmt::Display;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};

use crate::base::limits::{EVENT_POLL, EXPORT_CURSOR_MAX, EXPORT_MARK_EVERY, EXPORT_WORDS_MAX};
use crate::base::prng::Prng;
use crate::base::text::head;
use crate::base::time::Monotonic;
use crate::config::options::{Destination, Outlet};
use crate::control::events::source::{From, Source};
use crate::control::exporters::amqp::Amqp;
use crate::control::exporters::batch::{Batch, collect};
use crate::control::exporters::file::Appender;
use crate::control::exporters::kafka::Kafka;
use crate::control::exporters::nats::Nats;
use crate::control::exporters::patience::Patience;
use crate::control::exporters::secret::SecretError;
use crate::control::exporters::status::Progress;
use crate::control::exporters::webhook::Webhook;
use crate::control::exporters::{Means, lock};
use crate::outcome::event::cursor::Cursor;

/// A batch was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// Why.
    pub(super) words: String,
    /// Not before so long.
    pub(super) retry_after: Option<Duration>,
    /// A smaller one might be.
    pub(super) is_too_large: bool,
}

impl Refused {
    pub(super) fn because(error: impl Display) -> Self {
        Self { words: error.to_string(), retry_after: None, is_too_large: false }
    }
}

/// Who takes batches.
enum Consumer {
    File(Arc<Mutex<Appender>>),
    Webhook(Webhook),
    Nats(Box<Nats>),
    Amqp(Box<Amqp>),
    Kafka(Box<Kafka>),
}

impl Consumer {
    fn new(outlet: &Outlet) -> Result<Self, SecretError> {
        Ok(match &outlet.exporter.to {
            Destination::File(path) => Self::File(Arc::new(Mutex::new(Appender::new(path)))),
            Destination::Webhook { url, .. } => Self::Webhook(Webhook::new(url, outlet)?),
            Destination::Nats { servers, subject, .. } => {
                Self::Nats(Box::new(Nats::new(servers, subject, outlet)))
            }
            Destination::Kafka(topic) => Self::Kafka(Box::new(Kafka::new(topic, outlet)?)),
            Destination::Amqp(exchange) => Self::Amqp(Box::new(Amqp::new(exchange, outlet)?)),
        })
    }

    async fn take(&mut self, batch: &Arc<Batch>, means: Means) -> Result<(), Refused> {
        let batch = batch.clone();
        match self {
            Self::File(file) => {
                let file = file.clone();
                let written = spawn_blocking(move || lock(&file).append(&batch.text)).await;
                written.map_err(Refused::because)?.map_err(Refused::because)
            }
            Self::Webhook(webhook) => {
                let webhook = webhook.clone();
                let sent = spawn_blocking(move || webhook.send(&batch, (means.now)().wall)).await;
                sent.map_err(Refused::because)?
            }
            Self::Nats(nats) => match timeout(nats.timeout(), nats.publish(&batch)).await {
                Ok(published) => published,
                Err(_) => Err(Refused::because("no answer in time")),
            },
            Self::Amqp(amqp) => amqp.publish(&batch, (means.now)().mono).await,
            Self::Kafka(kafka) => kafka.publish(&batch, (means.now)().mono).await,
        }
    }

    /// There is nothing to take at present.
    async fn rest(&mut self, means: Means) {
        match self {
            Self::File(_) | Self::Webhook(_) | Self::Nats(_) => {}
            Self::Amqp(amqp) => amqp.rest((means.now)().mono).await,
            Self::Kafka(kafka) => kafka.rest((means.now)().mono),
        }
    }
}

/// One exporter's task.
pub(super) struct Worker {
    outlet: Outlet,
    spool: PathBuf,
    means: Means,
    progress: Arc<Mutex<Progress>>,
    patience: Patience,
    prng: Prng,
    /// Events of a batch, at most.
    batch: usize,
    /// Behind what was taken; `None` until it is known.
    cursor: Option<Cursor>,
    /// When it was last written down,
    marked: Monotonic,
    /// and whether that could be done.
    is_kept: bool,
}

impl Worker {
    pub(super) fn new(
        outlet: Outlet,
        spool: &Path,
        means: Means,
        progress: Arc<Mutex<Progress>>,
    ) -> Self {
        let seed = (means.now)().wall.0.unsigned_abs() ^ outlet.exporter.name.len() as u64;
        Self {
            batch: outlet.exporter.batch,
            outlet,
            spool: spool.to_owned(),
            means,
            progress,
            patience: Patience::default(),
            prng: Prng::from_number(seed),
            cursor: None,
            marked: (means.now)().mono,
            is_kept: true,
        }
    }

    /// Until it is aborted.
    pub(super) async fn run(mut self) {
        let mut consumer = match Consumer::new(&self.outlet) {
            Ok(consumer) => consumer,
            Err(error) => {
                let name = &self.outlet.exporter.name;
                return tracing::error!(exporter = %name, %error, "nothing is exported");
            }
        };
        loop {
            let trouble = match self.source() {
                Ok(source) => self.export(source, &mut consumer).await,
                Err(error) => error,
            };
            // The consumer's troubles are dealt with where they arise.
            self.wait(Refused::because(format!("the event log: {trouble}"))).await;
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    fn path(&self) -> PathBuf {
        self.spool.join("exporters").join(format!("{}.json", self.outlet.exporter.name))
    }

    /// From where it left off.
    fn source(&mut self) -> io::Result<Source> {
        let filter = self.outlet.exporter.filter.clone();
        let cursor = match self.cursor.clone() {
            Some(cursor) => Some(cursor),
            None => recall(&self.path())?,
        };
        let from = match (&cursor, self.outlet.exporter.is_from_end) {
            (None, true) => From::End,
            (None, false) | (Some(_), _) => From::Start,
        };
        let source = Source::new(&self.spool, &cursor.unwrap_or_default(), from, filter)?;
        self.keep(source.cursor());
        Ok(source)
    }

    /// Write down how far it came. Where that fails, what comes from here on is handed over again
    /// after a restart.
    fn keep(&mut self, cursor: Cursor) {
        let path = self.path();
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let kept = folder.and_then(|()| (self.means.replace)(&path, cursor.to_text().as_bytes()));
        if let (true, Err(error)) = (self.is_kept, &kept) {
            let exporter = &self.outlet.exporter.name;
            tracing::error!(%exporter, %error, "cannot write down how far an exporter came");
        }
        self.is_kept = kept.is_ok();
        self.progress().cursor = cursor.clone();
        self.cursor = Some(cursor);
        self.marked = (self.means.now)().mono;
    }

    /// Read and hand over, until the log cannot be read, or a batch is to be read again; why.
    async fn export(&mut self, mut source: Source, consumer: &mut Consumer) -> io::Error {
        loop {
            match self.turn(&mut source, consumer).await {
                Ok(Turn::Busy) => yield_now().await,
                Ok(Turn::Idle) => {
                    consumer.rest(self.means).await;
                    sleep(EVENT_POLL).await;
                }
                Ok(Turn::TooLarge) => match self.source() {
                    Ok(again) => source = again,
                    Err(error) => return error,
                },
                Err(error) => return error,
            }
        }
    }

    async fn turn(&mut self, source: &mut Source, consumer: &mut Consumer) -> io::Result<Turn> {
        let (mut batch, mut looked) = collect(source, self.batch)?;
        if looked == 0 {
            source.look()?;
            (batch, looked) = collect(source, self.batch)?;
        }
        self.tell_gaps(source);
        let oldest = batch.events.first().map(|one| one.time);
        {
            let mut progress = self.progress();
            progress.lines += batch.events.len() as u64;
            progress.octets += batch.text.len() as u64;
            progress.oldest = oldest;
        }
        if batch.events.is_empty() {
            // The log can be read again, if it could not.
            self.patience.well();
            self.progress().failing = None;
            let cursor = source.cursor();
            let is_time = (self.means.now)().mono.since(self.marked) >= EXPORT_MARK_EVERY;
            if is_time && Some(&cursor) != self.cursor.as_ref() {
                self.keep(cursor);
            }
            return Ok(if looked == 0 { Turn::Idle } else { Turn::Busy });
        }
        let batch = Arc::new(batch);
        while let Err(refused) = consumer.take(&batch, self.means).await {
            if refused.is_too_large && batch.events.len() > 1 {
                self.batch = batch.events.len() / 2;
                return Ok(Turn::TooLarge);
            }
            self.wait(refused).await;
        }
        self.taken(batch.events.len());
        self.keep(source.cursor());
        Ok(Turn::Busy)
    }

    fn tell_gaps(&self, source: &mut Source) {
        for (shard, gap) in source.take_gaps() {
            self.progress().gaps += 1;
            let exporter = &self.outlet.exporter.name;
            tracing::warn!(%exporter, %shard, "{gap}");
        }
    }

    /// The consumer has it.
    fn taken(&mut self, events: usize) {
        self.patience.well();
        let mut progress = self.progress();
        progress.events += events as u64;
        progress.batches += 1;
        progress.oldest = None;
        progress.next_attempt = None;
        if progress.failing.take().is_some() {
            tracing::info!(exporter = %self.outlet.exporter.name, "events are taken again");
        }
    }

    /// It has not: told once, until it does.
    async fn wait(&mut self, refused: Refused) {
        let wait = self.patience.failed(refused.retry_after, &mut self.prng);
        {
            let now = (self.means.now)().wall;
            let mut progress = self.progress();
            progress.failures += 1;
            progress.next_attempt = Some(now + wait);
            let words = head(&refused.words, EXPORT_WORDS_MAX).to_owned();
            if progress.failing.is_none() {
                let exporter = &self.outlet.exporter.name;
                tracing::warn!(%exporter, error = words, "events are not taken; they wait");
            }
            let since = progress.failing.take().map_or(now, |(since, _)| since);
            progress.failing = Some((since, words));
        }
        sleep(wait).await;
    }
}

/// What came of a turn.
enum Turn {
    /// There may be more at once.
    Busy,
    /// All is read.
    Idle,
    /// The batch is to be read again, and smaller.
    TooLarge,
}

/// How far it came; `None` where that was never written down.
fn recall(path: &Path) -> io::Result<Option<Cursor>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(EXPORT_CURSOR_MAX).read_to_string(&mut text)?;
    // After a power cut the file may be empty: events come again from the oldest on.
    Ok(Some(text.parse().unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "an exporter begins anew");
        Cursor::default()
    })))
}
