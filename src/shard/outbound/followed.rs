//! A connection whose dialogue somebody follows.

use crate::base::ids::MessageId;
use crate::mail::address::Domain;
use crate::shard::commands::Said;
use crate::shard::context::Context;
use crate::shard::delivery::{Delivery, SiteId};
use crate::shard::outbound::Outbound;
use crate::shard::platform::Platform;

impl Outbound {
    /// Follow it from here on, if somebody watches `domain`.
    pub(in crate::shard) fn follow<P: Platform>(
        &mut self,
        domain: &Domain,
        words: &str,
        cx: &mut Context<'_, P>,
    ) {
        let names = (&*self.peer, &self.source);
        self.followed = cx.common.traces.follow(domain, self.id, names, cx.now);
        self.note(|| words.to_owned(), cx);
    }

    /// It is about to carry a message for `domain`.
    pub(in crate::shard) fn follow_message<P: Platform>(
        &mut self,
        domain: &Domain,
        (message, recipients): (MessageId, usize),
        cx: &mut Context<'_, P>,
    ) {
        if self.followed.is_none() && cx.common.traces.is_watched() {
            self.follow(domain, "an open connection", cx);
        }
        let words = || format!("message {message} for {recipients} recipients at {domain}");
        self.note(words, cx);
    }

    /// Words about it, for whoever follows it.
    pub(in crate::shard) fn note<P: Platform>(
        &self,
        words: impl FnOnce() -> String,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(followed) = &self.followed {
            followed.note(Said::Note, &words(), cx.now.wall, &mut cx.common.traces);
        }
    }
}

impl Delivery {
    /// The domain for which `site` connects, where somebody watches some.
    pub(in crate::shard) fn followed_domain<P: Platform>(
        &self,
        site: SiteId,
        cx: &Context<'_, P>,
    ) -> Option<Domain> {
        if !cx.common.traces.is_watched() {
            return None;
        }
        let first = self.sites.get(site.0)?.site.next_in_line()?;
        Some(self.jobs.get(first.0)?.dispatch.domain.clone())
    }
}
