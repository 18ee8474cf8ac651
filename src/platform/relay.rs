//! Run a relay: from a configuration to shards on this machine.
//!
//! Opens the spool and hands each shard its part; what lies in it is found while it runs. Lives on:
//! the main thread; each shard's machine is made on its own.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::base::prng::Prng;
use crate::base::time::WallTime;
use crate::config::Config;
use crate::egress::diversions::{Diverted, Orders, Way};
use crate::egress::throttle::SharedSites;
use crate::egress::warm_up::status::{OrderError, SourceStatus, Verb};
use crate::mail::address::Domain;
use crate::platform::boot::{BootError, Node, Options, ShardStart};
use crate::platform::campaigns::CampaignKeeper;
use crate::platform::channels::Posts;
use crate::platform::confine::{ConfineError, confine};
use crate::platform::diversions::{Diversions, DivertError};
use crate::platform::domain_check::CheckError;
use crate::platform::event_log::EventLogOptions;
use crate::platform::files::{self, AdminFiles, FileError, WebFiles};
use crate::platform::pauses::{PauseError, Pauses};
use crate::platform::repeats::Opener;
use crate::platform::shaping::Keeper;
use crate::platform::standings::Checker;
use crate::platform::supervise::{Occasion, RunError, StartError, Wish};
use crate::platform::suppression::{Lists, SuppressionError};
use crate::platform::tls_reports::{Ask, Reply, TlsReports};
use crate::platform::user::{User, UserError};
use crate::platform::{clock, machine, warm_up};
use crate::policy::domain_check::Report;
use crate::policy::gate::Board;
use crate::policy::repeats::Repeats;
use crate::policy::returns::campaigns::KnownCampaigns;
use crate::policy::suppression::{Registry, Suppression};
use crate::queue::Pause;
use crate::shard::mesh::Crossing;
use crate::shard::settings::{Settings, Surroundings};
use crate::shard::{Shard, Shared, Start};
use crate::spool::log::{self, Log};
use crate::spool::recovery::{RecoverError, begin};
use crate::spool::segment::SegmentName;
use crate::tls::{Clock, TlsError};

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The machine refuses something.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// There is no such user, or it cannot be had.
    #[error(transparent)]
    User(#[from] UserError),
    /// The kernel does not let it give up what it does not need.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// A file is of no use.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What operators divert cannot be known.
    #[error("what is diverted cannot be read: {0}")]
    Diversions(#[from] DivertError),
    /// What operators paused cannot be known.
    #[error("what is paused cannot be read: {0}")]
    Pauses(#[from] PauseError),
}

/// Why a configuration cannot be put in force on this machine.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that it names is of no use.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its certificates cannot be used together.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
    /// There can be no thread that checks domains.
    #[error("domains cannot be checked: {0}")]
    Checker(io::Error),
    /// There can be no thread that reports, or it is busy.
    #[error("TLS reports cannot be made: {0}")]
    TlsReports(io::Error),
    /// To whom nothing is sent cannot be known.
    #[error(transparent)]
    Suppression(#[from] SuppressionError),
    /// There can be no thread that keeps how sources stand at sites.
    #[error("how sources stand at sites cannot be kept: {0}")]
    Keeper(io::Error),
    /// There can be no thread that keeps campaigns.
    #[error("campaigns of what comes back cannot be kept: {0}")]
    Campaigns(io::Error),
    /// What sources have sent that are warmed up cannot be known, or kept.
    #[error("what is sent from sources that are warmed up cannot be kept: {0}")]
    WarmUp(io::Error),
}

/// A relay that is ready to run: all that this machine can refuse has been asked for.
#[derive(Debug)]
pub struct Relay {
    node: Node,
    log: log::Options,
    settings: Arc<ArcSwap<Settings>>,
    checker: Arc<Checker>,
    tls_reports: Arc<TlsReports>,
    pauses: Arc<Pauses>,
    diversions: Arc<Diversions>,
    lists: Arc<Lists>,
    sites: Arc<SharedSites>,
    keeper: Arc<Keeper>,
    campaigns: Arc<CampaignKeeper>,
    warm_up: Arc<warm_up::Keeper>,
    repeats: Arc<Opener>,
}

/// What the control thread needs of a relay.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The way to its shards.
    pub posts: Posts,
    wish: Wish,
    diversions: Arc<Diversions>,
    settings: Arc<ArcSwap<Settings>>,
    checker: Arc<Checker>,
    tls_reports: Arc<TlsReports>,
    pauses: Arc<Pauses>,
    lists: Arc<Lists>,
    keeper: Arc<Keeper>,
    campaigns: Arc<CampaignKeeper>,
    warm_up: Arc<warm_up::Keeper>,
    repeats: Arc<Opener>,
}

impl Handle {
    /// Check what DNS says of a domain, and wait for it.
    pub fn check_domain(&self, domain: Domain) -> Result<Report, CheckError> {
        self.checker.check(domain)
    }

    /// Ask about reports on TLS: `reply` is called once, or dropped where too many ask.
    pub fn ask_tls_reports(&self, ask: Ask, reply: Reply) {
        self.tls_reports.ask(ask, reply);
    }

    /// All that operators paused, and since when, where that is known.
    pub fn pauses(&self) -> BTreeMap<Pause, Option<WallTime>> {
        self.pauses.since()
    }

    /// Pause, or let go on; whether that changes anything.
    pub fn set_pause(&self, pause: &Pause, paused: bool) -> Result<bool, PauseError> {
        self.pauses.set(pause, paused)
    }

    /// How sources stand that are warmed up, all or one.
    pub fn warm_up(&self, source: Option<&str>) -> Vec<SourceStatus> {
        self.warm_up.status(source)
    }

    /// Do something with a source that is warmed up; how it stands then.
    pub fn order_warm_up(&self, source: &str, verb: Verb) -> Result<Vec<SourceStatus>, OrderError> {
        let rows = self.warm_up.order(source, verb)?;
        for shard in self.posts.shard_ids() {
            self.posts.post(shard, Crossing::Stir);
        }
        Ok(rows)
    }

    /// All that operators divert.
    pub fn diversions(&self) -> Arc<Orders> {
        self.diversions.all()
    }

    /// Let `change` say what way mail goes from now on; whether that is another.
    pub fn divert(
        &self,
        whose: &Diverted,
        change: impl FnOnce(&mut Way),
    ) -> Result<bool, DivertError> {
        self.diversions.set(whose, change)
    }

    /// Have whoever runs it told that it is asked to do what SIGHUP asks for.
    pub fn ask_reload(&self) {
        self.wish.say();
    }

    /// What is in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// What remembers what was answered under an `Idempotency-Key`.
    pub fn repeats(&self) -> Arc<dyn Repeats> {
        self.repeats.clone()
    }

    /// The suppression lists; `None` where nobody is looked for on them.
    pub fn suppression(&self) -> Option<Arc<dyn Registry>> {
        self.lists.registry()
    }

    /// What `config` means for those who ask this node, or why it cannot be meant.
    pub fn admin_files(&self, config: &Config) -> Result<AdminFiles, SettingsError> {
        files::admin(config, &self.settings.load().clock)
    }

    /// What `config` means for those who use links, or why it cannot be meant.
    pub fn web_files(&self, config: &Config) -> Result<Option<WebFiles>, SettingsError> {
        files::web(config, &self.settings.load().clock)
    }

    /// Work by `config` from now on, all shards alike; or change nothing.
    pub fn reload(&self, config: &Config) -> Result<(), SettingsError> {
        let clock = self.settings.load().clock.clone();
        let suppression = self.lists.open(config)?;
        let known = self.campaigns.known();
        let settings = settings(config, clock, self.checker.board(), known, suppression)?;
        self.checker.set(config).map_err(SettingsError::Checker)?;
        self.tls_reports.set(config).map_err(SettingsError::TlsReports)?;
        self.lists.set(config);
        self.keeper.set(config.shaping.is_on()).map_err(SettingsError::Keeper)?;
        self.campaigns.set(config.returns.as_ref()).map_err(SettingsError::Campaigns)?;
        self.warm_up.set(settings.warm_up.as_ref()).map_err(SettingsError::WarmUp)?;
        self.settings.store(settings.clone());
        for shard in self.posts.shard_ids() {
            self.posts.post(shard, Crossing::Reload(settings.clone()));
        }
        Ok(())
    }
}

impl Relay {
    /// Ask for everything that `config` needs of this machine, then give up what is needed no more.
    /// Files that are read again are read after that: what cannot be read then is no use. `file` is
    /// the configuration's.
    pub fn prepare(config: &Config, file: Option<&Path>) -> Result<Self, PrepareError> {
        let user = config.user.as_ref().map(User::find).transpose()?.flatten();
        let node = Node::prepare(&Options {
            shards: config.cores.into(),
            listeners: config.listeners.iter().map(|listener| listener.address).collect(),
            spool: config.spool.directory.clone(),
            events: EventLogOptions::from(&config.events),
            user,
        })?;
        let checker = Arc::new(Checker::new(config));
        tracing::info!("{}", confine(config, file)?);
        let log =
            log::Options { segment_bytes: config.spool.segment_bytes, reserve: 1, admits: true };
        let clock = Arc::new(Clock::default());
        clock.set(clock::now().wall);
        let lists = Lists::new(config.spool.directory.clone());
        let suppression = lists.open(config).map_err(SettingsError::from)?;
        lists.set(config);
        let campaigns = Arc::new(CampaignKeeper::new(&config.spool.directory));
        campaigns.set(config.returns.as_ref()).map_err(SettingsError::Campaigns)?;
        let known = campaigns.known();
        let settings = settings(config, clock, checker.board(), known, suppression)?;
        let settings = Arc::new(ArcSwap::new(settings));
        checker.set(config).map_err(SettingsError::Checker)?;
        let tls_reports = TlsReports::new(node.posts(), config.spool.directory.clone());
        tls_reports.set(config).map_err(SettingsError::TlsReports)?;
        let (tls_reports, lists) = (Arc::new(tls_reports), Arc::new(lists));
        let pauses = Arc::new(Pauses::open(&config.spool.directory, node.posts())?);
        let diversions = Diversions::open(&config.spool.directory, node.posts())?;
        let diversions = Arc::new(diversions);
        let sites = Arc::new(SharedSites::default());
        let keeper = Arc::new(Keeper::new(sites.clone(), &config.spool.directory));
        keeper.set(config.shaping.is_on()).map_err(SettingsError::Keeper)?;
        let warm_up = Arc::new(warm_up::Keeper::new(&sites, &config.spool.directory));
        warm_up.set(settings.load().warm_up.as_ref()).map_err(SettingsError::WarmUp)?;
        let repeats = Arc::new(Opener::new(&config.spool.directory));
        Ok(Self {
            node,
            log,
            settings,
            checker,
            tls_reports,
            pauses,
            diversions,
            lists,
            sites,
            keeper,
            campaigns,
            warm_up,
            repeats,
        })
    }

    /// Where its listeners are, in their order, with the ports that they were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.node.addresses()
    }

    /// What the control thread needs.
    pub fn handle(&self) -> Handle {
        Handle {
            posts: self.node.posts(),
            wish: self.node.wish(),
            diversions: self.diversions.clone(),
            settings: self.settings.clone(),
            checker: self.checker.clone(),
            tls_reports: self.tls_reports.clone(),
            pauses: self.pauses.clone(),
            lists: self.lists.clone(),
            keeper: self.keeper.clone(),
            campaigns: self.campaigns.clone(),
            warm_up: self.warm_up.clone(),
            repeats: self.repeats.clone(),
        }
    }

    /// Run until it is drained. `tell` is called on each occasion.
    pub fn run(self, tell: impl FnMut(Occasion)) -> Result<(), RunError> {
        let Self {
            node, log, settings, pauses, diversions, sites, keeper, campaigns, warm_up, ..
        } = self;
        let shared = Arc::new(Shared::with(node.posts().shards(), sites));
        let make = move |start: ShardStart| {
            let mut shard = make_shard(start, log, settings.load_full(), shared.clone())?;
            shard.pause(&pauses.all());
            shard.begin_diverted(diversions.all());
            Ok(shard)
        };
        let ended = node.run(make, tell).map(drop);
        keeper.finish();
        campaigns.finish();
        warm_up.finish();
        ended
    }
}

/// Begin the recovery of a shard's directories, open their logs, and make its machine.
fn make_shard(
    start: ShardStart,
    options: log::Options,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
) -> Result<Shard, StartError> {
    let mut prng = Prng::from_seed(start.seed);
    let mut logs = Vec::new();
    for (place, directory) in start.directories.iter().copied().enumerate() {
        let head = |number| {
            let head = start.head(SegmentName { directory, number });
            head.map_err(|error| StartError(error.into()))
        };
        let (log, recovery) = begin(directory, start.numbers(directory), head)?;
        let options = log::Options { admits: place == 0, ..options };
        logs.push((directory, Log::new(log, options, prng.fork()), recovery));
    }
    let ShardStart { shard: id, now, first_event, .. } = start;
    Ok(Shard::new(Start { id, settings, shared, logs, prng, now, first_event }))
}

/// What `config` means on this machine as it is now.
fn settings(
    config: &Config,
    clock: Arc<Clock>,
    board: Arc<Board>,
    campaigns: Arc<KnownCampaigns>,
    suppression: Option<Arc<Suppression>>,
) -> Result<Arc<Settings>, SettingsError> {
    let around =
        Surroundings { campaigns, suppression, ..files::surroundings(config, clock, board)? };
    let settings = Settings::new(config, &around)?;
    Ok(Arc::new(settings.on_machine(&machine::addresses())))
}

/// What `config` asks of this machine's files, without running anything; those of the admin
/// addresses.
pub fn check(config: &Config) -> Result<AdminFiles, SettingsError> {
    let clock = Arc::new(Clock::default());
    clock.set(clock::now().wall);
    let admin = files::admin(config, &clock)?;
    files::web(config, &clock)?;
    settings(config, clock, Arc::default(), Arc::default(), None)?;
    Ok(admin)
}

impl From<RecoverError> for StartError {
    fn from(error: RecoverError) -> Self {
        Self(error.into())
    }
}
