//! Answer a request for a link: what it is for says the link, and nothing else does.
//!
//! Invariant: who only looks (GET, HEAD) changes nothing: scanners do so with every link of a
//! message. Who pushes the button, or whose program does so for him (RFC 8058), unsubscribes. A
//! link leads where it was made to lead, whatever else the request says.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, Method, Request, header};
use axum::response::Response;
use hyper::body::Incoming;
use mail_parser::{MessageParser, MimeHeaders as _};
use tokio::time::timeout;

use crate::base::limits::{WEB_BODY_MAX, WEB_WAIT};
use crate::base::time::Now;
use crate::control::suppression::SuppressionLists;
use crate::control::web::Rules;
use crate::control::web::counts::What;
use crate::control::web::page::{Page, picture, redirect, robots};
use crate::control::web::telling::Teller;
use crate::mail::visit::Action;
use crate::policy::links::Link;
use crate::policy::links::visit::{self, judge};

/// What answers.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) rules: Arc<ArcSwapOption<Rules>>,
    pub(super) teller: Arc<Teller>,
    pub(super) lists: SuppressionLists,
    pub(super) now: fn() -> Now,
}

/// What is wanted with a link.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// To be shown this.
    Page(Page),
    /// To know what may be looked at by robots.
    Robots,
    /// What it leads to.
    Use(Link),
    /// To unsubscribe, if the body says so.
    Unsubscribe(Link),
}

impl Desk {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response {
        let rules = self.rules.load_full();
        let wanted = match &rules {
            Some(rules) => wanted(rules, &request),
            None => Wanted::Page(Page::Unknown),
        };
        match (wanted, &rules) {
            (Wanted::Robots, _) => {
                self.teller.counts().increment(What::Page);
                robots()
            }
            (Wanted::Use(link), Some(rules)) => self.lead(link, &request, rules),
            (Wanted::Unsubscribe(link), Some(_)) => self.unsubscribe(link, request).await,
            (Wanted::Page(page), _) => self.show(page),
            (Wanted::Use(_) | Wanted::Unsubscribe(_), None) => self.show(Page::Unknown),
        }
    }

    fn show(&self, page: Page) -> Response {
        self.teller.counts().increment(match page {
            Page::Ask => What::Page,
            Page::Done => What::Unsubscribed,
            Page::Later => What::Failed,
            Page::Unknown | Page::NoClick | Page::Method(_) | Page::Misdirected | Page::Large => {
                What::Refused
            }
        });
        page.response()
    }

    /// Show a picture, or the way on; and tell of it, unless that is not wanted.
    fn lead<B>(&self, link: Link, request: &Request<B>, rules: &Rules) -> Response {
        let response = match &link.action {
            Action::Click(url) => redirect(url),
            Action::Open | Action::Unsubscribe => picture(),
        };
        let headers = request.headers();
        if rules.honours_do_not_track && asks_not_to_be_tracked(headers) {
            self.teller.counts().increment(What::Unwanted);
            return response;
        }
        let asked = visit::Request {
            user_agent: text(headers, &header::USER_AGENT),
            is_head: request.method() == Method::HEAD,
            is_prefetch: is_prefetch(headers),
            age: (self.now)().wall.since(link.about.taken),
        };
        let by = judge(&link.action, &asked, rules.soon);
        self.teller.note(link, by);
        response
    }

    async fn unsubscribe(&self, link: Link, request: Request<Incoming>) -> Response {
        let kind = text(request.headers(), &header::CONTENT_TYPE).to_owned();
        let body = to_bytes(Body::new(request.into_body()), WEB_BODY_MAX);
        let page = match timeout(WEB_WAIT, body).await {
            Ok(Ok(body)) if is_one_click(&kind, &body) => {
                match self.teller.unsubscribe(link, &self.lists).await {
                    true => Page::Done,
                    false => Page::Later,
                }
            }
            Ok(Ok(_)) => Page::NoClick,
            Ok(Err(_)) | Err(_) => Page::Large,
        };
        self.show(page)
    }
}

fn wanted<B>(rules: &Rules, request: &Request<B>) -> Wanted {
    let host = host(request).filter(|host| rules.hosts.iter().any(|one| **one == **host));
    let Some(host) = host else { return Wanted::Page(Page::Misdirected) };
    let (path, method) = (request.uri().path(), request.method());
    let looks = method == Method::GET || method == Method::HEAD;
    if path == "/robots.txt" && looks {
        return Wanted::Robots;
    }
    let Some(link) = rules.links.read(&host, path) else { return Wanted::Page(Page::Unknown) };
    match (&link.action, looks) {
        (Action::Unsubscribe, true) => Wanted::Page(Page::Ask),
        (Action::Unsubscribe, false) if method == Method::POST => Wanted::Unsubscribe(link),
        (Action::Unsubscribe, false) => Wanted::Page(Page::Method("GET, HEAD, POST")),
        (Action::Open | Action::Click(_), true) => Wanted::Use(link),
        (Action::Open | Action::Click(_), false) => Wanted::Page(Page::Method("GET, HEAD")),
    }
}

/// The host that a request means, without its port, in lower case.
//= RFC 9112 §3.2.2
//# the origin server MUST ignore the received Host header field (if any)
fn host<B>(request: &Request<B>) -> Option<String> {
    let target = request.uri().authority().cloned();
    let mut said = request.headers().get_all(header::HOST).iter();
    let first = said.next().and_then(|value| value.to_str().ok()?.parse().ok());
    let host = target.or(first).filter(|_| said.next().is_none())?;
    Some(host.host().trim_end_matches('.').to_ascii_lowercase())
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// `DNT: 1` (W3C Tracking Preference Expression), `Sec-GPC: 1` (W3C Global Privacy Control).
fn asks_not_to_be_tracked(headers: &HeaderMap) -> bool {
    ["dnt", "sec-gpc"].iter().any(|name| headers.get(*name).is_some_and(|value| value == "1"))
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    ["purpose", "sec-purpose", "x-moz"].iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok()).unwrap_or("");
        value.to_ascii_lowercase().contains("prefetch") || value.eq_ignore_ascii_case("preview")
    })
}

/// Whether a form says that its sender unsubscribes, in either of the types that RFC 8058 §3.2 lets
/// it have.
fn is_one_click(kind: &str, body: &[u8]) -> bool {
    let is_it = |name: &str, value: &str| {
        name.eq_ignore_ascii_case("List-Unsubscribe")
            && value.trim().eq_ignore_ascii_case("One-Click")
    };
    if kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
        let message = [b"Content-Type: ", kind.as_bytes(), b"\r\n\r\n", body].concat();
        let Some(form) = MessageParser::new().parse(&message) else { return false };
        return form.parts.iter().any(|part| {
            let name = part.content_disposition().and_then(|it| it.attribute("name"));
            is_it(name.unwrap_or(""), part.text_contents().unwrap_or(""))
        });
    }
    let text = String::from_utf8_lossy(body);
    text.split('&').filter_map(|pair| pair.split_once('=')).any(|(name, value)| is_it(name, value))
}

#[cfg(test)]
mod tests;
