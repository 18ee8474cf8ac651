//! Take in what comes back: read bounces and complaints, tell the event log, and be done with them.
//!
//! In: departures for addresses of ours. Out: events; nothing is ever answered. Invariant: what is
//! read was committed before its client was told so, and is final only when the event log has it,
//! so a crash tells it twice at worst; a turn reads one report at most, of
//! `FEEDBACK_BYTES_MAX` octets, so that nobody waits for more than that.
//! Lives on: the home shard.
//!
//! `tell_return` is the one place that knows of each bounce and complaint.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits::{
    FEEDBACK_BYTES_MAX, RETURN_KEPT_FOR, RETURNS_TOLD_MAX, RETURNS_WAITING_MAX,
};
use crate::base::time::Monotonic;
use crate::mail::address::{ForwardPath, Mailbox};
use crate::outcome::classes::Refusal;
use crate::outcome::counters::Count;
use crate::outcome::event::{Kind as EventKind, Returned};
use crate::outcome::feedback::{self, Feedback, Kind, Told};
use crate::policy::returns::{Address, Known, Returns, Whose};
use crate::queue::{Departure, Recipients};
use crate::shard::Shard;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::dispatch::Home;
use crate::shard::journal::Returning;
use crate::shard::platform::Platform;
use crate::spool::stored::{Standing, Stored};

/// Reports under way.
#[derive(Debug, Default)]
pub(super) struct Reports {
    to_read: VecDeque<(Departure, Arc<Stored>)>,
    /// With when they become final, in order.
    told: VecDeque<(Monotonic, Departure)>,
}

impl Reports {
    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.to_read.is_empty() && self.told.is_empty()
    }

    /// Whether one waits to be read.
    pub(super) fn has_to_read(&self) -> bool {
        !self.to_read.is_empty()
    }

    /// Whether one is to be read before another may come.
    pub(super) fn is_full(&self) -> bool {
        self.to_read.len() >= RETURNS_WAITING_MAX
    }

    /// When the next one becomes final.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.told.front().map(|(due, _)| *due)
    }
}

impl Home {
    /// Keep back those recipients that are addresses of ours; the others are to be dispatched.
    pub(super) fn keep_returns<P: Platform>(
        &mut self,
        departure: Departure,
        stored: &Arc<Stored>,
        cx: &Context<'_, P>,
    ) -> Option<Departure> {
        let Some(returns) = &cx.settings.returns else { return Some(departure) };
        let domain = self.queue.domain(departure.domain).expect("dispatched entries hold it");
        if !returns.is_at(domain) {
            return Some(departure);
        }
        let is_ours = |place: &u16| address(returns, stored, *place).is_some();
        let all = departure.recipients.as_slice();
        let (ours, others): (Vec<u16>, Vec<u16>) = all.iter().copied().partition(is_ours);
        if !ours.is_empty() {
            let recipients = Recipients::Many(ours.into());
            let departure = Departure { recipients, ..departure };
            self.reports.to_read.push_back((departure, stored.clone()));
        }
        let recipients = Recipients::Many(others.into());
        (!recipients.as_slice().is_empty()).then_some(Departure { recipients, ..departure })
    }

    /// Read the next report, and tell of it.
    pub(super) fn read_report<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some((departure, stored)) = self.reports.to_read.pop_front() else { return };
        let feedback = feedback::read(&beginning(&stored));
        for &place in departure.recipients.as_slice() {
            let returns = cx.settings.returns.as_deref();
            let to = returns.and_then(|returns| address(returns, &stored, place)).flatten();
            self.tell_returns(&stored, to, &feedback, cx);
        }
        self.queue.cool(departure.message);
        self.reports.told.push_back((cx.mono() + RETURN_KEPT_FOR, departure));
    }

    /// Be done with reports that the event log has; with all of them where the node drains, since
    /// what was told is written before it ends.
    pub(super) fn finish_reports<P: Platform>(
        &mut self,
        all: bool,
        commit: &mut Commit,
        cx: &Context<'_, P>,
    ) {
        while let Some((due, departure)) = self.reports.told.pop_front() {
            let is_over = all || due <= cx.now.mono || self.reports.told.len() >= RETURNS_TOLD_MAX;
            if !is_over {
                return self.reports.told.push_front((due, departure));
            }
            for &place in departure.recipients.as_slice() {
                self.finish(departure.message, place, Standing::Delivered, commit);
            }
        }
    }

    /// Tell of each recipient that a report speaks of.
    fn tell_returns<P: Platform>(
        &mut self,
        stored: &Stored,
        to: Option<Address>,
        feedback: &Feedback,
        cx: &mut Context<'_, P>,
    ) {
        let traces = &feedback.traces;
        let returns = cx.settings.returns.clone();
        let known = match (to, &returns) {
            (Some(Address::Bounces(trace)), Some(returns)) => {
                let id = traces.feedback_id.as_deref();
                returns.bounced(trace, id, stored.received)
            }
            (Some(Address::Unsigned(recipient)), _) => {
                Known { recipient: Some(recipient), ..Known::default() }
            }
            (Some(Address::Complaints), Some(returns)) => {
                let id = traces.feedback_id.as_deref();
                returns.known(traces.reverse_path.as_ref(), id, stored.received)
            }
            (_, None) | (None, _) => Known::default(),
        };
        let Known { trace, tenant, campaign, .. } = &known;
        let (trace, whose) =
            (*trace, Whose { tenant: tenant.as_ref(), campaign: campaign.as_ref() });
        for told in &feedback.told {
            let named = known.recipient.iter().chain(&told.original).chain(&told.recipient);
            let subject = Returns::subject(trace, named, traces.recipients.iter());
            let reported = told.recipient.as_ref().filter(|it| Some(*it) != subject.recipient);
            let returned = Returned {
                what: told.kind.as_str().into(),
                form: feedback.form.as_str().into(),
                original: subject.message,
                vouched: subject.vouched.map_or("", |vouched| vouched.as_str()).into(),
                reported: reported.map_or("", Mailbox::as_str).into(),
                message_id: traces.message_id.as_deref().unwrap_or_default().into(),
                envelope_id: traces.envelope_id.as_deref().unwrap_or_default().into(),
            };
            self.tell_return(stored, (whose, subject.recipient), told, returned, cx);
        }
    }

    /// Each bounce and complaint comes by here.
    fn tell_return<P: Platform>(
        &mut self,
        stored: &Stored,
        (whose, about): (Whose<'_>, Option<&Mailbox>),
        told: &Told,
        returned: Returned<'_>,
        cx: &mut Context<'_, P>,
    ) {
        let (kind, count) = match told.kind {
            Kind::Bounced => (EventKind::BouncedLater, Count::ReturnsBounced),
            Kind::Complaint(complaint) if complaint.is_objection() => {
                (EventKind::Complained, Count::ReturnsComplained)
            }
            Kind::Complaint(_)
            | Kind::Delayed
            | Kind::Delivered
            | Kind::Relayed
            | Kind::Expanded
            | Kind::Receipt
            | Kind::AutoReply
            | Kind::Challenge
            | Kind::Unknown => (EventKind::Returned, Count::ReturnsOther),
        };
        cx.common.counters.increment(count);
        let class = matches!(told.kind, Kind::Bounced | Kind::Delayed).then(|| {
            let (text, peer) = (&told.text, &told.peer);
            let refusal = Refusal { code: told.code, status: told.status, text, peer };
            cx.settings.classifier.find(&refusal).class
        });
        let about = Returning { whose, recipient: about, told, class };
        self.journal.tell_return(kind, stored, about, returned, cx);
    }
}

/// What a recipient is for; `Some(None)`: it was for something once, and is not any more. A report
/// waits in the queue at most, so what its client was told counts: that of when it came in.
fn address(returns: &Returns, stored: &Stored, place: u16) -> Option<Option<Address>> {
    match &stored.envelope.recipients[usize::from(place)].forward_path {
        ForwardPath::Mailbox(mailbox) => returns.judge(mailbox, stored.received).map(Result::ok),
        ForwardPath::Postmaster => None,
    }
}

/// As much of its content as is looked at, in one piece.
fn beginning(stored: &Stored) -> Vec<u8> {
    let (mut bytes, start) = (Vec::new(), stored.prefix.len() as u64);
    while bytes.len() < FEEDBACK_BYTES_MAX {
        let offset = start + bytes.len() as u64;
        let window = stored.window(offset, FEEDBACK_BYTES_MAX - bytes.len());
        if window.is_empty() {
            break;
        }
        bytes.extend_from_slice(window);
    }
    bytes
}

impl Shard {
    /// Read the next report, if one waits.
    pub(super) fn read_reports<P: Platform>(&mut self, platform: &mut P) {
        if !self.home.reports.has_to_read() {
            return;
        }
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        self.home.read_report(cx);
    }
}
