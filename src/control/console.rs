//! The console: pages that show what the node does, and steer it. They are in the binary, need no
//! other host, and ask what `relay-fast queue` and its siblings ask.
//!
//! The files are for everybody who reaches the address; what they show is asked for with a token,
//! where there is one. `/v1/live` tells an overview every `LIVE_EVERY`, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval};

use crate::base::limits::{LIVE_EVERY, LIVE_FOR, LIVE_WATCHERS_MAX};
use crate::control::http::Refused;
use crate::control::overview::Overviews;

/// Name, type, content.
type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

const PAGE: File = ("", "text/html; charset=utf-8", include_str!("console/index.html"));

const FILES: [File; 12] = [
    PAGE,
    ("style.css", "text/css; charset=utf-8", include_str!("console/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("console/icon.svg")),
    ("app.js", SCRIPT, include_str!("console/app.js")),
    ("api.js", SCRIPT, include_str!("console/api.js")),
    ("ui.js", SCRIPT, include_str!("console/ui.js")),
    ("overview.js", SCRIPT, include_str!("console/overview.js")),
    ("destinations.js", SCRIPT, include_str!("console/destinations.js")),
    ("campaigns.js", SCRIPT, include_str!("console/campaigns.js")),
    ("bounces.js", SCRIPT, include_str!("console/bounces.js")),
    ("messages.js", SCRIPT, include_str!("console/messages.js")),
    ("domain.js", SCRIPT, include_str!("console/domain.js")),
];

/// What its pages may do: nothing but what comes from this node.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|(known, ..)| *known == name)
}

/// The pages, and what they are told live.
pub(super) fn router(overviews: Overviews) -> Router {
    let watching = Watching { overviews, room: Arc::new(Semaphore::new(LIVE_WATCHERS_MAX)) };
    Router::new()
        .route("/", get(async || serve(&PAGE)))
        .route("/console/", get(async || serve(&PAGE)))
        .route("/console/{name}", get(named))
        .route("/v1/live", get(live).with_state(watching))
}

async fn named(Path(name): Path<String>) -> Result<Response, Refused> {
    let missing = || Refused(StatusCode::NOT_FOUND, format!("the console has no file {name}"));
    file(&name).map(serve).ok_or_else(missing)
}

fn serve((_, kind, content): &'static File) -> Response {
    let mut response = ([(header::CONTENT_TYPE, *kind)], *content).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[derive(Clone)]
struct Watching {
    overviews: Overviews,
    room: Arc<Semaphore>,
}

/// A place is held until the stream is dropped, with its connection.
struct Watcher {
    overviews: Overviews,
    clock: tokio::time::Interval,
    left: u128,
    _place: OwnedSemaphorePermit,
}

async fn live(State(Watching { overviews, room }): State<Watching>) -> Result<Response, Refused> {
    let Ok(place) = room.try_acquire_owned() else {
        let words = format!("{LIVE_WATCHERS_MAX} watch already: ask /v1/overview");
        return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, words));
    };
    let mut clock = interval(LIVE_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let left = LIVE_FOR.as_millis() / LIVE_EVERY.as_millis();
    let watcher = Watcher { overviews, clock, left, _place: place };
    let told = stream::unfold(watcher, async |mut watcher| {
        watcher.left = watcher.left.checked_sub(1)?;
        watcher.clock.tick().await;
        let event = Event::default().data(watcher.look().await);
        Some((Ok::<_, Infallible>(event), watcher))
    });
    Ok(Sse::new(told).into_response())
}

impl Watcher {
    async fn look(&self) -> String {
        match self.overviews.now().await {
            Ok(overview) => serde_json::to_string(&*overview).expect("plain data"),
            Err(silent) => json!({ "error": silent.to_string() }).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the pages ask for comes with them: they work where nothing else can be reached.
    #[test]
    fn no_file_names_another_host_and_each_that_is_named_is_there() {
        for (name, _, content) in FILES {
            // In scripts that is the name of a function.
            let of_styles = name.ends_with(".css").then_some("url(");
            for place in ["src=\"", "href=\"", "from \""].into_iter().chain(of_styles) {
                for (at, _) in content.match_indices(place) {
                    let named = &content[at + place.len()..];
                    let named = named.split(['"', ')']).next().unwrap_or("");
                    let here =
                        named.strip_prefix("/console/").is_some_and(|name| file(name).is_some());
                    let is_own = named.starts_with('#') || here;
                    assert!(is_own, "{name} names {named}");
                }
            }
            let without_names = content.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_names.contains("://"), "{name}");
        }
    }

    #[test]
    fn nothing_that_others_wrote_is_read_as_html() {
        for (name, _, content) in FILES {
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!content.contains(word), "{name} has {word}");
            }
        }
    }
}
