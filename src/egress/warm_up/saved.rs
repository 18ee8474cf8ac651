//! What is written down of sources that are warmed up, for another run of the process.
//!
//! A file of lines, each a JSON object: of one ration or one course the last line counts. What a
//! process was about to write as it was killed is cut, and no such line was acted on.

use serde::{Deserialize, Serialize};

use crate::base::days::Day;
use crate::egress::warm_up::ledger::{Course, Ledger, Wish};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// What may have been sent on a day.
    Sent {
        /// From which source.
        source: Box<str>,
        /// To which provider, or which site.
        provider: Box<str>,
        /// That day.
        day: Day,
        /// So many messages.
        messages: u32,
    },
    /// Where a source is in its plan, as an operator said.
    Course {
        /// Which source.
        source: Box<str>,
        /// The plan's name in the configuration.
        plan: Box<str>,
        /// Day 1 in the configuration.
        from: Day,
        /// Day 1.
        begun: Day,
        /// The day that it is held at.
        held: Option<u32>,
    },
}

impl Line {
    /// With its end.
    pub fn render(&self) -> String {
        let mut text = serde_json::to_string(self).expect("plain data");
        text.push('\n');
        text
    }
}

impl From<&Wish> for Line {
    fn from(wish: &Wish) -> Self {
        Self::Sent {
            source: wish.source().into(),
            provider: wish.provider().into(),
            day: wish.day,
            messages: wish.to,
        }
    }
}

impl Ledger {
    /// Go on where another run ended: from its lines, in their order. How many could not be read.
    pub fn restore(&self, text: &str) -> usize {
        let mut unread = 0;
        let mut books = self.books();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(Line::Sent { source, provider, day, messages }) => {
                    books.count(&source, &provider, day).restore(day, messages);
                    self.seen(day);
                }
                Ok(Line::Course { source, plan, from, begun, held }) => {
                    let course = Course::new(&plan, from, begun, held.unwrap_or(0));
                    books.courses.insert(source, course.into());
                }
                Err(_) => unread += 1,
            }
        }
        unread
    }

    /// All that is to be kept: what may have been sent; `exactly`: what was, once nothing more is.
    pub fn save(&self, exactly: bool) -> Vec<Line> {
        let (books, today) = (self.books(), self.today.day());
        let courses = books
            .courses
            .iter()
            .filter(|(_, course)| course.held().is_some() || course.begun() != course.given.1);
        let courses = courses.map(|(source, course)| course.line(source));
        let counts = books.rations.values().filter(|count| count.day() >= today);
        let counts = counts.map(|count| {
            let day = count.day();
            let messages = if exactly { count.sent(day) } else { count.leased(day) };
            let (source, provider) = (count.source.clone(), count.provider.clone());
            Line::Sent { source, provider, day, messages }
        });
        courses.chain(counts).collect()
    }
}

impl Course {
    /// For the file.
    pub(super) fn line(&self, source: &str) -> Line {
        let (plan, from) = self.given.clone();
        Line::Course { source: source.into(), plan, from, begun: self.begun(), held: self.held() }
    }
}
