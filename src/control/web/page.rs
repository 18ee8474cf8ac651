//! What people see who follow a link: pages of a few lines, a picture of nothing.
//!
//! No page says whose link it is: whoever gets a message passed on sees none of its recipient.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// A GIF of one transparent pixel.
const PICTURE: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\
    \x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// A button; only who pushes it unsubscribes.
    Ask,
    /// It is done.
    Done,
    /// There is no such link.
    Unknown,
    /// What was asked is no way to unsubscribe.
    NoClick,
    /// Only these ways of asking are known here.
    Method(&'static str),
    /// It means another host.
    Misdirected,
    /// It says too much, or too slowly.
    Large,
    /// It cannot be done now.
    Later,
}

impl Page {
    fn status(self) -> StatusCode {
        match self {
            Self::Ask | Self::Done => StatusCode::OK,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::NoClick => StatusCode::BAD_REQUEST,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Large => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Later => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Ask => {
                "<p>Do you want no more mail from this sender?</p>\n<form method=\"post\">\
                 <input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
                 <button>Unsubscribe</button></form>"
            }
            Self::Done => "<p>You are unsubscribed. There is no more to do.</p>",
            Self::Unknown => "<p>There is no such link.</p>",
            Self::NoClick => "<p>That is no way to unsubscribe.</p>",
            Self::Method(_) => "<p>That cannot be done with this link.</p>",
            Self::Misdirected => "<p>This host has no links here.</p>",
            Self::Large => "<p>That is too much.</p>",
            Self::Later => "<p>That did not work now. Please try again later.</p>",
        }
    }

    pub(super) fn response(self) -> Response {
        let words = self.words();
        let page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>Mail</title></head>\n<body>\n{words}\n</body></html>\n"
        );
        let mut response = with(self.status(), "text/html; charset=utf-8", page);
        let headers = response.headers_mut();
        let policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        match self {
            Self::Method(allow) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::Later => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
            }
            Self::Large => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Ask | Self::Done | Self::Unknown | Self::NoClick | Self::Misdirected => {}
        }
        response
    }
}

/// A picture that nobody sees.
pub(super) fn picture() -> Response {
    with(StatusCode::OK, "image/gif", PICTURE)
}

/// Links are no pages.
pub(super) fn robots() -> Response {
    with(StatusCode::OK, "text/plain", "User-agent: *\nDisallow: /\n")
}

/// The way on to where a link leads.
pub(super) fn redirect(url: &str) -> Response {
    let mut response = with(StatusCode::FOUND, "text/plain", "");
    match HeaderValue::from_str(url) {
        Ok(url) => drop(response.headers_mut().insert(header::LOCATION, url)),
        Err(_) => return Page::Unknown.response(),
    }
    response
}

/// What holds for all that is answered.
fn with(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_where_it_leads_and_a_picture_is_one() {
        let on = redirect("https://a.example/?b=c#d");
        assert_eq!(on.status(), StatusCode::FOUND);
        assert_eq!(on.headers()[header::LOCATION], "https://a.example/?b=c#d");
        assert_eq!(redirect("https://a.example/\r\nX: y").status(), StatusCode::NOT_FOUND);
        assert_eq!(picture().headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!((PICTURE.len(), &PICTURE[..6], PICTURE[42]), (43, &b"GIF89a"[..], b';'));
    }

    #[test]
    fn only_the_page_that_asks_has_a_button() {
        let pages = [Page::Done, Page::Unknown, Page::NoClick, Page::Later, Page::Large];
        assert!(Page::Ask.words().contains("<button>"));
        assert!(pages.iter().all(|page| !page.words().contains("<form")));
        let refused = Page::Method("GET, HEAD").response();
        assert_eq!(refused.headers()[header::ALLOW], "GET, HEAD");
    }
}
