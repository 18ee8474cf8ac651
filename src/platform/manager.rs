//! Tell the service manager how this process fares: sd_notify(3), without its library.
//!
//! In: what happened. Out: one datagram to the socket that `NOTIFY_SOCKET` names; nothing where
//! nobody asked for it. Connected before the process is confined: a socket in the abstract
//! namespace is closed to it then. It never waits: a manager that does not listen costs nothing.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::platform::clock;

/// The way to the manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    socket: Option<UnixDatagram>,
}

impl Manager {
    /// The one that started this process and wants to be told.
    pub fn of_environment() -> Self {
        let named = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let connected = named.map(|name| connect(&name).map_err(|error| (name, error)));
        let socket = match connected.transpose() {
            Ok(socket) => socket,
            Err((name, error)) => {
                tracing::warn!(?name, %error, "the service manager cannot be told anything");
                None
            }
        };
        Self { socket }
    }

    /// Clients are taken; or a reload is over, whatever came of it.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again.
    pub fn reloading(&self) {
        let microseconds = clock::now().mono.0 / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// What is in flight is brought to its end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(state, %error, "the service manager was not told");
        }
    }
}

/// A path, or `@` and a name in the abstract namespace.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("relay-fast-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (listener, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&by_name).unwrap(), format!("@{abstract_name}")),
        ] {
            let manager = Manager { socket: Some(connect(OsStr::new(&name)).unwrap()) };
            let told = || {
                let mut text = [0; 100];
                let length = listener.recv(&mut text).unwrap();
                std::str::from_utf8(&text[..length]).unwrap().to_owned()
            };
            manager.ready();
            assert_eq!(told(), "READY=1");
            manager.reloading();
            let text = told();
            let since = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(since.parse::<u64>().is_ok(), "{text}");
            manager.stopping();
            assert_eq!(told(), "STOPPING=1");
            // One that does not listen any more, or never reads, holds up nothing.
            (0..10_000).for_each(|_| manager.ready());
            drop(listener);
            manager.ready();
        }
        assert!(connect(OsStr::new("/nowhere/at/all")).is_err());
        Manager { socket: None }.ready();
    }
}
