//! The verbs of the command line: what is asked of a running node, of its files, of its spool.

use std::error::Error;
use std::io::{self, BufWriter, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use relay_fast::config::options::{AdminAddress, Outlet, ShapingOptions};
use relay_fast::config::{Config, duration};
use relay_fast::control::access::{Access, token_text};
use relay_fast::control::check_domain::{self, CheckDomain};
use relay_fast::control::classify::classified;
use relay_fast::control::cli::{NodeFlags, QueueVerb, SpoolVerb, TlsReportsVerb};
use relay_fast::control::dkim::DkimVerb;
use relay_fast::control::epochs::ShowConfig;
use relay_fast::control::events::Events;
use relay_fast::control::exporters::Exporters;
use relay_fast::control::inject::ask::Inject;
use relay_fast::control::kpis::KpisVerb;
use relay_fast::control::queue::{Node, ask};
use relay_fast::control::serve::Rules;
use relay_fast::control::shaping::ShapingVerb;
use relay_fast::control::spool::Teller;
use relay_fast::control::suppress::SuppressVerb;
use relay_fast::control::top::{self, Top};
use relay_fast::control::trace::{self, Trace};
use relay_fast::control::warm_up::{self, WarmUpAsk};
use relay_fast::control::{
    campaigns, epochs, events, exporters, kpis, messages, report, shaping, tls_reports,
};
use relay_fast::mail::address::Domain;
use relay_fast::outcome::classes::Classifier;
use relay_fast::platform::files::AdminFiles;
use relay_fast::platform::machine::machine;
use relay_fast::platform::spool_dir::QuietSpool;
use relay_fast::platform::spool_repair::repair;
use relay_fast::platform::{clock, domain_check, files, relay, spool_bench};
use relay_fast::spool::check::{Checked, check as check_directory};

pub(crate) fn check(node: &NodeFlags) -> Result<(), Box<dyn Error>> {
    let file = node.config.as_ref().map(|path| path.display().to_string());
    let config = node.load(&machine())?;
    rules(&config, relay::check(&config)?)?;
    outlets(&config)?;
    print!("{}", config.describe(file.as_deref()));
    Ok(())
}

pub(crate) fn config(node: &NodeFlags, show: &ShowConfig) -> Result<(), Box<dyn Error>> {
    print!("{}", epochs::config(&running(node)?, show)?);
    Ok(())
}

pub(crate) fn reload(node: &NodeFlags) -> Result<(), Box<dyn Error>> {
    print!("{}", epochs::reload(&running(node)?)?);
    Ok(())
}

pub(crate) fn dkim(node: &NodeFlags, verb: &DkimVerb) -> Result<(), Box<dyn Error>> {
    let keys = || Ok(files::signers(&node.load(&machine())?)?);
    print!("{}", verb.answer(clock::now().wall, files::write_secret, keys)?);
    Ok(())
}

/// What holds for those who ask a node.
pub(crate) fn rules(config: &Config, admin: AdminFiles) -> Result<Rules, Box<dyn Error>> {
    let AdminFiles { token, tokens, acceptor } = admin;
    let access = Access::new(config, token.as_deref(), &tokens)?;
    Ok(Rules { access, acceptor })
}

pub(crate) fn check_domain(
    node: &NodeFlags,
    ask: &CheckDomain,
) -> Result<ExitCode, Box<dyn Error>> {
    let domain =
        Domain::parse(&ask.domain).map_err(|_| format!("`{}` is no domain", ask.domain))?;
    let config = node.load(&machine())?;
    let asked = domain_check::Ask { domain, sources: ask.sources.clone(), sends: ask.sends };
    let around = domain_check::Surroundings::new(&config, domain_check::verifier()?)?;
    let report = domain_check::check(&config, &around, &asked)?;
    let text = match ask.json {
        true => check_domain::json(&report),
        false => check_domain::text(&report, is_coloured()),
    };
    print!("{text}");
    Ok(ExitCode::from(check_domain::exit_code(report.verdict())))
}

/// Whether colours can be seen, and are wanted (https://no-color.org).
fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty())
}

pub(crate) fn queue(node: &NodeFlags, verb: &QueueVerb) -> Result<(), Box<dyn Error>> {
    print!("{}", ask(&running(node)?, &verb.into())?);
    Ok(())
}

pub(crate) fn inject(node: &NodeFlags, ask: &Inject) -> Result<(), Box<dyn Error>> {
    Ok(ask.run(&running(node)?, |text| print!("{text}"))?)
}

pub(crate) fn messages(node: &NodeFlags, asked: &messages::Asked) -> Result<(), Box<dyn Error>> {
    print!("{}", messages::ask(&running(node)?, asked)?);
    Ok(())
}

pub(crate) fn campaigns(node: &NodeFlags, asked: &campaigns::Show) -> Result<(), Box<dyn Error>> {
    print!("{}", campaigns::ask(&running(node)?, asked)?);
    Ok(())
}

pub(crate) fn tls_reports(node: &NodeFlags, verb: TlsReportsVerb) -> Result<(), Box<dyn Error>> {
    let node = running(node)?;
    let text = match verb {
        TlsReportsVerb::Show => tls_reports::shown(&node.tls_reports()?),
        TlsReportsVerb::Send => tls_reports::sent(&node.send_tls_reports()?),
    };
    print!("{text}");
    Ok(())
}

pub(crate) fn suppress(node: &NodeFlags, verb: &SuppressVerb) -> Result<(), Box<dyn Error>> {
    Ok(verb.run(&running(node)?, clock::now().wall)?)
}

/// The way to the node that runs by these flags.
fn running(node: &NodeFlags) -> Result<Node, Box<dyn Error>> {
    let config = node.load(&machine())?;
    let admin = config.admin.nearest().ok_or(
        "every admin address of this node wants TLS: add a Unix socket or one on loopback to \
        `listen` in [admin]",
    )?;
    let token = match (admin, config.admin.own_token()) {
        (AdminAddress::Tcp(_), Some(path)) => {
            let content = files::admin_token(path)?;
            Some(token_text(&content).map_err(|error| format!("{}: {error}", path.display()))?)
        }
        (AdminAddress::Tcp(_) | AdminAddress::Unix(_), _) => None,
    };
    Ok(Node::new(admin.clone(), token))
}

pub(crate) fn classify(
    node: &NodeFlags,
    replies: &[String],
    peer: &str,
) -> Result<(), Box<dyn Error>> {
    let own = node.load(&machine())?.bounce_rules;
    let classifier = own.as_deref().map(files::classifier).transpose()?;
    let classifier = classifier.unwrap_or_else(Classifier::shipped);
    let say = |line: &str| print!("{}", classified(&classifier, peer, [line].into_iter()));
    replies.iter().for_each(|reply| say(reply));
    if replies.is_empty() {
        for line in io::stdin().lines() {
            say(&line?);
        }
    }
    Ok(())
}

/// Those who are handed events, by what their files say now.
pub(crate) fn outlets(config: &Config) -> Result<Vec<Outlet>, Box<dyn Error>> {
    let outlets = files::outlets(config)?;
    Exporters::check(&outlets)?;
    Ok(outlets)
}

pub(crate) fn exporters(node: &NodeFlags) -> Result<(), Box<dyn Error>> {
    print!("{}", exporters::status::shown(&running(node)?.exporters()?));
    Ok(())
}

pub(crate) fn kpis(node: &NodeFlags, ask: &KpisVerb) -> Result<(), Box<dyn Error>> {
    print!("{}", kpis::show(&running(node)?, ask)?);
    Ok(())
}

pub(crate) fn events(node: &NodeFlags, ask: &Events) -> Result<(), Box<dyn Error>> {
    let spool = node.load(&machine())?.spool.directory;
    let out = BufWriter::new(io::stdout().lock());
    Ok(events::show(ask, &spool, clock::now().wall, out, io::stderr())?)
}

pub(crate) fn shaping(node: &NodeFlags, verb: &ShapingVerb) -> Result<(), Box<dyn Error>> {
    match verb {
        ShapingVerb::Check { file } => {
            let options = match file {
                Some(file) => ShapingOptions { file: Some(file.clone()), shipped: false },
                None => node.load(&machine())?.shaping,
            };
            print!("{}", shaping::checked(&*files::shaping(&options)?));
        }
        ShapingVerb::Show { name, mx, source } => {
            let config = node.load(&machine())?;
            let rules = files::shaping(&config.shaping)?;
            print!("{}", shaping::shown(&config, &rules, name, mx, source.as_deref())?);
        }
        ShapingVerb::Status { .. } | ShapingVerb::Set { .. } | ShapingVerb::Reset { .. } => {
            print!("{}", shaping::ask(&running(node)?, verb)?.unwrap_or_default());
        }
    }
    Ok(())
}

pub(crate) fn warm_up(node: &NodeFlags, ask: &WarmUpAsk) -> Result<(), Box<dyn Error>> {
    print!("{}", warm_up::ask(&running(node)?, ask)?);
    Ok(())
}

pub(crate) fn health(node: &NodeFlags) -> Result<(), Box<dyn Error>> {
    match running(node)?.health()? {
        (true, words) => print!("{words}"),
        (false, words) => return Err(words.trim_end().into()),
    }
    Ok(())
}

pub(crate) fn top(node: &NodeFlags, ask: &Top) -> Result<(), Box<dyn Error>> {
    let every = duration(&ask.every).map_err(|error| format!("--every {}: {error}", ask.every))?;
    let node = running(node)?;
    match ask.once {
        true => print!("{}", top::once(&node, every)?),
        false => top::run(node, every)?,
    }
    Ok(())
}

pub(crate) fn trace(node: &NodeFlags, ask: &Trace) -> Result<(), Box<dyn Error>> {
    Ok(trace::follow(&running(node)?, ask, &mut io::stdout().lock())?)
}

pub(crate) fn summary(node: &NodeFlags, since: &str) -> Result<(), Box<dyn Error>> {
    let span = duration(since).map_err(|error| format!("--since {since}: {error}"))?;
    let spool = node.load(&machine())?.spool.directory;
    let events = report::since(&spool, clock::now().wall - span)
        .map_err(|error| format!("cannot read the event log under {}: {error}", spool.display()))?;
    print!("{events}");
    Ok(())
}

/// The exit code of `spool` verbs on what cannot be read; 1 is for what is damaged.
pub(crate) const CANNOT_BE_READ: u8 = 2;

pub(crate) fn spool(node: &NodeFlags, verb: &SpoolVerb) -> Result<ExitCode, Box<dyn Error>> {
    let (named, id) = verb.names()?;
    let configured = || node.load(&machine()).map(|config| config.spool.directory);
    let root = named.map_or_else(configured, Ok)?;
    let is_well = match verb {
        SpoolVerb::Bench { .. } => spool_bench::bench(&root, io::stdout()).map(|()| true)?,
        SpoolVerb::Check { json, .. } => told(Teller::new(*json), Teller::check, &root)?,
        SpoolVerb::Dump { json, .. } => {
            told(Teller::new(*json), |teller, checked| teller.dump(checked, id), &root)?
        }
        SpoolVerb::Repair { json, .. } => {
            let mut teller = Teller::new(*json);
            match repair(&root)? {
                None => teller.nothing_to_repair()?,
                Some(done) => teller.repaired(&done.copy, &done.directories)?,
            }
            true
        }
    };
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tell of each directory of a spool that no node runs on; whether all is well.
fn told(
    mut teller: Teller,
    tell: impl Fn(&mut Teller, &Checked) -> io::Result<()>,
    root: &Path,
) -> Result<bool, Box<dyn Error>> {
    let quiet = QuietSpool::open(root)?;
    for number in quiet.directories()? {
        tell(&mut teller, &check_directory(number, quiet.segments(number)?)?)?;
    }
    Ok(teller.end(root)?)
}
