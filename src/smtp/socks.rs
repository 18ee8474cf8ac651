//! Ask a SOCKS5 proxy to connect to a peer (RFC 1928), with a name and a password (RFC 1929).
//!
//! In: the proxy's octets, in pieces of any size. Out: octets for the proxy; that the way is open,
//! or why not. Invariant: nothing behind the proxy's last answer is taken: it is the peer's; no
//! more than `SOCKS_ANSWER_MAX` octets of an answer are kept, and an answer is refused at its first
//! octet that cannot be. Unit: one connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::limits::{SOCKS_ANSWER_MAX, SOCKS_WORD_MAX};

#[cfg(test)]
mod tests;

/// What a proxy wants to hear of who asks (RFC 1929 §2): 1 to `SOCKS_WORD_MAX` octets each.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    name: Box<[u8]>,
    password: Zeroizing<Box<[u8]>>,
}

impl Login {
    /// From a line `name:password`; `None` where it is none.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|octet| *octet == b':')?;
        let (name, password) = (&line[..colon], &line[colon + 1..]);
        let is_word = |word: &[u8]| (1..=SOCKS_WORD_MAX).contains(&word.len());
        let is_whole = !line.contains(&b'\n') && is_word(name) && is_word(password);
        let password = Zeroizing::new(password.into());
        is_whole.then(|| Self { name: name.into(), password })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.name.escape_ascii())
    }
}

/// One connection's way through a proxy.
#[derive(Debug)]
pub struct Socks {
    peer: SocketAddr,
    login: Option<Arc<Login>>,
    state: State,
    /// Of the answer that is coming.
    kept: Vec<u8>,
    output: Vec<u8>,
}

/// Which answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Method,
    Login,
    Connect,
    Over,
}

/// What came of some octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The proxy is to say more, once it has what `take_output` gives.
    More,
    /// What follows is the peer's.
    Open,
    /// There is no way.
    Failed(NoWay),
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// It takes nobody who says who he is as we do.
    #[error("the proxy takes none of our ways to log in")]
    Method,
    /// Name and password are wrong.
    #[error("the proxy does not take name and password")]
    Login,
    /// It said no, by the number of RFC 1928 §6.
    #[error("the proxy answers: {}", words(*.0))]
    Answer(u8),
    /// It hung up.
    #[error("the proxy hung up")]
    Ended,
    /// That is no SOCKS5.
    #[error("the proxy does not speak SOCKS5")]
    Protocol,
}

impl NoWay {
    /// Whether the peer is why, and not the proxy.
    pub fn is_the_peers(self) -> bool {
        matches!(self, Self::Answer(3..=6))
    }
}

fn words(answer: u8) -> &'static str {
    match answer {
        1 => "failure of the proxy",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "too far away",
        7 => "command not known",
        8 => "address of this family not known",
        _ => "no, for no known reason",
    }
}

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const WITH_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;

impl Socks {
    /// Ask for a connection to `peer`; what is to be said first waits in `take_output`.
    pub fn new(peer: SocketAddr, login: Option<Arc<Login>>) -> Self {
        let output = match &login {
            None => vec![VERSION, 1, NO_LOGIN],
            Some(_) => vec![VERSION, 2, NO_LOGIN, WITH_PASSWORD],
        };
        Self { peer, login, state: State::Method, kept: Vec::new(), output }
    }

    /// What the proxy is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Take octets of the proxy's answers: how many, and what came of them. What is left is the
    /// peer's.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> (usize, Progress) {
        for (at, octet) in bytes.iter().enumerate() {
            self.kept.push(*octet);
            assert!(self.kept.len() <= SOCKS_ANSWER_MAX, "an answer without an end");
            let answered = match self.state {
                State::Method => self.method(),
                State::Login => self.login(),
                State::Connect => self.answer(),
                State::Over => Err(NoWay::Protocol),
            };
            match answered {
                Ok(()) if self.state == State::Over => return (at + 1, Progress::Open),
                Ok(()) => {}
                Err(why) => {
                    self.state = State::Over;
                    return (at + 1, Progress::Failed(why));
                }
            }
        }
        (bytes.len(), Progress::More)
    }

    /// The method that the proxy has chosen (RFC 1928 §3).
    fn method(&mut self) -> Result<(), NoWay> {
        match (&*self.kept, &self.login) {
            ([VERSION], _) => Ok(()),
            ([VERSION, NO_LOGIN], _) => {
                self.ask();
                Ok(())
            }
            ([VERSION, WITH_PASSWORD], Some(login)) => {
                self.output.push(LOGIN_VERSION);
                for word in [&login.name, &*login.password] {
                    self.output.push(u8::try_from(word.len()).expect("SOCKS_WORD_MAX"));
                    self.output.extend_from_slice(word);
                }
                self.await_next(State::Login);
                Ok(())
            }
            ([VERSION, _], _) => Err(NoWay::Method),
            _ => Err(NoWay::Protocol),
        }
    }

    /// Whether it takes name and password (RFC 1929 §2).
    fn login(&mut self) -> Result<(), NoWay> {
        match *self.kept {
            [LOGIN_VERSION] => Ok(()),
            [LOGIN_VERSION, 0] => {
                self.ask();
                Ok(())
            }
            [LOGIN_VERSION, _] => Err(NoWay::Login),
            _ => Err(NoWay::Protocol),
        }
    }

    /// Ask for the peer (RFC 1928 §4).
    fn ask(&mut self) {
        self.output.extend_from_slice(&[VERSION, CONNECT, 0]);
        match self.peer.ip() {
            IpAddr::V4(address) => {
                self.output.push(V4);
                self.output.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.output.push(V6);
                self.output.extend_from_slice(&address.octets());
            }
        }
        self.output.extend_from_slice(&self.peer.port().to_be_bytes());
        self.await_next(State::Connect);
    }

    fn await_next(&mut self, state: State) {
        self.state = state;
        self.kept.clear();
    }

    /// What it made of that (RFC 1928 §6). Where it is bound is of no interest.
    fn answer(&mut self) -> Result<(), NoWay> {
        let address_bytes = match *self.kept {
            [VERSION] => return Ok(()),
            // Some send no more than that.
            [VERSION, answer] if answer != 0 => return Err(NoWay::Answer(answer)),
            [VERSION, 0] | [VERSION, 0, 0] => return Ok(()),
            [VERSION, 0, 0, V4, ..] => 4,
            [VERSION, 0, 0, V6, ..] => 16,
            [VERSION, 0, 0, NAME] => return Ok(()),
            [VERSION, 0, 0, NAME, length, ..] => 1 + usize::from(length),
            _ => return Err(NoWay::Protocol),
        };
        if self.kept.len() == 4 + address_bytes + 2 {
            self.await_next(State::Over);
        }
        Ok(())
    }
}
