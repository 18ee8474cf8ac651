//! Count with the shards how TLS with MX hosts does, and tell the hosts' domains (RFC 8460).
//!
//! In: the configuration in force, what shards counted, what DNS says of who wants reports. Out:
//! reports, by mail through a shard and by HTTPS; what is not sent yet lies in a file below the
//! spool. On a thread of its own, which is there once the section is, and stays. A process that is
//! killed forgets what was counted in the last `TLS_REPORT_EVERY`; a report may come twice then,
//! with the same id.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::base::ids::ShardId;
use crate::base::limits::{
    TLS_REPORT_EVERY, TLS_REPORT_FILE_MAX, TLS_REPORT_ORDERS_MAX, TLS_REPORT_POST_MAX,
    TLS_REPORT_SPREAD, TLS_REPORT_WAIT, TLS_REPORTS_BATCH,
};
use crate::base::prng::Prng;
use crate::base::time::WallTime;
use crate::config::Config;
use crate::dns::{Answer as Said, Finding, Kind, Name, Question, Records};
use crate::mail::address::Mailbox;
use crate::mail::envelope::TlsWish;
use crate::platform::channels::Posts;
use crate::platform::name_servers::NameServers;
use crate::platform::{clock, files, https, machine};
use crate::policy::relay::AddressSet;
use crate::policy::tls_report::{
    Due, Ledger, Report, Reporter, Status, Tally, Target, Told, targets,
};
use crate::shard::commands::{Answer, Command, Submission};
use crate::shard::mesh::{Crossing, Request};
use crate::shard::settings::dns_options;

/// The file below a spool.
const FILE: &str = "tls-reports.json";

/// The way to the thread.
#[derive(Debug)]
pub(super) struct TlsReports {
    posts: Posts,
    spool: PathBuf,
    /// `None` while nothing is to be reported, and nothing ever was.
    orders: Mutex<Option<SyncSender<Order>>>,
}

/// What the thread is told.
enum Order {
    Work(Box<Config>),
    Show(Reply),
    Hurry(Reply),
}

/// Takes the answer, on the thread: it must not wait.
pub type Reply = Box<dyn FnOnce(Status) + Send>;

/// What an operator asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// How reports stand.
    Show,
    /// End the running period, and send all that waits at once.
    Hurry,
}

impl TlsReports {
    /// Of the shards that `posts` leads to; what waits lies in `spool`.
    pub(super) fn new(posts: Posts, spool: PathBuf) -> Self {
        Self { posts, spool, orders: Mutex::default() }
    }

    /// Work by `config` from now on.
    pub(super) fn set(&self, config: &Config) -> io::Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.is_none() && config.tls_report.is_none() {
            return Ok(());
        }
        let sender = match &*orders {
            Some(sender) => sender,
            None => orders.insert(self.start()?),
        };
        let gone = |_| io::Error::other("the thread that reports is gone or busy");
        sender.try_send(Order::Work(Box::new(config.clone()))).map_err(gone)
    }

    fn start(&self) -> io::Result<SyncSender<Order>> {
        let (sender, orders) = sync_channel(TLS_REPORT_ORDERS_MAX);
        let (posts, path) = (self.posts.clone(), self.spool.join(FILE));
        let thread = thread::Builder::new().name("tls-reports".to_owned());
        thread.spawn(move || {
            let ledger = recall(&path).unwrap_or_else(|| Ledger::new(clock::now().wall));
            let prng = Prng::from_seed(machine::seed());
            let told = VecDeque::new();
            let worker = Worker { posts, path, config: None, ledger, prng, told, pulled: None };
            worker.run(&orders);
        })?;
        Ok(sender)
    }

    /// Answer an operator: `reply` is called once, at once where nothing is reported.
    pub(super) fn ask(&self, ask: Ask, reply: Reply) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = &*orders else { return reply(Status::default()) };
        let order = match ask {
            Ask::Show => Order::Show(reply),
            Ask::Hurry => Order::Hurry(reply),
        };
        // Where there are too many, `reply` is dropped: whoever waits for it hears nothing.
        let _ = sender.try_send(order);
    }
}

struct Worker {
    posts: Posts,
    path: PathBuf,
    config: Option<Box<Config>>,
    ledger: Ledger,
    prng: Prng,
    told: VecDeque<Told>,
    /// When shards were last asked.
    pulled: Option<WallTime>,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(self.pause()) {
                Ok(Order::Work(config)) => self.config = Some(config),
                Ok(Order::Show(reply)) => {
                    self.pull();
                    reply(self.status());
                }
                Ok(Order::Hurry(reply)) => {
                    self.pull();
                    self.ledger.hurry(clock::now().wall);
                    reply(self.status());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = clock::now().wall;
            if self.reporter().is_none() {
                continue;
            }
            if self.pulled.is_none_or(|at| now.since(at) >= TLS_REPORT_EVERY || now < at)
                || now >= self.ledger.ends()
            {
                self.pull();
            }
            self.send();
        }
    }

    fn reporter(&self) -> Option<&Reporter> {
        self.config.as_ref()?.tls_report.as_ref()
    }

    /// How long there is nothing to do.
    fn pause(&self) -> Duration {
        if self.reporter().is_none() {
            return TLS_REPORT_EVERY;
        }
        let now = clock::now().wall;
        let pull = self.pulled.map_or(now, |at| at + TLS_REPORT_EVERY);
        self.ledger.next().min(pull).since(now).min(TLS_REPORT_EVERY)
    }

    fn status(&self) -> Status {
        Status::new(self.reporter().is_some(), &self.ledger, &self.told)
    }

    /// Take in what shards have counted, and write it down.
    fn pull(&mut self) {
        let (sender, answers) = channel();
        for shard in self.posts.shard_ids() {
            let sender = sender.clone();
            let request = Request::new(Command::TlsSessions, move |answer| {
                // Whoever asked may have given up.
                let _ = sender.send(answer);
            });
            self.posts.post(shard, Crossing::Request(request));
        }
        drop(sender);
        let mut sum = Tally::default();
        // A shard that has left drops the request; one that does not answer is asked again.
        while let Ok(answer) = answers.recv_timeout(TLS_REPORT_WAIT) {
            if let Answer::TlsSessions(tally) = answer {
                sum.merge(&tally);
            }
        }
        let now = clock::now().wall;
        let (prng, spread) = (&mut self.prng, TLS_REPORT_SPREAD.as_millis());
        let spread = u64::try_from(spread).unwrap_or(u64::MAX);
        self.ledger.take_in(&sum, now, || Duration::from_millis(prng.below(spread)));
        self.pulled = Some(now);
        self.save();
    }

    fn save(&self) {
        if let Err(error) = remember(&self.path, &self.ledger) {
            tracing::warn!(%error, "cannot keep what TLS reports are to say");
        }
    }

    /// Send what is due, some of it.
    fn send(&mut self) {
        let Some(config) = self.config.clone() else { return };
        let Some(reporter) = &config.tls_report else { return };
        let mut servers = None;
        for _ in 0..TLS_REPORTS_BATCH {
            let now = clock::now().wall;
            let Some(due) = self.ledger.pop(now) else { break };
            let servers = servers.get_or_insert_with(|| {
                NameServers::new(dns_options(&config, &files::resolv_conf()))
            });
            let mut errand = Errand { posts: &self.posts, config: &config, servers };
            let (left, told) = errand.run(due, reporter);
            told.into_iter().for_each(|told| told.keep(&mut self.told));
            if let Some(due) = left {
                let domain = due.domain.clone();
                if !self.ledger.put_back(due, now) {
                    tracing::warn!(domain, "a TLS report could not be handed over for a day");
                }
            }
        }
        if servers.is_some() {
            self.save();
        }
    }
}

/// One report on its way.
struct Errand<'a> {
    posts: &'a Posts,
    config: &'a Config,
    servers: &'a mut NameServers,
}

impl Errand<'_> {
    /// Hand a report to whoever wants it. It comes back with those who do not have it yet.
    fn run(&mut self, mut due: Due, reporter: &Reporter) -> (Option<Due>, Vec<Told>) {
        let wanted = match due.targets.take() {
            Some(left) => left,
            None => match self.look_up_targets(&due.domain) {
                Some(targets) => targets,
                None => return (Some(due), Vec::new()),
            },
        };
        if wanted.is_empty() {
            return (None, Vec::new());
        }
        let report = match Report::new(&due, reporter) {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, domain = due.domain, "a TLS report cannot be written");
                return (None, Vec::new());
            }
        };
        let mut left = Vec::new();
        let mut all_told = Vec::new();
        for target in wanted {
            let result = self.hand_over(&report, &target, reporter);
            let to = target.to_string();
            match &result {
                Ok(()) => tracing::info!(domain = due.domain, to, "a TLS report was handed over"),
                Err(error) => {
                    tracing::info!(domain = due.domain, to, error, "a TLS report waits");
                    left.push(target);
                }
            }
            all_told.push(Told::new(clock::now().wall, &due.domain, &to, &result));
        }
        due.targets = Some(left);
        let is_left = due.targets.as_ref().is_some_and(|left| !left.is_empty());
        (is_left.then_some(due), all_told)
    }

    /// Whom a domain wants to be told; `None` where nobody knows now.
    fn look_up_targets(&mut self, domain: &str) -> Option<Vec<Target>> {
        // Where the name is too long, there is nobody to ask.
        let Ok(name) = Name::parse(&format!("_smtp._tls.{domain}")) else {
            return Some(Vec::new());
        };
        let answer = self.look_up(name, Kind::Txt)?;
        match &answer.finding {
            Finding::Records(Records::Txt(texts)) => Some(targets(texts.iter().map(|it| &**it))),
            Finding::Records(_) | Finding::NoRecords | Finding::NoSuchName => Some(Vec::new()),
            Finding::Temporary(_) => None,
        }
    }

    fn look_up(&mut self, name: Name, kind: Kind) -> Option<Arc<Said>> {
        let question = Question { name, kind };
        if let Some(answer) = self.servers.ask(question.clone()) {
            return Some(answer);
        }
        let until = clock::now().mono + TLS_REPORT_WAIT;
        loop {
            let answers = self.servers.wait(until);
            if answers.is_empty() {
                return None;
            }
            if let Some(answer) = answers.into_iter().find(|one| one.question == question) {
                return Some(answer);
            }
        }
    }

    fn hand_over(
        &mut self,
        report: &Report,
        target: &Target,
        reporter: &Reporter,
    ) -> Result<(), String> {
        match target {
            Target::Mail(to) => self.mail(report, to, reporter),
            Target::Web(url) => self.post(report, url),
        }
    }

    /// By a message of this node's own: it is stored once this says so, and delivered as any other.
    fn mail(&self, report: &Report, to: &str, reporter: &Reporter) -> Result<(), String> {
        let content = report.message(to).map_err(|error| error.to_string())?;
        let to = Mailbox::parse(to, false).map_err(|error| error.to_string())?;
        let from = reporter.from.clone();
        let submission = Submission { from, to, tls: TlsWish::Waived, content };
        let (sender, answers) = channel();
        let request = Request::new(Command::Submit(Box::new(submission)), move |answer| {
            let _ = sender.send(answer);
        });
        self.posts.post(ShardId(0), Crossing::Request(request));
        match answers.recv_timeout(TLS_REPORT_WAIT) {
            Ok(Answer::Submitted(_)) => Ok(()),
            Ok(Answer::Failed(words)) => Err(words.into()),
            Ok(_) | Err(_) => Err("the shard does not answer".to_owned()),
        }
    }

    //= RFC 8460 §5.4
    //# The report MAY be delivered by POST to HTTPS. If compressed, the report SHOULD use the media
    //# type "application/tlsrpt+gzip" … The receiving system MUST return a "successful" response
    //# from its HTTPS server
    /// By HTTPS, to a host that mail could go to as well.
    fn post(&mut self, report: &Report, url: &str) -> Result<(), String> {
        let host = https::host(url).ok_or("this is no URL")?;
        let addresses = self.addresses(&host)?;
        let authorities =
            files::roots(&self.config.tls_authorities).map_err(|error| error.to_string())?;
        let agent = https::agent(&authorities, addresses, TLS_REPORT_POST_MAX);
        https::post(&agent, url, "application/tlsrpt+gzip", &report.compressed)
    }

    fn addresses(&mut self, host: &str) -> Result<Vec<IpAddr>, String> {
        let refused = AddressSet::new(self.config.refused_hops.clone());
        let name = Name::parse(host).map_err(|_| format!("{host} is no host name"))?;
        let mut found = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            let answer = self.look_up(name.clone(), kind);
            found.extend(answer.iter().flat_map(|answer| answer.addresses()));
        }
        found.retain(|address| !refused.contains(*address));
        if found.is_empty() { Err(format!("{host} has no address")) } else { Ok(found) }
    }
}

/// What was kept; `None` where that is nothing, or of no use.
pub(super) fn recall(path: &Path) -> Option<Ledger> {
    let mut content = Vec::new();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "cannot read {}: TLS reports begin anew", path.display());
            return None;
        }
    };
    let read = file.take(TLS_REPORT_FILE_MAX).read_to_end(&mut content);
    let ledger = read.and_then(|_| Ok(serde_json::from_slice(&content)?));
    ledger
        .inspect_err(|error| {
            tracing::warn!(%error, "{} is no use: TLS reports begin anew", path.display());
        })
        .ok()
}

pub(super) fn remember(path: &Path, ledger: &Ledger) -> io::Result<()> {
    files::replace(path, serde_json::to_vec(ledger)?)
}
