//! Bring a connection through its source's proxy, before the peer is spoken to.
//!
//! In: what the proxy says. Out: octets for it; then everything is the peer's. Invariant: the peer
//! has no octet of ours before the proxy says that the way is open, but where it says nothing of
//! that (a PROXY header). All of it together has `CONNECT_DEADLINE`, as connecting has.
//! Lives on: the owner shard.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::egress::endpoints::Endpoint;
use crate::egress::source::{Proxy, Source, Speaks};
use crate::mail::outcome::Failure;
use crate::shard::context::Context;
use crate::shard::delivery::Delivery;
use crate::shard::outbound::Outbound;
use crate::shard::platform::Platform;
use crate::smtp::proxy;
use crate::smtp::socks::{NoWay, Progress, Socks};

/// The proxy of a connection.
#[derive(Debug)]
pub(in crate::shard) struct Through {
    pub(in crate::shard) proxy: Arc<Proxy>,
    /// The address there that it is to connect from.
    pub(super) from: Option<IpAddr>,
    peer: SocketAddr,
    /// The place of the source in its pool.
    place: usize,
    /// Until the way is open.
    socks: Option<Socks>,
    /// The proxy said that the peer is why there is none.
    is_the_peers: bool,
}

impl Through {
    /// What a connection of a source to `endpoint` goes through; `place`: the source's in its pool.
    pub(in crate::shard) fn new(place: usize, source: &Source, to: &Endpoint) -> Option<Self> {
        let proxy = source.proxy.clone()?;
        let peer = to.address;
        let socks = match &proxy.speaks {
            Speaks::Socks(login) => Some(Socks::new(peer, login.clone())),
            Speaks::Header => None,
        };
        let is_the_peers = false;
        Some(Self { proxy, from: source.address, peer, place, socks, is_the_peers })
    }

    /// There is no way.
    pub(in crate::shard) fn failed(&mut self, why: NoWay) {
        self.is_the_peers = why.is_the_peers();
    }

    /// Whether a connection that came to nothing did so by the proxy.
    pub(in crate::shard) fn is_at_fault(&self) -> bool {
        !self.is_the_peers
    }

    /// A failure to connect, and through what.
    pub(in crate::shard) fn told(&self, failure: &Failure) -> Failure {
        Failure::Connect(format!("through {}: {failure}", self.proxy).into())
    }
}

impl Outbound {
    /// The proxy, or where there is none the peer, is there.
    pub(super) fn enter<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some(through) = &mut self.through else { return self.open(cx) };
        if let Some(socks) = &mut through.socks {
            let output = socks.take_output();
            cx.platform.send(self.id, output);
            return self.pump(cx);
        }
        if let Some(from) = through.from {
            let header = proxy::header(from, through.peer);
            cx.platform.send(self.id, header);
        }
        self.open(cx);
    }

    /// The proxy, or the peer behind it, sent this. An error: there is no way.
    pub(in crate::shard) fn received<P: Platform>(
        &mut self,
        bytes: &[u8],
        cx: &mut Context<'_, P>,
    ) -> Result<(), NoWay> {
        let Some(socks) = self.through.as_mut().and_then(|through| through.socks.as_mut()) else {
            self.peer_said(bytes, cx);
            return Ok(());
        };
        let (taken, progress) = socks.handle_bytes(bytes);
        let output = socks.take_output();
        match progress {
            Progress::More => cx.platform.send(self.id, output),
            Progress::Failed(why) => return Err(why),
            Progress::Open => {
                if let Some(through) = &mut self.through {
                    through.socks = None;
                }
                self.open(cx);
                self.peer_said(&bytes[taken..], cx);
            }
        }
        Ok(())
    }
}

impl Delivery {
    /// The proxy of a connection's source failed: the source is left alone for a while, and if
    /// another one can connect meanwhile, nobody has failed.
    pub(in crate::shard) fn pass_over<P: Platform>(
        &mut self,
        outbound: &Outbound,
        failure: &Failure,
        cx: &mut Context<'_, P>,
    ) -> bool {
        let (site, pooled, now) = (outbound.site, outbound.pooled, cx.now.mono);
        let (Some(through), Some(row)) = (&outbound.through, self.sites.get_mut(site.0)) else {
            return false;
        };
        if !row.rest_source(pooled, through.place, through.peer.ip(), now) {
            return false;
        }
        tracing::warn!(site = &*row.name, %failure, "a source is passed over for a while");
        row.connections.remove(&pooled);
        row.site.on_closed(pooled, now);
        self.stir(site);
        true
    }
}
