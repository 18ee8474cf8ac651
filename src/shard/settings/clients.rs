//! How the sending side of SMTP is run, by egress source and TLS.

use std::sync::Arc;

use crate::egress::source::Source;
use crate::smtp::client::{self, StartTls};

/// How connections from a source are run: in clear, with TLS where it is offered, with TLS or not.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) clear: Arc<client::Options>,
    pub(super) opportunistic: Arc<client::Options>,
    pub(super) secured: Arc<client::Options>,
    pub(super) required: Arc<client::Options>,
}

impl Clients {
    pub(super) fn new(source: &Source) -> Self {
        let options = |start_tls| {
            Arc::new(client::Options {
                hello: source.hello.as_ref().into(),
                deadlines: client::Deadlines::default(),
                use_pipelining: true,
                use_chunking: true,
                start_tls,
            })
        };
        Self {
            clear: options(StartTls::Never),
            opportunistic: options(StartTls::IfOffered),
            secured: options(StartTls::Always),
            required: options(StartTls::Required),
        }
    }
}
