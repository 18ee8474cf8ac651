//! `[kpis]`.

use super::*;
use crate::config::options::KpiOptions;

#[test]
fn nothing_is_counted_unless_it_is_asked_for() {
    assert_eq!(read_file("").kpis, KpiOptions::default());
    let kpis = read_file("[kpis]\ncount = \"yes\"\nkeys = 7\nkeep_hours = \"2d\"").kpis;
    let [minutes, _, days] = KpiOptions::default().keep;
    let keep = [minutes, Duration::from_secs(2 * 86_400), days];
    assert_eq!(kpis, KpiOptions { count: true, keys: 7, keep, ..KpiOptions::default() });
}
