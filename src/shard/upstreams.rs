//! Choose upstream relays for jobs, and let how they go tell which of them work.
//!
//! In: jobs of routes to a group; signals from connections. Out: jobs brought to a relay's site.
//! Invariant: a job that was sent as a probe either tells how it went or makes room for another.
//! Lives on: the owner shard.

use crate::base::limits::UPSTREAMS_TRIED_MAX;
use crate::egress::domain_hash;
use crate::egress::health::{Purpose, Signal};
use crate::egress::upstream::{Choice, Chosen};
use crate::mail::route::{GroupId, UpstreamId};
use crate::shard::context::Context;
use crate::shard::delivery::{Delivery, JobId, SiteId};
use crate::shard::lookup::{Lookups, Target};
use crate::shard::platform::Platform;

impl Delivery {
    /// Choose an upstream relay of `group` for `job` and bring it there.
    pub(super) fn bring_to_upstream<P: Platform>(
        &mut self,
        job: JobId,
        group: GroupId,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        let chosen = self.choose(job, group, cx);
        self.send_to(job, group, chosen, lookups, cx);
    }

    /// The job's upstream relay failed: bring it to another one of the group that works, or that is
    /// to be probed. `false`: there is none.
    pub(super) fn reroute<P: Platform>(
        &mut self,
        job: JobId,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) -> bool {
        let Some(row) = self.jobs.get(job.0) else { return false };
        let Some(before) = row.upstream else { return false };
        if self.draining || row.rerouted >= UPSTREAMS_TRIED_MAX || !row.settled.is_empty() {
            return false;
        }
        let chosen = self.choose(job, before.group, cx);
        let now = UpstreamId { group: before.group, member: chosen.member };
        if chosen.choice == Choice::NoneWorks || now == before {
            self.drop_probe(now, chosen.choice);
            return false;
        }
        let row = self.jobs.get_mut(job.0).expect("looked at above");
        row.rerouted += 1;
        let choice = row.choice;
        self.drop_probe(before, choice);
        self.send_to(job, before.group, chosen, lookups, cx);
        true
    }

    /// The addresses of a job's upstream relay were not found. Those that it had may hold still;
    /// without any another relay may take the job. `false`: there is none.
    pub(super) fn do_without<P: Platform>(
        &mut self,
        job: JobId,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) -> bool {
        let Some(row) = self.jobs.get(job.0) else { return false };
        let Some(upstream) = row.upstream else { return false };
        let key = row.upstream_key(upstream, cx.settings);
        if self.site(&key).is_some() {
            self.push(&key, job, cx);
            return true;
        }
        self.tell(upstream, self.purpose(job), Signal::Unreachable, cx);
        self.reroute(job, lookups, cx)
    }

    fn choose<P: Platform>(&mut self, job: JobId, group: GroupId, cx: &Context<'_, P>) -> Chosen {
        let row = self.jobs.get(job.0).expect("a job is held until it is reported");
        let place = usize::from(group.0);
        let hash = domain_hash(&row.dispatch.domain);
        cx.settings.groups[place].group.choose(hash, &mut self.health[place], cx.now.mono)
    }

    fn send_to<P: Platform>(
        &mut self,
        job: JobId,
        group: GroupId,
        Chosen { member, choice }: Chosen,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        let upstream = UpstreamId { group, member };
        let row = self.jobs.get_mut(job.0).expect("a job is held until it is reported");
        (row.upstream, row.choice) = (Some(upstream), choice);
        let key = row.upstream_key(upstream, cx.settings);
        if self.site(&key).is_some_and(|row| row.found_until > cx.mono()) {
            return self.push(&key, job, cx);
        }
        let members = cx.settings.groups[usize::from(group.0)].group.members();
        let host = members[usize::from(member)].host.host.clone();
        self.ask(Target::Host(host), job, lookups, cx);
    }

    /// A delivery at `site` went so, for a job that was sent there as `purpose`.
    pub(super) fn signal<P: Platform>(
        &mut self,
        site: SiteId,
        purpose: Purpose,
        signal: Signal,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(upstream) = self.upstream_of(site) {
            self.tell(upstream, purpose, signal, cx);
        }
    }

    fn tell<P: Platform>(
        &mut self,
        upstream: UpstreamId,
        purpose: Purpose,
        signal: Signal,
        cx: &mut Context<'_, P>,
    ) {
        let health = &mut self.health[usize::from(upstream.group.0)];
        let (now, prng) = (cx.now.mono, &mut cx.common.prng);
        if health.report(upstream.member, purpose, signal, now, prng) {
            let relay = cx.settings.upstream_name(upstream);
            match signal {
                Signal::Answered => tracing::info!(relay, "an upstream relay works again"),
                Signal::Refused | Signal::Silent | Signal::Unreachable => {
                    tracing::warn!(relay, ?signal, "an upstream relay is left alone for a while");
                }
            }
        }
    }

    /// What a job tells of the upstream relay that it was sent to.
    pub(super) fn purpose(&self, job: JobId) -> Purpose {
        self.jobs.get(job.0).map_or(Purpose::Delivery, |row| row.choice.purpose())
    }

    /// A job that was sent to `upstream` is there no more. If it was a probe that told nothing,
    /// another may follow.
    pub(super) fn drop_probe(&mut self, upstream: UpstreamId, choice: Choice) {
        if choice == Choice::Probe {
            self.health[usize::from(upstream.group.0)].on_probe_dropped(upstream.member);
        }
    }
}
