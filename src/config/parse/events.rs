//! Read how the event log is kept: `[events]`.

use crate::config::knobs;
use crate::config::options::EventOptions;
use crate::config::reader::{Reader, Section};

pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> EventOptions {
    let section = reader.table(root, "events");
    EventOptions {
        retention: reader.duration(&section, &knobs::EVENT_RETENTION).value,
        bytes: reader.size(&section, &knobs::EVENT_SIZE).value,
        file_bytes: reader.size(&section, &knobs::EVENT_FILE_SIZE).value,
        file_age: reader.duration(&section, &knobs::EVENT_FILE_AGE).value,
    }
}
