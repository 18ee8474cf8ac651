//! Turn file, flags and machine into a configuration, or into all that is wrong with them.
//!
//! In: the file's text, flags and machine as values. Out: a [`Config`], or every problem with its
//! line. Pure: the same input gives the same output. Invariant: what a value is wrong in is found
//! in one pass, contradictions between right values as well; nothing is in force unless all is
//! right.

mod admin;
mod auth;
mod bounces;
mod checks;
mod dkim;
mod events;
mod exporters;
mod forms;
mod inbound;
mod kpis;
mod milters;
mod outbound;
mod senders;
mod sources;
mod suppression;
#[cfg(test)]
mod tests;
mod tls_report;
mod tokens;
mod warm_up;
mod web;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use toml::de::DeTable;

use crate::base::limits::{CONFIG_BYTES_MAX, SHARDS_MAX};
use crate::config::flags::{Flags, Machine};
use crate::config::knob::{Kind, Knob};
use crate::config::knobs;
use crate::config::options::{Config, LogLevel, QueueOptions, SpoolOptions, User};
use crate::config::problem::{Finder, Place, Problems};
use crate::config::reader::{FlagValue, Given, Reader, Section, quoted};
use crate::config::units::{Wrong, show_duration};
use crate::mail::address::{Domain, Mailbox};
use crate::policy::gate;

/// A configuration file, read by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// As problems are to name it.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
}

/// The configuration that `file` and `flags` mean on `machine`.
pub fn load(file: Option<File<'_>>, flags: &Flags, machine: &Machine) -> Result<Config, Problems> {
    let File { name, text } = file.unwrap_or(File { name: "", text: "" });
    let mut finder = Finder::new(name, text);
    if text.len() > CONFIG_BYTES_MAX {
        let what = format!("the file is larger than {CONFIG_BYTES_MAX} octets");
        finder.add(&Place::File(0..0), Wrong::new(what));
        return Err(finder.finish());
    }
    let (table, broken) = DeTable::parse_recoverable(text);
    for error in &broken {
        let place = Place::File(error.span().unwrap_or(0..0));
        finder.add(&place, forms::syntax(error.message(), text, error.span()));
    }
    let mut reader = Reader::new(finder, !broken.is_empty());
    let config = read(&mut reader, table.get_ref(), flags, machine);
    let Reader { finder, in_force, .. } = reader;
    match config {
        Some(config) if finder.is_empty() => Ok(Config { in_force, ..config }),
        _ => Err(finder.finish()),
    }
}

/// A configuration from whatever is right of the file; `None` where too little is.
fn read<'d>(
    reader: &mut Reader<'_>,
    table: &'d DeTable<'d>,
    flags: &'d Flags,
    machine: &Machine,
) -> Option<Config> {
    let root = reader.root(table);
    let hostname = hostname(reader, &root, flags, machine);
    let (postmaster, cores) = (postmaster(reader, &root), cores(reader, &root, flags, machine));
    let ((user, is_confined), (log_level, domain_check)) = process(reader, &root);
    let (spool, admin) = (spool(reader, &root, flags, machine), admin::read(reader, &root, flags));
    let (events, exporters) = (events::read(reader, &root), exporters::read(reader, &root));
    let (bounce_rules, returns) = bounces::read(reader, &root);
    let inbound = inbound::read(reader, &root, flags, &admin.listen);
    let outbound = outbound::read(reader, &root, flags, hostname.as_ref());
    let (dkim_keys, arc_domain) = dkim::read(reader, &root);
    let (kpis, suppression) = (kpis::read(reader, &root), suppression::read(reader, &root));
    let checks = checks::read(reader, &root, &inbound.listeners);
    let milters = milters::read(reader, &root, &inbound);
    let (tls_report, web) = (tls_report::read(reader, &root), web::read(reader, &root));
    let around = (&*outbound.pools, web.as_ref(), &suppression);
    let senders = senders::read(reader, &root, &inbound.listeners, around);
    let (queue, dns_servers) = (queue(reader, &root), dns_servers(reader, &root));
    Some(Config {
        drain_deadline: reader.duration(&root, &knobs::DRAIN_DEADLINE).value,
        hostname: hostname?,
        postmaster,
        cores,
        admin: admin.options,
        user,
        is_confined,
        log_level,
        domain_check,
        spool: spool?,
        events,
        exporters,
        kpis,
        bounce_rules,
        returns,
        shaping: outbound.shaping,
        warm_up: outbound.warm_up,
        listeners: inbound.listeners,
        certificates: inbound.certificates,
        credentials: inbound.credentials,
        tls_authorities: outbound.tls_authorities,
        limits: inbound.limits,
        deadlines: inbound.deadlines,
        relay_domains: outbound.relay_domains,
        groups: outbound.groups,
        routes: outbound.routes,
        default_route: outbound.default_route,
        site: outbound.site,
        mx_tls: outbound.mx_tls,
        refused_hops: outbound.refused_hops,
        shard_excess_percent: outbound.shard_excess_percent,
        sources: outbound.sources,
        pools: outbound.pools,
        dkim_keys,
        arc_domain,
        tls_report,
        suppression,
        web,
        checks,
        milters,
        senders,
        queue,
        dns_servers,
        in_force: Vec::new(),
    })
}

fn postmaster(reader: &mut Reader<'_>, root: &Section<'_>) -> Option<Mailbox> {
    let given = reader.text(root, &knobs::POSTMASTER, None, forms::mailbox);
    given.map(|given| given.value)
}

/// What the process may, and what it tells.
fn process(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
) -> ((Option<User>, bool), (LogLevel, gate::Mode)) {
    (rights(reader, root), telling(reader, root))
}

/// What the log tells, and whether domains are looked after.
fn telling(reader: &mut Reader<'_>, root: &Section<'_>) -> (LogLevel, gate::Mode) {
    let level = log_level(reader.choice(root, &knobs::LOG_LEVEL));
    (level, domain_check(reader.choice(root, &knobs::DOMAIN_CHECK)))
}

fn dns_servers(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<SocketAddr> {
    let section = reader.table(root, "dns");
    let servers = reader.list(&section, &knobs::DNS_SERVERS, forms::dns_server);
    servers.into_iter().flatten().map(|given| given.value).collect()
}

fn flag<'d>(name: &'static str, text: Option<&'d String>) -> Option<FlagValue<'d>> {
    text.map(|text| FlagValue { name, text })
}

fn hostname<'d>(
    reader: &mut Reader<'_>,
    root: &Section<'d>,
    flags: &'d Flags,
    machine: &Machine,
) -> Option<Domain> {
    let flag = flag("--hostname", flags.hostname.as_ref());
    if let Some(given) = reader.text(root, &knobs::HOSTNAME, flag, forms::host_name) {
        return Some(given.value);
    }
    match forms::host_name(&machine.hostname) {
        Ok(name) => {
            reader.note(root, &knobs::HOSTNAME, quoted(name.as_str()), None);
            Some(name)
        }
        Err(_) => {
            let what = format!("its name `{}` cannot be said in EHLO", machine.hostname);
            let wrong = Wrong::new(what).help("choose a name with --hostname or `hostname`");
            reader.finder.add(&Place::Machine, wrong);
            None
        }
    }
}

fn cores<'d>(
    reader: &mut Reader<'_>,
    root: &Section<'d>,
    flags: &'d Flags,
    machine: &Machine,
) -> u8 {
    let cpus = machine.cpus.clamp(1, SHARDS_MAX) as u64;
    let cores = reader.count(root, &knobs::CORES, flag("--cores", flags.cores.as_ref()), cpus);
    u8::try_from(cores).expect("SHARDS_MAX is less than 256")
}

/// The default of a knob whose default is an address as it would be written.
fn default_text<T: FromStr<Err: Debug>>(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    knob: &'static Knob,
) -> Given<T> {
    let Kind::Text { default, .. } = knob.kind else { unreachable!("{} is no text", knob.path) };
    reader.note(section, knob, quoted(default), None);
    Given { value: default.parse().expect("a test reads every default"), place: None }
}

/// By whose rights the node runs, and whether it gives up those that it does not need.
fn rights(reader: &mut Reader<'_>, root: &Section<'_>) -> (Option<User>, bool) {
    let user = reader.text(root, &knobs::USER, None, forms::user);
    (user.map(|given| given.value), reader.choice(root, &knobs::SANDBOX) == "on")
}

fn log_level(word: &str) -> LogLevel {
    match word {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => LogLevel::Info,
    }
}

fn domain_check(word: &str) -> gate::Mode {
    match word {
        "warn" => gate::Mode::Warn,
        "enforce" => gate::Mode::Enforce,
        _ => gate::Mode::Off,
    }
}

fn spool<'d>(
    reader: &mut Reader<'_>,
    root: &Section<'d>,
    flags: &'d Flags,
    machine: &Machine,
) -> Option<SpoolOptions> {
    let section = reader.table(root, "spool");
    let flag = flag("--spool", flags.spool.as_ref());
    let given = reader.text(&section, &knobs::SPOOL_DIRECTORY, flag, forms::path);
    let directory = match given {
        Some(given) => Some(PathBuf::from(given.value)),
        None => default_spool(reader, &section, machine),
    };
    let segment = reader.size(&section, &knobs::SEGMENT_SIZE).value;
    let hot = reader.size(&section, &knobs::HOT_MEMORY).value;
    let reserve = reader.size(&section, &knobs::SPOOL_RESERVE).value;
    Some(SpoolOptions {
        directory: directory?,
        segment_bytes: u32::try_from(segment).expect("the knob's range is 32 bits"),
        hot_bytes: usize::try_from(hot).unwrap_or(usize::MAX),
        reserve_bytes: reserve,
    })
}

/// Where the XDG Base Directory Specification keeps state; a relative path there is to be ignored.
fn default_spool(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    machine: &Machine,
) -> Option<PathBuf> {
    let absolute = |path: &&PathBuf| path.is_absolute();
    let state = machine.state_home.as_ref().filter(absolute).cloned();
    let home = machine.home.as_ref().filter(absolute);
    match state.or_else(|| home.map(|home| home.join(".local/state"))) {
        Some(state) => {
            let directory = state.join("relay-fast");
            let shown = quoted(&directory.to_string_lossy());
            reader.note(section, &knobs::SPOOL_DIRECTORY, shown, None);
            Some(directory)
        }
        None => {
            let wrong = Wrong::new("neither XDG_STATE_HOME nor HOME says where to keep messages");
            let wrong = wrong.help("choose a directory with --spool or [spool] `directory`");
            reader.finder.add(&Place::Machine, wrong);
            None
        }
    }
}

fn queue(reader: &mut Reader<'_>, root: &Section<'_>) -> QueueOptions {
    let section = reader.table(root, "queue");
    let first = reader.duration(&section, &knobs::RETRY_FIRST);
    let factor = reader.decimal(&section, &knobs::RETRY_FACTOR);
    let longest = reader.duration(&section, &knobs::RETRY_LONGEST);
    let jitter = reader.decimal(&section, &knobs::RETRY_JITTER);
    let lifetime = reader.duration(&section, &knobs::LIFETIME);
    let delay_report = reader.duration(&section, &knobs::DELAY_REPORT);
    for (name, other) in [("retry_longest", &longest), ("lifetime", &lifetime)] {
        if other.value < first.value {
            let (less, more) = (show_duration(other.value), show_duration(first.value));
            let wrong =
                Wrong::new(format!("`{name}` ({less}) is less than `retry_first` ({more})"));
            reader.finder.add(Given::place_of(&[other, &first]), wrong);
        }
    }
    QueueOptions {
        retry_first: first.value,
        retry_factor_percent: factor,
        retry_longest: longest.value,
        retry_jitter_percent: jitter,
        lifetime: lifetime.value,
        delay_report: delay_report.value,
    }
}
