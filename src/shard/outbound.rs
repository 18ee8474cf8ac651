//! Talk to one next hop: drive the sending side of SMTP over a connection out.
//!
//! In: what the platform says of the connection; a job to carry. Out: bytes, and the machine's
//! events for `delivery`. Invariant: at most a window of content is given to the platform before
//! it says `Sent`. Lives on: the owner shard.

use std::collections::VecDeque;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::{CONNECT_DEADLINE, CONTENT_WINDOW};
use crate::base::time::Monotonic;
use crate::egress::PooledId;
use crate::outcome::dsn::PassedOn;
use crate::shard::commands::Said;
use crate::shard::context::{Context, Timer};
use crate::shard::delivery::{JobId, SiteId};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::tls_told::Behalf;
use crate::shard::trace::Followed;
use crate::smtp::client::{Client, Event, Options, Transaction};
use crate::smtp::socks::NoWay;
use crate::spool::stored::Stored;

mod followed;
mod secure;
mod through;

pub(super) use secure::Protection;
pub(super) use through::Through;

/// A connection out, from `connect` on.
#[derive(Debug)]
pub(super) struct Outbound {
    id: ConnectionId,
    pub(super) site: SiteId,
    pub(super) pooled: PooledId,
    /// As `mx1.example.net[192.0.2.1]:25`.
    pub(super) peer: Box<str>,
    /// The egress source that it leaves from.
    pub(super) source: Arc<str>,
    options: Arc<Options>,
    pub(super) protection: Protection,
    /// Whom it is counted for, until it is.
    pub(super) behalf: Option<Box<Behalf>>,
    /// Somebody follows what is said on it.
    pub(super) followed: Option<Box<Followed>>,
    /// The proxy that it goes through, if it does.
    pub(super) through: Option<Through>,
    /// `None` until the connection is there.
    client: Option<Client>,
    /// What it carries, oldest first.
    pub(super) carried: VecDeque<Carried>,
    began: Monotonic,
    /// From `connect` to the end of EHLO, for the first job that it carries.
    pub(super) greeted_after: Duration,
    /// A transaction came to its end, and the machine has not said yet what follows.
    pub(super) finished: bool,
    armed: Option<Monotonic>,
    /// Octets given to the platform since it had none.
    unsent: usize,
    /// The site knows that all of what it carries is sent.
    told_sent: bool,
}

/// A job on its way.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) job: JobId,
    pub(super) began: Monotonic,
    stored: Arc<Stored>,
}

impl Carried {
    /// Whether content may be pushed now, `unsent` octets being on their way: a window at a time,
    /// of which a small message behind another takes what is left.
    fn fits(&self, client: &Client, unsent: usize) -> bool {
        let Some(offset) = client.wants_content() else { return false };
        let left = usize::try_from(self.stored.bytes() - offset).unwrap_or(usize::MAX);
        unsent == 0 || left <= CONTENT_WINDOW.saturating_sub(unsent)
    }
}

impl Outbound {
    /// A connection that is being made.
    pub(super) fn new(
        id: ConnectionId,
        site: SiteId,
        pooled: PooledId,
        (peer, source): (Box<str>, Arc<str>),
        options: Arc<Options>,
        protection: Protection,
        now: Monotonic,
    ) -> Self {
        Self {
            id,
            site,
            pooled,
            peer,
            source,
            options,
            protection,
            behalf: None,
            followed: None,
            through: None,
            client: None,
            carried: VecDeque::new(),
            began: now,
            greeted_after: Duration::ZERO,
            finished: false,
            armed: None,
            unsent: 0,
            told_sent: false,
        }
    }

    /// The connection is there: wait for the greeting.
    pub(super) fn connected<P: Platform>(&mut self, local: SocketAddr, cx: &mut Context<'_, P>) {
        let own = self.through.as_ref().and_then(|through| through.from);
        if let Some(behalf) = &mut self.behalf {
            behalf.leaves(own.unwrap_or(local.ip()));
        }
        self.enter(cx);
    }

    /// Nothing is between us and the peer: wait for the greeting.
    fn open<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        self.client = Some(Client::new(self.options.clone(), cx.mono()));
        self.pump(cx);
    }

    /// The peer will send nothing more, or the connection broke.
    pub(super) fn ended<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> Result<(), NoWay> {
        match (&mut self.client, &self.through) {
            (Some(client), _) => client.handle_end(cx.mono()),
            (None, Some(_)) => return Err(NoWay::Ended),
            (None, None) => {}
        }
        Ok(())
    }

    /// All that was given to the platform has left.
    pub(super) fn sent<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        self.unsent = 0;
        self.pump(cx);
    }

    /// The timer fired; whether connecting has taken too long.
    pub(super) fn timer<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> bool {
        self.armed = None;
        match &mut self.client {
            Some(client) => {
                client.handle_deadline(cx.mono());
                false
            }
            None => cx.mono() >= self.began + CONNECT_DEADLINE,
        }
    }

    /// Carry a job: the machine is ready for it, or has sent all of what came before.
    pub(super) fn begin<P: Platform>(
        &mut self,
        job: JobId,
        stored: Arc<Stored>,
        recipients: Vec<u16>,
        cx: &mut Context<'_, P>,
    ) {
        let client = self.client.as_mut().expect("assigned once it was ready");
        let handling = stored.envelope.handling.as_ref();
        let deliver_by = handling.and_then(|handling| handling.deliver_by);
        let transaction = Transaction {
            by: deliver_by.map(|by| by.left(cx.now.wall)),
            reverse_path: cx.settings.reverse_path(&stored, &recipients, cx.now.wall),
            envelope: stored.envelope.clone(),
            recipients,
            content_bytes: stored.bytes(),
            has_eight_bit: stored.has_eight_bit,
            header_has_eight_bit: stored.has_eight_bit,
        };
        client.begin(transaction, cx.mono());
        self.carried.push_back(Carried { job, began: cx.mono(), stored });
        self.told_sent = false;
        self.pump(cx);
    }

    /// The oldest job that it carries is settled.
    pub(super) fn finish(&mut self) -> Option<Carried> {
        self.told_sent = false;
        self.carried.pop_front()
    }

    /// Whether another job may now follow behind what it carries; said once.
    pub(super) fn was_sent(&mut self) -> bool {
        let is_sent = self.client.as_ref().is_some_and(Client::may_begin_behind);
        is_sent && !std::mem::replace(&mut self.told_sent, true)
    }

    /// Part from the peer in good order, once idle.
    pub(super) fn quit<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        if let Some(client) = &mut self.client {
            client.quit(cx.mono());
        }
        self.pump(cx);
    }

    /// What the machine tells.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.client.as_mut()?.poll_event()
    }

    /// The first `Ready` has come: note how long that took.
    pub(super) fn greeted(&mut self, now: Monotonic) {
        self.greeted_after = now.since(self.began);
    }

    /// What the peer does itself of what a sender may ask for.
    pub(super) fn passes_on(&self) -> PassedOn {
        let extensions = self.client.as_ref().map(Client::extensions);
        extensions.map_or_else(PassedOn::default, |extensions| PassedOn {
            dsn: extensions.dsn,
            deliver_by: extensions.deliver_by,
        })
    }

    /// Whether nothing more will come: close it.
    pub(super) fn is_over(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_over)
    }

    /// Send what the machine has, with content as far as a window goes, and set the timer.
    pub(super) fn pump<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some(client) = &mut self.client else {
            let deadline = Some(self.began + CONNECT_DEADLINE);
            return cx.arm(&mut self.armed, deadline, Timer::Outbound(self.id));
        };
        let newest = self.carried.back();
        let may_push = newest.is_some_and(|newest| newest.fits(client, self.unsent));
        if client.has_output() || may_push {
            let through_tls = self.protection.is_up();
            let plain = &mut cx.common.plain;
            client.lend_buffer(if through_tls { take(plain) } else { cx.platform.buffer() });
        }
        let mut output = Vec::new();
        if let Some(followed) = &self.followed {
            // Commands by themselves: what comes with content is not told word for word.
            client.take_output(&mut output);
            followed.say(&output, cx.now.wall, &mut cx.common.traces);
        }
        if let Some(newest) = newest.filter(|_| may_push) {
            while let Some(offset) = client.wants_content() {
                let window = newest.stored.window(offset, CONTENT_WINDOW);
                if let Some(followed) = &self.followed {
                    let words = format!("content from octet {offset}: {} octets", window.len());
                    followed.note(Said::Note, &words, cx.now.wall, &mut cx.common.traces);
                }
                client.push_content(window, cx.now.mono);
            }
        }
        if client.has_output() {
            client.take_output(&mut output);
        }
        let deadline = client.deadline();
        self.give(output, cx);
        cx.arm(&mut self.armed, deadline, Timer::Outbound(self.id));
    }
}
