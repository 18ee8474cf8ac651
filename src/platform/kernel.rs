//! Be the kernel of one shard: pass calls to the part whose they are, completions likewise.
//!
//! Lives on: the shard's thread.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::slots::Slot;
use crate::base::time::{Monotonic, Now};
use crate::platform::blocking::{Finished, Job, Pool};
use crate::platform::channels::{Mailbox, Outbox, Posts};
use crate::platform::clock;
use crate::platform::datagram::Questions;
use crate::platform::disk::Disk;
use crate::platform::event_log::{EventLog, EventLogOptions};
use crate::platform::gear::{Gear, Notice, Tag, Timer};
use crate::platform::listener::Listeners;
use crate::platform::ring::{Completion, DormantRing, ReceiveBuffers, Ring, Wait};
use crate::platform::stream::Streams;
use crate::policy::credentials::Check;
use crate::policy::suppression::Lookup;
use crate::shard::mesh::Crossing;
use crate::shard::platform::{
    ConnectionId, DatagramId, Event, Platform, PlatformCounters, PolicyRequest,
};
use crate::spool::segment::SegmentName;

/// What a shard's kernel is made of; made on any thread, used on the shard's.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) shard: ShardId,
    pub(super) posts: Posts,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) spool: &'a Path,
    pub(super) pool: Pool,
    pub(super) events: EventLogOptions,
    pub(super) ring: DormantRing,
}

/// See `trait Platform`.
pub(super) struct Kernel {
    pub(super) gear: Gear,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) streams: Streams,
    pub(super) questions: Questions,
    listeners: Listeners,
    disk: Disk,
    event_log: EventLog,
    outbox: Outbox,
    pool: Pool,
    /// Timers that have fired, as long as they are looked at.
    fired: Vec<Timer>,
}

impl Kernel {
    /// The kernel of this thread's shard, and the buffers that its receives fill.
    pub(super) fn new(parts: Parts<'_>) -> std::io::Result<(Self, ReceiveBuffers)> {
        let Parts { shard, posts, listeners, spool, pool, events, ring } = parts;
        let mailbox = Arc::clone(posts.mailbox(shard));
        let (ring, buffers) = Ring::wake(ring)?;
        let mut gear = Gear::new(ring, clock::now());
        let listeners = Listeners::new(listeners, &mut gear);
        let place = (shard, posts.shards());
        let event_log =
            EventLog::new(spool, place, events, gear.now, (pool.clone(), Arc::clone(&mailbox)));
        let disk = Disk::new(spool.to_owned(), pool.clone(), Arc::clone(&mailbox));
        let kernel = Self {
            gear,
            mailbox,
            streams: Streams::default(),
            questions: Questions::default(),
            listeners,
            disk,
            event_log,
            outbox: Outbox::new(posts),
            pool,
            fired: Vec::new(),
        };
        Ok((kernel, buffers))
    }

    /// Submit what was asked for, wait for completions if told to, then take them and the time.
    pub(super) fn enter(
        &mut self,
        wait: Option<Wait>,
        completed: &mut Vec<Completion<Tag>>,
    ) -> std::io::Result<()> {
        self.streams.flush(&mut self.gear);
        match wait {
            None => self.gear.ring.enter()?,
            Some(wait) => {
                self.gear.counters.sleeps += 1;
                self.gear.ring.enter_and_wait(wait)?;
            }
        }
        self.gear.ring.reap(completed);
        self.gear.counters.completions += completed.len() as u64;
        self.gear.now = clock::now();
        Ok(())
    }

    /// Give a completion to who waits for it. The loop's own bell is not among them.
    pub(super) fn settle(&mut self, done: Completion<Tag>, buffers: &mut ReceiveBuffers) {
        let gear = &mut self.gear;
        match done.tag {
            Tag::Receive(stream) => self.streams.received(stream, done, buffers, gear),
            Tag::Send(stream) => self.streams.sent(stream, done, gear),
            Tag::Connect(stream) => self.streams.connected(stream, done, gear),
            Tag::Accept(place) => self.listeners.accepted(place, done, &mut self.streams, gear),
            Tag::Ask(question) => self.questions.sent(question, done, gear),
            Tag::Answer(question) => self.questions.received(question, done, buffers, gear),
            Tag::Write(segment) => self.disk.written(segment, done, gear),
            Tag::Events => self.event_log.wrote(done, gear),
            Tag::Bell | Tag::Nobody => {}
        }
    }

    fn happened(&mut self, event: Event<'static>) {
        self.gear.notices.push_back(Notice::Happened(event));
    }

    /// A blocking job came to its end.
    pub(super) fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Segment { segment, result } => {
                self.disk.created(segment, result, &mut self.gear);
            }
            Finished::Opened { segment, result } => {
                self.disk.opened(segment, result, &mut self.gear);
            }
            Finished::Populated { ticket } => {
                self.gear.notices.push_back(Notice::Populated { ticket });
            }
            Finished::Policy { ticket, result } => {
                self.gear.notices.push_back(Notice::PolicyFetched { ticket, result });
            }
            Finished::Verified { connection, right } => {
                self.gear.notices.push_back(Notice::Verified { connection, right });
            }
            Finished::LookedUp { connection, found } => {
                self.happened(Event::LookedUp { connection, found });
            }
            Finished::AllLookedUp { ticket, found } => {
                self.happened(Event::AllLookedUp { ticket, found });
            }
            Finished::Events { result } => self.event_log.opened(result, &mut self.gear),
        }
    }

    /// Do what the platform's own timers are for; whether one fired.
    pub(super) fn expire_timers(&mut self) -> bool {
        let mut fired = std::mem::take(&mut self.fired);
        self.gear.timers.expire(self.gear.now.mono, &mut fired);
        let any = !fired.is_empty();
        for timer in fired.drain(..) {
            match timer {
                Timer::Closing(stream) => self.streams.closing_timer(stream, &mut self.gear),
                Timer::Listener(place) => self.listeners.accept(place, &mut self.gear),
                Timer::EventLog => self.event_log.timer(&mut self.gear),
            }
        }
        self.fired = fired;
        any
    }

    /// When the platform's own timers want attention.
    pub(super) fn next_timer(&self) -> Option<Monotonic> {
        self.gear.timers.next()
    }

    /// Wake the shards that were posted to in this turn.
    pub(super) fn ring_bells(&mut self) {
        self.outbox.ring_bells();
    }

    /// The machine is drained: end what it left, and write what it gave.
    pub(super) fn wind_down(&mut self) {
        self.listeners.stop(&mut self.gear);
        self.streams.abandon(&mut self.gear);
        self.questions.abandon(&mut self.gear);
        self.event_log.flush(&mut self.gear);
    }

    /// Whether all that was given to `send` and `log_events` is written.
    pub(super) fn is_quiet(&self) -> bool {
        self.streams.len() == 0 && self.event_log.is_idle()
    }

    /// Give up what is not written by now.
    pub(super) fn end(&mut self) {
        self.event_log.close(&mut self.gear);
        self.streams.abort_all(&mut self.gear);
    }

    pub(super) fn take_held(&mut self, stream: Slot) -> Option<Vec<u8>> {
        self.streams.take_held(stream)
    }

    pub(super) fn held_delivered(&mut self, stream: Slot) {
        self.streams.held_delivered(stream, &mut self.gear);
    }
}

impl Platform for Kernel {
    fn now(&self) -> Now {
        self.gear.now
    }

    fn connect(&mut self, peer: SocketAddr, source: Option<IpAddr>) -> ConnectionId {
        ConnectionId(self.streams.connect(peer, source, &mut self.gear))
    }

    fn connect_local(&mut self, path: &Path) -> ConnectionId {
        ConnectionId(self.streams.connect_local(path, &mut self.gear))
    }

    fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        self.streams.send(connection.0, bytes, &mut self.gear);
    }

    fn pause(&mut self, connection: ConnectionId) {
        self.streams.pause(connection.0, &mut self.gear);
    }

    fn resume(&mut self, connection: ConnectionId) {
        self.streams.resume(connection.0, &mut self.gear);
    }

    fn close(&mut self, connection: ConnectionId) {
        self.streams.close(connection.0, &mut self.gear);
    }

    fn abort(&mut self, connection: ConnectionId) {
        self.streams.abort(connection.0, &mut self.gear);
    }

    fn ask(&mut self, server: SocketAddr, query: &[u8]) -> DatagramId {
        DatagramId(self.questions.ask(server, query, &mut self.gear))
    }

    fn forget(&mut self, id: DatagramId) {
        self.questions.forget(id.0, &mut self.gear);
    }

    fn create_segment(&mut self, segment: SegmentName, bytes: u32, keep_free: u64) {
        self.disk.create(segment, bytes, keep_free);
    }

    fn open_segment(&mut self, segment: SegmentName) {
        self.disk.open(segment);
    }

    fn remove_segment(&mut self, segment: SegmentName) {
        self.disk.remove(segment, &mut self.gear);
    }

    fn commit(&mut self, segment: SegmentName, offset: u32, buffers: Vec<Arc<Vec<u8>>>) {
        self.disk.commit(segment, offset, buffers, &mut self.gear);
    }

    fn populate(&mut self, ticket: u64, segment: SegmentName, offset: u32, bytes: u32) {
        self.disk.populate(ticket, segment, (offset, bytes), &mut self.gear);
    }

    fn fetch_policy(&mut self, ticket: u64, request: PolicyRequest) {
        self.disk.fetch_policy(ticket, request);
    }

    fn verify(&mut self, connection: ConnectionId, check: Check) -> bool {
        let has_room = self.pool.has_room_for_passwords();
        if has_room {
            self.pool.submit(Job::Verify { connection, check }, &self.mailbox);
        }
        has_room
    }

    fn look_up(&mut self, connection: ConnectionId, lookup: Lookup) -> bool {
        let has_room = self.pool.has_room_for_lookups();
        if has_room {
            self.pool.submit(Job::LookUp { connection, lookup }, &self.mailbox);
        }
        has_room
    }

    fn look_up_all(&mut self, ticket: u64, lookups: Vec<(u16, Lookup)>) {
        self.pool.submit(Job::LookUpAll { ticket, lookups }, &self.mailbox);
    }

    fn log_events(&mut self, lines: &[u8]) {
        self.event_log.append(lines, &mut self.gear);
    }

    fn post(&mut self, to: ShardId, crossing: Crossing) {
        self.outbox.post(to, crossing);
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.gear.buffer()
    }

    fn stop_listening(&mut self) {
        self.listeners.stop(&mut self.gear);
    }

    fn counters(&self) -> PlatformCounters {
        PlatformCounters {
            enters: self.gear.ring.enters(),
            connections: self.streams.len(),
            operations: self.gear.ring.outstanding(),
            ..self.gear.counters
        }
    }
}
