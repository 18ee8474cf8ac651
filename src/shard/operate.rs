//! Do what an operator asks of this shard's queue, a piece a turn.
//!
//! In: requests of the control thread. Out: one answer each. A verb over a million recipients takes
//! many turns and holds up no mail; a list or a view reads at most a page of envelopes from the
//! spool's maps. Lives on: the home shard.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits::{LISTED_BATCH_MAX, OPERATIONS_MAX};
use crate::base::slots::Slot;
use crate::base::time::WallTime;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::outcome::event::Kind;
use crate::queue::{
    Campaign, CampaignCounts, MessageView, Operated, Place, RecipientView, Selector as Select,
    State, Verb,
};
use crate::shard::commands::{
    Answer, Command, Cursor, QueueState, QueueStats, QueuedMessage, QueuedRecipient,
    RecipientStory, Selector, Wanted,
};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::dispatch::Home;
use crate::shard::journal::{Attempt, Said};
use crate::shard::load::Lies;
use crate::shard::mesh::Request;
use crate::shard::platform::Platform;
use crate::spool::stored::{Standing, Stored};

/// Verbs that are under way.
#[derive(Debug, Default)]
pub(crate) struct Operations(VecDeque<Operation>);

#[derive(Debug)]
struct Operation {
    verb: Verb,
    selector: Selector,
    place: Place,
    changed: u64,
    request: Request,
}

impl Operations {
    /// Whether `drive` has something to do at once.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// Answer `request`, at once or piece by piece.
    pub(crate) fn start(&mut self, request: Request, home: &mut Home, commit: &mut Commit) {
        let (verb, selector) = match &request.command {
            Command::List { selector, after, limit } => {
                let answer = home.list(selector, *after, *limit, commit);
                return request.answer(answer);
            }
            Command::Show(id) => {
                let answer = home.show_message(*id, commit);
                return request.answer(Answer::Show(answer.map(Box::new)));
            }
            Command::Stats { domains } => {
                let stats = home.stats(*domains);
                return request.answer(Answer::Stats(stats));
            }
            Command::Campaigns(wanted) => {
                let campaigns = home.campaigns(wanted);
                return request.answer(Answer::Campaigns(campaigns));
            }
            Command::Shaping(_)
            | Command::Snapshot
            | Command::Sites { .. }
            | Command::Trace { .. }
            | Command::Waits(_)
            | Command::TlsSessions
            | Command::Inject(_)
            | Command::Visited(_)
            | Command::Submit(_) => {
                unreachable!("answered by the shard itself")
            }
            Command::Flush(selector) => (Verb::Flush, selector.clone()),
            Command::Hold(selector) => (Verb::Hold, selector.clone()),
            Command::Release(selector) => (Verb::Release, selector.clone()),
            Command::Remove(selector) => (Verb::Remove, selector.clone()),
        };
        if self.0.len() >= OPERATIONS_MAX {
            return request.answer(Answer::Failed("too many commands under way".into()));
        }
        let place = Place::default();
        self.0.push_back(Operation { verb, selector, place, changed: 0, request });
    }

    /// Do a piece of the verb that came first.
    pub(crate) fn drive<P: Platform>(
        &mut self,
        home: &mut Home,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(operation) = self.0.front_mut() else { return };
        let select = select(&operation.selector);
        let operated = home.queue.operate(operation.verb, &select, operation.place);
        let next = operated.next;
        operation.changed += operated.pending as u64 + operated.touched.len() as u64;
        home.write_operated(operation.verb, operated, commit, cx);
        match next {
            Some(place) => operation.place = place,
            None => {
                let done = self.0.pop_front().expect("looked at above");
                done.request.answer(Answer::Changed(done.changed));
            }
        }
    }
}

/// As the queue selects: a reverse-path by its hash.
fn select(selector: &Selector) -> Select {
    Select {
        id: selector.id,
        domain: selector.domain.clone(),
        reverse_path: selector
            .reverse_path
            .as_ref()
            .map(|path| ReversePath::hash_of(path.as_str())),
        tenant: selector.tenant.clone(),
        campaign: selector.campaign.clone(),
    }
}

impl Home {
    /// Note in spool and event log what an operator did.
    fn write_operated<P: Platform>(
        &mut self,
        verb: Verb,
        operated: Operated,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if verb == Verb::Flush {
            return; // What it touched was due later, and is now: nothing is to be remembered.
        }
        for (message, recipient) in operated.touched {
            let Some(stored) = self.envelope(message, commit) else { continue };
            let kind = match verb {
                Verb::Remove => {
                    self.remove(message, &stored, recipient, commit, cx);
                    continue;
                }
                Verb::Flush => unreachable!("nothing is written of it"),
                Verb::Hold => Kind::Held,
                Verb::Release => Kind::Released,
            };
            let Some(view) = self.queue.recipient(message, recipient) else { continue };
            let reason = self.last_reason(message, recipient, commit);
            let standing = Standing::Pending {
                attempts: view.attempts.into(),
                due: view.due,
                held: verb == Verb::Hold,
                reason,
            };
            self.write_down(message, recipient, standing, commit);
            let attempt = Attempt { number: view.attempts.into(), ..Attempt::default() };
            self.journal.tell(kind, &stored, recipient, attempt, Said::Nothing, cx);
        }
    }

    fn list(
        &mut self,
        selector: &Selector,
        after: Option<Cursor>,
        limit: usize,
        commit: &mut Commit,
    ) -> Answer {
        let from = after.map_or(Place::default(), |cursor| Place::from_bits(cursor.0));
        let (messages, next) =
            self.queue.list(&select(selector), from, limit.min(LISTED_BATCH_MAX));
        let mut rows = Vec::new();
        for view in messages {
            let Some(stored) = self.envelope(view.message.slot, commit) else { continue };
            let path = selector.reverse_path.as_ref();
            if path.is_some_and(|path| *path != stored.envelope.reverse_path) {
                continue;
            }
            rows.extend(view.recipients.iter().map(|recipient| QueuedRecipient {
                id: view.message.id,
                forward_path: forward_path(&stored, recipient),
                state: state(recipient),
                attempts: recipient.attempts.into(),
                next_attempt: next_attempt(recipient),
                accepted: stored.received,
                bytes: stored.bytes(),
            }));
        }
        Answer::List { rows, next: next.map(|place| Cursor(place.to_bits())) }
    }

    fn show_message(
        &mut self,
        id: crate::base::ids::MessageId,
        commit: &mut Commit,
    ) -> Option<QueuedMessage> {
        let view: MessageView = self.queue.show(id)?;
        let stored = self.envelope(view.message.slot, commit)?;
        let recipients = view
            .recipients
            .iter()
            .map(|recipient| RecipientStory {
                index: recipient.index,
                forward_path: forward_path(&stored, recipient),
                state: state(recipient),
                attempts: recipient.attempts.into(),
                next_attempt: next_attempt(recipient),
                last: self.last_reason(view.message.slot, recipient.index, commit),
                limit: recipient.why.clone(),
            })
            .collect();
        Some(QueuedMessage {
            id,
            reverse_path: stored.envelope.reverse_path.clone(),
            handling: stored.envelope.handling.clone(),
            accepted: stored.received,
            expires: view.message.expires,
            bytes: stored.bytes(),
            durability: stored.origin.durability(),
            recipients,
        })
    }

    fn stats(&self, domains: usize) -> QueueStats {
        let stats = self.queue.stats();
        let domains = self.queue.top_domains(domains).into_iter().map(|row| {
            let count = row.ready + row.dispatched + row.deferred + row.held;
            (row.domain, u64::from(count))
        });
        QueueStats {
            messages: stats.messages,
            bytes: stats.content_bytes,
            ready: stats.ready + stats.parked,
            attempting: stats.dispatched,
            deferred: stats.deferred,
            held: stats.held,
            oldest: stats.oldest,
            domains: domains.collect(),
        }
    }

    fn campaigns(&self, wanted: &Wanted) -> Vec<(Campaign, CampaignCounts)> {
        let all = match wanted {
            Wanted::These(all) => all.to_vec(),
            Wanted::Biggest { tenant, most } => self.queue.top_campaigns(tenant.as_ref(), *most),
        };
        let count = |campaign: Campaign| Some((self.queue.campaign(&campaign)?, campaign));
        all.into_iter().filter_map(count).map(|(counts, campaign)| (campaign, counts)).collect()
    }

    /// A message's envelope: from RAM, else from its segment's map.
    fn envelope(&mut self, message: Slot, commit: &mut Commit) -> Option<Arc<Stored>> {
        if let Some(stored) = self.queue.hot(message) {
            return Some(stored.clone());
        }
        let Lies { id, directory, at } = self.lies(message)?;
        match commit.log(directory).peek(id, at) {
            Ok(stored) => Some(Arc::new(stored)),
            Err(damage) => {
                tracing::error!(%id, %damage, "a queued message cannot be read");
                None
            }
        }
    }
}

fn forward_path(stored: &Stored, recipient: &RecipientView) -> ForwardPath {
    stored.envelope.recipients[usize::from(recipient.index)].forward_path.clone()
}

/// Its due time; or, in line, when its domain's owner is asked again.
fn next_attempt(recipient: &RecipientView) -> Option<WallTime> {
    (recipient.state == State::Deferred).then_some(recipient.due).or(recipient.parked_until)
}

fn state(recipient: &RecipientView) -> QueueState {
    match recipient.state {
        State::Ready => QueueState::Ready,
        State::Dispatched => QueueState::Attempting,
        State::Deferred => QueueState::Deferred,
        State::Held => QueueState::Held,
    }
}
