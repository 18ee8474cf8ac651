//! Give up recipients that are on a suppression list, before an attempt is made for them.
//!
//! In: departures, with their messages. Out: those of whom nothing is known, at once; of the others
//! what is left of them, once their recipients were looked up. Whoever is on a list is final:
//! the event log says so, and nobody is told by a DSN, as whoever sends campaigns reads events.
//! Where the store cannot say, recipients wait. Lives on: the home shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::limits::{SUPPRESSION_AGAIN, SUPPRESSION_SUSPECTS_MAX};
use crate::base::time::WallTime;
use crate::mail::address::ForwardPath;
use crate::outcome::counters::Count;
use crate::outcome::event::Kind;
use crate::policy::suppression::{AllFound, Lists, Lookup, Suppression, given_up};
use crate::queue::{Deferral, Departure, Recipients};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::dispatch::Home;
use crate::shard::platform::Platform;
use crate::spool::stored::{Origin, Standing, Stored};

/// Departures whose recipients are being looked up.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    waiting: BTreeMap<u64, (Departure, Arc<Stored>)>,
    tickets: u64,
}

impl Suspects {
    /// Let a departure go, unless one of its recipients may be on a list.
    pub(super) fn look<P: Platform>(
        &mut self,
        departure: Departure,
        stored: Arc<Stored>,
        cx: &mut Context<'_, P>,
    ) -> Option<(Departure, Arc<Stored>)> {
        let Some(suppression) = &cx.settings.suppressed_in_queue else {
            return Some((departure, stored));
        };
        let lookups = lookups(suppression, &departure, &stored, cx);
        if lookups.is_empty() {
            return Some((departure, stored));
        }
        cx.common.counters.add(Count::SuppressionLookups, lookups.len() as u64);
        self.tickets += 1;
        cx.platform.look_up_all(self.tickets, lookups);
        self.waiting.insert(self.tickets, (departure, stored));
        None
    }

    /// Whether another one may wait.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < SUPPRESSION_SUSPECTS_MAX
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn lookups<P: Platform>(
    suppression: &Arc<Suppression>,
    departure: &Departure,
    stored: &Stored,
    cx: &Context<'_, P>,
) -> Vec<(u16, Lookup)> {
    // A sender is told of what became of its mail.
    let relay = &cx.settings.relay;
    let is_trusted = match stored.origin {
        Origin::Own => return Vec::new(),
        Origin::Injected => true,
        Origin::Client { peer, listener, .. } => relay.may_relay(listener, peer),
    };
    let handling = stored.envelope.handling.as_ref();
    let lists = Lists { tenant: handling.and_then(|handling| handling.tenant.as_ref()) };
    let lookup = |recipient: &u16| {
        let path = &stored.envelope.recipients[usize::from(*recipient)].forward_path;
        let ForwardPath::Mailbox(to) = path else { return None };
        // Whoever wants no campaigns wants mail of strangers still.
        if !is_trusted && relay.is_relay_domain(to.domain()) {
            return None;
        }
        Some((*recipient, suppression.suspects(to, lists, cx.now.wall)?))
    };
    departure.recipients.as_slice().iter().filter_map(lookup).collect()
}

impl Home {
    /// Recipients of a departure were looked up.
    pub(crate) fn looked_up<P: Platform>(
        &mut self,
        ticket: u64,
        found: AllFound,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some((mut departure, stored)) = self.suspects.waiting.remove(&ticket) else { return };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(id = %stored.id, %error, "its recipients wait");
                return self.wait_for_lists(&departure, commit, cx.now.wall);
            }
        };
        for (recipient, located) in &found {
            cx.common.counters.increment(Count::SuppressedRecipients);
            cx.common.counters.increment(Count::Bounced);
            self.tell_end(Kind::Bounced, &stored, *recipient, &given_up(located), cx);
            self.finish(departure.message, *recipient, Standing::Bounced, commit);
        }
        if !found.is_empty() {
            let is_left = |recipient: &u16| found.iter().all(|(gone, _)| gone != recipient);
            let all = departure.recipients.as_slice().iter().copied();
            let left: Box<[u16]> = all.filter(is_left).collect();
            if left.is_empty() {
                return;
            }
            departure.recipients = Recipients::Many(left);
        }
        self.hand_out(departure, stored, cx);
    }

    fn wait_for_lists(&mut self, departure: &Departure, commit: &mut Commit, now: WallTime) {
        for &recipient in departure.recipients.as_slice() {
            let end = self.queue.postpone(departure.message, recipient, now + SUPPRESSION_AGAIN);
            if end == Some(Deferral::Removed) {
                self.finish(departure.message, recipient, Standing::Bounced, commit);
            }
        }
    }
}
