//! Read what is counted of what became of mail: `[kpis]`.

use crate::config::knobs;
use crate::config::options::KpiOptions;
use crate::config::reader::{Reader, Section};

pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> KpiOptions {
    let section = reader.table(root, "kpis");
    let count = reader.choice(&section, &knobs::KPI_COUNT) == "yes";
    let keys = reader.count(&section, &knobs::KPI_KEYS, None, 0);
    let keep = [&knobs::KPI_MINUTES, &knobs::KPI_HOURS, &knobs::KPI_DAYS];
    KpiOptions {
        count,
        keys: usize::try_from(keys).expect("the knob's range is 17 bits"),
        keep: keep.map(|knob| reader.duration(&section, knob).value),
        bytes: reader.size(&section, &knobs::KPI_SIZE).value,
    }
}
