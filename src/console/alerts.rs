//! Alerts: lists, counts, one of them, its history, and what operators change about many at once.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::console::ask::{Answer, Ask, COMMENT_CHARS_MAX, Nothing, said_why};
use crate::console::failure::Failure;
use crate::console::routes::{Route, Routes};
use crate::console::shared::{COMMAND_WAIT_MAX, Shared};
use crate::daemon::api::Command;
use crate::daemon::measures::latest_of;
use crate::daemon::order::Ordered;
use crate::daemon::query::Lines;
use crate::daemon::query::alert::{self, AlertView};
use crate::daemon::query::why::{Subject, Why, why};
use crate::daemon::report::{Indexed, NotOrdered, OrderReport, OrdersReport};
use crate::domain::decision::AlertRef;
use crate::domain::entry::Facts;
use crate::domain::id::AlertId;
use crate::domain::operator::Who;
use crate::domain::triage::AlertChange;
use crate::engine::orders::{Latest, Wish};
use crate::index::choose::{Chosen, choose};
use crate::index::facets::{self, Facet, facet};
use crate::index::filter;
use crate::index::query::{Page, ROWS_DEFAULT, ROWS_MAX, Request, Sort, list};
use crate::index::story::{Story, story};

/// Alerts of one request.
pub const ALERTS_MAX: usize = 1_000;

/// Registers the routes.
pub fn add(routes: &mut Routes) {
    routes.add(Route::read("/alerts", "list_alerts", "Alerts, the worst first"), alerts);
    let chosen_about = "All alerts that fit, by id, with counts and the first rows: before many are changed";
    routes.add(Route::read("/alerts/chosen", "choose_alerts", chosen_about), chosen);
    routes.add(Route::read("/alerts/{id}", "get_alert", "Everything on record about an alert"), show);
    routes.add(Route::read("/alerts/{id}/history", "get_alert_history", "Who changed what about an alert"), history);
    routes.add(Route::read("/facets/{field}", "count_alerts", "How many alerts have which value of a field"), counts);
    routes.add(Route::read("/why", "explain", "Why an alert, a run or a group came to what it did"), explain);
    routes.add(Route::change("/alerts/orders", "order_alerts", "Change alerts, or start a playbook for them"), orders);
}

/// The alert that a path names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneAlert {
    /// Which.
    pub id: AlertId,
}

/// Which alerts are wanted. Each key of a filter is a parameter as well: `host=web-1` is `filter=host=web-1`.
#[derive(Debug)]
pub struct Wanted(Request);

/// Parameters that are no keys of a filter.
#[cfg(test)]
const PARAMETERS: &[&str] = &["filter", "all", "sort", "limit", "cursor", "count"];

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(from)?;
        request(pairs).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Wanted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Wanted".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = |about: &str| json!({ "type": "string", "description": about });
        let mut properties = filters();
        properties.extend([
            (
                "sort",
                json!({ "type": "string", "enum": Sort::ALL.map(Sort::as_str), "description": "In which order." }),
            ),
            (
                "limit",
                json!({ "type": "integer", "minimum": 1, "maximum": ROWS_MAX, "default": ROWS_DEFAULT,
                        "description": "At most this many." }),
            ),
            ("cursor", text("Where the page before ended: its `next`.")),
            ("count", json!({ "type": "boolean", "default": true, "description": "Count how many fit." })),
        ]);
        json_schema!({ "type": "object", "properties": properties })
    }
}

/// Parameters that say which alerts are meant.
fn filters() -> BTreeMap<&'static str, Value> {
    let about = "A term as people write them: `severity>=high`, `title=~scan`, or words; all of them hold.";
    let terms = json!({ "type": "array", "items": { "type": "string" }, "description": about });
    let all = json!({ "type": "boolean", "description": "Also closed and informational alerts." });
    let keys = filter::keys().into_iter().map(|key| {
        let about = format!("Short for `filter={key}=…`; several values have commas between them.");
        (key, json!({ "type": "string", "minLength": 1, "description": about }))
    });
    keys.chain([("filter", terms), ("all", all)]).collect()
}

/// Which alerts are counted: as in a list, without an order.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Counted(Wanted);

impl JsonSchema for Counted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Counted".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "properties": filters() })
    }
}

/// A request of its parameters; `filter` and the keys may come many times.
fn request(pairs: Vec<(String, String)>) -> Result<Request, String> {
    let mut request = Request::default();
    for (name, value) in pairs {
        match name.as_str() {
            "filter" => request.filter.push(value),
            "all" => request.all = value.parse().map_err(|_| format!("all={value:?}: write true or false"))?,
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=ROWS_MAX).contains(limit));
                request.limit =
                    Some(limit.ok_or_else(|| format!("limit={value:?}: write a number from 1 to {ROWS_MAX}"))?);
            }
            "cursor" => request.cursor = Some(value),
            "count" => {
                let count: bool = value.parse().map_err(|_| format!("count={value:?}: write true or false"))?;
                request.uncounted = !count;
            }
            "sort" => {
                let words = Sort::ALL.map(Sort::as_str);
                let found = Sort::ALL.into_iter().find(|sort| sort.as_str() == value);
                request.sort = found.ok_or_else(|| format!("sort={value:?}: known are {}", words.join(", ")))?;
            }
            key => request.filter.push(format!("{key}={value}")),
        }
    }
    Ok(request)
}

async fn alerts(ask: Ask<Nothing, Wanted>) -> Answer<Indexed<Page>> {
    let Wanted(request) = ask.query;
    ask.shared.ask(move |conn, now| list(conn, &request, now)).await
}

async fn chosen(ask: Ask<Nothing, Wanted>) -> Answer<Indexed<Chosen>> {
    let Wanted(request) = ask.query;
    ask.shared.ask(move |conn, now| choose(conn, &request, now)).await
}

/// The field that a path names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneField {
    field: String,
}

impl JsonSchema for OneField {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneField".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let field = json!({ "type": "string", "enum": facets::fields(), "description": "By which field to count." });
        json_schema!({ "type": "object", "properties": { "field": field }, "required": ["field"] })
    }
}

async fn counts(ask: Ask<OneField, Counted>) -> Answer<Indexed<Facet>> {
    let (Counted(Wanted(request)), field) = (ask.query, ask.path.field);
    ask.shared.ask(move |conn, now| facet(conn, &request, &field, now)).await
}

async fn history(ask: Ask<OneAlert>) -> Answer<Indexed<Story>> {
    let id = ask.path.id;
    let Indexed { answer, behind } = ask.shared.ask(move |conn, _| story(conn, id)).await?;
    let answer = answer.ok_or_else(|| Failure::not_found(format!("the index has no alert {id}")))?;
    Ok(Indexed { answer, behind })
}

async fn show(ask: Ask<OneAlert>) -> Answer<AlertView> {
    let id = ask.path.id;
    let view = ask.shared.read_about(Subject::Alert(id), move |lines| alert::show(lines, id)).await?;
    view.ok_or_else(|| Failure::no(format!("alert {id}")))
}

/// What one asks about.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct About {
    /// An alert (`a-1042.0`), a group (`g-17`) or a run (`a-1042.0/notify-email`).
    #[schemars(regex(pattern = r"^[ag]-[0-9]"))]
    id: String,
}

async fn explain(ask: Ask<Nothing, About>) -> Answer<Why> {
    let subject: Subject = ask.query.id.parse().map_err(Failure::bad)?;
    let answer = ask.shared.read_about(subject.clone(), move |lines| why(lines, &subject)).await?;
    answer.ok_or_else(|| Failure::no(ask.query.id))
}

/// What is asked for many alerts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Which; at most 1,000.
    #[schemars(length(min = 1, max = 1_000))]
    pub alerts: Vec<AlertId>,
    /// What.
    pub want: Want,
    /// Why; may be empty where the change speaks for itself.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    pub comment: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an operator wants for each of the alerts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Change it.
    Change(AlertChange),
    /// Start this playbook for it.
    Run(String),
}

/// Gives each alert its order; those that cannot be carried out are told one by one, and the others are.
async fn orders(ask: Ask<Nothing, Nothing, Orders>) -> Answer<OrdersReport> {
    let comment = checked(&ask.body)?;
    let orders = Orders { comment, ..ask.body };
    let all = give(&ask.shared, Who::from(ask.caller), orders);
    tokio::time::timeout(COMMAND_WAIT_MAX, all).await.map_err(|_| Failure::late())?
}

/// The comment, if the request is one that can be carried out for some alert.
fn checked(ask: &Orders) -> Answer<String> {
    if !(1..=ALERTS_MAX).contains(&ask.alerts.len()) {
        return Err(Failure::bad(format!("a request is for 1 to {ALERTS_MAX} alerts")));
    }
    match &ask.want {
        Want::Run(_) => said_why(ask.comment.clone()),
        Want::Change(change) => {
            let comment = ask.comment.trim();
            change.check(comment).map_err(Failure::bad)?;
            if comment.chars().count() > COMMENT_CHARS_MAX {
                return Err(Failure::bad(format!("a comment has at most {COMMENT_CHARS_MAX} characters")));
            }
            Ok(comment.to_owned())
        }
    }
}

async fn give(shared: &Shared, who: Who, ask: Orders) -> Answer<OrdersReport> {
    let mut report = OrdersReport::default();
    let mut waiting: Vec<(AlertId, oneshot::Receiver<Result<OrderReport, String>>)> = Vec::new();
    let heard = match &ask.want {
        Want::Change(AlertChange::Status { .. }) => shared.command(Command::Today).await?.bundle.rules.hears_status(),
        Want::Change(_) | Want::Run(_) => false,
    };
    for alert in ask.alerts.iter().copied().collect::<BTreeSet<AlertId>>() {
        let wish = match &ask.want {
            Want::Change(change) => {
                let latest = if heard { latest(shared, alert).await?.map(Box::new) } else { None };
                Wish::Change { alert, change: change.clone(), latest }
            }
            Want::Run(playbook) => {
                let nowhere = AlertRef { id: alert, seq: 0, at: 0 };
                let at = latest(shared, alert).await?.map_or(nowhere, |latest| latest.at);
                Wish::Start { alert: at, playbook: playbook.clone() }
            }
        };
        let (done, answer) = oneshot::channel();
        let (who, comment, dry_run) = (who.clone(), ask.comment.clone(), ask.dry_run);
        let ordered = Command::Order(Box::new(Ordered { who, comment, wish, dry_run, done }));
        shared.api.commands.send(ordered).await.map_err(|_| Failure::busy("the daemon is stopping"))?;
        waiting.push((alert, answer));
    }
    for (alert, answer) in waiting {
        match answer.await {
            Ok(Ok(done)) => report.done.push(done),
            Ok(Err(why)) => report.refused.push(NotOrdered { alert, why }),
            Err(_) => report.refused.push(NotOrdered { alert, why: "the daemon is stopping".into() }),
        }
    }
    Ok(report)
}

/// The alert as it was seen last; nothing when it is unknown, which the core then says.
pub(super) async fn latest(shared: &Shared, alert: AlertId) -> Answer<Option<Latest>> {
    let Some(seq) = shared.command(|done| Command::Body(alert, done)).await? else { return Ok(None) };
    let find = move |lines: Lines<'_>| {
        let Some(line) = lines.next() else { return Ok(None) };
        let Facts::Intake(intake) = line?.entry()?.facts else { return Ok(None) };
        Ok(latest_of(*intake, alert))
    };
    let found = shared
        .scan_for_order(seq, find)
        .await?
        .map(|(at, body)| Latest { at: AlertRef { id: alert, seq, at }, alert: body });
    found.map(Some).ok_or_else(|| Failure::no(format!("body of alert {alert}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request, String> {
        serde_html_form::from_str::<Wanted>(text).map(|Wanted(request)| request).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_of_a_filter_are_parameters_as_well() {
        let request = read("severity=high&host=web-1&filter=ip%3D10.0.0.0%2F8&limit=7&all=true&sort=newest").unwrap();
        assert_eq!(request.filter, ["severity=high", "host=web-1", "ip=10.0.0.0/8"]);
        assert_eq!((request.limit, request.all, request.sort), (Some(7), true, Sort::Newest));
    }

    #[test]
    fn what_is_no_parameter_value_is_refused_in_words() {
        for (text, says) in [
            ("limit=0", "write a number from 1 to 1000"),
            ("limit=1001", "write a number from 1 to 1000"),
            ("limit=x", "write a number"),
            ("all=yes", "write true or false"),
            ("sort=up", "known are severity, newest, oldest"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn no_key_of_a_filter_hides_a_parameter() {
        assert!(filter::keys().iter().all(|key| !PARAMETERS.contains(key)));
    }
}
