//! Accept mail on many addresses, misbehave as a script says, and write down what came.
//!
//! Invariant: a line stands in the received file for each recipient of a message that was answered
//! by 250, and for each recipient that a DSN reports on. Lives on: one thread of its own.

mod command;
mod content;
mod counters;
mod dsn;
mod extensions;
mod recipients;
mod returns;
mod script;
mod serve;
mod session;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tokio::sync::mpsc;

use crate::line_log::LineLog;
use crate::message::{Filler, ID_LEN};
use crate::net::Addresses;
use crate::tls::{Flaw, Identity, Maker, Mode, Server};
use content::{Body, Content};
#[cfg(test)]
pub(crate) use content::{Body as Judged, judged};
pub(crate) use counters::{Counters, Totals};
use extensions::{Extension, Extensions};
use returns::{About, Returns};
pub(crate) use script::Span;
use script::{Memory, Script};
use serve::Order;

/// Violations whose text is kept.
const VIOLATIONS_KEPT: usize = 20;

/// Where a sink listens, what it offers and where it writes.
#[derive(Args, Clone, Debug)]
#[command(after_help = script::REFERENCE)]
pub(crate) struct SinkOptions {
    /// Address to listen on; repeat it, or give a range such as 127.0.1.1-20:25252
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:2526")]
    pub(crate) listen: Vec<Addresses>,
    /// Extension that is not offered
    #[arg(long, value_enum, value_name = "EXTENSION")]
    hide: Vec<Extension>,
    /// Script in TOML: how the sink misbehaves, by listener and recipient domain
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// File that gets a line for each recipient received: id, listener, recipient, unix ms, and
    /// ok, changed, unknown, or dsn:ACTION:STATUS
    #[arg(long, value_name = "FILE")]
    pub(crate) received: Option<PathBuf>,
    /// File that gets a line for each recipient that was answered with more than a word on the
    /// way: client, listener, recipient (- where none was named yet), reply code, enhanced status
    #[arg(long, value_name = "FILE")]
    pub(crate) answered: Option<PathBuf>,
    /// Where bounces and complaints go that the script has come back
    #[arg(long, value_name = "ADDR:PORT", requires = "script")]
    pub(crate) returns_to: Option<SocketAddr>,
    /// File that gets a line for each of them that was taken: id, recipient, bounce or complaint,
    /// and whom it went to
    #[arg(long, value_name = "FILE")]
    pub(crate) returned: Option<PathBuf>,
    /// Folder that gets each message whole
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Seed of what is random in the script
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// TLS that is on offer, with a certificate that is made for the listeners' addresses
    #[arg(long, value_enum, default_value_t)]
    tls: Mode,
    /// PEM file of a certificate to show instead, then its chain
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// File that gets the certificate that is made, for clients that are to trust it
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    certificate_out: Option<PathBuf>,
    /// Who makes certificates, where others have theirs of it too.
    #[arg(skip)]
    maker: Option<Arc<Maker>>,
}

impl SinkOptions {
    /// A sink on these addresses that behaves.
    pub(crate) fn plain(listen: Vec<SocketAddr>, received: Option<PathBuf>) -> Self {
        let (hide, script, store) = (Vec::new(), None, None);
        let (tls, certificate, key, certificate_out, maker) = (Mode::None, None, None, None, None);
        Self {
            listen: vec![Addresses(listen)],
            hide,
            script,
            received,
            answered: None,
            returns_to: None,
            returned: None,
            store,
            seed: 1,
            tls,
            certificate,
            key,
            certificate_out,
            maker,
        }
    }

    /// The same sink, with TLS on offer by certificates of `maker`.
    pub(crate) fn with_tls(self, tls: Mode, maker: Arc<Maker>) -> Self {
        Self { tls, maker: Some(maker), ..self }
    }

    /// The same sink, misbehaving as the script in a file says.
    pub(crate) fn with_script(self, script: PathBuf) -> Self {
        Self { script: Some(script), ..self }
    }

    /// The same sink; what its script has come back goes to `to`, and into a file.
    pub(crate) fn returning(self, to: SocketAddr, returned: PathBuf) -> Self {
        Self { returns_to: Some(to), returned: Some(returned), ..self }
    }

    /// The same sink, with a line in a file for each answer to a recipient.
    pub(crate) fn answering(self, answered: PathBuf) -> Self {
        Self { answered: Some(answered), ..self }
    }

    /// Every address that it listens on.
    fn doors(&self) -> Vec<SocketAddr> {
        self.listen.iter().flat_map(|Addresses(all)| all).copied().collect()
    }

    /// Every address that the options name.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.doors().into_iter().chain(self.returns_to).collect()
    }

    /// What listeners with these flaws answer handshakes with; nothing where TLS is not on offer.
    fn servers(&self, flaws: &[Flaw]) -> Result<Vec<Option<Server>>> {
        if self.tls == Mode::None {
            return Ok(vec![None; flaws.len()]);
        }
        if let Some((certificate, key)) = self.certificate.as_ref().zip(self.key.as_ref()) {
            if flaws.iter().any(|flaw| *flaw != Flaw::None) {
                bail!("a certificate that is given has no flaws by script");
            }
            let server = Identity::read(certificate, key)?.server()?;
            return Ok(vec![Some(server); flaws.len()]);
        }
        let maker = self.maker.clone().map_or_else(|| Maker::new().map(Arc::new), Ok)?;
        let mut addresses: Vec<_> = self.doors().iter().map(SocketAddr::ip).collect();
        addresses.dedup();
        let make = |flaw| maker.make(flaw, "sink.example", &addresses);
        let good = make(Flaw::None)?;
        if let Some(path) = &self.certificate_out {
            std::fs::write(path, &good.pem)
                .with_context(|| format!("writing {}", path.display()))?;
        }
        let good = good.server()?;
        let server = |flaw: &Flaw| match flaw {
            Flaw::None => Ok(Some(good.clone())),
            Flaw::Expired | Flaw::WrongName => make(*flaw)?.server().map(Some),
        };
        flaws.iter().map(server).collect()
    }
}

/// A running sink. Dropped without `finish`, it goes on until the process ends.
#[derive(Debug)]
pub(crate) struct Sink {
    orders: mpsc::UnboundedSender<Order>,
    /// Counts, in the order of the addresses.
    pub(crate) counters: Arc<Vec<Counters>>,
    /// Where it listens, ports filled in.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Bounces and complaints that are yet to be taken.
    pub(crate) open_returns: Arc<AtomicU64>,
    thread: JoinHandle<Result<SinkReport>>,
}

/// What a sink says at its end.
#[derive(Debug)]
pub(crate) struct SinkReport {
    /// CPU that the sink's thread used.
    pub(crate) cpu_us: u64,
    /// The first violations, in words.
    pub(crate) violations: Vec<String>,
    /// What all listeners counted.
    pub(crate) totals: Totals,
}

impl Sink {
    /// Binds every address and serves them on a thread.
    ///
    /// Errors: an address that cannot be bound, a script that is not understood, a file that cannot
    /// be written.
    pub(crate) fn start(options: &SinkOptions) -> Result<Self> {
        let script = match &options.script {
            None => Script::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("reading {}", path.display()))?;
                Script::parse(&text).with_context(|| path.display().to_string())?
            }
        };
        let mut offers = Extensions::all();
        options.hide.iter().for_each(|extension| offers.hide(*extension));
        if options.tls != Mode::Starttls {
            offers.hide(Extension::Starttls);
        }
        let mut sockets = Vec::new();
        let mut conducts = Vec::new();
        let mut addresses = Vec::new();
        for address in options.doors() {
            let socket = serve::bind(address)?;
            let bound = socket.local_addr().context("asking for a listener's address")?;
            conducts.push(script.conduct(bound, offers)?);
            addresses.push(bound);
            sockets.push(socket);
        }
        if let Some(folder) = &options.store {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("creating {}", folder.display()))?;
        }
        let flaws = conducts.iter().map(|conduct| conduct.flaw);
        let flaws: Vec<_> = flaws.chain([Flaw::None]).collect();
        let mut servers = options.servers(&flaws)?;
        let sound = servers.pop().flatten();
        let counters: Arc<Vec<Counters>> =
            Arc::new(addresses.iter().map(|_| Counters::default()).collect());
        let conducts = conducts.into_iter().zip(servers).collect();
        let returns = match (&script.returns[..], options.returns_to) {
            ([], _) => None,
            (_, None) => bail!("the script has mail come back, and nobody is named for it"),
            (rules, Some(to)) => Some(Returns::new(rules.to_vec(), to)),
        };
        let open_returns = Arc::new(AtomicU64::new(0));
        let plan = Plan {
            options: options.clone(),
            counters: Arc::clone(&counters),
            conducts,
            sound,
            returns,
            open_returns: Arc::clone(&open_returns),
        };
        let (orders, receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("sink".to_owned());
        let thread = thread
            .spawn(move || serve::run(plan, sockets, receiver))
            .context("starting the sink's thread")?;
        Ok(Self { orders, counters, addresses, open_returns, thread })
    }

    /// Stops listening at `place` and drops its connections, as a server that is killed does.
    pub(crate) fn kill(&self, place: usize) {
        self.order(Order::Kill(place));
    }

    /// Listens at `place` again.
    pub(crate) fn revive(&self, place: usize) {
        self.order(Order::Revive(place));
    }

    /// From now on takes everything, whatever its rules say; what comes back still comes back.
    pub(crate) fn relent(&self) {
        self.order(Order::Relent);
    }

    /// From now on accepts and drops connections at `place`, or serves them again.
    pub(crate) fn drop_connections(&self, place: usize, drop: bool) {
        self.order(Order::DropConnections(place, drop));
    }

    /// Stops, and writes out what waits.
    pub(crate) fn finish(self) -> Result<SinkReport> {
        self.order(Order::Finish);
        self.thread.join().map_err(|_| anyhow!("the sink's thread panicked"))?
    }

    /// Recipients and reports that were recorded, over all listeners.
    pub(crate) fn recorded(&self) -> u64 {
        let of = |counters: &Counters| {
            counters.recipients.load(Ordering::Relaxed) + counters.reports.load(Ordering::Relaxed)
        };
        self.counters.iter().map(of).sum()
    }

    /// Whether its thread has ended, which before `finish` means that it failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    fn order(&self, order: Order) {
        // A sink that has ended says why in `finish`.
        let _ended = self.orders.send(order);
    }
}

/// What the sink's thread is started with.
struct Plan {
    options: SinkOptions,
    counters: Arc<Vec<Counters>>,
    /// Of each listener, with what answers its handshakes.
    conducts: Vec<(script::Conduct, Option<Server>)>,
    /// What answers them once the sink has relented.
    sound: Option<Server>,
    returns: Option<Returns>,
    open_returns: Arc<AtomicU64>,
}

/// How a message came.
#[derive(Clone, Copy, Debug)]
struct Manner<'a> {
    reverse_path: &'a [u8],
    secured: bool,
}

/// What all sessions of a sink share.
pub(crate) struct Shared {
    filler: Filler,
    memory: RefCell<Memory>,
    log: LineLog,
    answered: LineLog,
    returns: Option<Returns>,
    returned: LineLog,
    open_returns: Arc<AtomicU64>,
    counters: Arc<Vec<Counters>>,
    store: Option<PathBuf>,
    stored: Cell<u64>,
    violations: RefCell<Vec<String>>,
}

impl Shared {
    fn new(plan: Plan) -> Result<Self> {
        let Plan { options, counters, returns, open_returns, .. } = plan;
        Ok(Self {
            filler: Filler::new(0),
            memory: RefCell::new(Memory::new(options.seed)),
            log: LineLog::open(options.received.as_deref())?,
            answered: LineLog::open(options.answered.as_deref())?,
            returns,
            returned: LineLog::open(options.returned.as_deref())?,
            open_returns,
            counters,
            store: options.store.clone(),
            stored: Cell::new(0),
            violations: RefCell::default(),
        })
    }

    /// Whether messages are wanted whole.
    fn keeps(&self) -> bool {
        self.store.is_some() || self.returns.is_some()
    }

    fn violation(&self, place: usize, what: &str) {
        self.counters[place].violations.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.violations.borrow_mut();
        if kept.len() < VIOLATIONS_KEPT {
            kept.push(what.to_owned());
        }
    }

    /// Writes down a message that is answered by 250.
    fn record<'a>(
        self: &Rc<Self>,
        place: usize,
        listener: &str,
        content: &Content,
        how: Manner<'_>,
        recipients: impl Iterator<Item = &'a [u8]>,
    ) {
        let counters = &self.counters[place];
        counters.messages.fetch_add(1, Ordering::Relaxed);
        counters.tls_messages.fetch_add(u64::from(how.secured), Ordering::Relaxed);
        counters.signatures.fetch_add(content.signatures, Ordering::Relaxed);
        let (id, body) = content.judge();
        if let Some(folder) = &self.store {
            self.keep(folder, id, content.whole(), place);
        }
        let unix_ms = unix_ms();
        if how.reverse_path.is_empty() && id.is_none() {
            let reports = dsn::reports(content.whole());
            if !reports.is_empty() {
                counters.reports.fetch_add(reports.len() as u64, Ordering::Relaxed);
                self.log.append(|out| {
                    reports.iter().for_each(|report| {
                        let dsn::Report { id, recipient, action, status } = report;
                        line(out, id.as_bytes(), listener, recipient.as_bytes(), unix_ms);
                        writeln!(out, "dsn:{action}:{status}").expect("memory takes every write");
                    })
                });
                return;
            }
        }
        let kind: &[u8] = match body {
            Body::Intact => b"ok\n",
            Body::Changed => b"changed\n",
            Body::Unknown => b"unknown\n",
        };
        if body == Body::Changed {
            counters.changed.fetch_add(1, Ordering::Relaxed);
        }
        let mut count = 0;
        self.log.append(|out| {
            for recipient in recipients {
                if let Some((returns, id)) = self.returns.as_ref().zip(id) {
                    let text = String::from_utf8_lossy;
                    let (id, recipient) = (text(id), text(recipient));
                    let (reverse_path, content) = (&*text(how.reverse_path), content.whole());
                    let (id, recipient) = (&*id, &*recipient);
                    returns.look_at(About { id, reverse_path, recipient, content }, self);
                }
                line(out, id.map_or(b"-", |id| id.as_slice()), listener, recipient, unix_ms);
                out.extend_from_slice(kind);
                count += 1;
            }
        });
        counters.recipients.fetch_add(count, Ordering::Relaxed);
    }

    fn keep(&self, folder: &Path, id: Option<&[u8; ID_LEN]>, whole: &[u8], place: usize) {
        let number = self.stored.get();
        self.stored.set(number + 1);
        let id = id.map_or_else(|| "other".into(), |id| String::from_utf8_lossy(id).into_owned());
        let id = id.replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-', "_");
        let path = folder.join(format!("{number:08}-{id}.eml"));
        if let Err(error) = std::fs::write(&path, whole) {
            self.violation(place, &format!("(not stored: {}: {error})", path.display()));
        }
    }
}

/// The fields that every line starts with. Blanks in an address would shift the fields, so they are
/// written as underscores.
fn line(out: &mut Vec<u8>, id: &[u8], listener: &str, recipient: &[u8], unix_ms: u128) {
    out.extend_from_slice(id);
    write!(out, " {listener} ").expect("memory takes every write");
    out.extend(recipient.iter().map(|&octet| if octet <= b' ' { b'_' } else { octet }));
    write!(out, " {unix_ms} ").expect("memory takes every write");
}

fn unix_ms() -> u128 {
    // Before 1970 every latency is wrong anyway.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Runs a sink until SIGINT or SIGTERM, and says what it counted.
pub(crate) fn run(options: &SinkOptions) -> Result<()> {
    let sink = Sink::start(options)?;
    for address in &sink.addresses {
        println!("listening on {address}");
    }
    crate::stop::wait_for_signal_or(|| sink.has_ended())?;
    let (counters, addresses) = (Arc::clone(&sink.counters), sink.addresses.clone());
    let report = sink.finish()?;
    for (address, counters) in addresses.iter().zip(counters.iter()) {
        let counts = counters.all().map(|(name, count)| format!("{name} {count}"));
        println!("{address}: {}", counts.join(", "));
    }
    for violation in &report.violations {
        println!("violation: {violation}");
    }
    let messages = counters.iter().map(|all| all.messages.load(Ordering::Relaxed)).sum::<u64>();
    let each = crate::source::f64_of(report.cpu_us) / crate::source::f64_of(messages.max(1));
    println!("sink used {each:.1} µs CPU a message");
    Ok(())
}
