//! Figures of campaigns, for those who ask how far they are.

use crate::base::limits::KPI_ROWS_MAX;
use crate::control::kpis::answer::{Numbers, Standing};
use crate::control::kpis::store::Span;
use crate::control::kpis::{Kpis, lock};
use crate::outcome::kpi::{Dimension, Resolution};

/// So many days back: longer than a campaign takes.
const DAYS: u32 = 30;

/// What became of campaigns.
pub(in crate::control) struct CampaignFigures {
    /// Since when; `None`: they cannot be read now.
    pub(in crate::control) from: Option<String>,
    /// By key, the biggest first.
    pub(in crate::control) rows: Vec<(String, Numbers)>,
    /// How the counting stands.
    pub(in crate::control) counted: Standing,
}

impl Kpis {
    /// What became of all campaigns in the last 30 days, or of one; `None`: nothing is counted.
    pub(in crate::control) async fn campaigns(
        &self,
        key: Option<String>,
    ) -> Option<CampaignFigures> {
        if !lock(&self.0.state).options.count {
            return None;
        }
        let resolution = Resolution::Day;
        let now = (self.0.now)().wall;
        let end = resolution.next(resolution.start(now));
        let start = resolution.start(end - resolution.length() * DAYS);
        let span = Span { resolution, dimension: Dimension::Campaign, starts: start..end };
        let ranked = self.ask(move |store| store.totals(&span, key.as_deref(), KPI_ROWS_MAX)).await;
        let from = ranked.is_ok().then(|| start.to_rfc3339());
        let rows = ranked.map_or_else(|_| Vec::new(), |ranked| ranked.top(KPI_ROWS_MAX).0);
        let over = now.since(start);
        let rows = rows.into_iter().map(|(key, figures)| (key, Numbers::new(&figures, over)));
        Some(CampaignFigures { from, rows: rows.collect(), counted: self.standing() })
    }
}
