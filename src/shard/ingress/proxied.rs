//! Wait for proxies to say for whom they connect, before any session or handshake.
//!
//! In: connections from addresses of `listener[].proxy_from`. Out: a session for the client that
//! the header names. Invariant: such a connection has no session without a whole header, and
//! nothing is said to it before. Lives on: the home shard.

use std::net::SocketAddr;

use crate::base::limits::{PROXIES_WAITING_MAX, PROXY_DEADLINE};
use crate::base::time::Monotonic;
use crate::outcome::counters::Count;
use crate::shard::commit::Commit;
use crate::shard::context::{Context, Timer};
use crate::shard::ingress::Ingress;
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::proxy::{HeaderReader, Read};

/// A connection whose header is coming in.
#[derive(Debug)]
pub(super) struct Proxied {
    listener: u16,
    proxy: SocketAddr,
    reader: HeaderReader,
    due: Monotonic,
}

impl Ingress {
    /// A proxy connected.
    pub(super) fn await_header<P: Platform>(
        &mut self,
        connection: ConnectionId,
        listener: u16,
        proxy: SocketAddr,
        cx: &mut Context<'_, P>,
    ) {
        if self.draining || self.proxied.len() >= PROXIES_WAITING_MAX {
            cx.common.counters.increment(Count::ProxiesRefused);
            return cx.platform.abort(connection);
        }
        let due = cx.mono() + PROXY_DEADLINE;
        let proxied = Proxied { listener, proxy, reader: HeaderReader::default(), due };
        self.proxied.insert(connection, proxied);
        cx.arm(&mut None, Some(due), Timer::Session(connection));
    }

    /// It sent this; what is behind its header is the client's.
    pub(super) fn header_received<P: Platform>(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(proxied) = self.proxied.get_mut(connection) else { return };
        let (used, read) = proxied.reader.read(bytes);
        let Proxied { listener, proxy, due, .. } = *proxied;
        match read {
            Read::Partial => {}
            Read::Header(client) => {
                self.proxied.remove(connection);
                let client = client.unwrap_or(proxy);
                self.begin(connection, listener, client, Some(due), commit, cx);
                if used < bytes.len() {
                    self.received(connection, &bytes[used..], commit, cx);
                }
            }
            Read::Refused => {
                tracing::info!(%proxy, "no PROXY header: closed");
                self.dismiss(connection, cx);
            }
        }
    }

    /// Its timer fired, perhaps that of a connection that had its place before.
    pub(super) fn header_due<P: Platform>(
        &mut self,
        connection: ConnectionId,
        cx: &mut Context<'_, P>,
    ) {
        let Some(proxied) = self.proxied.get_mut(connection) else { return };
        if proxied.due <= cx.mono() {
            tracing::info!(proxy = %proxied.proxy, "no PROXY header in time: closed");
            self.dismiss(connection, cx);
        }
    }

    /// Close a connection that has no session.
    pub(super) fn dismiss<P: Platform>(
        &mut self,
        connection: ConnectionId,
        cx: &mut Context<'_, P>,
    ) {
        if self.proxied.remove(connection).is_some() {
            cx.common.counters.increment(Count::ProxiesRefused);
            cx.platform.abort(connection);
        }
    }

    /// Close all that have none.
    pub(super) fn dismiss_all<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        for connection in self.proxied.ids() {
            self.dismiss(connection, cx);
        }
    }
}
