//! The way that a query takes through the alerts.

use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::domain::alert::{Severity, Status};
use crate::index::IndexError;
use crate::index::cursor::Cursor;
use crate::index::filter::{Condition, Filter};
use crate::index::query::{Count, Request, Sort, rows, wanted};
use crate::index::way::{Clause, Way, first_since};
use crate::index::write::micros;

/// How much a query looks at, one way or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A condition that gives at most this many alerts is the way to find them; to count, at most this many are looked at.
    pub lead: u64,
    /// As [`Limits::lead`], where another label tells most of them apart before they are looked at.
    pub pair: u64,
    /// As many are looked at to count where a condition takes long to look up.
    pub dear: u64,
    /// A condition that means more labels than this is looked up alert by alert.
    pub labels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lead: 20_000, pair: 50_000, dear: 2_000, labels: 10_000 }
    }
}

/// A query, resolved against the index as it is.
#[derive(Debug)]
pub struct Plan {
    severities: Vec<Severity>,
    statuses: Vec<Status>,
    sort: Sort,
    /// Numbers of alerts from one to another, both included.
    from: i64,
    until: i64,
    /// What else is asked; what takes long to look up comes last.
    ways: Vec<Way>,
    /// The rarest of them.
    lead: Option<Lead>,
    limits: Limits,
    /// Nothing can fit.
    empty: bool,
}

#[derive(Debug, Clone, Copy)]
struct Lead {
    /// Which.
    at: usize,
    /// It gives few enough to look at each.
    few: bool,
}

/// Which alerts of the rarest condition are meant.
#[derive(Debug, Clone, Copy)]
enum Through {
    /// Of any status and severity.
    Any,
    /// Of those that are wanted, among this many.
    Wanted(Option<u64>),
}

/// An alert that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub id: i64,
    /// Its severity, as the tables have it.
    pub severity: i64,
    /// Its status, as the tables have it.
    pub status: i64,
}

impl Found {
    /// It has one of these severities and one of these statuses.
    pub fn stands(&self, severities: &[Severity], statuses: &[Status]) -> bool {
        severities.iter().any(|severity| *severity as i64 == self.severity)
            && statuses.iter().any(|status| *status as i64 == self.status)
    }
}

impl Plan {
    /// Resolves a filter: looks its labels up, and finds its rarest condition.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn new(conn: &Connection, filter: &Filter, request: &Request, limits: Limits) -> Result<Self, IndexError> {
        let (severities, statuses) = wanted(filter, request.all);
        let empty = severities.is_empty() || statuses.is_empty();
        let (from, until, sort) = (0, i64::MAX, request.sort);
        let mut plan = Self { severities, statuses, sort, from, until, ways: Vec::new(), lead: None, limits, empty };
        for condition in &filter.conditions {
            plan.add(conn, condition)?;
        }
        plan.ways.sort_by_key(|way| way.dear);
        let most =
            if plan.ways.iter().filter(|way| way.early.is_some()).count() > 1 { limits.pair } else { limits.lead };
        let mut best = most + 1;
        for (at, way) in plan.ways.iter().enumerate() {
            let Some(lead) = &way.lead else { continue };
            let gives = count(conn, &format!("SELECT 1 FROM ({} LIMIT {best})", lead.sql), &lead.values)?;
            if gives < best || plan.lead.is_none() {
                plan.lead = Some(Lead { at, few: gives <= most });
                best = gives.max(1);
            }
        }
        Ok(plan)
    }

    fn add(&mut self, conn: &Connection, condition: &Condition) -> Result<(), IndexError> {
        match condition {
            Condition::Severity(_) | Condition::Status(_) => {}
            Condition::Seen(range) => self.ways.push(Way::seen(*range)),
            Condition::Received(range) => {
                self.from = self.from.max(first_since(conn, micros(range.from))?);
                if let Some(behind) = micros(range.until).checked_add(1) {
                    self.until = self.until.min(first_since(conn, behind)?.saturating_sub(1));
                }
            }
            Condition::Text { expression, negated } => self.ways.push(Way::text(expression, *negated)),
            Condition::Label(labelled) => match Way::labelled(conn, labelled, self.limits.labels)? {
                Some(way) => self.ways.push(way),
                None => self.empty |= !labelled.negated,
            },
        }
        Ok(())
    }

    /// Nothing but status, severity and arrival is asked.
    pub(super) fn is_plain(&self) -> bool {
        self.ways.is_empty() && !self.empty
    }

    /// The first alerts that fit, in order.
    ///
    /// # Errors
    /// [`IndexError::TooBroad`], or what SQLite says.
    pub fn first(&self, conn: &Connection, limit: usize) -> Result<Vec<Found>, IndexError> {
        match self.few(conn)? {
            Some(few) => Ok(self.page(few, None, limit)),
            None => self.walked(conn, None, limit),
        }
    }

    /// As many alerts that fit, in any order.
    ///
    /// # Errors
    /// [`IndexError::TooBroad`], or what SQLite says.
    pub fn some(&self, conn: &Connection, limit: usize) -> Result<Vec<Found>, IndexError> {
        match self.lead.filter(|_| !self.empty) {
            Some(lead) if !lead.few => {
                let (from, values) = self.through_lead(lead, Through::Wanted(None));
                rows(conn, &format!("SELECT a.id, a.severity, a.status {from} LIMIT {limit}"), &values, found)
            }
            _ => self.first(conn, limit),
        }
    }

    /// All alerts of any status and severity that fit otherwise, in any order, where the rarest condition gives few.
    ///
    /// # Errors
    /// [`IndexError::TooBroad`], or what SQLite says.
    pub fn few(&self, conn: &Connection) -> Result<Option<Vec<Found>>, IndexError> {
        match self.lead {
            _ if self.empty => Ok(Some(Vec::new())),
            Some(lead) if lead.few => {
                let (from, values) = self.through_lead(lead, Through::Any);
                rows(conn, &format!("SELECT a.id, a.severity, a.status {from}"), &values, found).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Those of some alerts that stand as is wanted and lie behind the cursor, in order.
    pub fn page(&self, mut few: Vec<Found>, after: Option<&Cursor>, limit: usize) -> Vec<Found> {
        few.retain(|found| {
            self.wants(found) && after.is_none_or(|after| self.order(found) > self.order(&after.found()))
        });
        few.sort_unstable_by_key(|found| self.order(found));
        few.truncate(limit);
        few
    }

    /// It stands as is wanted.
    pub fn wants(&self, found: &Found) -> bool {
        found.stands(&self.severities, &self.statuses)
    }

    fn order(&self, found: &Found) -> (i64, i64) {
        match self.sort {
            Sort::Severity => (-found.severity, -found.id),
            Sort::Newest => (0, -found.id),
            Sort::Oldest => (0, found.id),
        }
    }

    /// `FROM … WHERE …` over the alerts of the rarest condition that fit the others as well.
    fn through_lead(&self, lead: Lead, through: Through) -> (String, Vec<Sql>) {
        let list = |numbers: Vec<i64>| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let Clause { sql: ids, mut values } = self.ways[lead.at].lead.clone().expect("it was chosen for it");
        let (limit, stands) = match through {
            Through::Any => (String::new(), String::new()),
            Through::Wanted(most) => {
                let severities = list(self.severities.iter().map(|severity| *severity as i64).collect());
                let statuses = list(self.statuses.iter().map(|status| *status as i64).collect());
                let limit = most.map(|most| format!(" LIMIT {most}")).unwrap_or_default();
                (limit, format!(" AND +a.status IN ({statuses}) AND +a.severity IN ({severities})"))
            }
        };
        let mut sql = format!(
            "FROM ({ids}{limit}) AS d CROSS JOIN alerts AS a ON a.id = d.id WHERE +a.id BETWEEN ? AND ?{stands}"
        );
        values.extend([self.from, self.until].map(Sql::from));
        self.add_probes(Some(lead.at), &mut sql, &mut values);
        (sql, values)
    }

    /// Adds all conditions, but that which leads: then what can be told by the number alone is asked before the alert is looked up.
    fn add_probes(&self, lead: Option<usize>, sql: &mut String, values: &mut Vec<Sql>) {
        for (_, way) in self.ways.iter().enumerate().filter(|(at, _)| Some(*at) != lead) {
            let probe = way.early.as_ref().filter(|_| lead.is_some()).unwrap_or(&way.probe);
            sql.push_str(" AND ");
            sql.push_str(&probe.sql);
            values.extend(probe.values.iter().cloned());
        }
    }

    /// The alerts behind the cursor, in order, where there are too many to look at each: cell by cell of status and severity,
    /// each in the order of arrival.
    ///
    /// # Errors
    /// [`IndexError::TooBroad`], or what SQLite says.
    pub fn walked(&self, conn: &Connection, after: Option<&Cursor>, limit: usize) -> Result<Vec<Found>, IndexError> {
        let mut found: Vec<Found> = Vec::new();
        let groups: Vec<&[Severity]> = match self.sort {
            Sort::Severity => self.severities.chunks(1).collect(),
            Sort::Newest | Sort::Oldest => vec![&self.severities],
        };
        for group in groups {
            let after = match (after, self.sort) {
                (Some(after), Sort::Severity) if group[0] as i64 > after.severity => continue,
                (Some(after), Sort::Severity) if (group[0] as i64) < after.severity => None,
                (after, _) => after,
            };
            let left = limit - found.len();
            found.extend(self.group(conn, group, after, left)?);
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// The first alerts of some severities, in the order of arrival.
    fn group(
        &self,
        conn: &Connection,
        severities: &[Severity],
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<Found>, IndexError> {
        let oldest = self.sort == Sort::Oldest;
        let (mut from, mut until) = (self.from, self.until);
        match after {
            Some(after) if oldest => from = from.max(after.id.saturating_add(1)),
            Some(after) => until = until.min(after.id.saturating_sub(1)),
            None => {}
        }
        let mut group = Vec::new();
        for severity in severities {
            for status in &self.statuses {
                let Clause { mut sql, mut values } =
                    cell("a.id, a.severity, a.status", *severity, *status, (from, until));
                self.add_probes(None, &mut sql, &mut values);
                let order = if oldest { "ASC" } else { "DESC" };
                sql.push_str(&format!(" ORDER BY a.id {order} LIMIT {limit}"));
                group.extend(rows(conn, &sql, &values, found)?);
            }
        }
        group.sort_by_key(|found: &Found| if oldest { found.id } else { -found.id });
        group.truncate(limit);
        Ok(group)
    }

    /// How many alerts fit, where there are too many to look at each. Exact where nothing but status, severity and arrival is
    /// asked; otherwise as many as there are among the alerts that are looked at.
    ///
    /// # Errors
    /// [`IndexError::TooBroad`], or what SQLite says.
    pub fn count(&self, conn: &Connection) -> Result<Count, IndexError> {
        let exact = |n| Count { n, capped: false };
        if self.empty {
            return Ok(exact(0));
        }
        let dear = |but: Option<usize>| self.ways.iter().enumerate().any(|(at, way)| way.dear && Some(at) != but);
        match self.lead {
            _ if self.ways.is_empty() => Ok(exact(self.cells(conn)?.iter().map(|(_, _, n)| n).sum())),
            Some(lead) => {
                let most = if dear(Some(lead.at)) { self.limits.dear } else { self.limits.lead };
                let Clause { sql, values } = self.ways[lead.at].lead.clone().expect("it was chosen for it");
                let all = count(conn, &format!("SELECT 1 FROM ({sql} LIMIT {})", most + 1), &values)?;
                let (from, values) = self.through_lead(lead, Through::Wanted(Some(most)));
                let n = count(conn, &format!("SELECT 1 {from}"), &values)?;
                Ok(Count { n, capped: all > most })
            }
            None => self.count_walked(conn, if dear(None) { self.limits.dear } else { self.limits.lead }),
        }
    }

    fn count_walked(&self, conn: &Connection, most: u64) -> Result<Count, IndexError> {
        let (mut n, mut left, mut capped) = (0, most, false);
        for (severity, status, all) in self.cells(conn)? {
            let Clause { sql: inner, mut values } = cell("a.*", severity, status, (self.from, self.until));
            let mut sql = format!("SELECT 1 FROM ({inner} ORDER BY a.id DESC LIMIT {left}) AS a WHERE true");
            self.add_probes(None, &mut sql, &mut values);
            n += count(conn, &sql, &values)?;
            capped |= all > left;
            left = left.saturating_sub(all);
        }
        Ok(Count { n, capped })
    }

    /// How many alerts each cell has, whatever else is asked.
    pub(super) fn cells(&self, conn: &Connection) -> Result<Vec<(Severity, Status, u64)>, IndexError> {
        let mut cells = Vec::new();
        for severity in &self.severities {
            for status in &self.statuses {
                let Clause { sql, values } = cell("1", *severity, *status, (self.from, self.until));
                cells.push((*severity, *status, count(conn, &sql, &values)?));
            }
        }
        Ok(cells)
    }
}

fn found(row: &rusqlite::Row<'_>) -> rusqlite::Result<Found> {
    Ok(Found { id: row.get(0)?, severity: row.get(1)?, status: row.get(2)? })
}

fn cell(what: &str, severity: Severity, status: Status, (from, until): (i64, i64)) -> Clause {
    let sql = format!(
        "SELECT {what} FROM alerts AS a INDEXED BY alerts_by_rank WHERE a.status = ? AND a.severity = ? AND a.id BETWEEN ? AND ?"
    );
    Clause { sql, values: [status as i64, severity as i64, from, until].map(Sql::from).to_vec() }
}

fn count(conn: &Connection, select: &str, values: &[Sql]) -> Result<u64, IndexError> {
    let found = rows(conn, &format!("SELECT count(*) FROM ({select})"), values, |row| row.get::<_, i64>(0))?;
    Ok(found.first().map_or(0, |n| n.cast_unsigned()))
}
