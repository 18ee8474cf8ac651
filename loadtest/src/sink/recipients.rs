//! The recipients of a transaction, in one buffer that is used again for the next.

/// Addresses, the last of which may still wait for its reply.
#[derive(Debug, Default)]
pub(crate) struct Recipients {
    addresses: Vec<u8>,
    ends: Vec<usize>,
}

impl Recipients {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds an address that counts only once it is kept.
    pub(crate) fn propose(&mut self, address: &[u8]) {
        self.addresses.extend_from_slice(address);
    }

    /// The address that was proposed last.
    pub(crate) fn proposed(&self) -> &[u8] {
        &self.addresses[self.kept()..]
    }

    /// Keeps or forgets the proposed address.
    pub(crate) fn decide(&mut self, keep: bool) {
        if keep {
            self.ends.push(self.addresses.len());
        } else {
            self.addresses.truncate(self.kept());
        }
    }

    pub(crate) fn clear(&mut self) {
        self.addresses.clear();
        self.ends.clear();
    }

    /// The addresses that were kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.addresses[start..end])
    }

    fn kept(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_counts() {
        let mut recipients = Recipients::default();
        for (address, keep) in [("a@b", true), ("c@d", false), ("e@f", true)] {
            recipients.propose(address.as_bytes());
            assert_eq!(recipients.proposed(), address.as_bytes());
            recipients.decide(keep);
        }
        assert_eq!(recipients.iter().collect::<Vec<_>>(), [b"a@b", b"e@f"]);
        recipients.clear();
        assert!(recipients.is_empty());
    }
}
