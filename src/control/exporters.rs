//! Hand the event log to others: to files, webhooks, NATS, AMQP and Kafka, each
//! event at least once.
//!
//! In: what is configured, the files of the event log. Out: batches, in order, one at a time; how
//! far each exporter came lies in `SPOOL/exporters/NAME.json`, written anew once its consumer has
//! taken a batch. On a thread of their own, which is there once one is configured, and yields to
//! the shards: they read what shards wrote long ago, and no shard knows of them. A consumer that is
//! dead costs a batch in memory, and a try now and then.

mod amqp;
mod batch;
mod dial;
mod file;
mod kafka;
mod nats;
mod octets;
mod patience;
mod secret;
pub mod status;
mod webhook;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::setpriority_process;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::base::limits::{EXPORT_NICENESS, EXPORT_RETRY_MAX, EXPORTERS_MAX};
use crate::base::time::Now;
use crate::config::options::Outlet;
use crate::control::exporters::secret::SecretError;
use crate::control::exporters::status::{Progress, Status};
use crate::control::exporters::worker::Worker;

/// Why an exporter cannot work by its files: one line, with its name.
#[derive(Debug, thiserror::Error)]
#[error("exporter `{name}`: {error}")]
pub struct OutletError {
    name: Box<str>,
    error: SecretError,
}

/// What exporters need of the process.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// Both clocks.
    pub now: fn() -> Now,
    /// Writes a file anew, whole or not at all.
    pub replace: fn(&Path, &[u8]) -> io::Result<()>,
}

/// All exporters of a node.
#[derive(Clone, Debug)]
pub struct Exporters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spool: PathBuf,
    means: Means,
    /// To the thread; `None` until there is something to export.
    orders: Mutex<Option<watch::Sender<Vec<Outlet>>>>,
    board: Board,
}

/// How each exporter stands, in the order of their names.
type Board = Arc<Mutex<BTreeMap<Box<str>, Arc<Mutex<Progress>>>>>;

/// What is behind a lock, whatever became of who held it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exporters {
    /// Of the log below `spool`.
    pub fn new(spool: PathBuf, means: Means) -> Self {
        let (orders, board) = (Mutex::default(), Board::default());
        Self(Arc::new(Inner { spool, means, orders, board }))
    }

    /// Whether exporters could work by what their files say.
    pub fn check(outlets: &[Outlet]) -> Result<(), OutletError> {
        outlets.iter().try_for_each(|outlet| {
            secret::check(outlet)
                .map_err(|error| OutletError { name: outlet.exporter.name.clone(), error })
        })
    }

    /// Export to these from now on, to no others. One that stays as it is is not disturbed.
    pub fn set(&self, outlets: Vec<Outlet>) -> io::Result<()> {
        let mut orders = lock(&self.0.orders);
        if orders.is_none() && outlets.is_empty() {
            return Ok(());
        }
        let sender = match &*orders {
            Some(sender) => sender,
            None => orders.insert(self.start()?),
        };
        sender.send(outlets).map_err(|_| io::Error::other("the thread that exports is gone"))
    }

    fn start(&self) -> io::Result<watch::Sender<Vec<Outlet>>> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            // A webhook's request waits on one of these.
            .max_blocking_threads(2 * EXPORTERS_MAX)
            .build()?;
        let (sender, orders) = watch::channel(Vec::new());
        let inner = self.0.clone();
        thread::Builder::new().name("exporters".to_owned()).spawn(move || {
            if let Err(error) = setpriority_process(None, EXPORT_NICENESS) {
                tracing::debug!(%error, "exporters run with the priority of shards");
            }
            runtime.block_on(conduct(&inner, orders));
        })?;
        Ok(sender)
    }

    /// How all of them stand now; looks at the sizes of files.
    pub fn statuses(&self) -> Vec<Status> {
        let board: Vec<_> = lock(&self.0.board).values().cloned().collect();
        let now = (self.0.means.now)().wall;
        let status = |one: &Arc<Mutex<Progress>>| {
            // Files are looked at when the lock is free again.
            let progress = lock(one).clone();
            progress.status(&self.0.spool, now)
        };
        board.iter().map(status).collect()
    }
}

/// Start and stop exporters, until the process ends.
async fn conduct(inner: &Arc<Inner>, mut orders: watch::Receiver<Vec<Outlet>>) {
    let mut running: BTreeMap<Box<str>, (Outlet, Task)> = BTreeMap::new();
    while orders.changed().await.is_ok() {
        let outlets = orders.borrow_and_update().clone();
        running.retain(|_, (old, _)| outlets.iter().any(|new| is_same(old, new)));
        for outlet in outlets {
            let name = outlet.exporter.name.clone();
            if running.contains_key(&name) {
                continue;
            }
            let progress = Arc::new(Mutex::new(Progress::new(&outlet.exporter)));
            lock(&inner.board).insert(name.clone(), progress.clone());
            let task = tokio::spawn(work(outlet.clone(), inner.clone(), progress));
            running.insert(name, (outlet, Task(task)));
        }
        lock(&inner.board).retain(|name, _| running.contains_key(name));
    }
}

/// A task that ends with this.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Export to one, and begin again where it left off after a fault of ours.
async fn work(outlet: Outlet, inner: Arc<Inner>, progress: Arc<Mutex<Progress>>) {
    loop {
        let (outlet, progress) = (outlet.clone(), progress.clone());
        let worker = Worker::new(outlet, &inner.spool, inner.means, progress);
        let mut task = Task(tokio::spawn(worker.run()));
        match (&mut task.0).await {
            Err(error) if error.is_panic() => tracing::error!(%error, "an exporter begins again"),
            Ok(()) | Err(_) => return,
        }
        sleep(EXPORT_RETRY_MAX).await;
    }
}

fn is_same(one: &Outlet, other: &Outlet) -> bool {
    let certificates = |outlet: &Outlet| {
        let all = outlet.authorities.iter().flat_map(|roots| roots.certificates());
        all.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    one.exporter == other.exporter
        && one.node == other.node
        && one.secret == other.secret
        && certificates(one) == certificates(other)
}
