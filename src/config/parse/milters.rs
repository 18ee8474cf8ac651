//! Read who filters what comes in: the tables of `[[milter]]`.

use crate::base::limits::MILTERS_MAX;
use crate::config::knobs;
use crate::config::options::{Listener, Milter};
use crate::config::parse::forms;
use crate::config::parse::inbound::Inbound;
use crate::config::reader::{Reader, Section, quoted};
use crate::config::units::{Wrong, show_size};
use crate::policy::filtering::OnFailure;

/// In the file's order.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>, inbound: &Inbound) -> Vec<Milter> {
    let (listeners, memory) = (inbound.listeners.as_slice(), inbound.limits.memory_bytes);
    let mut milters: Vec<Milter> = Vec::new();
    for section in reader.tables(root, "milter", "milter[]") {
        let Some(milter) = milter(reader, &section, listeners) else { continue };
        let wrong = conflict(&milters, &milter).or_else(|| too_large(&milter, listeners, memory));
        match wrong {
            Some(wrong) => reader.finder.add(section.place(), wrong),
            None => milters.push(milter),
        }
    }
    milters
}

fn milter(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    listeners: &[Listener],
) -> Option<Milter> {
    let name = reader.required(section, &knobs::MILTER_NAME, forms::milter_name);
    let address = reader.required(section, &knobs::MILTER_ADDRESS, forms::milter_address);
    let of_listeners = of_listeners(reader, section, listeners);
    let on_failure = match reader.choice(section, &knobs::MILTER_ON_FAILURE) {
        "accept" => OnFailure::Accept,
        "reject" => OnFailure::Reject,
        _ => OnFailure::Tempfail,
    };
    let sees_null = reader.choice(section, &knobs::MILTER_NULL_REVERSE_PATH) == "filter";
    let connections = reader.count(section, &knobs::MILTER_CONNECTIONS, None, 0);
    let connect = reader.duration(section, &knobs::MILTER_CONNECT).value;
    let command = reader.duration(section, &knobs::MILTER_COMMAND).value;
    let end = reader.duration(section, &knobs::MILTER_END).value;
    Some(Milter {
        name: name?.value.into(),
        address: address?.value,
        listeners: of_listeners,
        on_failure,
        sees_null,
        connections: usize::try_from(connections).expect("the knob's range is small"),
        connect,
        command,
        end,
    })
}

/// The places of the listeners that are named; all, where none is.
fn of_listeners(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    listeners: &[Listener],
) -> Vec<usize> {
    let named = reader.list(section, &knobs::MILTER_LISTENERS, forms::socket_address);
    let Some(named) = named else {
        let all = listeners.iter().map(|listener| quoted(&listener.address.to_string()));
        let all: Vec<_> = all.collect();
        let shown = format!("[{}]", all.join(", "));
        reader.note(section, &knobs::MILTER_LISTENERS, shown, None);
        return (0..listeners.len()).collect();
    };
    for given in &named {
        if !listeners.iter().any(|listener| listener.address == given.value) {
            let wrong = Wrong::new(format!("no listener has the address {}", given.value));
            let wrong = wrong.help("write it as in `address` of its [[listener]]");
            reader.finder.add(given.place_or(section.place()), wrong);
        }
    }
    // Several may have one address, where the port is the kernel's choice.
    let is_named = |listener: &Listener| named.iter().any(|given| given.value == listener.address);
    (0..listeners.len()).filter(|place| is_named(&listeners[*place])).collect()
}

fn conflict(milters: &[Milter], milter: &Milter) -> Option<Wrong> {
    if milters.iter().any(|other| other.name == milter.name) {
        return Some(Wrong::new(format!("there are two milters named `{}`", milter.name)));
    }
    let full = milters.len() == MILTERS_MAX;
    full.then(|| Wrong::new(format!("there are {MILTERS_MAX} milters already")))
}

/// A message is in memory while it is filtered, beside a body that takes its place.
fn too_large(milter: &Milter, listeners: &[Listener], memory: usize) -> Option<Wrong> {
    let limit = u64::try_from(memory / 2).unwrap_or(u64::MAX);
    let of_listeners = milter.listeners.iter().map(|place| &listeners[*place]);
    let large = of_listeners.map(|one| one.message_bytes).find(|bytes| *bytes > limit)?;
    let (message, half) = (show_size(large), show_size(limit));
    let what = format!("`message_size` ({message}) is above half of `limits.memory` ({half})");
    Some(Wrong::new(what).help("what a milter is asked about has to fit in memory twice"))
}
