//! Whether what came twice may have come twice: it was in flight when the relay was killed.
//!
//! In: when each copy of a recipient's message came, when the relay was killed, and how often the
//! source had sent it. Out: copies that nothing excuses. Pure, but for reading the received file.

use std::path::Path;

use anyhow::Result;
use hashbrown::HashMap;

use crate::ledger::account::{Account, Ledger};
use crate::ledger::each_line;

/// From an upstream's 250 to the commit of that outcome, at most, on a machine with much to do.
const FLIGHT_MS: u64 = 2_000;
/// The sink writes down a time just before its 250 leaves; the kill's is taken just after it.
const SLACK_MS: u64 = 50;

/// When the relay was killed, in unix ms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kills(Vec<u64>);

impl Kills {
    pub(crate) fn add(&mut self, unix_ms: u64) {
        self.0.push(unix_ms);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether a message that came at `first` can have been in flight at a kill before `again`.
    fn excuse(&self, first: u64, again: u64) -> bool {
        let mut kills = self.0.iter();
        kills.any(|kill| {
            (first..=first + FLIGHT_MS).contains(&(kill + SLACK_MS)) && *kill <= again + SLACK_MS
        })
    }

    /// Copies, by the times at which they came, that no kill excuses; `sent` of them the source
    /// sent itself.
    fn without_excuse(&self, times: &mut [u64], sent: u32) -> u64 {
        times.sort_unstable();
        let pairs = times.windows(2);
        let loose = pairs.filter(|pair| !self.excuse(pair[0], pair[1])).count() as u64;
        loose.saturating_sub(u64::from(sent.saturating_sub(1)))
    }
}

/// The recipients of which more copies came than kills and the source excuse.
///
/// Errors: the received file cannot be read.
pub(crate) fn without_excuse(
    ledger: &Ledger,
    account: &Account,
    received: &Path,
    kills: &Kills,
) -> Result<Vec<String>> {
    let mut times: HashMap<&str, Vec<u64>> =
        account.duplicated.iter().map(|name| (name.as_str(), Vec::new())).collect();
    each_line(received, |line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, _, recipient, ms, "ok" | "changed"] = words[..] else { return };
        let (Ok(ms), name) = (ms.parse(), format!("{id} {recipient}")) else { return };
        if let Some(times) = times.get_mut(name.as_str()) {
            times.push(ms);
        }
    })?;
    let mut loose: Vec<String> = times
        .iter_mut()
        .filter_map(|(name, times)| {
            let loose = kills.without_excuse(times, ledger.copies_of(name));
            (loose > 0).then(|| (*name).to_owned())
        })
        .collect();
    loose.sort_unstable();
    Ok(loose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_between_two_copies_excuses_the_second() {
        let kills = Kills(vec![10_000, 20_000]);
        let loose = |times: &[u64], sent| kills.without_excuse(&mut times.to_vec(), sent);
        assert_eq!(loose(&[9_990], 1), 0);
        assert_eq!(loose(&[10_500, 9_990], 1), 0, "in flight at the first kill");
        assert_eq!(loose(&[9_900, 10_500, 19_999, 20_100], 1), 1, "10,500 was over by 20,000");
        assert_eq!(loose(&[9_000, 9_100], 1), 1, "no kill between");
        assert_eq!(loose(&[9_000, 9_100], 2), 0, "the source sent it twice");
        assert_eq!(loose(&[4_000, 10_100], 1), 1, "long done when the kill came");
        assert_eq!(loose(&[11_000, 12_000, 13_000], 2), 1);
    }

    #[test]
    fn the_files_tell_who_came_twice() {
        let folder = tempfile::tempdir().unwrap();
        let received = folder.path().join("received");
        let text = "i1 L a@x 100 ok\ni1 L a@x 300 ok\ni2 L a@x 100 ok\ni2 L a@x 120 ok\n";
        std::fs::write(&received, text).unwrap();
        let mut ledger = Ledger::default();
        for line in ["i1 1 1 a@x", "i2 1 1 a@x"] {
            ledger.accept(line);
        }
        text.lines().for_each(|line| ledger.receive(line));
        let account = ledger.account(0);
        let kills = Kills(vec![200]);
        let loose = without_excuse(&ledger, &account, &received, &kills).unwrap();
        assert_eq!(loose, ["i2 a@x"]);
    }
}
