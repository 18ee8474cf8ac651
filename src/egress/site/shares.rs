//! Let nobody have more than its share of what a site takes at once.
//!
//! A tenant or a campaign may have so many messages under way at a site, over all shards: a *seat*
//! each, from when it is assigned until its outcome is known, or it is back. Who has no seat left
//! is set aside in the line, where it holds up nobody, until there is one. Sites at which nobody
//! with a share sends have nothing of this.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::ids::ShardId;
use crate::base::limits::{
    CONNECTION_LOOK_AGAIN, SHARE_PAUSE, SHARE_READY_MAX, SHARES_SWEEP_LEAST, SITE_READY_MAX,
    SITE_READY_OF_SENDER,
};
use crate::base::share::Share;
use crate::base::time::Monotonic;
use crate::egress::cause::{Busy, Why};
use crate::egress::line::{Line, Sender};
use crate::egress::seats::Seats;
use crate::egress::site::{Action, Item, Site, TURN_MESSAGES};
use crate::egress::throttle::SharedSite;

/// By whose seats a job goes: its tenant's and its campaign's, by their names; 0: nobody's.
pub(super) type Names = [u64; 2];

/// Whoever has a share here.
#[derive(Debug, Default)]
pub(super) struct Shares {
    rows: HashMap<u64, Row>,
    /// With so many, those that have nothing here are looked for.
    sweep_at: usize,
    /// Seats that were taken for the next job.
    seated: Option<Names>,
    /// When who was set aside is looked at; 0: at once.
    look_at: Monotonic,
}

#[derive(Debug)]
struct Row {
    seats: Arc<Seats>,
    /// Of this shard.
    held: u32,
    limit: u32,
    /// Messages since another shard began to wait, or had its turn.
    turn: u32,
}

impl Sender {
    /// Its names and its shares, where it has some.
    fn shared(self) -> impl Iterator<Item = (usize, u64, Share)> {
        let names = [self.tenant, self.name].into_iter().zip(self.shares).enumerate();
        names.filter_map(|(place, (name, share))| Some((place, name, share?)))
    }

    fn has_share(self) -> bool {
        self.shares != [None; 2]
    }
}

impl Shares {
    /// Take what a sender's next job needs, or say what binds.
    fn take(
        &mut self,
        (here, shared): (ShardId, &SharedSite),
        sender: Sender,
        connections: u32,
    ) -> Result<Names, Why> {
        if self.rows.len() >= self.sweep_at.max(SHARES_SWEEP_LEAST) {
            self.sweep(here, shared);
        }
        let mut names = [0; 2];
        for (place, name, share) in sender.shared() {
            let seats = || shared.seats(name);
            let new = || Row { seats: seats(), held: 0, limit: 0, turn: 0 };
            let row = self.rows.entry(name).or_insert_with(new);
            row.limit = share.of(connections);
            if !row.seats.take(here, row.held, row.limit) {
                let why = Why::Share { limit: row.limit, of_tenant: place == 0 };
                self.put_back(here, names);
                return Err(why);
            }
            row.held += 1;
            names[place] = name;
        }
        Ok(names)
    }

    fn put_back(&mut self, here: ShardId, names: Names) {
        for name in names.into_iter().filter(|name| *name != 0) {
            let row = self.rows.get_mut(&name).expect("it is there as long as a seat is taken");
            row.held -= 1;
            let is_over = row.held == 0 && row.turn >= TURN_MESSAGES;
            if is_over && row.seats.share(here, row.limit) == 0 {
                row.turn = 0;
                row.seats.give_way(here);
            }
            row.seats.release(here, row.held);
        }
    }

    fn sweep(&mut self, here: ShardId, shared: &SharedSite) {
        self.rows.retain(|name, row| {
            if row.held == 0 {
                row.seats.stop_waiting(here);
                shared.forget_seats(*name, &row.seats);
            }
            row.held > 0
        });
        self.sweep_at = self.rows.len() * 2;
    }

    /// How many more there may be.
    fn free(&self, name: u64, share: Share, connections: u32) -> u32 {
        let taken = self.rows.get(&name).map_or(0, |row| row.seats.taken());
        share.of(connections).saturating_sub(taken)
    }

    /// How many of the jobs in line could be assigned, if there were connections.
    fn wanted<W>(&self, line: &Line<W>, connections: u32) -> usize {
        let mut of_tenants: Vec<(u64, usize, usize)> = Vec::new();
        let mut wanted = 0;
        for (sender, jobs) in line.ring() {
            let free = |name, share| self.free(name, share, connections) as usize;
            let [of_tenant, of_campaign] = sender.shares;
            let jobs = of_campaign.map_or(jobs, |share| jobs.min(free(sender.name, share)));
            let Some(share) = of_tenant else {
                wanted += jobs;
                continue;
            };
            match of_tenants.iter_mut().find(|(tenant, ..)| *tenant == sender.tenant) {
                Some((_, sum, _)) => *sum += jobs,
                None => of_tenants.push((sender.tenant, jobs, free(sender.tenant, share))),
            }
        }
        wanted + of_tenants.iter().map(|(_, jobs, free)| jobs.min(free)).sum::<usize>()
    }

    /// The site ends here, with whatever was under way.
    pub(super) fn end(&mut self, here: ShardId, shared: &SharedSite) {
        for row in self.rows.values_mut() {
            for left in (0..std::mem::take(&mut row.held)).rev() {
                row.seats.release(here, left);
            }
        }
        self.sweep(here, shared);
    }
}

impl<J: Copy> Site<J> {
    /// Why a job of a sender that was set aside is not taken, as enough of its are here.
    pub(super) fn share_is_full(
        &mut self,
        home: ShardId,
        sender: Sender,
        now: Monotonic,
    ) -> Option<Busy> {
        if !sender.has_share() {
            return None;
        }
        self.shares.get_or_insert_default();
        let why = self.line.why_aside(sender.name)?;
        let Why::Share { limit, .. } = *why else { return None };
        let enough = SITE_READY_OF_SENDER.saturating_add(2 * limit as usize).min(SHARE_READY_MAX);
        let is_full =
            self.line.len_aside() >= SITE_READY_MAX || self.line.len_of(home, sender) >= enough;
        is_full.then(|| Busy { why: why.clone(), until: now + SHARE_PAUSE })
    }

    /// Let `assign` have a job that may go now, if there is one.
    pub(super) fn seated(
        &mut self,
        now: Monotonic,
        assign: impl Fn(&mut Self, Monotonic) -> Option<Action<J>>,
    ) -> Option<Action<J>> {
        if self.shares.is_none() {
            return assign(self, now);
        }
        // Also where nothing could carry it: who waits for a seat is to be known, to other shards
        // too, and no connection is to be opened for its sake.
        let may_go = self.seat_next(now);
        let action = if may_go { assign(self, now) } else { None };
        // It could not go after all.
        if let Some(shares) = &mut self.shares
            && let Some(names) = shares.seated.take()
        {
            shares.put_back(self.here, names);
        }
        action
    }

    /// See that the next job in line may go; who may not is set aside.
    fn seat_next(&mut self, now: Monotonic) -> bool {
        let Some(shares) = &mut self.shares else { return true };
        // What lost its connection has its seats still.
        while !self.line.is_again() {
            let Some(sender) = self.line.first_sender() else { return false };
            match shares.take((self.here, &self.shared), sender, self.limits.connections) {
                Ok(names) => {
                    shares.seated = Some(names).filter(|names| *names != [0; 2]);
                    return true;
                }
                Err(why) => {
                    self.line.set_aside(why);
                    shares.look_at = now + CONNECTION_LOOK_AGAIN;
                }
            }
        }
        true
    }

    /// The seats that were taken for the job that goes now.
    pub(super) fn take_seated(&mut self, item: &mut Item<J>) {
        if let Some(names) = self.shares.as_mut().and_then(|shares| shares.seated.take()) {
            item.seats = names;
            self.count_turn(names);
        }
    }

    fn count_turn(&mut self, names: Names) {
        let Some(shares) = &mut self.shares else { return };
        for name in names {
            if let Some(row) = shares.rows.get_mut(&name) {
                row.turn = if row.seats.others_wait(self.here) { row.turn + 1 } else { 0 };
            }
        }
    }

    /// A job is done, or goes back.
    pub(super) fn unseat(&mut self, names: Names) {
        if names != [0; 2]
            && let Some(shares) = &mut self.shares
        {
            shares.put_back(self.here, names);
            shares.look_at = Monotonic(0);
        }
    }

    /// Let those that were set aside have their turn again that could have a seat now.
    pub(super) fn look_at_shares(&mut self, now: Monotonic) {
        let connections = self.limits.connections;
        let Some(shares) = &mut self.shares else { return };
        if self.line.len_aside() > 0 && shares.look_at <= now {
            let is_free = |sender: Sender| {
                sender.shared().all(|(_, name, share)| shares.free(name, share, connections) > 0)
            };
            self.line.let_back(is_free);
            shares.look_at = now + CONNECTION_LOOK_AGAIN;
        }
    }

    /// Jobs went from the line unassigned: whoever has others there asks again.
    pub(super) fn stop_waiting_for_shares(&self) {
        let rows = self.shares.iter().flat_map(|shares| shares.rows.values());
        rows.for_each(|row| row.seats.stop_waiting(self.here));
    }

    /// When to look at those that are set aside.
    pub(super) fn share_due(&self) -> Option<Monotonic> {
        let shares = self.shares.as_ref()?;
        (self.line.len_aside() > 0).then_some(shares.look_at)
    }

    /// How many of the jobs in line could be assigned, if there were connections.
    pub(super) fn wanted(&self) -> usize {
        match &self.shares {
            None => self.line.len(),
            Some(shares) => shares.wanted(&self.line, self.limits.connections),
        }
    }

    /// What keeps the jobs of a sender here and nobody else's.
    pub fn why_of(&self, sender: u64) -> Option<&Why> {
        self.line.why_aside(sender)
    }
}
