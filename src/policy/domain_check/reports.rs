//! Read to whom reports go: URIs between commas, as `rua=` has them.

/// Where a report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// By mail, to an address of this domain.
    Mail(&'a str),
    /// By HTTPS.
    Web,
    /// Neither: nobody sends there.
    Other(&'a str),
}

/// The targets of a list.
pub(super) fn targets(list: &str) -> impl Iterator<Item = Target<'_>> {
    list.split(',').map(str::trim).map(|uri| {
        let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
        // RFC 7489 §6.2: a limit of size after `!`.
        let address = rest.split(['?', '!']).next().unwrap_or_default();
        match address.rsplit_once('@') {
            Some((user, host)) if scheme.eq_ignore_ascii_case("mailto") => {
                if user.is_empty() || host.is_empty() {
                    Target::Other(uri)
                } else {
                    Target::Mail(host)
                }
            }
            _ if scheme.eq_ignore_ascii_case("https") && rest.starts_with("//") => Target::Web,
            _ => Target::Other(uri),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let all =
            "mailto:a@b.example!10m, MAILTO:c@d.example?x=y,https://e.example/f,ftp:g,,mailto:@";
        let all: Vec<_> = targets(all).collect();
        let (ftp, empty) = (Target::Other("ftp:g"), Target::Other(""));
        let mail = [Target::Mail("b.example"), Target::Mail("d.example")];
        assert_eq!(all[..2], mail);
        assert_eq!(all[2..], [Target::Web, ftp, empty, Target::Other("mailto:@")]);
    }
}
