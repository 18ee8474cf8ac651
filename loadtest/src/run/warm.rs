//! Hold a source that is warmed up to its day's number at each provider, by the servers' answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::campaign::verdict::Verdict;
use crate::ledger::each_line;

/// A new source.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WarmPart {
    source: IpAddr,
    /// Messages to each provider today.
    most: u64,
}

/// Each answer is of a message that was given to a connection.
pub(super) fn judge(part: &WarmPart, answered: &Path, verdict: &mut Verdict) -> Result<()> {
    let (source, mut sent) = (part.source.to_string(), BTreeMap::<String, u64>::new());
    each_line(answered, |line| {
        let mut words = line.split(' ');
        if words.next() == Some(&*source)
            && let Some(listener) = words.next()
        {
            *sent.entry(listener.to_owned()).or_default() += 1;
        }
    })?;
    let (all, most) = (sent.values().sum::<u64>(), sent.values().max().copied().unwrap_or(0));
    let limit = part.most;
    let text = format!("the new source sent {all} messages, {most} to a provider; {limit} at most");
    verdict.add(all > 0 && most <= limit, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_days_number_is_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answered");
        let line = |client: &str, listener: &str| format!("{client} {listener} u@x 250 2.0.0\n");
        let lines =
            [line("127.0.0.4", "a:25"), line("127.0.0.4", "a:25"), line("127.0.0.5", "a:25")];
        std::fs::write(&file, lines.concat() + &line("127.0.0.4", "b:25")).unwrap();
        for (source, most, kept) in [
            ("127.0.0.4", 2, true),
            ("127.0.0.4", 1, false),
            ("127.0.0.5", 1, true),
            ("127.0.0.6", 1, false),
        ] {
            let (part, mut verdict) =
                (WarmPart { source: source.parse().unwrap(), most }, Verdict::default());
            judge(&part, &file, &mut verdict).unwrap();
            assert_eq!(verdict.is_good(), kept, "{}", verdict.text());
        }
    }
}
