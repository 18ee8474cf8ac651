//! The command line: what may be said to `relay-fast`, and what it means.
//!
//! The doc comments here are what `--help` prints.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::base::ids::MessageId;
use crate::config::Config;
use crate::config::flags::{Flags, Machine};
use crate::config::parse::{File, load};
use crate::control::api::Select;
use crate::control::campaigns;
use crate::control::check_domain::CheckDomain;
use crate::control::diversions::{Divert, Whom};
use crate::control::dkim::DkimVerb;
use crate::control::epochs::ShowConfig;
use crate::control::events::Events;
use crate::control::inject::ask::Inject;
use crate::control::kpis::KpisVerb;
use crate::control::messages;
use crate::control::pauses::Whose;
use crate::control::queue::Ask;
use crate::control::shaping::ShapingVerb;
use crate::control::suppress::SuppressVerb;
use crate::control::top::Top;
use crate::control::trace::Trace;
use crate::control::warm_up::WarmUpAsk;

/// An SMTP relay for bulk-campaign sending nodes: stored before 250.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// Flags of the node
    #[command(flatten)]
    pub node: NodeFlags,
    /// What is asked; nothing runs a node
    #[command(subcommand)]
    pub command: Option<Verb>,
}

/// Flags go before the configuration file, the file before defaults.
#[derive(Args, Clone)]
#[command(next_help_heading = "Node")]
pub struct NodeFlags {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Shards; the number of CPUs if not given
    #[arg(long, global = true, value_name = "N")]
    pub cores: Option<String>,
    /// Listen here; may be repeated
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// Send all mail here: `host[:port][*weight]`, `,` shares, `;` only when those before fail
    #[arg(long, global = true, value_name = "LIST")]
    pub upstream: Option<String>,
    /// Keep messages here
    #[arg(long, global = true, value_name = "DIR")]
    pub spool: Option<String>,
    /// Admin HTTP: health, metrics, queue; may be repeated
    #[arg(long, global = true, value_name = "ADDR:PORT|unix:PATH")]
    pub admin: Vec<String>,
    /// What this node calls itself
    #[arg(long, global = true, value_name = "NAME")]
    pub hostname: Option<String>,
}

/// What is asked of the program.
#[derive(Subcommand)]
pub enum Verb {
    /// Check the configuration and print what is in force
    Check,
    /// What is in force at a running node, since when, whose doing it is; and what is written now
    ///
    /// Printed are values that somebody set, with where: a line of the file, or a flag.
    Config(ShowConfig),
    /// Have a running node put in force what is written, as SIGHUP does, and say what came of it
    Reload,
    /// Print the reference of all knobs
    Knobs,
    /// Print the reference of metrics as a Markdown table
    Metrics,
    /// Make keys that sign mail, and print their DNS records
    Dkim {
        /// The verb
        #[command(subcommand)]
        verb: DkimVerb,
    },
    /// Check what DNS says of a domain that this node sends or takes mail for; what to publish
    ///
    /// Looked at are MX, the addresses and names of `[[source]]`, SPF, the `[[dkim]]` keys, DMARC,
    /// MTA-STS, TLS-RPT, DANE and BIMI. A relay domain without a key here is looked at as one that
    /// only takes mail.
    ///
    /// Exit 0: nothing fails, 1: something fails, 2: the command line or the configuration is
    /// wrong, 3: nothing fails, but something could not be checked.
    CheckDomain(CheckDomain),
    /// Look at and steer the queue of a running node
    Queue {
        /// The verb
        #[command(subcommand)]
        verb: QueueVerb,
    },
    /// Hand in mail to a running node: a JSON file, as `POST /v1/inject` takes it
    Inject(Inject),
    /// Find messages of a running node: why they wait, and what the event log says of them
    Messages(messages::Asked),
    /// How far campaigns of a running node are: what waits, how fast it goes, what came of the rest
    ///
    /// Pause, resume or cancel one by `relay-fast queue pause`, `resume` or `remove` with its
    /// `--tenant` and `--campaign`.
    Campaigns(campaigns::Show),
    /// What is counted of TLS with MX hosts, and which domains were told (TLS-RPT)
    TlsReports {
        /// The verb
        #[command(subcommand)]
        verb: TlsReportsVerb,
    },
    /// Look at and change the suppression lists of a running node
    Suppress {
        /// The verb
        #[command(subcommand)]
        verb: SuppressVerb,
    },
    /// Verify, show or repair a spool that no node runs on
    Spool {
        /// The verb
        #[command(subcommand)]
        verb: SpoolVerb,
    },
    /// Set a name's password in a file of credentials: asked for twice, or one line of stdin
    Passwd(Passwd),
    /// Say what class replies are, and which rule says so; of stdin, a line each, without any
    Classify {
        /// Replies, as `550 5.1.1 No such user`
        replies: Vec<String>,
        /// Who says so, as `mx1.example.net[192.0.2.1]:25`: some rules go by that
        #[arg(long, default_value = "", value_name = "HOST")]
        peer: String,
    },
    /// Show the event log of a spool, all shards together; a node may run there or not
    Events(Events),
    /// How those stand who are handed the event log (`[[exporter]]`), of a running node
    Exporters,
    /// What became of mail, by who sends, where to and over time (`[kpis]`), of a running node
    Kpis(KpisVerb),
    /// What the rules of shaping mean, and how sources stand at sites
    Shaping {
        /// The verb
        #[command(subcommand)]
        verb: ShapingVerb,
    },
    /// How far sources of a running node are warmed up: day, messages today, and how many there may
    /// be
    WarmUp(WarmUpAsk),
    /// Whether a running node is well: exit 0 and `ok`, or exit 1 and why not
    Health,
    /// Watch what a running node does, as it does it
    Top(Top),
    /// Follow the dialogue with next hops about a domain's mail, as it happens; content is left out
    Trace(Trace),
    /// Write the manual pages, one for each verb, to a directory
    Man {
        /// The directory; it is there
        directory: PathBuf,
    },
    /// Print what a shell needs to complete the command line
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Sum up the event log: rates and times to delivery by domain and upstream
    Report {
        /// How far back, as 30m, 1h, 2d
        #[arg(long, default_value = "1h", value_name = "DURATION")]
        since: String,
    },
}

/// A change to a file of credentials.
#[derive(Args)]
pub struct Passwd {
    /// The file; made if it is not there
    pub file: PathBuf,
    /// The name that logs in
    pub name: String,
    /// Domains that it may send as, `.suffix` for all below one; `''` for any
    #[arg(long, value_name = "LIST")]
    pub domains: Option<String>,
    /// Remove the name
    #[arg(long, conflicts_with = "domains")]
    pub delete: bool,
}

/// What is asked of a spool on disk.
#[derive(Subcommand)]
pub enum SpoolVerb {
    /// Verify every record and content; exit 0: no damage, 1: damage, 2: it cannot be read
    Check {
        /// The spool; the configured one if not given
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show each message, or one with its content, as it would be sent
    Dump {
        /// The spool, the configured one if not given; a message id
        #[arg(value_name = "DIR|ID", num_args = 0..=2)]
        what: Vec<String>,
        /// One JSON object a line, without content
        #[arg(long)]
        json: bool,
    },
    /// Measure how fast commit groups reach the disk below a directory, in ways that could be used
    Bench {
        /// A directory on that disk; the configured spool if not given
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Copy the spool, then set aside what is damaged, so that a node can work with the rest
    Repair {
        /// The spool; the configured one if not given
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

impl SpoolVerb {
    /// The spool and the message that are named, if they are.
    pub fn names(&self) -> Result<(Option<PathBuf>, Option<MessageId>), String> {
        match self {
            Self::Check { directory, .. }
            | Self::Repair { directory, .. }
            | Self::Bench { directory } => Ok((directory.clone(), None)),
            Self::Dump { what, .. } => {
                let is_directory =
                    |word: &&String| word.contains('/') || fs::metadata(word).is_ok();
                let (directories, ids): (Vec<&String>, Vec<&String>) =
                    what.iter().partition(is_directory);
                if directories.len() > 1 || ids.len() > 1 {
                    return Err(format!("one spool and one message id, not {}", what.join(" ")));
                }
                let parse = |id: &&String| {
                    id.parse()
                        .map_err(|error| format!("{id} is neither a directory nor an id: {error}"))
                };
                Ok((directories.first().map(PathBuf::from), ids.first().map(parse).transpose()?))
            }
        }
    }
}

/// What is asked of a queue.
#[derive(Subcommand)]
pub enum QueueVerb {
    /// List recipients: all, or those that meet all that is given
    List {
        /// Which
        #[command(flatten)]
        selection: Selection,
        /// Rows listed; 1000 if not given, and at most
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show a message, and why each recipient waits
    Show {
        /// Message id
        id: String,
    },
    /// Count by state and by domain
    Stats {
        /// Domains shown; 10 if not given
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Try at once what waits for its next attempt
    Flush(Selection),
    /// Try no more until released
    Hold(Selection),
    /// Undo hold
    Release(Selection),
    /// Give up without a bounce, and forget
    Remove(Selection),
    /// Let what a tenant sends wait, or one campaign of it, until it is resumed; restarts keep it
    Pause(Sender),
    /// Undo `pause`
    Resume(Sender),
    /// List what is paused
    Paused,
    /// Send mail to another upstream group or to MX hosts, what waits and what comes in later,
    /// until it is undone; restarts keep it
    Reroute {
        /// Whose
        #[command(flatten)]
        whose: Diverted,
        /// An upstream group's name, or `mx`
        #[arg(long, value_name = "NAME", required_unless_present = "back")]
        to: Option<String>,
        /// Undo it: the configuration holds again
        #[arg(long, conflicts_with = "to")]
        back: bool,
    },
    /// Let mail leave from another pool of sources, what waits and what comes in later, until it is
    /// undone; restarts keep it
    Rebind {
        /// Whose
        #[command(flatten)]
        whose: Diverted,
        /// A pool's name
        #[arg(long, value_name = "NAME", required_unless_present = "back")]
        to: Option<String>,
        /// Undo it: the configuration holds again
        #[arg(long, conflicts_with = "to")]
        back: bool,
    },
    /// List what is rerouted and rebound
    Diverted,
}

/// Who sends.
#[derive(Args)]
pub struct Sender {
    /// Name of who sends
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// Name of what it is sent for; else all of the tenant's is meant
    #[arg(long, value_name = "NAME")]
    pub campaign: Option<String>,
}

/// Whose mail: that meets all that is given.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct Diverted {
    /// Destination domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Name of who sends
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Name of what it is sent for
    #[arg(long, value_name = "NAME", requires = "tenant")]
    pub campaign: Option<String>,
}

/// What is asked about reports on TLS.
#[derive(Clone, Copy, Subcommand)]
pub enum TlsReportsVerb {
    /// Show what was counted today, what waits to go out, and the last reports that went out
    Show,
    /// End the day's count now, and send all that waits at once
    Send,
}

/// Which recipients: those that meet all that is given.
#[derive(Args)]
pub struct Selection {
    /// Message id
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Destination domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Reverse-path; `<>` is the null reverse-path
    #[arg(long, value_name = "ADDRESS")]
    pub reverse_path: Option<String>,
    /// Name of who sends
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Name of what it is sent for
    #[arg(long, value_name = "NAME")]
    pub campaign: Option<String>,
    /// Everything in the queue
    #[arg(long, conflicts_with_all = ["id", "domain", "reverse_path", "tenant", "campaign"])]
    pub all: bool,
}

impl NodeFlags {
    /// The configuration that flags and file mean on `machine`.
    pub fn load(&self, machine: &Machine) -> Result<Config, Box<dyn Error>> {
        let text = match &self.config {
            Some(path) => fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
            None => String::new(),
        };
        let name = self.config.as_ref().map(|path| path.display().to_string());
        let file = name.as_deref().map(|name| File { name, text: &text });
        let flags = Flags {
            cores: self.cores.clone(),
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
            spool: self.spool.clone(),
            admin: self.admin.clone(),
            hostname: self.hostname.clone(),
        };
        Ok(load(file, &flags, machine)?)
    }
}

impl From<&Selection> for Select {
    fn from(selection: &Selection) -> Self {
        Self {
            id: selection.id.clone(),
            domain: selection.domain.clone(),
            reverse_path: selection.reverse_path.clone(),
            tenant: selection.tenant.clone(),
            campaign: selection.campaign.clone(),
            all: selection.all,
            limit: None,
        }
    }
}

impl From<&Sender> for Whose {
    fn from(sender: &Sender) -> Self {
        Self { tenant: sender.tenant.clone(), campaign: sender.campaign.clone() }
    }
}

/// Without `to`: back.
fn divert(verb: &'static str, whose: &Diverted, to: &Option<String>) -> Divert {
    let Diverted { domain, tenant, campaign } = whose;
    let (domain, tenant, campaign) = (domain.clone(), tenant.clone(), campaign.clone());
    Divert { verb, whose: Whom { domain, tenant, campaign }, to: to.clone() }
}

impl From<&QueueVerb> for Ask {
    fn from(verb: &QueueVerb) -> Self {
        match verb {
            QueueVerb::List { selection, limit } => {
                Self::List(Select { limit: *limit, ..selection.into() })
            }
            QueueVerb::Show { id } => Self::Show(id.clone()),
            QueueVerb::Stats { limit } => {
                Self::Stats(Select { limit: *limit, ..Select::default() })
            }
            QueueVerb::Flush(selection) => Self::Verb("flush", selection.into()),
            QueueVerb::Hold(selection) => Self::Verb("hold", selection.into()),
            QueueVerb::Release(selection) => Self::Verb("release", selection.into()),
            QueueVerb::Remove(selection) => Self::Verb("remove", selection.into()),
            QueueVerb::Pause(sender) => Self::Pause(sender.into(), true),
            QueueVerb::Resume(sender) => Self::Pause(sender.into(), false),
            QueueVerb::Paused => Self::Paused,
            QueueVerb::Reroute { whose, to, back: _ } => Self::Divert(divert("reroute", whose, to)),
            QueueVerb::Rebind { whose, to, back: _ } => Self::Divert(divert("rebind", whose, to)),
            QueueVerb::Diverted => Self::Diverted,
        }
    }
}
