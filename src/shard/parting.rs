//! Tell sites of connections that ended or failed.
//!
//! In: what connections' machines tell at their end. Out: what sites learn of it. Invariant: what a
//! site has let go it hears no more of. Lives on: the owner shard.

use std::mem;

use crate::egress::cause::{Blame, Cause};
use crate::egress::health::Purpose;
use crate::mail::outcome::{Failure, Stage};
use crate::outcome::counters::Count;
use crate::outcome::judge::{Scope, judge};
use crate::shard::context::Context;
use crate::shard::delivery::Delivery;
use crate::shard::outbound::Outbound;
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::settling::signal_of;
use crate::smtp::socks::NoWay;

impl Delivery {
    /// A connection is of no more use.
    pub(super) fn closed<P: Platform>(
        &mut self,
        id: ConnectionId,
        failure: Option<(Stage, Failure)>,
        unsettled: &[u16],
        cx: &mut Context<'_, P>,
    ) {
        let Some(outbound) = self.outbound.get_mut(id) else { return };
        let (site, pooled) = (outbound.site, outbound.pooled);
        let carried = outbound.carried.front().map(|carried| carried.job);
        let finished = mem::take(&mut outbound.finished);
        let (peer, source) = (outbound.peer.clone(), outbound.source.clone());
        if let Some(failure) = &failure {
            outbound.tell_failed(failure, cx);
        }
        outbound.note(|| parting(failure.as_ref()), cx);
        let Some(row) = self.sites.get_mut(site.0) else { return };
        if row.connections.remove(&pooled).is_none() {
            return; // The site had let it go.
        }
        match failure {
            // Nobody failed: the mail may go out in clear, which it does on another connection.
            Some((Stage::Tls, failure)) if outbound.protection.is_optional() => {
                row.note_tls_failure(pooled, &failure, cx.mono());
                row.site.on_closed(pooled, cx.mono());
            }
            None if finished => row.site.on_done(pooled, false, cx.mono()),
            // Idle, or not all had their turn: they go out on another at once.
            None => row.site.on_closed(pooled, cx.mono()),
            Some((stage, failure)) => {
                let blame = match judge(stage, &failure).scope {
                    Scope::Site => Blame::Endpoint,
                    Scope::Connection | Scope::Message | Scope::Recipient => Blame::Connection,
                };
                if finished {
                    row.site.on_done(pooled, false, cx.mono());
                } else {
                    debug_assert!(carried.is_some() || unsettled.is_empty());
                    let cause = Cause { stage, failure, peer, source };
                    Self::learn_from_loss(row, pooled, &cause, cx);
                    let (now, prng) = (cx.now.mono, &mut cx.common.prng);
                    let signal = signal_of(&cause.failure);
                    row.site.on_failed(pooled, blame, cause, now, prng);
                    let purpose = carried.map_or(Purpose::Delivery, |job| self.purpose(job));
                    self.signal(site, purpose, signal, cx);
                }
            }
        }
        self.stir(site);
    }

    /// A connection came to nothing before its greeting.
    pub(super) fn unconnected<P: Platform>(
        &mut self,
        id: ConnectionId,
        failure: Failure,
        cx: &mut Context<'_, P>,
    ) {
        let Some(outbound) = self.outbound.remove(id) else { return };
        outbound.note(|| format!("not connected: {failure}"), cx);
        cx.common.counters.increment(Count::ConnectionsFailed);
        let failure = match &outbound.through {
            None => failure,
            Some(through) => {
                let failure = through.told(&failure);
                if through.is_at_fault() && self.pass_over(&outbound, &failure, cx) {
                    return;
                }
                failure
            }
        };
        let (peer, source) = (outbound.peer.clone(), outbound.source.clone());
        let cause = Cause { stage: Stage::Connect, failure, peer, source };
        self.fail(&outbound, Blame::Endpoint, cause, cx);
    }

    /// A proxy does not bring a connection to its peer.
    pub(super) fn no_way<P: Platform>(
        &mut self,
        id: ConnectionId,
        why: NoWay,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(through) = self.outbound.get_mut(id).and_then(|it| it.through.as_mut()) {
            through.failed(why);
        }
        cx.platform.abort(id);
        self.unconnected(id, Failure::Connect(why.to_string().into()), cx);
    }

    /// Tell a site that a connection of it failed.
    pub(super) fn fail<P: Platform>(
        &mut self,
        outbound: &Outbound,
        blame: Blame,
        cause: Cause,
        cx: &mut Context<'_, P>,
    ) {
        let id = outbound.site;
        if let Some(row) = self.sites.get_mut(id.0)
            && row.connections.remove(&outbound.pooled).is_some()
        {
            Self::learn_from_loss(row, outbound.pooled, &cause, cx);
            let (now, prng) = (cx.now.mono, &mut cx.common.prng);
            row.site.on_failed(outbound.pooled, blame, cause, now, prng);
            self.stir(id);
        }
    }
}

/// For whoever follows it.
fn parting(failure: Option<&(Stage, Failure)>) -> String {
    match failure {
        Some((stage, failure)) => format!("closed at {stage}: {failure}"),
        None => "closed".to_owned(),
    }
}
