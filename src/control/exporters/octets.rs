//! Read numbers and octets of what a broker sends, never beyond what came.

/// What is left of it; `None` where it ends too early. Numbers have their highest octet first, in
/// AMQP as in Kafka.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// The octets of a number.
    pub(super) fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A text of so many octets.
    pub(super) fn text(&mut self, length: usize) -> Option<String> {
        self.take(length).map(|octets| String::from_utf8_lossy(octets).into_owned())
    }
}
