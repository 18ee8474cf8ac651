//! Check the domains that this node signs or takes mail for, again and again, beside the shards.
//!
//! In: the configuration in force. Out: the board that shards and `/healthz` read. One domain at a
//! time, on a thread of its own, which is there once the knob asks for it and stays.
//! A change of the configuration, or of a file that it names, begins anew at once.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::base::limits::{GATE_AGAIN, GATE_DOMAINS_MAX, GATE_EVERY};
use crate::config::Config;
use crate::config::options::DomainPattern;
use crate::mail::address::Domain;
use crate::platform::domain_check::{Ask, CheckError, Surroundings, check, verifier};
use crate::policy::authenticity::Verifier;
use crate::policy::domain_check::{Report, Verdict};
use crate::policy::gate::{Board, Mode, Standings};

/// Who checks.
#[derive(Debug, Default)]
pub(super) struct Checker {
    board: Arc<Board>,
    desk: Arc<Desk>,
    verifier: OnceLock<Arc<Verifier>>,
    /// For those who ask about one domain.
    in_force: Mutex<Option<Config>>,
}

/// Where a configuration is left for the thread.
#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// One that the thread has not seen yet.
    new: Option<Config>,
    is_running: bool,
}

impl Checker {
    /// Ready for `config`, as far as that takes rights that are given up later.
    pub(super) fn new(config: &Config) -> Self {
        let checker = Self::default();
        if config.domain_check != Mode::Off || !config.admin.listen.is_empty() {
            checker.verifier();
        }
        checker
    }

    fn verifier(&self) -> Option<Arc<Verifier>> {
        if self.verifier.get().is_none() {
            // Where it cannot be made, that is told when it is wanted.
            let _ = self.verifier.set(verifier().ok()?);
        }
        self.verifier.get().cloned()
    }

    /// Where it writes what it finds.
    pub(super) fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Check one domain, by the configuration in force. It takes as long as its name servers do.
    pub(super) fn check(&self, domain: Domain) -> Result<Report, CheckError> {
        let config = self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let config = config.expect("set before anybody can ask");
        let around = Surroundings::new(&config, self.verifier().ok_or(CheckError::Verifier)?)?;
        check(&config, &around, &Ask { domain, sources: Vec::new(), sends: false })
    }

    /// Work by `config` from now on.
    pub(super) fn set(&self, config: &Config) -> io::Result<()> {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
        let mut state = self.desk.state.lock().unwrap_or_else(PoisonError::into_inner);
        if config.domain_check == Mode::Off && !state.is_running {
            return Ok(());
        }
        if !state.is_running {
            let verifier = self.verifier().ok_or_else(|| io::Error::other(CheckError::Verifier))?;
            let (board, desk) = (self.board.clone(), self.desk.clone());
            let thread = thread::Builder::new().name("domains".to_owned());
            thread.spawn(move || run(&board, &desk, &verifier))?;
            state.is_running = true;
        }
        state.new = Some(config.clone());
        self.desk.changed.notify_all();
        Ok(())
    }
}

impl Desk {
    fn has_new(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).new.is_some()
    }

    /// What was left, after this long at most; for ever without.
    fn wait(&self, longest: Option<Duration>) -> Option<Config> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = match longest {
            None => self.changed.wait_while(state, |state| state.new.is_none()),
            Some(longest) => self
                .changed
                .wait_timeout_while(state, longest, |state| state.new.is_none())
                .map(|(state, _)| state)
                .map_err(|error| PoisonError::new(error.into_inner().0)),
        }
        .unwrap_or_else(PoisonError::into_inner);
        state.new.take()
    }
}

fn run(board: &Board, desk: &Desk, verifier: &Arc<Verifier>) {
    let mut config = None;
    let mut pause = None;
    loop {
        config = desk.wait(pause).or(config);
        pause = match config.as_ref().filter(|config| config.domain_check != Mode::Off) {
            Some(config) => Some(round(config, board, desk, verifier)),
            None => {
                board.write(Standings::default());
                None
            }
        };
    }
}

/// Check all domains once, or until another configuration comes; how long to wait then.
fn round(config: &Config, board: &Board, desk: &Desk, verifier: &Arc<Verifier>) -> Duration {
    let domains = domains(config);
    let mut standings = (*board.read()).clone();
    standings.keep(&domains);
    board.write(standings.clone());
    let around = match Surroundings::new(config, verifier.clone()) {
        Ok(around) => around,
        Err(error) => {
            tracing::error!(%error, "domains cannot be checked");
            return GATE_AGAIN;
        }
    };
    let mut all_passed = true;
    for domain in domains {
        if desk.has_new() {
            return Duration::ZERO;
        }
        let ask = Ask { domain, sources: Vec::new(), sends: false };
        let report = match check(config, &around, &ask) {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, "a domain cannot be checked");
                continue;
            }
        };
        all_passed &= report.verdict() == Verdict::Well;
        if standings.learn(&ask.domain, &report) {
            board.write(standings.clone());
            match report.failure() {
                Some(why) => tracing::warn!(domain = %ask.domain, "fails its check: {why}"),
                None => tracing::info!(domain = %ask.domain, "passes its check again"),
            }
        }
    }
    if all_passed { GATE_EVERY } else { GATE_AGAIN }
}

/// The domains that are signed for, and the relay domains that have a name; in order.
fn domains(config: &Config) -> Vec<Domain> {
    let signing = config.dkim_keys.iter().map(|key| &key.domain);
    let relay = config.relay_domains.iter().filter_map(|one| match &one.domain {
        DomainPattern::Exact(domain) => Some(domain),
        // Of these nobody knows which there are.
        DomainPattern::Suffix(_) => None,
    });
    let named = |domain: &&Domain| domain.literal().is_none();
    let all: BTreeSet<&Domain> = signing.chain(relay).filter(named).collect();
    if all.len() > GATE_DOMAINS_MAX {
        let left_out = all.len() - GATE_DOMAINS_MAX;
        tracing::warn!(left_out, "too many domains to check all of them");
    }
    all.into_iter().take(GATE_DOMAINS_MAX).cloned().collect()
}
