//! An alert as an OCSF Detection Finding (class 2004), version 1.3.0 of the schema.
//!
//! What the index holds of the alert goes in; `metadata.uid` is soard's id, by which the whole record is found. What soard knows and
//! OCSF has no place for stands in `unmapped`.

use serde_json::{Map, Value, json};

use crate::domain::alert::{Severity, Status};
use crate::domain::attack;
use crate::export::notice::{Notice, Sort};
use crate::index::row::Row;

/// Version of the schema.
pub const VERSION: &str = "1.3.0";

const CLASS: u64 = 2004;

const CATEGORY: u64 = 2;

/// The word for a product whose maker is not known.
const UNKNOWN: &str = "Unknown";

/// The finding, on one line.
pub fn line(row: &Row) -> String {
    finding(row).to_string()
}

/// What a notice of an export tells: the finding as it stood then. What is about the export itself is a base event.
pub(super) fn of(notice: &Notice) -> Value {
    let Some(row) = &notice.alert else { return base_event(notice) };
    let mut event = finding_of(row, activity_of(notice, row));
    event["time"] = notice.at.as_millisecond().into();
    event["metadata"]["sequence"] = notice.seq.into();
    if let Some(comment) = notice.changes.iter().find_map(|change| change.comment.clone()) {
        event["comment"] = comment.into();
    }
    tell(&mut event, notice);
    event
}

/// Puts what soard says of the notice beside what it says of the alert.
fn tell(event: &mut Value, notice: &Notice) {
    let told = Notice { alert: None, ..notice.clone() };
    let Ok(Value::Object(told)) = serde_json::to_value(told) else { return };
    for (name, value) in told {
        event["unmapped"]["soard"][name] = value;
    }
}

/// A notice without an alert that is known.
fn base_event(notice: &Notice) -> Value {
    const OTHER: u64 = 99;
    let mut event = json!({
        "class_uid": 0,
        "class_name": "Base Event",
        "category_uid": 0,
        "category_name": "Uncategorized",
        "activity_id": OTHER,
        "activity_name": notice.notice.as_str(),
        "type_uid": OTHER,
        "type_name": format!("Base Event: {}", notice.notice.as_str()),
        "severity_id": 1,
        "severity": "Informational",
        "time": notice.at.as_millisecond(),
        "message": notice.message(),
        "metadata": {
            "version": VERSION,
            "uid": format!("{}.{}", notice.seq, notice.n),
            "sequence": notice.seq,
            "log_provider": "soard",
            "product": { "name": "soard", "vendor_name": "soard" },
        },
        "unmapped": { "soard": {} },
    });
    tell(&mut event, notice);
    event
}

/// A change that leaves an alert closed closes the finding.
fn activity_of(notice: &Notice, row: &Row) -> (u64, &'static str) {
    let stands = notice.changes.iter().any(|change| matches!(&*change.what, "status" | "seen"));
    match notice.notice {
        Sort::Alert if !notice.is_snapshot => CREATE,
        Sort::Change if stands && !row.status.is_open() => CLOSE,
        _ => UPDATE,
    }
}

const CREATE: (u64, &str) = (1, "Create");
const UPDATE: (u64, &str) = (2, "Update");
const CLOSE: (u64, &str) = (3, "Close");

/// The finding.
pub fn finding(row: &Row) -> Value {
    finding_of(row, activity(row))
}

fn finding_of(row: &Row, (activity_id, activity): (u64, &str)) -> Value {
    let (severity_id, severity) = severity(row.severity);
    let (status_id, status) = status(row.status);
    let mut finding = json!({
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity}"),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "time": row.last_seen.as_millisecond(),
        "count": row.count,
        "message": row.title,
        "metadata": metadata(row),
        "finding_info": finding_info(row),
        "unmapped": unmapped(row),
    });
    let times = [("start_time", row.start), ("end_time", row.end)];
    for (name, at) in times {
        if let Some(at) = at {
            finding[name] = at.as_millisecond().into();
        }
    }
    let lists = [("observables", observables(row)), ("resources", resources(row))];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        finding[name] = list.into();
    }
    finding
}

fn activity(row: &Row) -> (u64, &'static str) {
    match row.status {
        Status::Resolved | Status::Dismissed => CLOSE,
        _ if row.count > 1 => UPDATE,
        _ => CREATE,
    }
}

const fn severity(severity: Severity) -> (u64, &'static str) {
    match severity {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
    }
}

const fn status(status: Status) -> (u64, &'static str) {
    match status {
        Status::Active => (1, "New"),
        Status::InProgress => (2, "In Progress"),
        Status::Dismissed => (3, "Suppressed"),
        Status::Resolved => (4, "Resolved"),
    }
}

fn metadata(row: &Row) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "uid": row.id.to_string(),
        "log_provider": "soard",
        "logged_time": row.received.as_millisecond(),
        "product": {
            "name": row.product.as_ref().unwrap_or(&row.source),
            "vendor_name": row.vendor.as_deref().unwrap_or(UNKNOWN),
        },
    });
    if !row.tags.is_empty() {
        metadata["labels"] = row.tags.clone().into();
    }
    metadata
}

fn finding_info(row: &Row) -> Value {
    let uid = row.external_id.clone().unwrap_or_else(|| row.id.to_string());
    let mut info = json!({
        "uid": uid,
        "title": row.title,
        "created_time": row.generated.unwrap_or(row.received).as_millisecond(),
        "first_seen_time": row.received.as_millisecond(),
        "last_seen_time": row.last_seen.as_millisecond(),
    });
    if let Some(description) = &row.description {
        info["desc"] = description.clone().into();
    }
    if let Some(kind) = &row.kind {
        info["types"] = json!([kind]);
    }
    let tactics = row.tactics.iter().map(|name| json!({ "tactic": { "name": name } }));
    let techniques = row.techniques.iter().map(|id| json!({ "technique": technique(id) }));
    let attacks: Vec<Value> = tactics.chain(techniques).collect();
    if !attacks.is_empty() {
        info["attacks"] = attacks.into();
    }
    info
}

fn technique(id: &str) -> Value {
    match attack::technique(id) {
        Some(known) => json!({ "uid": known.id, "name": known.name }),
        None => json!({ "name": id }),
    }
}

/// The values that analysts pivot on; each is also in `unmapped.entities`, where its `name` leads.
fn observables(row: &Row) -> Vec<Value> {
    let mut all = Vec::new();
    for (kind, names) in &row.entities {
        let (type_id, told) = observable(kind);
        all.extend(names.iter().map(|value| {
            json!({ "name": format!("unmapped.entities.{kind}"), "type_id": type_id, "type": told, "value": value })
        }));
    }
    all
}

fn observable(kind: &str) -> (u64, &str) {
    match kind {
        "host" | "domain" => (1, "Hostname"),
        "ip" => (2, "IP Address"),
        "account" => (4, "User Name"),
        "mailbox" => (5, "Email Address"),
        "url" => (6, "URL String"),
        "file" => (7, "File Name"),
        "hash" => (8, "Hash"),
        "process" => (9, "Process Name"),
        "cloud_resource" => (10, "Resource UID"),
        other => (99, other),
    }
}

fn resources(row: &Row) -> Vec<Value> {
    row.resources.iter().map(|uid| json!({ "uid": uid })).collect()
}

fn unmapped(row: &Row) -> Value {
    let mut soard = Map::new();
    soard.insert("source".into(), row.source.clone().into());
    soard.insert("fate".into(), row.fate.as_str().into());
    if let Some(rule) = &row.suppressed_by {
        soard.insert("suppressed_by".into(), rule.id.clone().into());
    }
    if let Some(assignee) = &row.assignee {
        soard.insert("assignee".into(), assignee.clone().into());
    }
    let runs = row.runs.iter().map(|run| json!({ "id": run.id, "outcome": run.outcome }));
    soard.insert("runs".into(), runs.collect::<Vec<_>>().into());
    json!({ "soard": soard, "entities": row.entities })
}
