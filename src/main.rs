//! The command line: run a node, or ask a running one.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use clap::Parser;
use relay_fast::config::problem::Problems;
use relay_fast::config::reload::{self, Change};
use relay_fast::config::{Config, reference};
use relay_fast::control::campaigns::Terms;
use relay_fast::control::check_domain::{DomainChecks, USAGE};
use relay_fast::control::cli::{Cli, NodeFlags, Verb};
use relay_fast::control::commands::Shards;
use relay_fast::control::diversions::Diversions;
use relay_fast::control::epochs::{Epochs, How, Waiting};
use relay_fast::control::exporters::{Exporters, Means};
use relay_fast::control::inject::Injections;
use relay_fast::control::kpis::Kpis;
use relay_fast::control::manual;
use relay_fast::control::messages::Lives;
use relay_fast::control::metrics;
use relay_fast::control::overview::Facts;
use relay_fast::control::passwd;
use relay_fast::control::pauses::Pauses;
use relay_fast::control::serve::{Rules, Ways, serve};
use relay_fast::control::suppression::SuppressionLists;
use relay_fast::control::tls_reports::TlsReports;
use relay_fast::control::warm_up::WarmUps;
use relay_fast::control::web;
use relay_fast::platform::doors::{open_doors, open_web};
use relay_fast::platform::files::{self, Watch};
use relay_fast::platform::machine::machine;
use relay_fast::platform::manager::Manager;
use relay_fast::platform::relay::{Handle, Relay};
use relay_fast::platform::supervise::Occasion;
use relay_fast::platform::tls_reports::Ask;
use relay_fast::platform::{clock, telemetry};

use crate::verbs::{
    CANNOT_BE_READ, campaigns, check, check_domain, classify, config, dkim, events, exporters,
    health, inject, kpis, messages, outlets, queue, rules, shaping, spool, summary, suppress,
    tls_reports, top, trace, warm_up,
};

mod verbs;

fn main() -> ExitCode {
    let cli = Cli::parse();
    files::make_private();
    if let Some(Verb::Spool { verb }) = &cli.command {
        return spool(&cli.node, verb).unwrap_or_else(|error| {
            eprintln!("relay-fast: {error}");
            ExitCode::from(CANNOT_BE_READ)
        });
    }
    if let Some(Verb::CheckDomain(ask)) = &cli.command {
        return check_domain(&cli.node, ask).unwrap_or_else(|error| {
            eprintln!("relay-fast: {error}");
            ExitCode::from(USAGE)
        });
    }
    let done = match &cli.command {
        None => run(&cli.node),
        Some(Verb::Check) => check(&cli.node),
        Some(Verb::Config(show)) => config(&cli.node, show),
        Some(Verb::Reload) => verbs::reload(&cli.node),
        Some(Verb::Knobs) => {
            print!("{}", reference::render());
            Ok(())
        }
        Some(Verb::Metrics) => {
            print!("{}", metrics::reference::render());
            Ok(())
        }
        Some(Verb::Dkim { verb }) => dkim(&cli.node, verb),
        Some(Verb::Queue { verb }) => queue(&cli.node, verb),
        Some(Verb::Inject(ask)) => inject(&cli.node, ask),
        Some(Verb::Messages(asked)) => messages(&cli.node, asked),
        Some(Verb::TlsReports { verb }) => tls_reports(&cli.node, *verb),
        Some(Verb::Suppress { verb }) => suppress(&cli.node, verb),
        Some(Verb::Spool { .. } | Verb::CheckDomain(_)) => {
            unreachable!("answered above, with codes of their own")
        }
        Some(Verb::Passwd(change)) => passwd::run(change).map_err(Box::from),
        Some(Verb::Classify { replies, peer }) => classify(&cli.node, replies, peer),
        Some(Verb::Events(ask)) => events(&cli.node, ask),
        Some(Verb::Campaigns(asked)) => campaigns(&cli.node, asked),
        Some(Verb::Exporters) => exporters(&cli.node),
        Some(Verb::Kpis(ask)) => kpis(&cli.node, ask),
        Some(Verb::Shaping { verb }) => shaping(&cli.node, verb),
        Some(Verb::WarmUp(ask)) => warm_up(&cli.node, ask),
        Some(Verb::Health) => health(&cli.node),
        Some(Verb::Top(ask)) => top(&cli.node, ask),
        Some(Verb::Trace(ask)) => trace(&cli.node, ask),
        Some(Verb::Man { directory }) => manual::pages(directory).map_err(Box::from),
        Some(Verb::Completions { shell }) => {
            manual::completions(*shell, &mut io::stdout());
            Ok(())
        }
        Some(Verb::Report { since }) => summary(&cli.node, since),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay-fast: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(node: &NodeFlags) -> Result<(), Box<dyn Error>> {
    let config = node.load(&machine())?;
    telemetry::start(config.log_level)?;
    let manager = Manager::of_environment();
    let (doors, web_doors) = (open_doors(&config)?, open_web(&config)?);
    let watch = RefCell::new(Watch::new(&config));
    let relay = Relay::prepare(&config, node.config.as_deref())?;
    // By the rights that are left: what a reload could not read is told now.
    let reread = node.load(&machine()).map_err(|error| match &config.user {
        Some(user) => format!("as user {user}: {error}").into(),
        None => error,
    })?;
    reload::diff(&config, &reread)?;
    let handle = relay.handle();
    let rules = Arc::new(ArcSwap::from_pointee(rules(&config, handle.admin_files(&config)?)?));
    let posts = handle.posts.clone();
    // As bound, not as configured: port 0 is the kernel's choice.
    let admin: Vec<_> = doors.iter().map(|door| door.address.to_string()).collect();
    let shards = Shards::new(config.cores, move |shard, crossing| posts.post(shard, crossing));
    let doors = doors.into_iter().map(|door| (door.address, door.socket));
    let means = Means { now: clock::now, replace: |path, text| files::replace(path, text) };
    let exporters = Exporters::new(config.spool.directory.clone(), means);
    exporters.set(outlets(&config)?)?;
    let now = clock::now;
    let facts = Facts { hostname: config.hostname.as_str().into(), began: now().mono, now };
    let kpis = Kpis::new(config.spool.directory.clone(), now);
    kpis.set(config.kpis)?;
    let lives = Lives::new(config.spool.directory.clone(), || clock::now().wall);
    let epochs = epochs(config.clone(), node, &handle);
    let ways = ways(&handle, exporters.clone(), kpis.clone(), facts, (lives, epochs.clone()));
    let web_rules = Arc::new(ArcSwapOption::from_pointee(web_rules(&handle, &config)?));
    web::serve(web_doors, web_ways(&shards, &ways), web_rules.clone())?;
    serve(doors, shards, ways, rules.clone())?;
    if config.admin.tells_token() {
        tracing::warn!("the admin token crosses the network in clear: name a certificate");
    }
    let Config { hostname, cores, .. } = &config;
    let (listen, admin) = (relay.addresses(), admin.join(","));
    tracing::info!(%hostname, cores, ?listen, %admin, "ready");
    manager.ready();
    let running = Running { node, handle, rules, web_rules, exporters, kpis, epochs, watch };
    relay.run(|occasion| running.occur(occasion, &manager))?;
    tracing::info!("drained");
    Ok(())
}

/// What is in force, and the way to whoever puts another in force: [`Running`].
fn epochs(config: Config, node: &NodeFlags, handle: &Handle) -> Epochs {
    let (node, handle) = (node.clone(), handle.clone());
    let file = node.config.as_ref().map(|path| path.display().to_string());
    let read = move || node.load(&machine()).map_err(|error| in_one_line(&*error));
    Epochs::new(config, file, read, move || handle.ask_reload(), || clock::now().wall)
}

fn ways(
    handle: &Handle,
    exporters: Exporters,
    kpis: Kpis,
    facts: Facts,
    (lives, epochs): (Lives, Epochs),
) -> Ways {
    let reached = handle.clone();
    Ways {
        reports: reports(handle.clone()),
        pauses: pauses(handle.clone()),
        warm_up: warm_ups(handle.clone()),
        exporters,
        kpis,
        lists: SuppressionLists::new(move || reached.suppression()),
        facts,
        checks: checks(handle.clone()),
        injections: injections(handle.clone()),
        terms: terms(handle.clone()),
        lives,
        epochs,
        diversions: diversions(handle.clone()),
        web: Arc::default(),
    }
}

/// The ways of those who answer links.
fn web_ways(shards: &Shards, ways: &Ways) -> web::Ways {
    let (lists, counts) = (ways.lists.clone(), ways.web.clone());
    web::Ways { shards: shards.clone(), lists, now: clock::now, counts }
}

/// What holds for those who use links; `None`: there are none.
fn web_rules(handle: &Handle, config: &Config) -> Result<Option<web::Rules>, Box<dyn Error>> {
    let files = handle.web_files(config)?;
    Ok(files.and_then(|files| web::Rules::new(config, &files.secrets, files.acceptor)))
}

/// The way to who checks domains.
fn checks(handle: Handle) -> DomainChecks {
    DomainChecks::new(move |domain| handle.check_domain(domain).map_err(|error| error.to_string()))
}

/// What takes mail that is handed in.
fn injections(handle: Handle) -> Injections {
    let repeats = handle.repeats();
    Injections::new(move || handle.settings(), || clock::now().wall, repeats)
}

/// The way to who keeps what is diverted.
fn diversions(handle: Handle) -> Diversions {
    let all = handle.clone();
    Diversions::new(
        move || all.diversions(),
        move |whose, change| {
            let changed = handle.divert(whose, |way| change.make(way));
            changed.map_err(|error| error.to_string())
        },
    )
}

/// What holds for tenants and campaigns.
fn terms(handle: Handle) -> Terms {
    Terms::new(move || handle.settings())
}

/// The way to who reports on TLS.
fn reports(handle: Handle) -> TlsReports {
    TlsReports::new(move |at_once, reply| {
        handle.ask_tls_reports(if at_once { Ask::Hurry } else { Ask::Show }, reply);
    })
}

/// The way to who keeps what is paused.
fn pauses(handle: Handle) -> Pauses {
    let all = handle.clone();
    Pauses::new(
        move || all.pauses(),
        move |pause, paused| handle.set_pause(pause, paused).map_err(|error| error.to_string()),
    )
}

/// The way to who keeps what sources have sent that are warmed up.
fn warm_ups(handle: Handle) -> WarmUps {
    let all = handle.clone();
    WarmUps::new(
        move |source| all.warm_up(source),
        move |source, verb| handle.order_warm_up(source, verb),
    )
}

/// A log has a line for each thing that happens.
fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let problems = error.downcast_ref::<Problems>();
    problems.map_or_else(|| error.to_string(), Problems::in_one_line)
}

/// What a reload changes.
struct Running<'a> {
    node: &'a NodeFlags,
    handle: Handle,
    rules: Arc<ArcSwap<Rules>>,
    web_rules: Arc<ArcSwapOption<web::Rules>>,
    exporters: Exporters,
    kpis: Kpis,
    epochs: Epochs,
    watch: RefCell<Watch>,
}

impl Running<'_> {
    fn occur(&self, occasion: Occasion, manager: &Manager) {
        match occasion {
            Occasion::Drain => manager.stopping(),
            Occasion::Look => self.look(),
            Occasion::Asked => self.again(How::Asked, self.epochs.waiting()),
            Occasion::Hangup => {
                manager.reloading();
                self.again(How::Signal, self.epochs.waiting());
                manager.ready();
            }
        }
    }

    /// Put the present content of the files that the configuration names in force, where that is
    /// another one: no value is.
    fn look(&self) {
        let config = self.epochs.config();
        if self.watch.borrow_mut().look(&config) {
            let done = self.put(&config).map(|()| (config, Vec::new()));
            self.tell(done, How::Files, Vec::new());
        }
    }

    /// Put the present content of the file in force, or change nothing.
    fn again(&self, how: How, waiting: Vec<Waiting>) {
        // Those who asked may have been told with others.
        if how != How::Asked || !waiting.is_empty() {
            self.tell(self.put_written(), how, waiting);
        }
    }

    fn put_written(&self) -> Result<(Arc<Config>, Vec<Change>), Box<dyn Error>> {
        let after = self.node.load(&machine())?;
        let changes = reload::diff(&self.epochs.config(), &after)?;
        self.put(&after)?;
        Ok((Arc::new(after), changes))
    }

    fn tell(
        &self,
        done: Result<(Arc<Config>, Vec<Change>), Box<dyn Error>>,
        how: How,
        waiting: Vec<Waiting>,
    ) {
        match done {
            Ok((config, changes)) => {
                tracing::info!(changes = changes.len(), "reloaded");
                self.epochs.put(config, changes, how, waiting);
            }
            Err(error) => {
                let line = in_one_line(&*error);
                tracing::error!("not reloaded, nothing has changed: {line}");
                self.epochs.refuse(line, error.to_string(), waiting);
            }
        }
    }

    fn put(&self, config: &Config) -> Result<(), Box<dyn Error>> {
        let watch = Watch::new(config);
        let rules = rules(config, self.handle.admin_files(config)?)?;
        let web_rules = web_rules(&self.handle, config)?;
        let outlets = outlets(config)?;
        self.handle.reload(config)?;
        self.exporters.set(outlets)?;
        self.kpis.set(config.kpis)?;
        self.rules.store(Arc::new(rules));
        self.web_rules.store(web_rules.map(Arc::new));
        self.watch.replace(watch);
        Ok(())
    }
}
