//! Judge who may ask: by what they call this node, by what they know, by which page sends them.
//!
//! In: a request's head, and how it came. Out: nothing, or why it is not answered. Pure.
//!
//! A browser on this machine reaches loopback too, for any page that it shows. A page reaches it by
//! a name of its own that leads here (DNS rebinding): such a name is none of ours. Or it sends what
//! a form sends, blindly: that says `Origin`, and a type that forms have.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, Version, header};

use crate::base::limits::{ADMIN_TOKEN_MAX, ADMIN_TOKEN_MIN};
use crate::config::Config;

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
    token: Option<Token>,
}

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
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not say whom it means, or says it twice.
    NoHost,
    /// It means somebody else.
    Misdirected,
    /// It does not say the token.
    Unauthorized,
    /// A page of somebody else sends it.
    Foreign,
    /// It could come from a form.
    Form,
}

impl Access {
    /// As `config` has it; `token` is the content of the file that it names.
    pub fn new(config: &Config, token: Option<&[u8]>) -> Result<Self, TokenError> {
        let own = ["localhost".into(), config.hostname.as_str().to_ascii_lowercase().into()];
        let hosts = own.into_iter().chain(config.admin.hosts.iter().cloned()).collect();
        Ok(Self { hosts, token: token.map(Token::parse).transpose()? })
    }

    /// Whether a request may be answered.
    pub fn judge<B>(&self, arrival: Arrival, request: &Request<B>) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = host(request)?;
        if host.as_ref().is_some_and(|host| !self.is_ours(arrival, host.host())) {
            return Err(Refusal::Misdirected);
        }
        if arrival != Arrival::Unix && !self.is_known(headers) {
            return Err(Refusal::Unauthorized);
        }
        match request.method().is_safe() {
            true => Ok(()),
            false => comes_from_no_page(host.as_ref(), headers),
        }
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

    //= RFC 6750 §2.1
    //# credentials = "Bearer" 1*SP b64token
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let said = one(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        said.is_some_and(|(scheme, said)| {
            scheme.eq_ignore_ascii_case("bearer") && token.is(said.trim_start_matches(' '))
        })
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
    fn is(&self, said: &str) -> bool {
        verify_slices_are_equal(&self.0, &hash(said.as_bytes())).is_ok()
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
            Self::Foreign => StatusCode::FORBIDDEN,
            Self::Form => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    /// What to do.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoHost => "one Host header is needed",
            Self::Misdirected => "this node has no such name: add it to `hosts` in [admin]",
            Self::Unauthorized => "say the token: Authorization: Bearer TOKEN",
            Self::Foreign => "a page of another site may not ask for this",
            Self::Form => "leave Content-Type out, or say application/json or text/csv",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const LOOPBACK: Arrival = Arrival::Tcp(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn access(token: Option<&str>) -> Access {
        let hosts = ["localhost", "node.example", "relay.example", "192.0.2.9"];
        let token = token.map(|text| Token::parse(text.as_bytes()).expect("a token"));
        Access { hosts: hosts.map(Box::from).into(), token }
    }

    fn judge(
        access: &Access,
        arrival: Arrival,
        (method, target): (&str, &str),
        headers: &[(&str, &str)],
    ) -> Result<(), Refusal> {
        let request = Request::builder().method(method).uri(target);
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        let request = request.body(()).expect("a request");
        access.judge(arrival, &request)
    }

    #[test]
    fn a_name_that_is_none_of_ours_is_refused() {
        let access = access(None);
        let ask = |host: &str| judge(&access, LOOPBACK, ("GET", "/metrics"), &[("host", host)]);
        for ours in [
            "localhost",
            "LOCALHOST:8025",
            "localhost.:1",
            "127.0.0.1",
            "127.1.2.3:8025",
            "[::1]",
            "[::1]:8025",
            "[::ffff:127.0.0.1]",
            "Node.Example",
            "relay.example:80",
            "192.0.2.9",
        ] {
            assert_eq!(ask(ours), Ok(()), "{ours}");
        }
        for others in [
            "evil.example",
            "localhost.evil.example",
            "evil.example:8025",
            "192.0.2.1",
            "[2001:db8::1]",
            "127.0.0.1.evil.example",
            "node.example@evil.example",
            "evil.example@localhost",
            "",
            "a b",
        ] {
            let refused = ask(others).expect_err(others);
            assert!([Refusal::Misdirected, Refusal::NoHost].contains(&refused), "{others}");
        }
        let own = Arrival::Tcp("192.0.2.1".parse().expect("an address"));
        let at = |host| judge(&access, own, ("GET", "/"), &[("host", host)]);
        assert_eq!((at("192.0.2.1:8025"), at("192.0.2.2")), (Ok(()), Err(Refusal::Misdirected)));
    }

    #[test]
    fn whom_a_request_means_is_said_once() {
        let access = access(None);
        let ask = |target, headers: &[_]| judge(&access, LOOPBACK, ("GET", target), headers);
        assert_eq!(ask("/", &[]), Err(Refusal::NoHost));
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(ask("/", &twice), Err(Refusal::NoHost));
        let ours = [("host", "localhost")];
        assert_eq!(ask("http://evil.example/", &ours), Err(Refusal::Misdirected));
        assert_eq!(ask("http://localhost/", &[("host", "evil.example")]), Ok(()));
        let old = |request: axum::http::request::Builder| {
            access.judge(LOOPBACK, &request.version(Version::HTTP_10).body(()).expect("a request"))
        };
        assert_eq!(old(Request::builder()), Ok(()), "as a simple check of health says it");
        let evil = Request::builder().header("host", "evil.example");
        assert_eq!(old(evil), Err(Refusal::Misdirected));
        let page = Request::builder().method("POST").header("origin", "http://evil.example");
        assert_eq!(old(page), Err(Refusal::Foreign));
    }

    #[test]
    fn a_token_is_asked_for_but_at_a_unix_socket() {
        let access = access(Some(SECRET));
        let ask = |arrival, said: Option<&str>| {
            let mut headers = vec![("host", "localhost")];
            headers.extend(said.map(|said| ("authorization", said)));
            judge(&access, arrival, ("GET", "/metrics"), &headers)
        };
        assert_eq!(ask(Arrival::Unix, None), Ok(()));
        for right in [format!("Bearer {SECRET}"), format!("bearer  {SECRET}")] {
            assert_eq!(ask(LOOPBACK, Some(&right)), Ok(()), "{right}");
        }
        let longer = format!("Bearer {SECRET}0");
        let shorter = format!("Bearer {}", &SECRET[1..]);
        let basic = format!("Basic {SECRET}");
        for wrong in ["", "Bearer", "Bearer ", SECRET, &longer, &shorter, &basic] {
            assert_eq!(ask(LOOPBACK, Some(wrong)), Err(Refusal::Unauthorized), "{wrong}");
        }
        assert_eq!(ask(LOOPBACK, None), Err(Refusal::Unauthorized));
    }

    #[test]
    fn no_page_changes_anything() {
        let access = access(None);
        let post = |more: &[(&'static str, &'static str)]| {
            let headers = [&[("host", "localhost:8025")], more].concat();
            judge(&access, LOOPBACK, ("POST", "/queue/flush"), &headers)
        };
        for fine in [
            &[][..],
            &[("content-type", "application/json")],
            &[("content-type", "Application/JSON; charset=utf-8")],
            &[("content-type", "text/csv; charset=utf-8")],
            &[("origin", "http://localhost:8025"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            assert_eq!(post(fine), Ok(()), "{fine:?}");
        }
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "http://localhost"),
            ("origin", "http://localhost:80"),
            ("origin", "null"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(post(&[foreign]), Err(Refusal::Foreign), "{foreign:?}");
        }
        for form in ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", ""] {
            assert_eq!(post(&[("content-type", form)]), Err(Refusal::Form), "{form}");
        }
        let evil = [("host", "localhost"), ("origin", "http://evil.example")];
        assert_eq!(judge(&access, LOOPBACK, ("GET", "/metrics"), &evil), Ok(()), "nothing changes");
        let delete = judge(&access, LOOPBACK, ("DELETE", "/"), &evil);
        assert_eq!(delete, Err(Refusal::Foreign));
    }

    #[test]
    fn a_file_holds_one_token() {
        for right in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}==\r\n")] {
            let text = token_text(right.as_bytes());
            assert_eq!(text.as_deref(), Ok(right.trim_end()));
        }
        let short = "x".repeat(ADMIN_TOKEN_MIN - 1);
        assert_eq!(token_text(short.as_bytes()), Err(TokenError::Length(ADMIN_TOKEN_MIN - 1)));
        let long = "x".repeat(ADMIN_TOKEN_MAX + 1);
        assert_eq!(token_text(long.as_bytes()), Err(TokenError::Length(ADMIN_TOKEN_MAX + 1)));
        for odd in [format!("{SECRET}\n{SECRET}"), "=".repeat(32), format!("a =b{SECRET}")] {
            assert_eq!(token_text(odd.as_bytes()), Err(TokenError::Form), "{odd}");
        }
        assert_eq!(token_text(b""), Err(TokenError::Length(0)));
        assert!(!format!("{:?}", access(Some(SECRET))).contains("0123"));
    }
}
