//! Show how reports stand, to operators.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::base::limits::{LIST_ROWS_MAX, TLS_REPORTS_TOLD};
use crate::base::time::WallTime;
use crate::policy::tls_report::ledger::Ledger;

/// How reports stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether anything is counted.
    pub is_on: bool,
    /// When the running period began, RFC 3339.
    pub since: String,
    /// Sessions that found no room in what is counted.
    pub left_out: u64,
    /// What was counted in it, at most `LIST_ROWS_MAX` rows.
    pub domains: Vec<Row>,
    /// Reports that wait to go out.
    pub waiting: usize,
    /// The last ones that went out, or could not.
    pub told: VecDeque<Told>,
}

/// Sessions under one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The destination domain.
    pub domain: String,
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy: String,
    /// Sessions that came to TLS as they were to.
    pub succeeded: u32,
    /// Sessions that did not.
    pub failed: u32,
    /// Why, most frequent first.
    pub failures: Vec<String>,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When, RFC 3339.
    pub at: String,
    /// Whose sessions it was about.
    pub domain: String,
    /// Whom it went to.
    pub to: String,
    /// Why not; `None` where it was handed over.
    pub error: Option<String>,
}

impl Status {
    /// Of what the ledger has, and what was told last.
    pub fn new(is_on: bool, ledger: &Ledger, told: &VecDeque<Told>) -> Self {
        let rows = ledger.tally().iter().flat_map(|(domain, policies)| {
            policies.iter().map(move |policy| {
                let mut failures = policy.failure_details.clone();
                failures.sort_by_key(|one| std::cmp::Reverse(one.failed_session_count));
                let failures = failures.iter().map(|one| {
                    let host = one.receiving_mx_hostname.as_deref().unwrap_or("");
                    let why = one.failure_reason_code.as_deref().unwrap_or("");
                    let (count, kind) = (one.failed_session_count, name(&one.result_type));
                    format!("{count} {kind} {host}: {why}")
                });
                Row {
                    domain: domain.to_owned(),
                    policy: name(&policy.policy.policy_type),
                    succeeded: policy.summary.total_success,
                    failed: policy.summary.total_failure,
                    failures: failures.collect(),
                }
            })
        });
        Self {
            is_on,
            since: ledger.since().to_rfc3339(),
            left_out: ledger.tally().left_out(),
            domains: rows.take(LIST_ROWS_MAX).collect(),
            waiting: ledger.waiting(),
            told: told.clone(),
        }
    }
}

/// As reports write it.
fn name(of: &impl Serialize) -> String {
    let value = serde_json::to_value(of).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Told {
    /// A report about `domain` was handed over to `to`, or not.
    pub fn new(at: WallTime, domain: &str, to: &str, result: &Result<(), String>) -> Self {
        let error = result.as_ref().err().cloned();
        Self { at: at.to_rfc3339(), domain: domain.into(), to: to.into(), error }
    }

    /// Keep it with the last ones.
    pub fn keep(self, told: &mut VecDeque<Self>) {
        if told.len() >= TLS_REPORTS_TOLD {
            told.pop_front();
        }
        told.push_back(self);
    }
}

#[cfg(test)]
mod tests {
    use mail_auth::report::tlsrpt::{FailureDetails, PolicyDetails, PolicyType, ResultType};

    use super::*;
    use crate::policy::tls_report::Tally;

    #[test]
    fn what_was_counted_and_told_is_shown() {
        let mut tally = Tally::default();
        let policy = PolicyDetails::new(PolicyType::Sts, "a.example");
        for why in ["expired", "other", "other"] {
            let failure = FailureDetails::new(ResultType::CertificateExpired)
                .with_receiving_mx_hostname("mx.a.example")
                .with_failure_reason_code(why);
            tally.count("a.example", &policy, Some(failure));
        }
        let now = WallTime(1_459_468_800_000);
        let mut ledger = Ledger::new(now);
        ledger.take_in(&tally, now, || unreachable!());
        let mut told = VecDeque::new();
        for _ in 0..2 * TLS_REPORTS_TOLD {
            Told::new(now, "b.example", "r@b.example", &Err("no".into())).keep(&mut told);
        }
        let status = Status::new(true, &ledger, &told);
        assert_eq!(status.since, "2016-04-01T00:00:00.000Z");
        assert_eq!(status.told.len(), TLS_REPORTS_TOLD);
        let failures = [
            "2 certificate-expired mx.a.example: other",
            "1 certificate-expired mx.a.example: expired",
        ];
        let row = Row {
            domain: "a.example".into(),
            policy: "sts".into(),
            succeeded: 0,
            failed: 3,
            failures: failures.map(String::from).into(),
        };
        assert_eq!(status.domains, [row]);
    }
}
