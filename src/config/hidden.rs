//! Hide what may be secret in a value that is told to whoever may look.
//!
//! Secrets stand in files of their own, of which values have the names alone. What may be one all
//! the same: what a URL has behind its host, and the label that some block lists give each of their
//! customers. Pure.

/// A label so long, of letters and figures, is a customer's.
const LABEL_MIN: usize = 20;

/// The value of the knob at `path`, as it may be told.
pub fn told(path: &str, value: &str) -> String {
    let value = without_paths(value);
    if path.ends_with("block_lists") { without_labels(&value) } else { value }
}

/// What stands behind the host of each URL is `…`.
fn without_paths(value: &str) -> String {
    let mut parts = value.split("://");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['"', ',', ' ']).unwrap_or(part.len());
        let (url, rest) = part.split_at(end);
        let host = url.find(['/', '?', '#']).filter(|at| at + 1 < url.len());
        told.push_str("://");
        match host {
            Some(at) => told.extend([&url[..at], "/…"]),
            None => told.push_str(url),
        }
        told.push_str(rest);
    }
    told
}

fn without_labels(value: &str) -> String {
    let is_key = |label: &str| {
        let is_plain = label.bytes().all(|octet| octet.is_ascii_alphanumeric());
        label.len() >= LABEL_MIN && is_plain && label.bytes().any(|octet| octet.is_ascii_digit())
    };
    let mut told = String::new();
    for piece in value.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let label = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        told.push_str(if is_key(label) { "…" } else { label });
        told.push_str(&piece[label.len()..]);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_told() {
        for (path, value, expected) in [
            ("exporter[0].to", "\"https://h.example/a?key=1\"", "\"https://h.example/…\""),
            ("exporter[0].to", "\"https://h.example?key=1\"", "\"https://h.example/…\""),
            ("exporter[0].to", "\"nats://a:1,nats://b:2\"", "\"nats://a:1,nats://b:2\""),
            ("exporter[0].to", "\"/var/log/e.jsonl\"", "\"/var/log/e.jsonl\""),
            ("source[0].proxy", "\"socks5://192.0.2.1:1080\"", "\"socks5://192.0.2.1:1080\""),
            ("exporter[0].secret", "\"/etc/relay/secret\"", "\"/etc/relay/secret\""),
            (
                "checks.block_lists",
                "[\"abcdefgh1jklmnopqrstuvwxyz.zen.dq.example\", \"bl.example\"]",
                "[\"….zen.dq.example\", \"bl.example\"]",
            ),
            (
                "relay_domain[0].domains",
                "[\"abcdefgh1jklmnopqrstuvwxyz.example\"]",
                "[\"abcdefgh1jklmnopqrstuvwxyz.example\"]",
            ),
        ] {
            assert_eq!(told(path, value), expected, "{path}");
        }
    }
}
