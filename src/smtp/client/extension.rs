//! What the peer offers in its answer to EHLO.
//!
//! In: the lines of the reply, one by one. Out: [`PeerExtensions`]. Unknown keywords and parameters
//! that do not read are passed over: they bind only those who use them (RFC 5321 §4.1.1.1).

/// The extensions that a peer offers and that we know; nothing after HELO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerExtensions {
    /// EHLO was answered with 250: the peer speaks ESMTP.
    pub esmtp: bool,
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 3030 BDAT.
    pub chunking: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtp_utf8: bool,
    /// RFC 3030.
    pub binary_mime: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// RFC 3207.
    pub start_tls: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 6710.
    pub priority: bool,
    /// RFC 2852.
    pub deliver_by: bool,
    /// RFC 1870: `None` not offered; `Some(0)` offered without a fixed limit; else octets.
    pub size: Option<u64>,
    /// RFC 9422 RCPTMAX: recipients a transaction.
    pub recipients_max: Option<u32>,
    /// RFC 9422 MAILMAX: transactions a connection.
    pub transactions_max: Option<u32>,
    /// RFC 9422 RCPTDOMAINMAX: destination domains a transaction.
    pub domains_max: Option<u32>,
}

impl PeerExtensions {
    /// Take in one line of the reply to EHLO after the first, without its code.
    pub fn handle_line(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let keyword = words.next().unwrap_or("").to_ascii_uppercase();
        match keyword.as_str() {
            "PIPELINING" => self.pipelining = true,
            "CHUNKING" => self.chunking = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtp_utf8 = true,
            "BINARYMIME" => self.binary_mime = true,
            "DSN" => self.dsn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.start_tls = true,
            "REQUIRETLS" => self.require_tls = true,
            "MT-PRIORITY" => self.priority = true,
            // The least time that it takes comes behind: what is less it refuses itself.
            "DELIVERBY" => self.deliver_by = true,
            "SIZE" => self.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
            "LIMITS" => words.for_each(|limit| self.handle_limit(limit)),
            _ => {}
        }
    }

    /// `NAME=VALUE` of LIMITS. A limit of 0 would forbid all mail; the RFC allows 1 and more.
    fn handle_limit(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else {
            return;
        };
        let Some(value) = value.parse().ok().filter(|value| *value > 0) else {
            return;
        };
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.recipients_max = Some(value),
            "MAILMAX" => self.transactions_max = Some(value),
            "RCPTDOMAINMAX" => self.domains_max = Some(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> PeerExtensions {
        let mut extensions = PeerExtensions::default();
        lines.iter().for_each(|line| extensions.handle_line(line));
        extensions
    }

    //= RFC 5321 §4.1.1.1, type=test
    //# EHLO keywords … MUST always be processed in a case-insensitive manner
    #[test]
    fn keywords_are_read_in_any_case() {
        let all = read(&["pipelining", "Chunking", "8BitMime", "smtputf8", "BinaryMIME", "dsn"]);
        assert!(all.pipelining && all.chunking && all.eight_bit_mime);
        assert!(all.smtp_utf8 && all.binary_mime && all.dsn && !all.deliver_by);
        assert!(read(&["DeliverBy 120"]).deliver_by);
    }

    //= RFC 1870 §4, type=test
    //# A zero value indicates that no fixed maximum message size is in force.  If the parameter is
    //# omitted, no information is conveyed about the server's fixed maximum message size.
    #[test]
    fn size_is_a_limit_only_when_it_gives_one() {
        assert_eq!(read(&[]).size, None);
        assert_eq!(read(&["SIZE"]).size, Some(0));
        assert_eq!(read(&["SIZE 0"]).size, Some(0));
        assert_eq!(read(&["SIZE 10485760"]).size, Some(10_485_760));
        assert_eq!(read(&["SIZE lots"]).size, Some(0));
    }

    //= RFC 9422 §3, type=test
    //# Limit names are case-insensitive … Any server response with an unrecognized limit name MUST
    //# be ignored
    #[test]
    fn limits_that_we_know_are_kept() {
        let limits = read(&["LIMITS MAILMAX=20 rcptmax=100 RCPTDOMAINMAX=1 MOODMAX=3 RCPTS"]);
        assert_eq!(limits.transactions_max, Some(20));
        assert_eq!(limits.recipients_max, Some(100));
        assert_eq!(limits.domains_max, Some(1));
        assert_eq!(read(&["LIMITS RCPTMAX=0 MAILMAX=-1"]), PeerExtensions::default());
    }

    #[test]
    fn words_that_mean_nothing_change_nothing() {
        let nothing = read(&["", " ", "XFOO bar", "AUTH=LOGIN", "PIPELINING2", "é"]);
        assert_eq!(nothing, PeerExtensions::default());
    }
}
