//! Ask a relay over its admin address how many recipients it still queues.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// States of a queued recipient that the relay counts apart.
const STATES: [&str; 4] = ["ready", "attempting", "deferred", "held"];

/// Recipients that the relay at `admin` queues.
///
/// Errors: no answer, or one that holds no such figure.
pub(crate) fn ask(admin: SocketAddr) -> Result<u64> {
    let value = stats(admin)?;
    figure(&value).with_context(|| format!("no count of recipients: {value}"))
}

/// Those of them that wait for another attempt.
pub(crate) fn deferred(admin: SocketAddr) -> Result<u64> {
    let value = stats(admin)?;
    value["deferred"].as_u64().with_context(|| format!("no count of deferred ones: {value}"))
}

fn stats(admin: SocketAddr) -> Result<Value> {
    let url = format!("http://{admin}/v1/queue/stats");
    let mut answer = agent().get(&url).call().with_context(|| format!("asking {url}"))?;
    let text = answer.body_mut().read_to_string().with_context(|| format!("reading {url}"))?;
    serde_json::from_str(&text).with_context(|| format!("{url}: {text}"))
}

/// A client that gives up soon: the admin address is on this machine.
pub(crate) fn agent() -> ureq::Agent {
    let timeout = Some(Duration::from_secs(5));
    ureq::Agent::config_builder().timeout_global(timeout).build().new_agent()
}

/// A total where there is one, else the sum over states, else the sum over shards.
fn figure(value: &Value) -> Option<u64> {
    for name in ["recipients", "queued", "queued_recipients"] {
        if let Some(total) = value.get(name).and_then(Value::as_u64) {
            return Some(total);
        }
    }
    let states: Vec<u64> =
        STATES.iter().filter_map(|name| value.get(name).and_then(Value::as_u64)).collect();
    if !states.is_empty() {
        return Some(states.iter().sum());
    }
    if let Some(total) = value.get("total") {
        return figure(total);
    }
    value.get("shards")?.as_array()?.iter().map(figure).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_figure_is_found_in_each_shape() {
        let states = json!({"messages": 9, "ready": 1, "attempting": 2, "deferred": 3, "held": 4});
        assert_eq!(figure(&states), Some(10));
        assert_eq!(figure(&json!({"recipients": 7, "ready": 1})), Some(7));
        assert_eq!(figure(&json!({"shards": [states, {"deferred": 5}]})), Some(15));
        assert_eq!(figure(&json!({"total": {"ready": 2}, "shards": []})), Some(2));
        assert_eq!(figure(&json!({"messages": 7})), None);
        assert_eq!(figure(&json!({"shards": [{}]})), None);
    }
}
