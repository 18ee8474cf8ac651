//! `relay-fast tls-reports` and `/v1/tls-reports`: what is counted for TLS-RPT, what waits, what
//! was told to whom.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::base::limits::TLS_REPORT_ANSWER_MAX;
use crate::control::http::Refused;
use crate::policy::tls_report::{Row, Status};

/// Takes the answer.
pub type Reply = Box<dyn FnOnce(Status) + Send>;

/// The way to who reports: whether to send at once, and who takes the answer.
#[derive(Clone)]
pub struct TlsReports(Arc<dyn Fn(bool, Reply) + Send + Sync>);

impl fmt::Debug for TlsReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsReports")
    }
}

impl TlsReports {
    /// Reached by `ask`.
    pub fn new(ask: impl Fn(bool, Reply) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    async fn ask(&self, at_once: bool) -> Result<Json<Status>, Refused> {
        let (sender, answer) = oneshot::channel();
        let reply = move |status| {
            // Whoever asked may have given up.
            let _ = sender.send(status);
        };
        (self.0)(at_once, Box::new(reply));
        match timeout(TLS_REPORT_ANSWER_MAX, answer).await {
            Ok(Ok(status)) => Ok(Json(status)),
            Ok(Err(_)) | Err(_) => {
                let words = "reports are on their way: ask again".to_owned();
                Err(Refused(StatusCode::GATEWAY_TIMEOUT, words))
            }
        }
    }
}

/// What is answered of them.
pub(super) fn router(reports: TlsReports) -> Router {
    Router::new()
        .route("/v1/tls-reports", get(show))
        .route("/v1/tls-reports/send", post(send))
        .with_state(reports)
}

async fn show(State(reports): State<TlsReports>) -> Result<Json<Status>, Refused> {
    reports.ask(false).await
}

async fn send(State(reports): State<TlsReports>) -> Result<Json<Status>, Refused> {
    let status = reports.ask(true).await?;
    if status.is_on {
        return Ok(status);
    }
    let words = "this node reports nothing: set `from` in [tls_report]".to_owned();
    Err(Refused(StatusCode::CONFLICT, words))
}

/// For a terminal: how reports stand.
pub fn shown(status: &Status) -> String {
    let mut out = String::new();
    if !status.is_on {
        out.push_str("nothing is counted: set `from` in [tls_report]\n");
    } else {
        let _ = writeln!(out, "counted since {}:", status.since);
        table(&status.domains, &mut out);
        if status.left_out > 0 {
            let _ = writeln!(out, "no room for {} more sessions", status.left_out);
        }
    }
    let _ = writeln!(out, "{} waiting to go out", reports(status.waiting));
    for told in &status.told {
        let fate = told
            .error
            .as_deref()
            .map_or_else(|| "handed over".to_owned(), |error| format!("not handed over: {error}"));
        let _ = writeln!(out, "{} {} to {}: {fate}", told.at, told.domain, told.to);
    }
    out
}

/// For a terminal: what goes out now.
pub fn sent(status: &Status) -> String {
    format!("{} on the way to whoever wants to be told\n", reports(status.waiting))
}

fn reports(count: usize) -> String {
    if count == 1 { "1 report".to_owned() } else { format!("{count} reports") }
}

fn table(rows: &[Row], out: &mut String) {
    if rows.is_empty() {
        out.push_str("  no session with an MX host\n");
    }
    let wide = rows.iter().map(|row| row.domain.len()).max().unwrap_or(0);
    for Row { domain, policy, succeeded, failed, failures } in rows {
        let _ = writeln!(out, "  {domain:wide$}  {policy:15}  {succeeded} well, {failed} failed");
        for failure in failures {
            let _ = writeln!(out, "  {:wide$}    {failure}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tls_report::Told;

    #[test]
    fn a_person_sees_what_failed_and_who_was_told() {
        assert_eq!(
            shown(&Status::default()),
            "nothing is counted: set `from` in [tls_report]\n0 reports waiting to go out\n"
        );
        let row = |domain: &str, failures: &[&str]| Row {
            domain: domain.into(),
            policy: "sts".into(),
            succeeded: 3,
            failed: failures.len().try_into().unwrap(),
            failures: failures.iter().copied().map(String::from).collect(),
        };
        let told = |error: Option<&str>| Told {
            at: "2026-11-27T02:00:00.000Z".into(),
            domain: "a.example".into(),
            to: "r@a.example".into(),
            error: error.map(String::from),
        };
        let status = Status {
            is_on: true,
            since: "2026-11-27T00:00:00.000Z".into(),
            left_out: 2,
            domains: vec![
                row("a.example", &["1 certificate-expired mx: why"]),
                row("bb.example", &[]),
            ],
            waiting: 1,
            told: [told(None), told(Some("451 no"))].into(),
        };
        let expected = "\
counted since 2026-11-27T00:00:00.000Z:
  a.example   sts              3 well, 1 failed
                1 certificate-expired mx: why
  bb.example  sts              3 well, 0 failed
no room for 2 more sessions
1 report waiting to go out
2026-11-27T02:00:00.000Z a.example to r@a.example: handed over
2026-11-27T02:00:00.000Z a.example to r@a.example: not handed over: 451 no
";
        assert_eq!(shown(&status), expected);
        assert_eq!(sent(&status), "1 report on the way to whoever wants to be told\n");
    }
}
