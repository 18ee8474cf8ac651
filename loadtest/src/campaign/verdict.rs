//! What was promised and whether it was kept, one line each.

use std::process::ExitCode;

/// Findings of a run, in order.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    findings: Vec<(bool, String)>,
}

impl Verdict {
    pub(crate) fn add(&mut self, kept: bool, what: String) {
        self.findings.push((kept, what));
    }

    /// Each finding, and whether it is as promised.
    pub(crate) fn findings(&self) -> &[(bool, String)] {
        &self.findings
    }

    pub(crate) fn is_good(&self) -> bool {
        self.findings.iter().all(|(kept, _)| *kept)
    }

    pub(crate) fn text(&self) -> String {
        let mark = |kept: &bool| if *kept { "ok  " } else { "FAIL" };
        let line = |(kept, what): &(bool, String)| format!("{} {}\n", mark(kept), what.trim_end());
        self.findings.iter().map(line).collect()
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_promise_is_a_failure() {
        let mut verdict = Verdict::default();
        verdict.add(true, "0 lost".to_owned());
        assert!(verdict.is_good());
        verdict.add(false, "2 changed ".to_owned());
        assert!(!verdict.is_good());
        assert_eq!(verdict.text(), "ok   0 lost\nFAIL 2 changed\n");
    }
}
