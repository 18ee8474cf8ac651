//! How the values of an event are written in JSON, and read back: one module for each form, as
//! serde's `with` wants it.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serializer, de};

use crate::base::ids::ShardId;
use crate::base::time::WallTime;
use crate::mail::outcome::Stage;

/// RFC 3339 with milliseconds; the printer is some times faster than `strftime`.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// A time as text.
struct Instant(WallTime);

impl Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0.0).unwrap_or(jiff::Timestamp::MAX);
        PRINTER.print_timestamp(&time, jiff::fmt::StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

impl FromStr for Instant {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        Ok(Self(WallTime(text.parse::<jiff::Timestamp>()?.as_millisecond())))
    }
}

/// A stage by its name.
struct Named(Stage);

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let stage = Stage::ALL.iter().find(|stage| stage.to_string() == text);
        stage.map(|stage| Self(*stage)).ok_or("no stage of a delivery has this name")
    }
}

fn read<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<T, D::Error> {
    Cow::<str>::deserialize(from)?.parse().map_err(de::Error::custom)
}

fn write_some<S: Serializer, T: Display>(value: Option<T>, into: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => into.collect_str(&value),
        None => into.serialize_none(),
    }
}

/// What displays as text that it can be read from.
pub(super) mod text {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer, T: Display>(
        value: &T,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        into.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        from: D,
    ) -> Result<T, D::Error> {
        read(from)
    }
}

/// The same, where there may be none.
pub(super) mod optional_text {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer, T: Display>(
        value: &Option<T>,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        write_some(value.as_ref(), into)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        read(from).map(Some)
    }
}

/// RFC 3339 in UTC.
pub(super) mod time {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        time: &WallTime,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        into.collect_str(&Instant(*time))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<WallTime, D::Error> {
        read(from).map(|Instant(time)| time)
    }
}

/// RFC 3339 in UTC, where there may be none.
pub(super) mod optional_time {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<WallTime>,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        write_some(time.map(Instant), into)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<WallTime>, D::Error> {
        read(from).map(|Instant(time)| Some(time))
    }
}

/// The stage's name, where there may be none.
pub(super) mod stage {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        stage: &Option<Stage>,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        write_some(stage.as_ref(), into)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Stage>, D::Error> {
        read(from).map(|Named(stage)| Some(stage))
    }
}

/// A number.
pub(super) mod shard {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        shard: &ShardId,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        into.serialize_u8(shard.0)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<ShardId, D::Error> {
        u8::deserialize(from).map(ShardId)
    }
}

/// Seconds with up to three decimals.
pub(super) mod seconds {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Duration,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        into.serialize_f64(duration.as_millis() as f64 / 1000.0)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        // To the nearest millisecond: 0.001 is no number of binary fractions.
        let exact = Duration::try_from_secs_f64(seconds + 0.0005).map_err(de::Error::custom)?;
        if seconds < 0.0 {
            return Err(de::Error::custom("a delay is not negative"));
        }
        Ok(Duration::new(exact.as_secs(), exact.subsec_millis() * 1_000_000))
    }
}

/// The same, where there may be none.
pub(super) mod optional_seconds {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        into: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => seconds::serialize(duration, into),
            None => into.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        seconds::deserialize(from).map(Some)
    }
}
