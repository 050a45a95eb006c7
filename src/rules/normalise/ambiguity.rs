//! Which formats would take the same records: for each format the smallest records that it recognises are made up and
//! shown to all others.

use serde_json::Value;

use crate::rules::normalise::condition::Condition;
use crate::rules::normalise::format::Format;
use crate::yaml::diagnostic::Diagnostic;

/// Most made-up records of one format.
const WITNESSES_MAX: usize = 16;

/// Orders formats by what they say they go before, else by file name, and warns of those that recognise the same
/// records without saying which goes first.
pub fn order(formats: Vec<Format>) -> (Vec<Format>, Vec<Diagnostic>) {
    let mut faults = Vec::new();
    for format in &formats {
        for (name, place) in &format.before {
            if !formats.iter().any(|other| other.name == *name) {
                let fault = Diagnostic::error("format-before", place.clone(), format!("no format `{name}`"));
                faults.push(fault.suggest(name, formats.iter().map(|other| other.name.as_str())));
            } else if goes_before(name, &format.name, &formats) {
                let message = format!("`{}` goes before `{name}`, which goes before `{}`", format.name, format.name);
                faults.push(Diagnostic::error("format-circle", place.clone(), message));
            }
        }
    }
    if !faults.is_empty() {
        return (formats, faults);
    }
    let formats = sorted(formats);
    for (n, first) in formats.iter().enumerate() {
        let later = formats[n + 1..].iter().filter(|later| !goes_before(&first.name, &later.name, &formats));
        faults.extend(later.filter_map(|later| overlap(first, later)));
    }
    (formats, faults)
}

/// Whether one format says, itself or by way of others, that it goes before the other.
fn goes_before(one: &str, other: &str, formats: &[Format]) -> bool {
    let mut reached = vec![one];
    let mut n = 0;
    while let Some(name) = reached.get(n).copied() {
        let named = formats.iter().filter(|format| format.name == name).flat_map(|format| &format.before);
        for (next, _) in named {
            if next == other {
                return true;
            }
            if !reached.contains(&next.as_str()) {
                reached.push(next);
            }
        }
        n += 1;
    }
    false
}

/// Each format ahead of those that it goes before, and otherwise in the given order.
fn sorted(mut formats: Vec<Format>) -> Vec<Format> {
    let mut sorted: Vec<Format> = Vec::with_capacity(formats.len());
    while !formats.is_empty() {
        let free =
            |format: &Format| !formats.iter().any(|other| other.before.iter().any(|(name, _)| *name == format.name));
        let next = formats.iter().position(free).expect("a circle was refused before");
        sorted.push(formats.remove(next));
    }
    sorted
}

/// A warning when a smallest record of one of them is recognised by both.
fn overlap(first: &Format, later: &Format) -> Option<Diagnostic> {
    let of_later = witnesses(later).into_iter().find(|record| first.recognises(record));
    let of_first = || witnesses(first).into_iter().find(|record| later.recognises(record));
    let record = of_later.or_else(of_first)?;
    let message = format!("`{}` of {} recognises records that this format takes too", first.name, first.place.file);
    let help = format!(
        "both take {record}, and `{}` goes first by its file name; make `recognise` narrower, or say which goes first: `before: [{}]` here or `before: [{}]` there",
        first.name, first.name, later.name
    );
    Some(Diagnostic::warning("ambiguous-format", later.place.clone(), message).help(help))
}

/// Smallest records that a format recognises, one for each way in which it does.
fn witnesses(format: &Format) -> Vec<Value> {
    let mut records = vec![Value::Null];
    fill(&format.recognise, &mut records);
    records.retain(|record| format.recognises(record));
    records
}

/// Gives records what a condition asks for; where it offers a choice, each of them becomes several.
fn fill(condition: &Condition, records: &mut Vec<Value>) {
    for check in condition.asked() {
        for (path, value) in check.values {
            records.iter_mut().for_each(|record| path.put(record, &value));
        }
        if !check.choices.is_empty() {
            let before = std::mem::take(records);
            for choice in check.choices {
                let mut more = before.clone();
                fill(choice, &mut more);
                records.extend(more);
            }
            records.truncate(WITNESSES_MAX);
        }
    }
}
