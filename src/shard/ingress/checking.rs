//! Check content by its form before it is stored, and before anyone is asked about it.

use crate::base::ids::MessageId;
use crate::outcome::counters::Count;
use crate::policy::checks::{ContentCheck, Mode, refusal, told};
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

/// A check under way, and what is done about what it finds; `None`: it looks for URLs alone.
#[derive(Debug)]
pub(super) struct Checking {
    check: ContentCheck,
    mode: Option<Mode>,
}

impl Checking {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.check.push(chunk);
    }

    /// Domains of URLs that were found since this was last called.
    pub(super) fn take_domains(&mut self) -> Vec<Box<str>> {
        self.check.take_domains()
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.check.memory()
    }
}

impl Inbound {
    /// What checks the message to come, where that is wanted.
    pub(super) fn checking<P: Platform>(&self, cx: &Context<'_, P>) -> Option<Box<Checking>> {
        let mode = cx.settings.checks(self.client.listener);
        let rules = cx.settings.check_rules.clone();
        let check = match self.wants_urls() {
            true => ContentCheck::with_urls(rules),
            false => {
                mode?;
                ContentCheck::new(rules)
            }
        };
        Some(Box::new(Checking { check, mode }))
    }

    /// What came of a check: whether the message is taken.
    pub(super) fn check<P: Platform>(
        &self,
        id: MessageId,
        checking: &mut Checking,
        cx: &mut Context<'_, P>,
    ) -> Result<(), Answer> {
        let faults = checking.check.end();
        let Some((mode, reply)) = checking.mode.zip(refusal(&faults)) else { return Ok(()) };
        let is_attachment = faults[0].is_attachment();
        let count = if is_attachment { Count::ChecksAttachment } else { Count::ChecksForm };
        cx.common.counters.increment(count);
        let (client, found) = (self.client.peer.ip(), told(&faults));
        match mode {
            Mode::Log => {
                tracing::info!(%id, %client, "its checks would refuse this message: {found}");
                Ok(())
            }
            Mode::Reject => {
                tracing::debug!(%id, %client, "refused by its checks: {found}");
                Err(reply.into())
            }
        }
    }
}
