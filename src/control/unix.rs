//! Speak HTTP through a Unix socket, whatever host a URL names.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// The way to whoever listens at this path.
#[derive(Clone, Debug)]
pub(super) struct Unix(pub(super) PathBuf);

impl Resolver for Unix {
    /// Some address: it is not connected to.
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        found.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(found)
    }
}

impl Connector for Unix {
    type Out = Through;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Through>, Error> {
        let stream = UnixStream::connect(&self.0)?;
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Through { stream, buffers: LazyBuffers::new(input, output) }))
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Through {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Through {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(timeout.not_zero().map(|after| *after))?;
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(|error| in_time(error, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(timeout.not_zero().map(|after| *after))?;
        let input = self.buffers.input_append_buf();
        let count = self.stream.read(input).map_err(|error| in_time(error, &timeout))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// A question is asked once: no connection is used again.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// What the kernel calls a wait that was too long.
fn in_time(error: io::Error, timeout: &NextTimeout) -> Error {
    let is_late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind());
    if is_late { Error::Timeout(timeout.reason) } else { error.into() }
}
