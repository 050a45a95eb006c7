//! What real records do to a format: fields missing, null, of another type, with more in them, with new words. Every
//! variant goes through what the daemon runs: prepare (normalise, match), decide, apply.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use soard::daemon::bundle::{self, Bundle};
use soard::daemon::prepare::{Prepared, prepare};
use soard::domain::entry::{Facts, Intake};
use soard::domain::record::{Position, Record};
use soard::engine::apply::apply;
use soard::engine::decide::decide;
use soard::engine::state::State;

use super::corpus::{received, samples};
use super::scale;

/// Variants of each format.
const VARIANTS: usize = 5_000;

/// Rules that look at what variants change.
const SUPPRESS: &str = r#"
suppress:
  - id: lab
    title: The lab's addresses
    owner: soc@example.com
    reason: expected
    expires: 2099-01-01
    match: { entities.ip.address|cidr: [10.0.0.0/8, "2001:db8::/32"], severity|lte: low }
"#;
const ROUTE: &str = r#"
default_route: none
route:
  - id: urgent
    title: What cannot wait
    owner: soc@example.com
    match: { severity|gte: high }
    group_by: [entities.host.name, entities.account.name]
    throttle: { per: [kind, resources], at_most: 3, within: 1h }
    playbooks: [notify-email]
    continue: true
  - id: rest
    title: Everything with a technique or a link
    owner: soc@example.com
    match: { techniques|startswith: T1, links.url|contains: example }
"#;

/// The shipped formats with rules.
pub fn bundle(suppress: &str, route: &str) -> Bundle {
    let folder = tempfile::tempdir().unwrap();
    for (kind, text) in [("suppress", suppress), ("route", route)] {
        let to = folder.path().join("rules").join(kind);
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join("all.yaml"), text).unwrap();
    }
    let files = bundle::read_folder(folder.path()).unwrap();
    let loaded = bundle::compile(files.clone(), None, None);
    let faults: Vec<String> = loaded.faults.iter().map(|fault| fault.render(&files, false)).collect();
    loaded.bundle.unwrap_or_else(|| panic!("{}", faults.join("\n")))
}

/// A daemon's pure half.
pub struct Pipeline<'b> {
    bundle: &'b Bundle,
    pub state: State,
}

/// What became of a record.
pub enum Fate {
    Alerts(Box<Intake>),
    Quarantined,
    NotAnAlert,
}

impl<'b> Pipeline<'b> {
    pub fn new(bundle: &'b Bundle) -> Self {
        Self { bundle, state: State::default() }
    }

    /// Takes a record as the daemon does; now and then reads the entry back as a recovery does.
    pub fn take(&mut self, bytes: &[u8], pinned: Option<&str>) -> Fate {
        let position = Position::Stdin { line: self.state.records + 1 };
        let record = Record { source: "test".into(), bytes: bytes.to_vec(), position };
        let Prepared::Input(input, _) = prepare(self.bundle, record, pinned) else { return Fate::NotAnAlert };
        let entry = decide(&self.state, &self.bundle.rules, received(), input).expect("a record gives an entry");
        if self.state.records.is_multiple_of(16) {
            let (kind, data) = (entry.facts.kind(), entry.facts.data());
            assert_eq!(Facts::parse(kind, &data).unwrap().data(), data, "what is written is what is read");
        }
        apply(&mut self.state, &entry);
        match entry.facts {
            Facts::Intake(intake) => Fate::Alerts(intake),
            Facts::Quarantine(kept) => {
                assert_eq!(kept.record.bytes().as_deref(), Some(bytes), "a quarantined record is kept verbatim");
                assert!(!kept.cause.is_empty());
                Fate::Quarantined
            }
            other => panic!("a record gave {}", other.kind()),
        }
    }
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// JSON pointers of all values in a record.
fn pointers(value: &Value, at: &str, to: &mut Vec<String>) {
    if !at.is_empty() {
        to.push(at.into());
    }
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, item)| pointers(item, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), to)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, item)| pointers(item, &format!("{at}/{n}"), to)),
        _ => {}
    }
}

/// Kinds of changes.
const CHANGES: usize = 9;

fn change(record: &mut Value, pointer: &str, how: usize) {
    if how == 0 {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match record.pointer_mut(parent) {
            Some(Value::Object(map)) => _ = map.remove(&key.replace("~1", "/").replace("~0", "~")),
            Some(Value::Array(items)) => {
                _ = key.parse().ok().filter(|n| *n < items.len()).map(|n: usize| items.remove(n))
            }
            _ => {}
        }
        return;
    }
    let Some(value) = record.pointer_mut(pointer) else { return };
    *value = match (how, value.take()) {
        (1, _) => Value::Null,
        (2, Value::String(text)) => text.parse::<i64>().map_or_else(|_| json!([text]), Into::into),
        (2, Value::Number(number)) => number.to_string().into(),
        (2, Value::Array(items)) => items.into_iter().next().unwrap_or_default(),
        (2, other) => json!([other]),
        (3, _) => json!({}),
        (4, _) => json!([]),
        (5, Value::Object(mut map)) => {
            map.insert("brand_new_field".into(), json!({"of": ["a", {"new": "shape"}]}));
            map.into()
        }
        (5, Value::Array(mut items)) => {
            items.push(json!({"brand_new": true}));
            items.into()
        }
        (5, _) => json!(true),
        (6, Value::String(text)) => format!("{text} of a new kind").into(),
        (6, other) => json!({"wrapped": other}),
        (7, _) => json!(-1.5e300),
        (_, Value::String(_)) => "\u{0}\u{202e}\n".repeat(400).into(),
        (_, other) => json!([other, null, "x"]),
    };
}

/// Runs the variants of every format's samples.
pub fn run() {
    let bundle = bundle(SUPPRESS, ROUTE);
    let mut by_format = BTreeMap::<String, Vec<Value>>::new();
    for (format, _, bytes) in samples() {
        by_format.entry(format).or_default().push(serde_json::from_slice(&bytes).unwrap());
    }
    let each: Vec<_> = by_format.into_iter().collect();
    std::thread::scope(|threads| {
        for half in 0..2 {
            let (each, bundle) = (&each, &bundle);
            let mine = each.iter().skip(half).step_by(2);
            threads.spawn(move || mine.for_each(|(format, records)| check_format(bundle, format, records)));
        }
    });
}

fn check_format(bundle: &Bundle, format: &str, records: &[Value]) {
    let mut numbers = Numbers(2004);
    let mut single = Vec::new();
    for (n, record) in records.iter().enumerate() {
        let fate = Pipeline::new(bundle).take(record.to_string().as_bytes(), None);
        assert_eq!(check_fate(fate, format, record, "unchanged"), "alerts");
        let mut all = Vec::new();
        pointers(record, "", &mut all);
        single.extend(all.into_iter().flat_map(|pointer| (0..CHANGES).map(move |how| (n, pointer.clone(), how))));
    }
    let mut pipeline = Pipeline::new(bundle);
    let mut fates = BTreeMap::<&str, usize>::new();
    for round in 0..VARIANTS {
        let changes = if round % 2 == 0 { 1 } else { 2 + numbers.below(4) };
        let (n, pointer, how) = &single[numbers.below(single.len())];
        let mut variant = records[*n].clone();
        change(&mut variant, pointer, *how);
        let mut what = format!("{pointer} {how}");
        for _ in 1..changes {
            // Another record's pointer may lead nowhere here; that leaves the variant as it is.
            let (_, pointer, how) = &single[numbers.below(single.len())];
            change(&mut variant, pointer, *how);
            what.push_str(&format!("; {pointer} {how}"));
        }
        let fate = pipeline.take(variant.to_string().as_bytes(), None);
        *fates.entry(check_fate(fate, format, &variant, &what)).or_default() += 1;
    }
    let [alerts, quarantined, ignored] =
        ["alerts", "quarantined", "ignored"].map(|fate| fates.get(fate).copied().unwrap_or_default());
    assert_eq!(alerts + quarantined + ignored, VARIANTS, "{format}: a record was lost");
    assert_eq!(pipeline.state.records, u64::try_from(alerts + quarantined).unwrap(), "{format}");
    assert_eq!(pipeline.state.quarantine.len(), quarantined, "{format}");
    assert!(alerts * 2 > VARIANTS, "{format}: only {alerts} of {VARIANTS} variants became alerts");
}

/// Whether a record's fate is right.
fn check_fate(fate: Fate, format: &str, record: &Value, what: &str) -> &'static str {
    let intake = match fate {
        Fate::Quarantined => return "quarantined",
        // What has lost both its type and its alert is one of Suricata's many other events.
        Fate::NotAnAlert => {
            let rest = record.get("alert").is_some_and(|alert| alert.get("rev").is_some());
            assert!(format == "suricata-eve" && !rest, "{format} {what}: no alert");
            return "ignored";
        }
        Fate::Alerts(intake) => intake,
    };
    assert_eq!(intake.format, format, "{what}");
    assert!(!intake.alerts.is_empty());
    for taken in &intake.alerts {
        let alert = &taken.alert;
        let part = record.pointer(&taken.part).unwrap_or_else(|| panic!("{format} {what}: no {}", taken.part));
        assert!(!alert.title.trim().is_empty() && alert.title.chars().all(|c| !c.is_control()), "{what}");
        assert_eq!(alert.severity.as_str(), scale::severity(format, part), "{format} {what}: severity");
        assert!(alert.external_id.is_some() != alert.fingerprint.is_some(), "{format} {what}");
    }
    "alerts"
}
