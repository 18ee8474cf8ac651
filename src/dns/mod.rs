//! Floor 2: questions to name servers, and where a domain's mail goes.
//!
//! ```text
//! mx, host ──Question──► resolver ──Transmit──► (platform's sockets) ──► name servers
//!     ▲                   │  ▲ cache, servers                               │
//!     └─────Answer────────┘  └──────── message, reading ◄───────────────────┘
//! ```
//!
//! All of it is machines: bytes and the time go in, bytes and answers come out. [`Resolver`] is a
//! stub resolver: it asks recursive name servers, those of resolv.conf(5) or of a knob.

mod answer;
mod cache;
mod exchange;
mod host;
mod message;
mod mx;
mod name;
mod reading;
mod resolv_conf;
mod resolver;
mod servers;

pub use answer::{Answer, Finding, Kind, MxRecord, Question, Records};
pub use exchange::{ExchangeId, Traffic, Transmit, Transport};
pub use host::{HostLookup, HostOutcome};
pub use mx::{MxHost, MxLookup, MxOutcome, OwnNames};
pub use name::{Name, NotAName};
pub use resolv_conf::Options;
pub use resolver::{Counts, Resolver};
