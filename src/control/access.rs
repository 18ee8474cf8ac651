//! Judge who may ask: by what they call this node, by what they know, by which page sends them.
//!
//! In: a request's head, and how it came. Out: who asks, or why it is not answered. Pure.
//!
//! A browser on this machine reaches loopback too, for any page that it shows. A page reaches it by
//! a name of its own that leads here (DNS rebinding): such a name is none of ours. Or it sends what
//! a form sends, blindly: that says `Origin`, and a type that forms have.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, Version, header};

use crate::base::limits::{ADMIN_TOKEN_MAX, ADMIN_TOKEN_MIN};
use crate::config::Config;
use crate::config::options::{Role, TokenFile};
use crate::control::roles::{self, Missing, Right};
use crate::mail::handling::TenantName;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Through a Unix socket, whose mode says who may.
    Unix,
    /// Over TCP, to this address.
    Tcp(IpAddr),
}

/// What is asked of those who ask.
#[derive(Debug)]
pub struct Access {
    /// Names, and addresses in their usual form.
    hosts: Vec<Box<str>>,
    /// Where there is none, nothing is asked for.
    tokens: Vec<(Token, Caller)>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name; `None` where nothing is asked for.
    pub name: Option<Box<str>>,
    /// What it may do.
    pub role: Role,
    /// Whose mail it hands in; `None`: whose it says.
    pub tenant: Option<TenantName>,
}

/// What whoever is known nowhere may do where nothing is asked for.
const ANYONE: Caller = Caller { name: None, role: Role::Operate, tenant: None };

/// A secret that was read from a file; its hash is kept.
struct Token([u8; 32]);

/// Why a file holds no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too little to be a secret, or more than anyone says.
    #[error(
        "a token has {ADMIN_TOKEN_MIN} to {ADMIN_TOKEN_MAX} octets, not {0}: `openssl rand -hex \
        32` makes one"
    )]
    Length(usize),
    /// It could not be said in a header.
    #[error("a token is one line of letters, digits and `-._~+/`, `=` at its end")]
    Form,
    /// Two files hold the same: nobody could say what may be done by it.
    #[error("another file has the same token: each needs its own")]
    Twice,
}

/// A file of a token that is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {error}", file.display())]
pub struct WrongToken {
    file: PathBuf,
    error: TokenError,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not say whom it means, or says it twice.
    NoHost,
    /// It means somebody else.
    Misdirected,
    /// It says no token.
    Unauthorized,
    /// Its token is for something else.
    Forbidden,
    /// There is nothing at its path.
    Nowhere,
    /// What is there is asked for in another way.
    Method,
    /// A page of somebody else sends it.
    Foreign,
    /// It could come from a form.
    Form,
}

impl Access {
    /// As `config` has it; `token` is the content of the file that `[admin]` names, `tokens` of
    /// the others, in their order.
    pub fn new(
        config: &Config,
        token: Option<&[u8]>,
        tokens: &[Vec<u8>],
    ) -> Result<Self, WrongToken> {
        let own = ["localhost".into(), config.hostname.as_str().to_ascii_lowercase().into()];
        let hosts = own.into_iter().chain(config.admin.hosts.iter().cloned()).collect();
        let mut access = Self { hosts, tokens: Vec::new() };
        let all = Caller { name: Some("admin".into()), ..ANYONE };
        for (content, file) in token.into_iter().zip(&config.admin.token) {
            access.add(content, file, all.clone())?;
        }
        for (content, TokenFile { name, file, role, tenant }) in
            tokens.iter().zip(&config.admin.tokens)
        {
            let name = Some(name.clone());
            access.add(content, file, Caller { name, role: *role, tenant: tenant.clone() })?;
        }
        Ok(access)
    }

    fn add(&mut self, content: &[u8], file: &Path, caller: Caller) -> Result<(), WrongToken> {
        let wrong = |error| WrongToken { file: file.to_owned(), error };
        let token = Token::parse(content).map_err(wrong)?;
        if self.tokens.iter().any(|(other, _)| other.0 == token.0) {
            return Err(wrong(TokenError::Twice));
        }
        self.tokens.push((token, caller));
        Ok(())
    }

    /// Who asks, if the request may be answered, and what it takes.
    pub fn judge<B>(
        &self,
        arrival: Arrival,
        request: &Request<B>,
    ) -> Result<(Caller, Right), Refusal> {
        let headers = request.headers();
        let host = host(request)?;
        if host.as_ref().is_some_and(|host| !self.is_ours(arrival, host.host())) {
            return Err(Refusal::Misdirected);
        }
        let right = roles::right(request.method(), request.uri().path());
        let is_public = right == Ok(Right::Public);
        let caller = match arrival {
            Arrival::Unix => Some(ANYONE),
            Arrival::Tcp(_) => self.caller(headers),
        };
        // What is there and what is not is nothing for strangers.
        let nobody = Caller { role: Role::Read, ..ANYONE };
        let caller = caller.or(is_public.then_some(nobody)).ok_or(Refusal::Unauthorized)?;
        let right = right.map_err(|missing| match missing {
            Missing::Path => Refusal::Nowhere,
            Missing::Method => Refusal::Method,
        })?;
        if !roles::permits(caller.role, right) {
            return Err(Refusal::Forbidden);
        }
        if !request.method().is_safe() {
            comes_from_no_page(host.as_ref(), headers)?;
        }
        Ok((caller, right))
    }

    fn is_ours(&self, arrival: Arrival, host: &str) -> bool {
        let named = |name: &str| self.hosts.iter().any(|one| **one == *name);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(address) = bare.parse::<IpAddr>() else {
            return named(&host.trim_end_matches('.').to_ascii_lowercase());
        };
        let address = address.to_canonical();
        let is_here = matches!(arrival, Arrival::Tcp(local) if local.to_canonical() == address);
        address.is_loopback() || is_here || named(&address.to_string())
    }

    /// Whoever says one of the tokens.
    //= RFC 6750 §2.1
    //# credentials = "Bearer" 1*SP b64token
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.tokens.is_empty() {
            return Some(ANYONE);
        }
        let said = one(headers, &header::AUTHORIZATION)?.split_once(' ')?;
        let said = said.0.eq_ignore_ascii_case("bearer").then(|| said.1.trim_start_matches(' '))?;
        // All are looked at, whichever it is.
        let (said, mut found) = (hash(said.as_bytes()), None);
        for (token, caller) in &self.tokens {
            if token.is(&said) {
                found = Some(caller);
            }
        }
        found.cloned()
    }
}

impl Token {
    fn parse(content: &[u8]) -> Result<Self, TokenError> {
        let line = content.strip_suffix(b"\n").unwrap_or(content);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !(ADMIN_TOKEN_MIN..=ADMIN_TOKEN_MAX).contains(&line.len()) {
            return Err(TokenError::Length(line.len()));
        }
        let end = line.iter().rposition(|octet| *octet != b'=').map_or(0, |last| last + 1);
        let is_plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~+/".contains(octet);
        if end == 0 || !line[..end].iter().all(is_plain) {
            return Err(TokenError::Form);
        }
        Ok(Self(hash(line)))
    }

    /// In the same time, whatever is said: what is compared are hashes.
    fn is(&self, said: &[u8; 32]) -> bool {
        verify_slices_are_equal(&self.0, said).is_ok()
    }
}

/// The token that a file holds, for one who asks.
pub fn token_text(content: &[u8]) -> Result<String, TokenError> {
    Token::parse(content)?;
    Ok(String::from_utf8_lossy(content).trim_end().to_owned())
}

fn hash(octets: &[u8]) -> [u8; 32] {
    digest(&SHA256, octets).as_ref().try_into().expect("SHA-256 has 32 octets")
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Whom the request means. HTTP/1.0 need not say it, and is spoken by no browser.
//= RFC 9112 §3.2.2
//# the origin server MUST ignore the received Host header field (if any)
fn host<B>(request: &Request<B>) -> Result<Option<Authority>, Refusal> {
    let (target, headers) = (request.uri().authority(), request.headers());
    if request.version() < Version::HTTP_11 && !headers.contains_key(&header::HOST) {
        return Ok(target.cloned());
    }
    let said = one(headers, &header::HOST).ok_or(Refusal::NoHost)?;
    let host = target.cloned().or_else(|| said.parse().ok()).ok_or(Refusal::NoHost)?;
    if host.as_str().contains('@') { Err(Refusal::NoHost) } else { Ok(Some(host)) }
}

/// What changes something is asked for by a program, or by a page of this node's own.
fn comes_from_no_page(host: Option<&Authority>, headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(&header::ORIGIN) {
        let origin = one(headers, &header::ORIGIN).and_then(|origin| origin.split_once("://"));
        let is_own = |(_, from): (&str, &str)| {
            host.is_some_and(|host| from.eq_ignore_ascii_case(host.as_str()))
        };
        if !origin.is_some_and(is_own) {
            return Err(Refusal::Foreign);
        }
    }
    let site = HeaderName::from_static("sec-fetch-site");
    if headers.contains_key(&site)
        && !one(headers, &site).is_some_and(|site| ["same-origin", "none"].contains(&site))
    {
        return Err(Refusal::Foreign);
    }
    if headers.contains_key(&header::CONTENT_TYPE) {
        let kind = one(headers, &header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
        // Neither is a type that a form has, or that a script may send without being asked for it.
        let is_ours = |kind: &str| {
            ["application/json", "text/csv"].iter().any(|one| kind.eq_ignore_ascii_case(one))
        };
        if !kind.is_some_and(|kind| is_ours(kind.trim())) {
            return Err(Refusal::Form);
        }
    }
    Ok(())
}

/// A header that is there once, and is text.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

impl Refusal {
    /// As HTTP says it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Foreign | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Nowhere => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Form => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    /// What to do.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoHost => "one Host header is needed",
            Self::Misdirected => "this node has no such name: add it to `hosts` in [admin]",
            Self::Unauthorized => "say the token: Authorization: Bearer TOKEN",
            Self::Forbidden => "this token is for something else: see `role` in its [[token]]",
            Self::Nowhere => "there is nothing at this path",
            Self::Method => "what is at this path is asked for by another method",
            Self::Foreign => "a page of another site may not ask for this",
            Self::Form => "leave Content-Type out, or say application/json or text/csv",
        }
    }
}

#[cfg(test)]
mod tests;
