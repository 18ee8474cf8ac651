//! What milters are asked about the messages of a listener.

use std::sync::Arc;

use crate::config::options::Config;
use crate::milter::{self, Address};
use crate::policy::filtering::OnFailure;

/// A milter, and how it is asked.
#[derive(Debug)]
pub(crate) struct Filter {
    /// What it is called.
    pub(crate) name: Box<str>,
    /// Where it listens.
    pub(crate) address: Address,
    /// What is done where it cannot be asked.
    pub(crate) on_failure: OnFailure,
    /// Connections to it, a shard.
    pub(crate) connections: usize,
    /// How long it may take, and how much it may say.
    pub(crate) options: milter::Options,
}

/// Milters in the order in which they are asked.
pub(crate) type Filters = Arc<[Arc<Filter>]>;

/// What is asked about the messages of one listener.
#[derive(Debug, Default)]
pub(super) struct ListenerFilters {
    /// Of messages with a reverse-path.
    all: Option<Filters>,
    /// Of those with the null reverse-path.
    of_null: Option<Filters>,
}

impl ListenerFilters {
    /// Whom to ask; `None`: nobody.
    pub(super) fn of(&self, null_reverse_path: bool) -> Option<&Filters> {
        if null_reverse_path { self.of_null.as_ref() } else { self.all.as_ref() }
    }
}

/// By listener.
pub(super) fn filters(config: &Config) -> Vec<ListenerFilters> {
    let filter = |one: &crate::config::options::Milter| {
        let sizes = one.listeners.iter().map(|place| config.listeners[*place].message_bytes);
        Arc::new(Filter {
            name: one.name.clone(),
            address: one.address.clone(),
            on_failure: one.on_failure,
            connections: one.connections,
            options: milter::Options {
                connect: one.connect,
                command: one.command,
                end: one.end,
                body_max: sizes.max().unwrap_or(0),
            },
        })
    };
    let all: Vec<_> = config.milters.iter().map(|one| (one, filter(one))).collect();
    let of_listener = |place: usize| {
        let asked = all.iter().filter(|(one, _)| one.listeners.contains(&place));
        let list = |null: bool| {
            let asked = asked.clone().filter(|(one, _)| !null || one.sees_null);
            let list: Filters = asked.map(|(_, filter)| filter.clone()).collect();
            (!list.is_empty()).then_some(list)
        };
        ListenerFilters { all: list(false), of_null: list(true) }
    };
    (0..config.listeners.len()).map(of_listener).collect()
}
