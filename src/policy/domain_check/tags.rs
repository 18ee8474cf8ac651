//! Read `name=value` pairs between semicolons: keys of DKIM, policies of DMARC, and their like
//! (RFC 6376 §3.2).

/// The pairs of a record in their order; white space around names and values is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Tags<'a>(Vec<(&'a str, &'a str)>);

/// Why a text is no list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum TagsError {
    #[error("it is not text")]
    NotText,
    #[error("a part of it has no `=`")]
    NoValue,
    #[error("a tag is in it twice")]
    Twice,
}

/// Whether a record's first pair is this one, in other words whether it is of this kind. Names and
/// values are compared as they are.
pub(in crate::policy) fn begins(record: &[u8], name: &str, value: &str) -> bool {
    let first = record.split(|octet| *octet == b';').next().unwrap_or_default();
    let pair = std::str::from_utf8(first).ok().and_then(|first| first.split_once('='));
    pair.is_some_and(|(n, v)| n.trim() == name && v.trim() == value)
}

impl<'a> Tags<'a> {
    //= RFC 6376 §3.2
    //# Tags with duplicate names MUST NOT occur within a single tag-list; if a tag name does occur
    //# more than once, the entire tag-list is invalid.
    pub(in crate::policy) fn parse(record: &'a [u8]) -> Result<Self, TagsError> {
        let text = std::str::from_utf8(record).map_err(|_| TagsError::NotText)?;
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(TagsError::NoValue)?;
            let (name, value) = (name.trim_end(), value.trim_start());
            if tags.iter().any(|(known, _)| *known == name) {
                return Err(TagsError::Twice);
            }
            tags.push((name, value));
        }
        Ok(Self(tags))
    }

    pub(in crate::policy) fn find(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Whether a list with colons between names this; one that is not there names all.
    pub(super) fn lists(&self, name: &str, value: &str) -> bool {
        let list = self.find(name);
        list.is_none_or(|list| list.split(':').any(|one| one.trim().eq_ignore_ascii_case(value)))
    }

    /// Give a tag this value; put after the second if it is not there.
    pub(super) fn set(&mut self, name: &'a str, value: &'a str) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.insert(self.0.len().min(2), (name, value)),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| *known != name);
    }

    /// All of them, as a record is written.
    pub(super) fn text(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_written() {
        let mut tags = Tags::parse(b" v = DMARC1 ;p=none;; rua = mailto:a@b.example ; ").unwrap();
        assert_eq!((tags.find("p"), tags.find("sp")), (Some("none"), None));
        tags.set("p", "reject");
        tags.set("t", "y");
        assert_eq!(tags.text(), "v=DMARC1; p=reject; t=y; rua=mailto:a@b.example");
        tags.remove("p");
        assert_eq!(tags.text(), "v=DMARC1; t=y; rua=mailto:a@b.example");
        assert!(begins(b"v = DMARC1 ; p=x", "v", "DMARC1") && begins(b"v=DMARC1", "v", "DMARC1"));
        assert!(!begins(b"p=x; v=DMARC1", "v", "DMARC1") && !begins(b"v=DMARC12", "v", "DMARC1"));
        assert!(!begins(b"", "v", "") && !begins(b"v\xff=1", "v", "1"));
        let key = Tags::parse(b"p=QUJD; t=y:s").unwrap();
        assert!(key.lists("t", "s") && !key.lists("t", "x") && key.lists("h", "sha256"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(Tags::parse(b"a=1; b"), Err(TagsError::NoValue));
        assert_eq!(Tags::parse(b"a=1; a=1"), Err(TagsError::Twice));
        assert_eq!(Tags::parse(b"a=\xff"), Err(TagsError::NotText));
        assert_eq!(Tags::parse(b" ; "), Ok(Tags(Vec::new())));
    }
}
