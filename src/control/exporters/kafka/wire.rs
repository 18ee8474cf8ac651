//! Write requests of Kafka and read its answers, value by value.
//!
//! In: values, octets. Out: octets, values; nothing is read beyond what came. Only versions of
//! messages that are not "flexible" are spoken, so that a text has a length of two octets.

use crate::control::exporters::octets::Reader;

/// A request that grows, or what is in one.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn int8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn int16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn int32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn int64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Short texts of ours.
    pub(super) fn string(self, text: &str) -> Self {
        let length = i16::try_from(text.len()).expect("names are short");
        let mut all = self.int16(length);
        all.0.extend(text.as_bytes());
        all
    }

    pub(super) fn bytes(self, octets: &[u8]) -> Self {
        let mut all = self.int32(length(octets.len()));
        all.0.extend(octets);
        all
    }

    /// So many of what follows.
    pub(super) fn array(self, count: usize) -> Self {
        self.int32(length(count))
    }

    /// A number of few octets where it is near 0, as a record has them.
    pub(super) fn varint(mut self, value: i64) -> Self {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        loop {
            let seven = u8::try_from(rest & 0x7f).expect("seven bits");
            rest >>= 7;
            if rest == 0 {
                self.0.push(seven);
                return self;
            }
            self.0.push(seven | 0x80);
        }
    }

    /// Octets as a record has them.
    pub(super) fn varbytes(self, octets: &[u8]) -> Self {
        let mut all = self.varint(i64::from(length(octets.len())));
        all.0.extend(octets);
        all
    }
}

fn length(length: usize) -> i32 {
    i32::try_from(length).expect("a batch has a bound")
}

/// An answer, by Kafka's types.
impl Reader<'_> {
    pub(super) fn int8(&mut self) -> Option<i8> {
        self.number().map(i8::from_be_bytes)
    }

    pub(super) fn int16(&mut self) -> Option<i16> {
        self.number().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Option<i32> {
        self.number().map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Option<i64> {
        self.number().map(i64::from_be_bytes)
    }

    /// Empty where there is none.
    pub(super) fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.int16()?).unwrap_or(0);
        self.text(length)
    }

    /// As many as it says, each read by `one`. None is made room for before it is read: the count
    /// may be anything.
    pub(super) fn array<T>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.int32()?.max(0);
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let written = Writer::default()
            .int8(-1)
            .int16(300)
            .string("mail")
            .array(2)
            .int32(7)
            .int32(-7)
            .int64(1 << 40);
        let reader = &mut Reader::new(&written.0);
        assert_eq!((reader.int8(), reader.int16()), (Some(-1), Some(300)));
        assert_eq!(reader.string().as_deref(), Some("mail"));
        assert_eq!(reader.array(Reader::int32), Some(vec![7, -7]));
        assert_eq!((reader.int64(), reader.int8()), (Some(1 << 40), None));
    }

    #[test]
    fn nothing_is_read_that_did_not_come_and_what_is_not_there_is_empty() {
        assert_eq!(Reader::new(&[0, 9, b'x']).string(), None);
        assert_eq!(Reader::new(&[0xff, 0xff]).string().as_deref(), Some(""));
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0]).array(Reader::int8), None);
        assert_eq!(Reader::new(&[0xff; 4]).array(Reader::int8), Some(Vec::new()));
    }

    #[test]
    fn numbers_near_0_are_short() {
        // The examples of Protocol Buffers' zigzag, which Kafka has it from.
        for (value, octets) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            assert_eq!(Writer::default().varint(value).0, octets, "{value}");
        }
    }
}
