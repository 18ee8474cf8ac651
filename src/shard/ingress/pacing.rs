//! Turn away strangers that come too often.
//!
//! Who may relay from its address, and a proxy that speaks for others, is no stranger. Who has said
//! who it is may send as often as it likes.

use std::net::IpAddr;

use crate::mail::status::Reply;
use crate::outcome::counters::Count;
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

/// What a client at this address is told that connects, if it does so too often.
pub(super) fn too_often<P: Platform>(
    listener: u16,
    client: IpAddr,
    cx: &mut Context<'_, P>,
) -> Result<(), Reply> {
    let limits = cx.settings.rates;
    if limits.connections.is_none() || cx.settings.relay.may_relay(listener, client) {
        return Ok(());
    }
    let now = cx.mono();
    let paced = cx.common.rates.connect(limits, client, now);
    if paced.is_err() {
        cx.common.counters.increment(Count::RateOfConnections);
    }
    paced
}

impl Inbound {
    /// What is against another message of this client now.
    pub(super) fn sends_too_often<P: Platform>(&self, cx: &mut Context<'_, P>) -> Option<Answer> {
        let limits = cx.settings.rates;
        let (listener, client) = (self.client.listener, self.client.peer.ip());
        if limits.messages.is_none()
            || self.is_vouched()
            || cx.settings.relay.may_relay(listener, client)
        {
            return None;
        }
        let now = cx.mono();
        let refusal = cx.common.rates.message(limits, client, now).err()?;
        cx.common.counters.increment(Count::RateOfMessages);
        Some(refusal.into())
    }
}
