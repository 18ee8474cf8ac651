//! Connect to a broker, by TLS where its scheme says so, and carry octets between it and a machine.
//!
//! Nothing here has a deadline: who waits says how long.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::base::limits::EXPORT_READ_MAX;
use crate::config::options::{Broker, Outlet};

/// Connects; knows who is trusted to be a broker.
#[derive(Clone)]
pub(super) struct Dialer(TlsConnector);

impl Dialer {
    pub(super) fn new(outlet: &Outlet) -> Self {
        let mut roots = RootCertStore::empty();
        let authorities = outlet.authorities.iter().flat_map(|all| all.certificates());
        roots.add_parsable_certificates(authorities.map(CertificateDer::from));
        let config = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub(super) async fn connect(&self, broker: &Broker) -> io::Result<Link> {
        let stream = TcpStream::connect((&*broker.host, broker.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match broker.is_tls {
            false => Box::new(stream),
            true => {
                let name = ServerName::try_from(broker.host.to_string());
                let name = name.map_err(io::Error::other)?;
                Box::new(self.0.connect(name, stream).await?)
            }
        };
        Ok(Link { stream, buffer: vec![0; EXPORT_READ_MAX].into() })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A connection.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    buffer: Box<[u8]>,
}

impl Link {
    /// Write of `output` what goes, and take it off, until something comes: what.
    pub(super) async fn exchange(&mut self, output: &mut VecDeque<u8>) -> io::Result<&[u8]> {
        let length = poll_fn(|cx| self.poll(cx, output)).await?;
        Ok(&self.buffer[..length])
    }

    fn poll(&mut self, cx: &mut Context<'_>, output: &mut VecDeque<u8>) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(&mut *self.stream);
        while !output.is_empty() {
            match stream.as_mut().poll_write(cx, output.as_slices().0)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => drop(output.drain(..written)),
                Poll::Pending => break,
            }
        }
        // Of no matter whether it is through: it goes on when the next octets come.
        let _ = stream.as_mut().poll_flush(cx)?;
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(stream.poll_read(cx, &mut buffer))?;
        match buffer.filled().len() {
            0 => Poll::Ready(Err(io::Error::other("the broker closed the connection"))),
            length => Poll::Ready(Ok(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn octets_go_both_ways_though_neither_side_takes_all_at_once() {
        let (near, mut far) = duplex(7);
        let mut link = Link { stream: Box::new(near), buffer: vec![0; 16].into() };
        let sent: Vec<u8> = (0..=255).collect();
        let echo = tokio::spawn(async move {
            let mut part = [0; 5];
            loop {
                let length = far.read(&mut part).await.unwrap();
                if far.write_all(&part[..length]).await.is_err() || length == 0 {
                    break;
                }
            }
        });
        let (mut output, mut back) = (VecDeque::from(sent.clone()), Vec::new());
        while back.len() < sent.len() {
            back.extend_from_slice(link.exchange(&mut output).await.unwrap());
        }
        assert_eq!(back, sent);
        echo.abort();
        assert!(echo.await.is_err());
        let gone = link.exchange(&mut output).await.unwrap_err().to_string();
        assert!(gone.contains("closed the connection"), "{gone}");
    }
}
