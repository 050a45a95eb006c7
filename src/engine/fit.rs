//! What does not fit into one journal entry becomes an entry that says so: no input may stop the journal, and no entry
//! may be one that a restart cannot read.

use memchr::memchr2_iter;
use serde_json::json;

use crate::domain::entry::{End, Entry, Facts, Quarantine, RunEnd};
use crate::domain::record::depth;

/// Nesting of an entry's content: records and replies may have 64 levels, entries add their own.
pub const DEPTH_MAX: usize = 100;

/// The entry, replaced where it is too large or too deep, with its content as the journal takes it.
pub fn fit(entry: Entry, bytes_max: usize) -> (Entry, String) {
    let data = entry.facts.data();
    let Some(why) = fault(&data, bytes_max) else { return (entry, data) };
    let entry = Entry { facts: smaller(entry.facts, &why), ..entry };
    let data = entry.facts.data();
    (entry, data)
}

fn fault(data: &str, bytes_max: usize) -> Option<String> {
    if data.len() > bytes_max {
        return Some(format!("it needs {} bytes in the journal; an entry has at most {bytes_max}", data.len()));
    }
    // What opens few brackets cannot be deep, and nearly all open few.
    if memchr2_iter(b'{', b'[', data.as_bytes()).take(DEPTH_MAX + 1).count() <= DEPTH_MAX {
        return None;
    }
    let depth = depth(data);
    (depth > DEPTH_MAX).then(|| format!("it is nested {depth} deep; an entry is at most {DEPTH_MAX}"))
}

fn smaller(facts: Facts, why: &str) -> Facts {
    match facts {
        Facts::Intake(intake) => Facts::Quarantine(Quarantine {
            record_no: intake.record_no,
            source: intake.source,
            position: intake.position,
            record: intake.record,
            cause: format!("format {} makes too much of it: {why}", intake.format),
        }),
        Facts::Intent(intent) => failed(intent.run, why),
        Facts::Run(end) => failed(end.run, why),
        Facts::Result(mut result) => {
            let status = result.reply.value.get("status").cloned().unwrap_or_default();
            result.reply.value = json!({ "status": status, "headers": {}, "body": null, "truncated": true });
            result.reply.error = Some(format!("the reply is not kept: {why}"));
            Facts::Result(result)
        }
        Facts::Attempt(mut attempt) => {
            attempt.progress = None;
            attempt.error.truncate(attempt.error.floor_char_boundary(1_000));
            Facts::Attempt(attempt)
        }
        // The others are bounded by what makes them: a record is at most 1 MiB, a group at most 11,000 alerts.
        other => other,
    }
}

fn failed(run: crate::domain::id::RunId, why: &str) -> Facts {
    let error = format!("what it asks for does not fit: {why}");
    Facts::Run(RunEnd { run, steps: Vec::new(), end: End::Failed { error, place: None } })
}
