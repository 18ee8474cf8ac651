//! Count sessions by domain, by the policy that was applied to them, and by how they failed.
//!
//! Invariant: bounded by `TLS_REPORT_BYTES_MAX`; what finds no room is counted as left out.

use std::collections::BTreeMap;

use mail_auth::report::tlsrpt::{FailureDetails, Policy, PolicyDetails, Summary};
use serde::{Deserialize, Serialize};

use crate::base::limits::{TLS_REPORT_BYTES_MAX, TLS_REPORT_FAILURES_MAX, TLS_REPORT_POLICIES_MAX};

/// What was counted, by domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    domains: BTreeMap<String, Vec<Policy>>,
    /// Sessions for which there was no room.
    left_out: u64,
    /// About the octets that it takes as it is written.
    bytes: usize,
}

/// Octets of what is around the words of a policy or a failure, as they are written.
const AROUND: usize = 200;

impl Tally {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.left_out == 0
    }

    /// Sessions that were not counted, for lack of room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Each domain, and what was counted under each policy.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Policy])> {
        self.domains.iter().map(|(domain, policies)| (domain.as_str(), policies.as_slice()))
    }

    /// The same, taken apart.
    pub fn into_domains(self) -> impl Iterator<Item = (String, Vec<Policy>)> {
        self.domains.into_iter()
    }

    /// Count so many sessions that succeeded and, of each kind, so many that failed.
    pub fn add(&mut self, domain: &str, policy: &Policy) {
        let total =
            u64::from(policy.summary.total_success) + u64::from(policy.summary.total_failure);
        let mut bytes = self.bytes;
        let Some(kept) = self.policy(domain, &policy.policy, &mut bytes) else {
            self.left_out += total;
            return;
        };
        let summary = &mut kept.summary;
        summary.total_success = summary.total_success.saturating_add(policy.summary.total_success);
        summary.total_failure = summary.total_failure.saturating_add(policy.summary.total_failure);
        for failure in &policy.failure_details {
            let details = &mut kept.failure_details;
            if let Some(same) = details.iter_mut().find(|one| is_same(one, failure)) {
                let count = same.failed_session_count;
                same.failed_session_count = count.saturating_add(failure.failed_session_count);
            } else if details.len() < TLS_REPORT_FAILURES_MAX {
                bytes += size_of(failure);
                details.push(failure.clone());
            }
        }
        self.bytes = bytes;
    }

    /// Count one session.
    pub fn count(&mut self, domain: &str, policy: &PolicyDetails, failure: Option<FailureDetails>) {
        let summary = Summary {
            total_success: failure.is_none().into(),
            total_failure: failure.is_some().into(),
        };
        let failure_details =
            failure.into_iter().map(|one| FailureDetails { failed_session_count: 1, ..one });
        let policy =
            Policy { policy: policy.clone(), summary, failure_details: failure_details.collect() };
        self.add(domain, &policy);
    }

    /// Count what another one has counted as well.
    pub fn merge(&mut self, other: &Self) {
        for (domain, policies) in &other.domains {
            policies.iter().for_each(|policy| self.add(domain, policy));
        }
        self.left_out += other.left_out;
    }

    /// Where this policy of a domain is counted; `None` where there is no room.
    fn policy(
        &mut self,
        domain: &str,
        policy: &PolicyDetails,
        bytes: &mut usize,
    ) -> Option<&mut Policy> {
        let known = self.domains.get(domain);
        let place = known.and_then(|all| all.iter().position(|one| one.policy == *policy));
        if let Some(place) = place {
            return self.domains.get_mut(domain)?.get_mut(place);
        }
        let size = size_of_policy(domain, policy);
        let is_full = known.is_some_and(|all| all.len() >= TLS_REPORT_POLICIES_MAX);
        if is_full || *bytes + size > TLS_REPORT_BYTES_MAX {
            return None;
        }
        *bytes += size;
        let all = self.domains.entry(domain.to_owned()).or_default();
        let summary = Summary { total_success: 0, total_failure: 0 };
        all.push(Policy { policy: policy.clone(), summary, failure_details: Vec::new() });
        all.last_mut()
    }
}

/// Whether two sessions failed in the same way.
fn is_same(one: &FailureDetails, other: &FailureDetails) -> bool {
    let kind = |of: &FailureDetails| FailureDetails { failed_session_count: 0, ..of.clone() };
    one.result_type == other.result_type && kind(one) == kind(other)
}

fn size_of_policy(domain: &str, policy: &PolicyDetails) -> usize {
    let lines = policy.policy_string.iter().chain(&policy.mx_host).map(|line| line.len() + 3);
    AROUND + domain.len() + policy.policy_domain.len() + lines.sum::<usize>()
}

fn size_of(failure: &FailureDetails) -> usize {
    let words = [
        &failure.receiving_mx_hostname,
        &failure.receiving_mx_helo,
        &failure.additional_information,
        &failure.failure_reason_code,
    ];
    AROUND + words.into_iter().flatten().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use mail_auth::report::tlsrpt::{PolicyType, ResultType};

    use super::*;

    fn failure(kind: ResultType) -> Option<FailureDetails> {
        Some(FailureDetails::new(kind))
    }

    #[test]
    fn what_is_counted_apart_is_as_what_is_counted_together() {
        let none = PolicyDetails::new(PolicyType::NoPolicyFound, "a.example");
        let sts = PolicyDetails::new(PolicyType::Sts, "a.example");
        let sessions = [
            ("a.example", &none, None),
            ("a.example", &sts, failure(ResultType::CertificateExpired)),
            ("b.example", &none, failure(ResultType::StartTlsNotSupported)),
            ("a.example", &sts, failure(ResultType::CertificateExpired)),
            ("a.example", &sts, failure(ResultType::ValidationFailure)),
            ("a.example", &none, None),
        ];
        let of = |sessions: &[(&str, &PolicyDetails, Option<FailureDetails>)]| {
            let mut tally = Tally::default();
            for (domain, policy, failure) in sessions {
                tally.count(domain, policy, failure.clone());
            }
            tally
        };
        let whole = of(&sessions);
        for split in 0..=sessions.len() {
            let (first, second) = sessions.split_at(split);
            let mut sum = of(first);
            sum.merge(&of(second));
            assert_eq!(sum, whole, "split at {split}");
        }
        let counts: Vec<_> = whole
            .iter()
            .flat_map(|(domain, all)| all.iter().map(move |one| (domain, one)))
            .map(|(domain, one)| {
                let failures = one.failure_details.iter().map(|it| it.failed_session_count);
                let summary = &one.summary;
                (domain, summary.total_success, summary.total_failure, failures.collect())
            })
            .collect();
        let expected: [(&str, u32, u32, Vec<u32>); 3] = [
            ("a.example", 2, 0, vec![]),
            ("a.example", 0, 3, vec![2, 1]),
            ("b.example", 0, 1, vec![1]),
        ];
        assert_eq!(counts, expected);
    }

    #[test]
    fn there_is_a_bound_to_all_of_it() {
        let mut tally = Tally::default();
        let policy = |number: usize| PolicyDetails {
            policy_string: vec![number.to_string()],
            ..PolicyDetails::new(PolicyType::Sts, "a.example")
        };
        for number in 0..2 * TLS_REPORT_POLICIES_MAX {
            tally.count("a.example", &policy(number), None);
        }
        for number in 0..2 * TLS_REPORT_FAILURES_MAX {
            let failure = FailureDetails::new(ResultType::ValidationFailure)
                .with_failure_reason_code(number.to_string());
            tally.count("a.example", &policy(0), Some(failure));
        }
        let (_, all) = tally.iter().next().unwrap();
        assert_eq!((all.len(), tally.left_out()), (TLS_REPORT_POLICIES_MAX, 16));
        assert_eq!(all[0].failure_details.len(), TLS_REPORT_FAILURES_MAX);
        assert_eq!(all[0].summary.total_failure as usize, 2 * TLS_REPORT_FAILURES_MAX);

        let wide = PolicyDetails {
            mx_host: vec!["x".repeat(60_000)],
            ..PolicyDetails::new(PolicyType::Sts, "a.example")
        };
        for number in 0..1_000 {
            tally.count(&format!("{number}.example"), &wide, None);
        }
        assert!(tally.left_out() > 700, "{}", tally.left_out());
        let written = serde_json::to_vec(&tally).unwrap().len();
        assert!((TLS_REPORT_BYTES_MAX / 2..TLS_REPORT_BYTES_MAX).contains(&written), "{written}");
    }
}
