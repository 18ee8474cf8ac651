//! `/v1/openapi.json`: all that is answered, for programs (OpenAPI 3.1).
//!
//! Written by hand beside this file. Tests hold it against the table of [`roles`] in both
//! directions, and its schemas against what is sent.
//!
//! [`roles`]: crate::control::roles

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

const DOCUMENT: &str = include_str!("openapi.json");

/// What is answered of it.
pub(super) fn router() -> Router {
    Router::new().route("/v1/openapi.json", get(document))
}

async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use serde_json::{Map, Value};

    use super::*;
    use crate::control::api::{Changed, Select, Stats};
    use crate::control::campaigns;
    use crate::control::diversions::{self, Whom};
    use crate::control::epochs;
    use crate::control::messages;
    use crate::control::roles::{Right, TABLE};
    use crate::control::suppression::{Asked, Imported, Page};
    use crate::egress::shaping::status::OutletStatus;
    use crate::egress::warm_up::status::{ProviderStatus, SourceStatus};

    fn read() -> Value {
        serde_json::from_str(DOCUMENT).expect("JSON")
    }

    fn object<'v>(value: &'v Value, at: &str) -> &'v Map<String, Value> {
        value.pointer(at).and_then(Value::as_object).unwrap_or_else(|| panic!("no {at}"))
    }

    fn names(object: &Map<String, Value>) -> BTreeSet<String> {
        object.keys().cloned().collect()
    }

    /// Each path and its operations.
    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let of_path = |(path, all): (&String, &Value)| {
            let all = all.as_object().expect("operations").iter();
            let of = |(method, operation): (&String, &Value)| {
                (method.to_uppercase(), path.clone(), operation.clone())
            };
            all.map(of).collect::<Vec<_>>()
        };
        object(document, "/paths").iter().flat_map(of_path).collect()
    }

    #[test]
    fn what_is_told_is_what_there_is() {
        let document = read();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let told: BTreeSet<_> = operations(&document)
            .into_iter()
            .map(|(method, path, operation)| {
                let role = operation["x-role"].as_str().unwrap_or_default().to_owned();
                assert!(operation["summary"].is_string(), "{method} {path} says nothing");
                (method, path, role)
            })
            .collect();
        let role = |right| match right {
            Right::Public => "public",
            Right::Read => "read",
            Right::Inject => "inject",
            Right::Operate => "operate",
        };
        let row = |entry: &crate::control::roles::Entry| {
            (entry.method.to_owned(), entry.path.to_owned(), role(entry.right).to_owned())
        };
        assert_eq!(told, TABLE.iter().map(row).collect(), "openapi.json and roles.rs differ");
    }

    #[test]
    fn what_a_path_has_in_it_is_a_parameter() {
        for (method, path, operation) in operations(&read()) {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|one| one["in"] == "path");
            let named: Vec<_> = in_path.map(|one| one["name"].as_str().unwrap()).collect();
            let parts =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(named, parts.collect::<Vec<_>>(), "{method} {path}");
        }
    }

    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_nothing_lies_about() {
        let document = read();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let at = reference.strip_prefix('#').expect("inside the document");
            assert!(document.pointer(at).is_some(), "{reference}");
        }
        for name in names(object(&document, "/components/schemas")) {
            assert!(found.iter().any(|one| one.ends_with(&format!("/{name}"))), "{name} is unused");
        }
    }

    /// The fields of a value, those included that it may lack.
    fn fields(value: impl Serialize) -> BTreeSet<String> {
        names(serde_json::to_value(value).expect("JSON").as_object().expect("an object"))
    }

    fn text() -> Option<String> {
        Some(String::new())
    }

    #[test]
    fn schemas_are_what_is_sent() {
        let document = read();
        let of = |name: &str| {
            names(object(&document, &format!("/components/schemas/{name}/properties")))
        };
        assert_eq!(of("Changed"), fields(Changed { recipients: 0 }));
        assert_eq!(of("Stats"), fields(Stats::default()));
        assert_eq!(of("Found"), fields(messages::Found::default()));
        assert_eq!(of("Campaigns"), fields(campaigns::Page::default()));
        assert_eq!(of("Campaign"), fields(campaigns::Row::default()));
        let within = |name: &str| {
            names(object(
                &document,
                &format!("/components/schemas/Campaign/properties/{name}/properties"),
            ))
        };
        assert_eq!(within("queue"), fields(campaigns::Queued::default()));
        assert_eq!(within("paused"), fields(campaigns::PausedRow::default()));
        assert_eq!(within("terms"), fields(campaigns::TermsRow::default()));
        assert_eq!(of("Config"), fields(epochs::Page::default()));
        assert_eq!(of("ConfigChange"), fields(epochs::ChangeRow::default()));
        assert_eq!(of("Reloaded"), fields(epochs::Reloaded::default()));
        let whose = Whom { domain: text(), tenant: text(), campaign: text() };
        assert_eq!(of("Diversion"), fields(diversions::Row { whose, ..Default::default() }));
        assert_eq!(of("Diverted"), fields(diversions::Done::default()));
        assert_eq!(of("Outlet"), fields(OutletStatus::default()));
        assert_eq!(of("SuppressionPage"), fields(Page::default()));
        assert_eq!(of("SuppressionDone"), fields(Imported::default().done));
        assert_eq!(of("WarmUpSource"), fields(SourceStatus::default()));
        assert_eq!(of("WarmUpProvider"), fields(ProviderStatus::default()));
        assert_eq!(of("TlsReports"), fields(crate::policy::tls_report::Status::default()));
    }

    #[test]
    fn what_may_be_asked_is_what_is_read() {
        let document = read();
        let asked = |paths: &[&str]| {
            let all = operations(&document).into_iter();
            let here = all.filter(|(_, path, _)| paths.contains(&path.as_str()));
            let parameters = here.flat_map(|(_, _, operation)| {
                operation["parameters"].as_array().cloned().unwrap_or_default()
            });
            let in_query = parameters.filter(|one| one["in"] == "query");
            in_query.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let select = Select {
            id: text(),
            domain: text(),
            reverse_path: text(),
            tenant: text(),
            campaign: text(),
            all: true,
            limit: Some(1),
        };
        let verbs = ["flush", "hold", "release", "remove"].map(|verb| format!("/v1/queue/{verb}"));
        for verb in &verbs {
            assert_eq!(asked(&["/v1/queue/list", verb]), fields(select.clone()), "{verb}");
        }
        let lists = ["list", "show", "stats", "add", "remove", "import"];
        let lists = lists.map(|verb| format!("/v1/suppression/{verb}"));
        let lists: Vec<_> = lists.iter().map(String::as_str).collect();
        assert_eq!(asked(&lists), fields(Asked::default()));
        for verb in ["reroute", "rebind"] {
            let asked = asked(&[&format!("/v1/queue/{verb}")]);
            assert_eq!(asked, fields(diversions::Asked::default()), "{verb}");
        }
        let (from, limit) = (text(), Some(1));
        let (tenant, campaign) = (text(), text());
        let which = campaigns::Asked { tenant, campaign, limit };
        assert_eq!(asked(&["/v1/campaigns"]), fields(which));
        let (id, recipient, tenant, campaign) = (text(), text(), text(), text());
        let whose = messages::Asked { id, recipient, tenant, campaign, from, limit };
        assert_eq!(asked(&["/v1/messages"]), fields(whose));
        let warm_up = ["/v1/warm-up", "/v1/warm-up/{verb}"];
        assert_eq!(asked(&warm_up), fields(crate::control::warm_up::Asked::default()));
    }
}
