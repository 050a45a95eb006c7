//! `soard alerts show`.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::Context;
use crate::cli::alerts::measures;
use crate::cli::fault::{Exit, Fault};
use crate::cli::ordered;
use crate::cli::output::{self, BOLD, FAINT, Look, NAME, count, styled, when};
use crate::cli::plain::{self, Page, safe};
use crate::cli::why;
use crate::daemon::measures::Measures;
use crate::daemon::query::alert::AlertView;
use crate::domain::alert::Alert;
use crate::domain::attack;
use crate::domain::decision::Reason;
use crate::domain::id::{AlertId, SilenceId};

/// Entities of one type that are named one by one.
const ENTITIES_SHOWN: usize = 20;

/// Show everything about one alert
///
/// What the source said about it, its entities, where it stands, which runs were started, what can be done about it, and which
/// alerts share something with it. `soard why` says for what reasons it was decided as it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard alerts show a-1042.0\n  soard alerts show a-1042.0 --raw | jq .\n  \
                        soard alerts show a-1042.0 -o json | jq .alert.entities\n  \
                        soard alerts show a-1042.0 -o json | jq '.take_action.related.alerts[].id'")]
pub struct Args {
    /// The alert
    #[arg(value_name = "ID")]
    id: AlertId,
    /// Print only the part of the record that gave the alert, as JSON
    #[arg(long)]
    raw: bool,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let access = context.access()?;
        let Some(view) = access.alert(self.id)? else {
            let none = Fault::nothing(format!("the journal has no alert {}", self.id));
            return Err(none.hint("`soard alerts list --all` shows the alerts"));
        };
        if self.raw {
            output::print(&output::json(&view.raw))?;
        } else {
            // The alert is worth showing without it, as while the index is built anew.
            let take_action = access.measures(self.id).unwrap_or_else(|fault| {
                output::note(&format!("note: what can be done about it is not shown\n{}", fault.text()));
                None
            });
            let shown = Shown { view, take_action: take_action.map(|indexed| indexed.answer) };
            context.print(&shown, human)?;
        }
        Ok(Exit::Good)
    }
}

/// An alert with what can be done about it.
#[derive(Serialize)]
pub(in crate::cli) struct Shown {
    #[serde(flatten)]
    pub view: AlertView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take_action: Option<Measures>,
}

pub(in crate::cli) fn human(shown: &Shown, look: &Look) -> String {
    let Shown { view, take_action } = shown;
    let mut page = Page::default();
    page.line(0, plain::alert_head(&view.row));
    page.line(2, why::sightings(view, look));
    if let Some(rule) = &view.row.suppressed_by {
        page.line(2, format!("held by suppression {}", plain::rule(rule)));
    }
    if let Some((silence, by, until)) = silenced(view) {
        page.line(2, format!("held by silence {silence} of {} until {}", safe(by), when(until)));
    }
    if let Some(description) = &view.alert.description {
        page.gap();
        page.block(2, description, look);
    }
    page.gap();
    fields(&mut page, 2, &view.alert, view.tags.clone());
    if let Some(name) = &view.assigned_to {
        page.labelled(2, "assigned", safe(name));
    }
    entities(&mut page, 2, &view.alert);
    match take_action {
        // What the source says to do stands there, before what advice says.
        Some(_) => links(&mut page, 2, &view.alert),
        None => guidance(&mut page, 2, &view.alert, look),
    }
    acts(&mut page, view, look);
    if let Some(found) = take_action {
        measures::human(&mut page, 2, found, look);
    }
    page.line(2, styled(FAINT, format!("`soard why {}` says what was decided, and by which rules", view.row.id)));
    page.into_text()
}

/// The silence that held it when it was decided last, who made it, and until when.
fn silenced(view: &AlertView) -> Option<(SilenceId, &str, Timestamp)> {
    let decided = |reasons: &&[Reason]| !matches!(reasons.first(), Some(Reason::Duplicate { anew: None, .. }));
    let last = view.seen.iter().rev().map(|seen| &*seen.decision.reasons).find(decided)?;
    last.iter().find_map(|reason| match reason {
        Reason::Silence { silence, by, until } => Some((*silence, by.as_str(), *until)),
        _ => None,
    })
}

/// The alert's plain fields, a line each.
pub(in crate::cli) fn fields(page: &mut Page, indent: usize, alert: &Alert, tags: Vec<String>) {
    let product = match (&alert.vendor, &alert.product) {
        (Some(vendor), Some(product)) if !product.starts_with(vendor.as_str()) => format!("{vendor} {product}"),
        (vendor, product) => product.clone().or_else(|| vendor.clone()).unwrap_or_default(),
    };
    let lists = [
        ("product", product),
        ("kind", alert.kind.clone().unwrap_or_default()),
        ("their id", alert.external_id.clone().unwrap_or_default()),
        (
            "severity",
            alert
                .source_severity
                .as_ref()
                .map(|s| format!("{} ({s} in their words)", alert.severity))
                .unwrap_or_default(),
        ),
        ("confidence", alert.confidence.clone().unwrap_or_default()),
        ("related by", alert.correlation_key.clone().unwrap_or_default()),
        ("tactics", alert.tactics.join(", ")),
        ("techniques", alert.techniques.iter().map(|id| attack::titled(id)).collect::<Vec<_>>().join(", ")),
        ("tags", tags.join(", ")),
    ];
    for (label, text) in lists.iter().filter(|(_, text)| !text.is_empty()) {
        page.labelled(indent, label, safe(text));
    }
    let instants =
        [("start", alert.start), ("end", alert.end), ("raised", alert.generated), ("received", Some(alert.received))];
    for (label, at) in instants {
        if let Some(at) = at {
            page.labelled(indent, label, when(at));
        }
    }
    for resource in alert.resources.iter().take(ENTITIES_SHOWN) {
        page.labelled(indent, "resource", safe(resource));
    }
}

/// The alert's entities, a line each.
pub(in crate::cli) fn entities(page: &mut Page, indent: usize, alert: &Alert) {
    for (kind, entities) in &alert.entities {
        for entity in entities.iter().take(ENTITIES_SHOWN) {
            page.labelled(indent, &safe(kind), entity_words(entity));
        }
        if entities.len() > ENTITIES_SHOWN {
            page.labelled(indent, "", format!("and {} more", entities.len() - ENTITIES_SHOWN));
        }
    }
}

fn entity_words(entity: &Map<String, Value>) -> String {
    let words = entity.iter().map(|(name, value)| format!("{} {}", styled(FAINT, safe(name)), plain::value(value)));
    words.collect::<Vec<_>>().join("  ")
}

/// What to do, and the pages about the alert, as the source says.
pub(in crate::cli) fn guidance(page: &mut Page, indent: usize, alert: &Alert, look: &Look) {
    remediation(page, indent, alert, look);
    links(page, indent, alert);
}

/// What to do, as the source says.
fn remediation(page: &mut Page, indent: usize, alert: &Alert, look: &Look) {
    if !alert.remediation.is_empty() {
        page.line(indent, styled(BOLD, "what to do"));
        for (n, step) in (1..).zip(alert.remediation.iter().take(ENTITIES_SHOWN)) {
            page.block(indent + 2, &format!("{n}. {step}"), look);
        }
    }
}

/// The pages about the alert, as the source names them.
fn links(page: &mut Page, indent: usize, alert: &Alert) {
    for link in alert.links.iter().take(ENTITIES_SHOWN) {
        let label = link.label.as_ref().map(|label| format!(" ({})", safe(label))).unwrap_or_default();
        page.labelled(indent, "link", format!("{}{label}", safe(&link.url)));
    }
}

fn acts(page: &mut Page, view: &AlertView, look: &Look) {
    if view.runs.is_empty() {
        page.line(2, "no playbook was started for it");
    } else {
        page.line(2, styled(BOLD, count(view.runs.len() as u64, "run")));
    }
    for run in &view.runs {
        let row = &run.row;
        let words = row.error.as_ref().or(row.waiting_for.as_ref()).map(|text| format!("  {}", safe(text)));
        let state = plain::run_state(row.state);
        let started = output::when_ago(row.started, look);
        page.line(
            4,
            format!("{}  {state}, started {started}{}", styled(NAME, safe(&row.id)), words.unwrap_or_default()),
        );
    }
    if !view.changes.is_empty() || !view.orders.is_empty() {
        page.line(2, styled(BOLD, "history"));
        ordered::alert_history(page, 4, view);
    }
}
