//! How long a peer may take for each step (RFC 5321 §4.5.3.2).

use std::time::Duration;

use crate::base::limits::HANDSHAKE_DEADLINE;

/// The longest wait at each step, from the moment the step began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the connection to the peer's 220.
    pub greeting: Duration,
    /// For the reply to EHLO, and to HELO.
    pub hello: Duration,
    /// From the reply to STARTTLS to the end of the handshake. RFC 3207 names none.
    pub handshake: Duration,
    /// For the reply to MAIL.
    pub mail: Duration,
    /// For the reply to each RCPT.
    pub rcpt: Duration,
    /// For the reply to DATA.
    pub data: Duration,
    /// For the peer to take what was handed out of the content.
    pub block: Duration,
    /// From the end of the content to the reply to it.
    pub end_of_data: Duration,
    /// For the reply to RSET and to QUIT. The RFC names none: nothing is at stake any more.
    pub quit: Duration,
}

impl Default for Deadlines {
    /// The least that RFC 5321 §4.5.3.2.1 to §4.5.3.2.6 asks a client to wait.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            greeting: minutes(5),
            hello: minutes(5),
            handshake: HANDSHAKE_DEADLINE,
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            end_of_data: minutes(10),
            quit: Duration::from_secs(30),
        }
    }
}
