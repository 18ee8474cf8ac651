//! Take knobs out of the file one by one, checking each, noting where each value came from.
//!
//! In: a TOML table with positions, flags, knobs. Out: values; problems; one row of what is in
//! force for each knob that was read. A value that is wrong is noted and stands as its default, so
//! that the rest of the file is checked too: nothing of it is used in the end.

mod kinds;
mod raw;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::knob::Knob;
use crate::config::origin::{InForce, Origin};
use crate::config::problem::{Finder, Place};
use crate::config::reader::raw::{Raw, kind_of};
use crate::config::suggest;
use crate::config::units::Wrong;

pub(super) use crate::config::reader::kinds::quoted;

/// A part of the file that holds knobs: the top, `[spool]`, one `[[listener]]`.
#[derive(Clone, Debug)]
pub(super) struct Section<'d> {
    /// As knobs' paths begin: nothing, `spool`, `listener[]`.
    knobs: &'static str,
    /// As people see it: nothing, `spool`, `listener[0]`.
    name: String,
    table: Option<&'d DeTable<'d>>,
    /// Its header, for what is missing in it.
    place: Place,
}

impl Section<'_> {
    /// A section that no file has: all defaults, or flags.
    pub(super) fn empty(knobs: &'static str, name: String) -> Section<'static> {
        Section { knobs, name, table: None, place: Place::Machine }
    }

    /// Its header in the file.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

/// A value and where it was given; `None` for a default.
#[derive(Clone, Debug)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) place: Option<Place>,
}

impl<T> Given<T> {
    /// Where it was given, or `otherwise`.
    pub(super) fn place_or<'p>(&'p self, otherwise: &'p Place) -> &'p Place {
        self.place.as_ref().unwrap_or(otherwise)
    }

    /// Where the first of those values was given that were given at all: they contradict each
    /// other.
    pub(super) fn place_of<'p>(values: &[&'p Self]) -> &'p Place {
        let places = values.iter().filter_map(|value| value.place.as_ref());
        places.into_iter().next().unwrap_or(&Place::Machine)
    }
}

/// A flag that goes before the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlagValue<'d> {
    pub(super) name: &'static str,
    pub(super) text: &'d str,
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) finder: Finder<'a>,
    pub(super) in_force: Vec<InForce>,
    /// The file could not be read as TOML: what seems missing may stand in the part that was lost.
    pub(super) is_broken: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(finder: Finder<'a>, is_broken: bool) -> Self {
        Self { finder, in_force: Vec::new(), is_broken }
    }

    // --- Sections ---

    /// The top of the file.
    pub(super) fn root<'d>(&mut self, table: &'d DeTable<'d>) -> Section<'d> {
        let name = String::new();
        self.open(Section { knobs: "", name, table: Some(table), place: Place::File(0..0) })
    }

    /// `[name]`.
    pub(super) fn table<'d>(&mut self, root: &Section<'d>, name: &'static str) -> Section<'d> {
        let nothing =
            Section { knobs: name, name: name.into(), table: None, place: Place::Machine };
        let Some((place, value)) = find(root, name) else { return nothing };
        if let Some(table) = value.as_table() {
            return self.open(Section { table: Some(table), place, ..nothing });
        }
        let what = format!("`{name}` is a section, not {}", kind_of(value));
        self.finder.add(&place, Wrong::new(what).help(format!("write [{name}]")));
        nothing
    }

    /// All `[[name]]`; `knobs` is `name[]`.
    pub(super) fn tables<'d>(
        &mut self,
        root: &Section<'d>,
        name: &'static str,
        knobs: &'static str,
    ) -> Vec<Section<'d>> {
        let Some((place, value)) = find(root, name) else { return Vec::new() };
        let all_tables = |array: &&[Spanned<DeValue<'_>>]| {
            array.iter().all(|element| element.get_ref().is_table())
        };
        let elements = value.as_array().map(|array| &array[..]).filter(all_tables);
        let Some(elements) = elements else {
            let what = format!("`{name}` may come several times, so it is a list of sections");
            self.finder.add(&place, Wrong::new(what).help(format!("write [[{name}]]")));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (number, element) in elements.iter().enumerate() {
            let place = Place::File(element.span());
            let table = element.get_ref().as_table();
            sections.push(self.open(Section {
                knobs,
                name: format!("{name}[{number}]"),
                table,
                place,
            }));
        }
        sections
    }

    /// Look through the keys of a section for what is no knob.
    fn open<'d>(&mut self, section: Section<'d>) -> Section<'d> {
        let keys = section.table.into_iter().flat_map(|table| table.keys());
        for key in keys {
            if let Some(wrong) = suggest::unknown_key(section.knobs, key.get_ref()) {
                self.finder.add(&Place::File(key.span()), wrong);
            }
        }
        section
    }

    // --- Values ---

    /// What was given for `knob`, if it is right; noted as in force.
    fn value<'d, T>(
        &mut self,
        section: &Section<'d>,
        knob: &'static Knob,
        flag: Option<FlagValue<'d>>,
        parse: impl Fn(Raw<'_>) -> Result<T, Wrong>,
        show: impl Fn(&T) -> String,
    ) -> Option<Given<T>> {
        let in_file = find(section, knob.key()).map(|(place, value)| (place, Raw::Toml(value)));
        let by_flag = flag.map(|flag| (Place::Flag(flag.name), Raw::Flag(flag.text)));
        let mut given = None;
        // The flag holds where there is one; the file's value is checked all the same.
        for (place, raw) in in_file.into_iter().chain(by_flag) {
            match parse(raw) {
                Ok(value) => given = Some(Given { value, place: Some(place) }),
                Err(wrong) => self.finder.add(&place, wrong),
            }
        }
        let given = given?;
        self.note(section, knob, show(&given.value), given.place.as_ref());
        Some(given)
    }

    /// Note `value` as what is in force for a knob, given at `place` or by nobody.
    pub(super) fn note(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
        value: String,
        place: Option<&Place>,
    ) {
        let separator = if section.name.is_empty() { "" } else { "." };
        let path = format!("{}{separator}{}", section.name, knob.key()).into();
        let origin = match place {
            Some(Place::File(range)) => Origin::File { line: self.finder.line(range.start) },
            Some(Place::Flag(flag)) => Origin::Flag(flag),
            Some(Place::Machine) | None => Origin::Default,
        };
        self.in_force.push(InForce { path, knob, value: value.into(), origin });
    }
}

/// A key of a section, if it is there.
fn find<'d>(section: &Section<'d>, key: &str) -> Option<(Place, &'d DeValue<'d>)> {
    let value = section.table?.get(key)?;
    Some((Place::File(value.span()), value.get_ref()))
}
