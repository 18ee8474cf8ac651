//! A site each of whose sources has limits of its own.
//!
//! A connection belongs to an *outlet*, the source that it was opened from; a job takes a
//! connection whose outlet's rate lets it. Outlets that a rule suspends, or whose day's ration is
//! used up while they are warmed up, take nothing; if that is all of them, the site rests.

use std::net::IpAddr;
use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::limits::{CONNECTION_LOOK_AGAIN, OUTLET_TURN_MESSAGES};
use crate::base::time::Monotonic;
use crate::egress::cause::Why;
use crate::egress::line::Sender;
use crate::egress::pool::PooledId;
use crate::egress::shaping::automation::Scope;
use crate::egress::shaping::outlets::{By, Outlet, SiteOutlets};
use crate::egress::shaping::together::{Member, OfProvider};
use crate::egress::shaping::{Shape, Shaping};
use crate::egress::site::{Action, Item, Site};
use crate::egress::turns::Turns;
use crate::egress::warm_up::Ration;
use crate::egress::warm_up::ledger::Refusal;
use crate::mail::route::PoolId;

/// A source at a site, as one shard has it.
#[derive(Clone, Debug)]
pub struct OutletHere {
    /// What all shards know.
    pub outlet: Arc<Outlet>,
    /// The source's address, if it has one: peers of the other family are not for it.
    pub address: Option<IpAddr>,
    /// Its share of connections beside the others.
    pub weight: u32,
    /// What it may do.
    pub shape: Shape,
    /// The rules that replies to it are held against.
    pub scope: Scope,
    /// What all sites of its provider share, if a rule says so.
    pub member: Option<Arc<Member>>,
    /// What it may send there today while it is warmed up.
    pub ration: Option<Ration>,
}

/// The sources of a site: those of its pool, in their order.
#[derive(Clone, Debug)]
pub struct Shaped {
    /// What all shards know.
    pub site: Arc<SiteOutlets>,
    /// The rules that it is by: `scope`s are places in these.
    pub rules: Arc<Shaping>,
    /// The provider that the site belongs to by these rules.
    pub provider: Option<Arc<str>>,
    outlets: Vec<OutletHere>,
    turns: Turns,
    pool: PoolId,
    /// How often senders had been suspended when the line was last looked through.
    seen: u32,
}

/// How an outlet stands for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutletStanding {
    /// It may carry so many messages.
    Open(u32),
    /// It may carry no more.
    Shut,
}

impl OutletHere {
    fn fits(&self, peer: IpAddr) -> bool {
        self.address.is_none_or(|address| address.is_ipv4() == peer.is_ipv4())
    }

    fn would_send(&self, now: Monotonic) -> bool {
        let together = self.member.as_ref().is_none_or(|member| member.would_send(now));
        together && self.outlet.would_send(&self.shape, now)
    }

    /// Until when it sends nothing, and whether that is since its day's ration is used up.
    fn closed(&self, now: Monotonic) -> Option<(Monotonic, bool)> {
        let suspended = self.outlet.suspended(now).map(|until| (until, false));
        let used_up = self.ration.as_ref().and_then(|ration| ration.used_up(now));
        suspended.max(used_up.map(|until| (until, true)))
    }

    fn is_closed(&self, now: Monotonic) -> bool {
        self.closed(now).is_some()
    }

    /// Take a connection, if it may have one; `false` the provider takes no more.
    fn take(&self, pool: PoolId, now: Monotonic) -> Result<bool, ()> {
        if !self.outlet.held.take(self.shape.connections, pool, now) {
            return Err(());
        }
        let taken = self.member.as_ref().is_none_or(|member| member.take());
        if !taken {
            self.outlet.held.release();
        } else if let Some(ration) = &self.ration {
            ration.prepare(now);
        }
        Ok(taken)
    }

    fn release(&self) {
        self.outlet.held.release();
        if let Some(member) = &self.member {
            member.release();
        }
    }

    /// Ask to send a message of `shard` now; refused, why, and when it may be asked again.
    fn try_message(&self, shard: ShardId, now: Monotonic) -> Result<(), (Why, Monotonic)> {
        match &self.ration {
            None => self.try_rates(shard, now),
            Some(ration) => {
                let why = |refusal| match refusal {
                    Refusal::UsedUp(at) => (ration.why(now), at),
                    Refusal::NotWritten(at) => (Why::WarmUpNotWritten, at),
                };
                // What it lets go is counted last: what rates refuse is not sent.
                ration.check(now).map_err(why)?;
                self.try_rates(shard, now)?;
                ration.take(now).map_err(why)
            }
        }
    }

    fn try_rates(&self, shard: ShardId, now: Monotonic) -> Result<(), (Why, Monotonic)> {
        if let Err((rate, by, at)) = self.outlet.try_message(shard, &self.shape, now) {
            let why = match by {
                By::Shape => Why::Rate(rate),
                By::Peer => Why::Slowed(rate),
                By::Operator => Why::Set(rate),
            };
            return Err((why, at));
        }
        let Some(member) = &self.member else { return Ok(()) };
        member.try_message(now).map_err(|(rate, at)| {
            self.outlet.give_back(&self.shape, now);
            (Why::ProviderRate(rate, member.said().provider.clone()), at)
        })
    }
}

impl Shaped {
    /// `outlets` in the order of the sources of `pool`, of which there is one at least; `start`:
    /// how many turns they had already.
    pub fn new(
        site: Arc<SiteOutlets>,
        rules: Arc<Shaping>,
        provider: Option<Arc<str>>,
        outlets: Vec<OutletHere>,
        (pool, start): (PoolId, usize),
    ) -> Self {
        assert!(!outlets.is_empty(), "there is always a source");
        let turns = Turns::new(outlets.iter().map(|here| here.weight), start);
        Self { site, rules, provider, outlets, turns, pool, seen: 0 }
    }

    /// An outlet, by the place of its source in the pool.
    pub fn outlet(&self, place: usize) -> Option<&OutletHere> {
        self.outlets.get(place)
    }

    /// All of them.
    pub fn outlets(&self) -> &[OutletHere] {
        &self.outlets
    }

    pub(super) fn release(&self, outlet: u16) {
        if let Some(here) = self.outlets.get(usize::from(outlet)) {
            here.release();
        }
    }

    /// The same with what all sites of its provider share alone.
    fn part(&self, outlet: u16, with: impl Fn(&Member)) {
        let here = self.outlets.get(usize::from(outlet));
        here.and_then(|here| here.member.as_deref()).into_iter().for_each(with);
    }

    /// Until when nothing is sent, and which rule says so.
    fn pause(&self, now: Monotonic) -> Option<(Why, Monotonic)> {
        let unnamed = || "a rule".into();
        if let Some(until) = self.site.suspended(now) {
            return Some((Why::Paused(self.site.why().unwrap_or_else(unnamed)), until));
        }
        // None is first: as soon as one outlet is open, there is no pause.
        let first = self.outlets.iter().min_by_key(|here| here.closed(now))?;
        let (until, is_used_up) = first.closed(now)?;
        let why = match first.ration.as_ref().filter(|_| is_used_up) {
            Some(ration) => ration.why(now),
            None => Why::SourcesPaused(first.outlet.why().unwrap_or_else(unnamed)),
        };
        Some((why, until))
    }

    /// Connections that its sources may have together: those that are closed keep what they have,
    /// which is closed one by one.
    fn connections(&self, now: Monotonic) -> u32 {
        let of = |here: &OutletHere| match here.is_closed(now) {
            true => here.outlet.connections(),
            false => here.shape.connections,
        };
        self.outlets.iter().map(of).fold(0, u32::saturating_add).max(1)
    }

    /// The place of an outlet with room for a connection to `peer`, which is taken: one that could
    /// send at once, if there is any. Or what its provider takes, if that is why there is none.
    fn take(&mut self, peer: IpAddr, now: Monotonic) -> Result<usize, Option<&OfProvider>> {
        let may = |place: &usize| {
            let here = &self.outlets[*place];
            here.fits(peer) && !here.is_closed(now)
        };
        let would_send = |place: &usize| self.outlets[*place].would_send(now);
        let may: Vec<usize> = (0..self.outlets.len()).filter(may).collect();
        let (ready, others): (Vec<_>, Vec<_>) =
            self.turns.order(may.clone()).into_iter().partition(would_send);
        let mut full = None;
        for place in ready.into_iter().chain(others) {
            match self.outlets[place].take(self.pool, now) {
                Ok(true) => {
                    self.turns.take(place, &may);
                    return Ok(place);
                }
                Ok(false) => full = full.or(Some(place)),
                Err(()) => {}
            }
        }
        Err(full.and_then(|place| Some(self.outlets[place].member.as_ref()?.said())))
    }
}

impl<J> Site<J> {
    /// No connection is needed now, from wherever.
    pub(super) fn stop_waiting(&self) {
        self.shared.stop_waiting(self.here);
        if let Some(shaped) = &self.shaped {
            shaped.outlets.iter().flat_map(|here| &here.member).for_each(|m| m.stop_waiting());
        }
    }
}

impl<J: Copy> Site<J> {
    /// Its sources have limits of their own from now on, or none.
    pub fn shape(&mut self, shaped: Option<Shaped>) {
        self.stop_waiting();
        let before = std::mem::replace(&mut self.shaped, shaped.map(Box::new));
        let Some(before) = before else { return };
        let now = self.shaped.as_deref();
        let moved = |place: u16| {
            let outlet = &before.outlets.get(usize::from(place))?.outlet;
            let same = |here: &OutletHere| Arc::ptr_eq(&here.outlet, outlet);
            let moved = now.and_then(|now| now.outlets.iter().position(same));
            moved.and_then(|place| u16::try_from(place).ok())
        };
        for outlet in self.pool.outlets() {
            match moved(outlet).zip(now) {
                None => before.release(outlet),
                Some((place, now)) => {
                    now.part(place, Member::adopt);
                    before.part(outlet, Member::release);
                }
            }
        }
        self.pool.move_outlets(moved);
    }

    /// Its sources and what they may do, where each has limits of its own.
    pub fn shaped(&self) -> Option<&Shaped> {
        self.shaped.as_deref()
    }

    /// The place of the source that a connection was opened from, where that counts.
    pub fn outlet_of(&self, connection: PooledId) -> Option<usize> {
        self.pool.outlet(connection).map(usize::from)
    }

    /// Why rules let nothing be sent, and until when.
    pub(super) fn pause(&self, now: Monotonic) -> Option<(Why, Monotonic)> {
        self.shaped.as_ref()?.pause(now)
    }

    pub(super) fn is_paused(&self, now: Monotonic) -> bool {
        self.shaped.as_ref().is_some_and(|shaped| shaped.pause(now).is_some())
    }

    /// See what rules say now. `true`: that is all there is to do.
    pub(super) fn rest(&mut self, now: Monotonic) -> bool {
        let Some(shaped) = &self.shaped else { return false };
        (self.limits.connections, self.limits.rate) = (shaped.connections(now), None);
        self.part_from_senders(now);
        let Some((why, until)) = self.pause(now) else { return false };
        self.give_back(&why, until);
        let close = self.close_idle(now);
        self.out.extend(close);
        // Homes are called once it is over; who looks meanwhile is told why.
        self.blocked = Some((why, until));
        true
    }

    /// Why the site is to have nothing of a sender, and until when.
    pub(super) fn sender_pause(&self, sender: Sender, now: Monotonic) -> Option<(Why, Monotonic)> {
        let (rule, until) = self.shaped.as_ref()?.site.sender_suspended(sender, now)?;
        Some((Why::SenderPaused(rule), until))
    }

    /// Give back what waits here of senders that were suspended meanwhile.
    fn part_from_senders(&mut self, now: Monotonic) {
        let Some(shaped) = &mut self.shaped else { return };
        let times = shaped.site.times_suspended();
        if std::mem::replace(&mut shaped.seen, times) == times {
            return;
        }
        let site = shaped.site.clone();
        self.stop_waiting_for_shares();
        for (sender, Item { job, .. }) in
            self.line.take(|sender| site.sender_suspended(sender, now).is_some())
        {
            if let Some((rule, until)) = site.sender_suspended(sender, now) {
                let why = Why::SenderPaused(rule);
                self.out.push_back(Action::GiveBack { job, why, until });
            }
        }
    }

    /// Whether an outlet without an idle connection could send at once, and have one.
    pub(super) fn another_outlet_would_send(&self, now: Monotonic) -> bool {
        let Some(shaped) = &self.shaped else { return false };
        let idle = |outlet: usize| {
            let ids = (0..self.pool.idle()).map(|place| self.pool.idle_at(place));
            ids.filter_map(|id| self.pool.outlet(id)).any(|it| usize::from(it) == outlet)
        };
        shaped.outlets.iter().enumerate().any(|(place, here)| {
            !here.is_closed(now)
                && here.outlet.connections() < here.shape.connections
                && !here.member.as_ref().is_some_and(|member| member.is_full())
                && here.would_send(now)
                && !idle(place)
        })
    }

    /// The outlet for a connection to `peer`; `None` where the site is not shaped, or has no source
    /// of the peer's family. Or why there is none now, and when to look again.
    pub(super) fn take_outlet(
        &mut self,
        peer: IpAddr,
        now: Monotonic,
    ) -> Result<Option<u16>, (Why, Monotonic)> {
        let limit = self.limits.connections;
        let Some(shaped) = &mut self.shaped else { return Ok(None) };
        if !shaped.outlets.iter().any(|here| here.fits(peer)) {
            return Ok(None);
        }
        match shaped.take(peer, now) {
            Ok(place) => Ok(u16::try_from(place).ok()),
            Err(of_provider) => {
                let of = |of: &OfProvider| {
                    Some(Why::ProviderConnections(of.connections?, of.provider.clone()))
                };
                let why = of_provider.and_then(of).unwrap_or(Why::Connections(limit));
                Err((why, now + CONNECTION_LOOK_AGAIN))
            }
        }
    }

    pub(super) fn release_outlet(&mut self, connection: PooledId) {
        if let Some(shaped) = &self.shaped
            && let Some(outlet) = self.pool.outlet(connection)
        {
            shaped.release(outlet);
        }
    }

    /// Whether another pool, or another site of the provider, waits for a connection from where an
    /// idle one is from; and whether one might come to, as no more can be opened from there.
    pub(super) fn is_wanted(&self, connection: PooledId, now: Monotonic) -> (bool, bool) {
        let outlet = || {
            let shaped = self.shaped.as_ref()?;
            Some((shaped.pool, shaped.outlet(self.pool.outlet(connection)?.into())?))
        };
        let Some((pool, OutletHere { outlet, shape, member, .. })) = outlet() else {
            return (false, false);
        };
        let of_member = |is: &dyn Fn(&Member) -> bool| member.as_deref().is_some_and(is);
        let is_scarce = outlet.connections() >= shape.connections || of_member(&Member::is_full);
        let is_wanted = outlet.held.is_wanted_beside(pool, now) || of_member(&Member::is_wanted);
        (is_wanted, is_scarce)
    }

    /// How the outlet of a connection stands; `None` where the site is not shaped.
    pub(super) fn outlet_standing(
        &self,
        connection: PooledId,
        now: Monotonic,
    ) -> Option<OutletStanding> {
        let shaped = self.shaped.as_ref()?;
        let here = self.pool.outlet(connection).and_then(|outlet| shaped.outlet(outlet.into()));
        let Some(here @ OutletHere { outlet, shape, member, .. }) = here else {
            return Some(OutletStanding::Shut);
        };
        let of_member = |is: &dyn Fn(&Member) -> bool| member.as_deref().is_some_and(is);
        let above = outlet.connections() > shape.connections || of_member(&Member::is_above);
        let messages = self.pool.messages(connection);
        let makes_room = outlet.held.is_wanted_beside(shaped.pool, now)
            && messages >= OUTLET_TURN_MESSAGES
            || of_member(&|member| member.makes_room(messages));
        let shut = above || makes_room || here.is_closed(now);
        Some(if shut {
            OutletStanding::Shut
        } else {
            OutletStanding::Open(shape.messages_per_connection)
        })
    }

    /// Let an idle connection carry a job: the one used last, of those whose outlet's rate lets it.
    pub(super) fn assign_shaped(&mut self, now: Monotonic) -> Option<Action<J>> {
        let mut refused = Vec::new();
        for place in (0..self.pool.idle()).rev() {
            let connection = self.pool.idle_at(place);
            if self.is_spent(connection, now) {
                return Some(self.close(connection));
            }
            if self.may_send(connection, &mut refused, now) {
                let Item { job, .. } = self.lend_line(|site, item| site.pool.lend_at(place, item));
                return Some(Action::Assign { connection, job });
            }
        }
        None
    }

    /// Let a job follow another on the connection that is open longest, of those whose outlet's
    /// rate lets it.
    pub(super) fn assign_behind_shaped(&mut self, now: Monotonic) -> Option<Action<J>> {
        let (mut refused, mut place) = (Vec::new(), 0);
        while let Some(connection) = self.pool.open_at(place) {
            if !self.is_spent(connection, now) && self.may_send(connection, &mut refused, now) {
                let lend = |site: &mut Self, item| site.pool.lend_behind_at(place, item);
                let Item { job, .. } = self.lend_line(lend);
                return Some(Action::Assign { connection, job });
            }
            place += 1;
        }
        None
    }

    fn lend_line(&mut self, lend: impl FnOnce(&mut Self, Item<J>) -> PooledId) -> Item<J> {
        let item = self.pop_line();
        lend(self, item);
        item
    }

    /// Ask the outlet of a connection for a message. What refuses it is noted: it is asked once.
    fn may_send(&mut self, connection: PooledId, refused: &mut Vec<u16>, now: Monotonic) -> bool {
        let (Some(shaped), Some(place)) = (&self.shaped, self.pool.outlet(connection)) else {
            return false;
        };
        let here = &shaped.outlets[usize::from(place)];
        if refused.contains(&place) {
            return false;
        }
        let Err((why, at)) = here.try_message(self.here, now) else {
            return true;
        };
        refused.push(place);
        if self.blocked.as_ref().is_none_or(|(_, before)| at < *before) {
            self.blocked = Some((why, at));
        }
        false
    }
}
