//! `relay-fast check-domain`: what is asked, and how a report is told to people and to programs.
//!
//! In: a report. Out: a line for each finding, aligned, then what to publish as lines of a zone
//! file, what is meant for people in comments; or one JSON object on one line.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::base::limits::DOMAIN_CHECKS_AT_A_TIME;
use crate::control::http::{Refused, bad};
use crate::mail::address::Domain;

use crate::policy::domain_check::{Finding, Report, Served, Status, Verdict};

/// A check that is wanted.
#[derive(Args)]
pub struct CheckDomain {
    /// The domain
    pub domain: String,
    /// An address that mail leaves from, as the internet sees it; may be repeated
    #[arg(long = "source", value_name = "ADDRESS")]
    pub sources: Vec<IpAddr>,
    /// Look at what sends for it, though it is a relay domain without a key here
    #[arg(long)]
    pub sends: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// The exit code of what a report came to.
pub fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Well => 0,
        Verdict::Failed => 1,
        Verdict::Unchecked => 3,
    }
}

/// The exit code where nothing can be asked at all.
pub const USAGE: u8 = 2;

/// For people; in colours or not.
pub fn text(report: &Report, is_coloured: bool) -> String {
    let width = |of: fn(&Finding) -> usize| report.findings.iter().map(of).max().unwrap_or(0);
    let topics = width(|finding| finding.topic.as_str().len());
    let names = width(|finding| finding.of.len());
    let mut text = String::new();
    for finding in &report.findings {
        let Finding { topic, of, found, reference, .. } = finding;
        let (word, topic) = (word(finding.status, is_coloured), topic.as_str());
        let why = match finding.status {
            Status::Pass | Status::Info => String::new(),
            Status::Warn | Status::Fail => format!(" ({reference})"),
            Status::Unchecked => format!(" (could not be checked; {reference})"),
        };
        line(&mut text, &format!("{word}  {topic:topics$}  {of:names$}  {found}{why}"));
    }
    line(&mut text, "");
    line(&mut text, &sum(report));
    text.push_str(&zone_text(report));
    text
}

/// The word of a line, in its colour. What could not be checked is a warning.
fn word(status: Status, is_coloured: bool) -> String {
    let (word, colour) = match status {
        Status::Pass => ("pass", "32"),
        Status::Info => ("info", "36"),
        Status::Warn | Status::Unchecked => ("warn", "33"),
        Status::Fail => ("fail", "31;1"),
    };
    if is_coloured { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
}

fn sum(report: &Report) -> String {
    let count = |status| report.findings.iter().filter(|one| one.status == status).count();
    let mut parts = vec![format!("{} pass", count(Status::Pass))];
    for (status, words) in [
        (Status::Warn, "warn"),
        (Status::Unchecked, "could not be checked"),
        (Status::Fail, "fail"),
    ] {
        if count(status) > 0 {
            parts.push(format!("{} {words}", count(status)));
        }
    }
    format!("{}: {}", report.domain, parts.join(", "))
}

/// What to publish, ready for zone files.
fn zone_text(report: &Report) -> String {
    let mut text = String::new();
    let mut seen = Vec::new();
    for finding in &report.findings {
        let new: Vec<String> = finding
            .publish
            .iter()
            .map(ToString::to_string)
            .filter(|record| !seen.contains(record))
            .collect();
        if new.is_empty() && finding.serve.is_none() {
            continue;
        }
        let topic = finding.topic.as_str();
        let how = if finding.replaces { ", instead of what is there" } else { "" };
        line(&mut text, &format!("\n; {topic} of {}{how}:", finding.of));
        new.iter().for_each(|record| line(&mut text, record));
        seen.extend(new);
        if let Some(Served { url, text: served }) = &finding.serve {
            line(&mut text, &format!("; and served at {url}:"));
            served.lines().for_each(|one| line(&mut text, &format!(";   {one}")));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\n; To publish:\n{}", text.trim_start_matches('\n'))
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{}", line.trim_end()).expect("memory takes every write");
}

/// For programs: one object on one line.
pub fn json(report: &Report) -> String {
    let finding = |finding: &Finding| {
        let record = |record: &crate::policy::zone::Record| {
            json!({
                "name": record.name, "type": record.kind, "data": record.data,
                "line": record.to_string(),
            })
        };
        let publish: Vec<Value> = finding.publish.iter().map(record).collect();
        let serve = finding.serve.as_ref().map(|it| json!({ "url": it.url, "text": it.text }));
        json!({
            "check": finding.topic.as_str(), "of": finding.of,
            "status": finding.status.as_str(), "found": finding.found,
            "reference": finding.reference, "publish": publish,
            "replaces": finding.replaces, "serve": serve,
        })
    };
    let findings: Vec<Value> = report.findings.iter().map(finding).collect();
    let verdict = report.verdict();
    let all = json!({
        "domain": report.domain, "verdict": verdict.as_str(), "exit": exit_code(verdict),
        "findings": findings,
    });
    format!("{all}\n")
}

/// Checks a domain, and waits for it; or why it cannot be checked.
type Check = dyn Fn(Domain) -> Result<Report, String> + Send + Sync;

/// The way to who checks domains, a few at a time: each takes a thread and waits for others.
#[derive(Clone)]
pub struct DomainChecks {
    check: Arc<Check>,
    room: Arc<Semaphore>,
}

impl fmt::Debug for DomainChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainChecks")
    }
}

impl DomainChecks {
    /// Reached by this.
    pub fn new(check: impl Fn(Domain) -> Result<Report, String> + Send + Sync + 'static) -> Self {
        let room = Arc::new(Semaphore::new(DOMAIN_CHECKS_AT_A_TIME));
        Self { check: Arc::new(check), room }
    }

    async fn check(&self, domain: Domain) -> Result<String, Refused> {
        let busy = "as many domains are being checked as may be at a time: ask again";
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, busy.to_owned()));
        };
        let check = self.check.clone();
        let checked = tokio::task::spawn_blocking(move || {
            // Whoever asked may be gone: it takes its place until it is done.
            let _place = place;
            check(domain).map(|report| self::json(&report))
        });
        let failed = |words: String| Refused(StatusCode::INTERNAL_SERVER_ERROR, words);
        checked.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
    }
}

#[derive(Deserialize)]
struct Asked {
    domain: String,
}

/// What is answered of it.
pub(super) fn router(checks: DomainChecks) -> Router {
    Router::new().route("/v1/check-domain", get(checked)).with_state(checks)
}

async fn checked(
    State(checks): State<DomainChecks>,
    Query(Asked { domain }): Query<Asked>,
) -> Result<impl IntoResponse, Refused> {
    let parsed = Domain::parse(&domain).map_err(|error| bad(format!("{domain}: {error}")))?;
    if parsed.literal().is_some() {
        return Err(bad(format!(
            "{domain} is an address: only of domains there is something in DNS"
        )));
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], checks.check(parsed).await?))
}
