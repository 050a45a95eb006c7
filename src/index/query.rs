//! Lists, counts and facets of alerts.
//!
//! A query has a way through the alerts: the ids that its rarest condition gives, where those are few; otherwise the alerts
//! in the list's own order, cell by cell of status and severity, until there are enough. The other conditions are looked up
//! alert by alert. So what is rare is found by its label, and what is common is found soon.

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Severity, Status};
use crate::index::IndexError;
use crate::index::cursor::Cursor;
use crate::index::filter::{Condition, Filter};
use crate::index::plan::{Limits, Plan};
use crate::index::row::Row;
use crate::index::write::json;

/// Rows of a page unless told otherwise.
pub const ROWS_DEFAULT: u64 = 50;

/// Most rows of a page.
pub const ROWS_MAX: u64 = 1_000;

/// Which alerts are wanted, in which order, how many and from where on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Terms as people write them; all of them hold.
    pub filter: Vec<String>,
    /// Also closed and informational alerts, which are left out unless a term asks for them.
    pub all: bool,
    /// In which order.
    pub sort: Sort,
    /// At most this many rows; 50 when absent, 1,000 at most.
    pub limit: Option<u64>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Do not count how many fit: for those who read page after page.
    pub uncounted: bool,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The worst first, then what arrived last.
    #[default]
    Severity,
    /// What arrived last first.
    Newest,
    /// What arrived first first.
    Oldest,
}

impl Sort {
    /// All orders.
    pub const ALL: [Sort; 3] = [Self::Severity, Self::Newest, Self::Oldest];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Severity => "severity",
            Self::Newest => "newest",
            Self::Oldest => "oldest",
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// The alerts.
    pub alerts: Vec<Row>,
    /// How many fit, on this page or not.
    pub matching: Count,
    /// How many more fit but for being closed or informational; absent where that was not counted to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A number that is exact, or at least this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// How many.
    pub n: u64,
    /// There are more: counting stopped here.
    pub capped: bool,
}

/// A page of the alerts that are wanted. All that it reads is of one moment when `conn` is in a transaction.
///
/// # Errors
/// [`IndexError::Asked`] with all that is wrong with the request, [`IndexError::TooBroad`], or what SQLite says.
pub fn list(conn: &Connection, request: &Request, now: Timestamp) -> Result<Page, IndexError> {
    list_within(conn, request, now, Limits::default())
}

/// As [`list`], with other limits.
///
/// # Errors
/// As [`list`].
pub fn list_within(conn: &Connection, request: &Request, now: Timestamp, limits: Limits) -> Result<Page, IndexError> {
    let cursor = Cursor::decode(request)?;
    let now = cursor.map_or(now, |cursor| cursor.now);
    let filter = Filter::parse(&request.filter, now)?;
    let plan = Plan::new(conn, &filter, request, limits)?;
    let limit = usize::try_from(request.limit.unwrap_or(ROWS_DEFAULT).clamp(1, ROWS_MAX)).expect("a thousand fits");
    let narrows = !request.all && cursor.is_none() && !(filter.names_severity && filter.names_status);
    let (mut found, mut matching, left_out) = match plan.few(conn)? {
        Some(few) => {
            let (severities, statuses) = wanted(&filter, true);
            let all = few.iter().filter(|found| found.stands(&severities, &statuses)).count() as u64;
            let n = few.iter().filter(|found| plan.wants(found)).count() as u64;
            (plan.page(few, cursor.as_ref(), limit + 1), Count { n, capped: false }, narrows.then_some(all - n))
        }
        None => {
            let found = plan.walked(conn, cursor.as_ref(), limit + 1)?;
            let uncounted = Count { n: 0, capped: true };
            let matching = if request.uncounted { uncounted } else { plan.count(conn)? };
            let all = if narrows && !matching.capped {
                Some(Plan::new(conn, &filter, &Request { all: true, ..request.clone() }, limits)?.count(conn)?)
            } else {
                None
            };
            let left_out = all.filter(|all| !all.capped).map(|all| all.n.saturating_sub(matching.n));
            (found, matching, left_out)
        }
    };
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| Cursor { now, severity: last.severity, id: last.id });
    matching.n = matching.n.max(found.len() as u64 + u64::from(more));
    let alerts = found.iter().map(|found| read(conn, found.id)).collect::<Result<_, _>>()?;
    Ok(Page { alerts, matching, left_out, next: next.map(|next| next.encode(request)) })
}

/// One alert.
pub(super) fn read(conn: &Connection, id: i64) -> Result<Row, IndexError> {
    let mut statement =
        conn.prepare_cached("SELECT row FROM alerts WHERE id = ?1").map_err(IndexError::sqlite("read"))?;
    let row: String = statement.query_row([id], |row| row.get(0)).map_err(IndexError::sqlite("read"))?;
    json(&row)
}

/// Which of these are wanted, as a filter and the defaults say.
pub(super) fn wanted(filter: &Filter, all: bool) -> (Vec<Severity>, Vec<Status>) {
    let (mut severities, mut statuses) = (Severity::ALL.to_vec(), Status::ALL.to_vec());
    severities.retain(|severity| all || filter.names_severity || *severity >= Severity::Low);
    statuses.retain(|status| all || filter.names_status || status.is_open());
    for condition in &filter.conditions {
        match condition {
            Condition::Severity(those) => severities.retain(|severity| those.contains(severity)),
            Condition::Status(those) => statuses.retain(|status| those.contains(status)),
            _ => {}
        }
    }
    severities.reverse();
    (severities, statuses)
}

/// Runs a query whose rows are given to `each`.
pub(super) fn rows<T>(
    conn: &Connection,
    sql: &str,
    values: &[Sql],
    each: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, IndexError> {
    let mut statement = conn.prepare_cached(sql).map_err(IndexError::sqlite("read"))?;
    let found = statement.query_map(params_from_iter(values), each).map_err(IndexError::sqlite("read"))?;
    found.collect::<Result<_, _>>().map_err(IndexError::sqlite("read"))
}
