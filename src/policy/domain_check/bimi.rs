//! BIMI: whether there is a logo. Few show one, and nobody refuses mail without: it is only told.

use crate::policy::domain_check::Subject;
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::Known;
use crate::policy::domain_check::tags::begins;

const DRAFT: &str = "draft-brand-indicators-for-message-identification";

pub(super) fn check(subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
    let name = format!("default._bimi.{}", subject.domain);
    let found = match known.texts(&name)? {
        Err(reason) => reason.to_owned(),
        Ok(texts) => match texts.iter().find(|text| begins(text, "v", "BIMI1")) {
            Some(record) => String::from_utf8_lossy(record).into_owned(),
            None => "no record; it is not needed".to_owned(),
        },
    };
    Some(vec![Finding::new(Topic::Bimi, &name, Status::Info, found, DRAFT)])
}
