//! The shipped formats over hand-written records: what each becomes, and that no record is lost or breaks anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};
use soard::rules::normalise::entity::ENTITY_PROPERTIES;
use soard::rules::normalise::{Formats, Parsed, Refused, compile};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The formats that ship with soard; they have no faults.
fn shipped() -> Formats {
    let mut files = BTreeMap::new();
    for file in sorted(&root().join("rules/normalise")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        files.insert(format!("rules/normalise/{name}"), fs::read_to_string(&file).unwrap());
    }
    let (formats, faults) = compile(&files);
    let faults: Vec<String> = faults.iter().map(|fault| fault.render(&files, false)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(formats.names().count(), files.len());
    formats
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Each sample with its format and name.
fn samples() -> Vec<(String, String, Vec<u8>)> {
    let mut samples = Vec::new();
    for folder in sorted(&root().join("tests/samples")) {
        let format = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if format == "ignored" {
            continue;
        }
        for file in sorted(&folder).into_iter().filter(|file| file.extension().is_some_and(|end| end == "json")) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            samples.push((format.clone(), name, fs::read(&file).unwrap()));
        }
    }
    samples
}

fn received() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

#[test]
fn every_sample_becomes_the_alerts_that_somebody_looked_at() {
    let formats = shipped();
    let mut count = BTreeMap::<String, usize>::new();
    for (format, name, bytes) in samples() {
        *count.entry(format.clone()).or_default() += 1;
        assert_eq!(formats.recognisers(&bytes).unwrap(), [&format], "{format}/{name} is recognised by these");
        let normalised = formats.normalise("test", &bytes, received(), None).unwrap();
        let alerts: Vec<Value> = normalised
            .alerts
            .iter()
            .map(|parsed| {
                let window = parsed.window.map(|window| window.to_string());
                json!({"part": parsed.part, "window": window, "alert": parsed.alert})
            })
            .collect();
        let unmapped = formats.unmapped(&bytes, None).unwrap();
        let shown =
            json!({"format": normalised.format, "alerts": alerts, "notes": normalised.notes, "unmapped": unmapped});
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().join("tests/samples").join(&format).join("snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| assert_snapshot!(name.as_str(), serde_json::to_string_pretty(&shown).unwrap()));
    }
    for name in formats.names() {
        assert!(count.get(name).is_some_and(|n| *n >= 3), "{name} has too few samples");
    }
}

#[test]
fn records_of_the_same_streams_that_are_no_alerts_are_named_as_such() {
    let formats = shipped();
    for file in sorted(&root().join("tests/samples/ignored")) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let refused = formats.normalise("test", &fs::read(&file).unwrap(), received(), None).unwrap_err();
        match refused {
            Refused::NotAnAlert { format, why } => {
                assert_eq!(name.split('_').next().unwrap(), format, "{why}");
            }
            other => panic!("{name}: {other}"),
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

/// What real records do to a format: fields missing, null, of another type, with more in them, with new words.
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

#[test]
fn variants_of_real_records_neither_break_nor_vanish() {
    let formats = shipped();
    let mut by_format = BTreeMap::<String, Vec<Value>>::new();
    for (format, _, bytes) in samples() {
        by_format.entry(format).or_default().push(serde_json::from_slice(&bytes).unwrap());
    }
    let each: Vec<_> = by_format.into_iter().collect();
    std::thread::scope(|threads| {
        for half in each.chunks(each.len().div_ceil(2)) {
            threads.spawn(|| half.iter().for_each(|(format, records)| check_variants(&formats, format, records)));
        }
    });
}

/// Variants of each format: half with one change, half with several.
const VARIANTS: usize = 5_000;

fn check_variants(formats: &Formats, format: &str, records: &[Value]) {
    let mut numbers = Numbers(2004);
    let mut single = Vec::new();
    let mut known = Vec::new();
    for (n, record) in records.iter().enumerate() {
        let mut all = Vec::new();
        pointers(record, "", &mut all);
        single.extend(all.into_iter().flat_map(|pointer| (0..CHANGES).map(move |how| (n, pointer.clone(), how))));
        let taken = formats.normalise("test", record.to_string().as_bytes(), received(), None).unwrap();
        known.extend(taken.alerts.iter().map(|parsed| parsed.alert.severity.as_str()));
    }
    let mut taken = 0;
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
        taken += usize::from(check_variant(formats, format, &known, &variant, &what));
    }
    assert!(taken * 2 > VARIANTS, "{format}: only {taken} of {VARIANTS} variants became alerts");
}

/// Whether a variant became alerts; if not, the refusal keeps it for a person to see.
fn check_variant(formats: &Formats, format: &str, known: &[&str], variant: &Value, what: &str) -> bool {
    match formats.normalise("test", variant.to_string().as_bytes(), received(), None) {
        Ok(normalised) => {
            assert_eq!(normalised.format, format, "{what}");
            assert!(!normalised.alerts.is_empty());
            for Parsed { alert, part, .. } in &normalised.alerts {
                assert_eq!(variant.pointer(part), Some(&*alert.raw), "{format} {what}");
                assert!(!alert.title.trim().is_empty() && alert.title.chars().all(|c| !c.is_control()), "{what}");
                let severity = alert.severity.as_str();
                assert!(severity == "medium" || known.contains(&severity), "{format} {what}: {severity} of {known:?}");
                assert!(alert.external_id.is_some() != alert.fingerprint.is_some(), "{format} {what}");
                let text = serde_json::to_string(alert).unwrap();
                assert!(serde_json::from_str::<soard::domain::alert::Alert>(&text).is_ok());
            }
            true
        }
        // What has lost both its type and its alert is one of Suricata's many other events.
        Err(Refused::NotAnAlert { .. })
            if format == "suricata-eve" && variant.get("alert").is_none_or(|alert| alert.get("rev").is_none()) =>
        {
            false
        }
        Err(Refused::NoFormat { .. } | Refused::Failed { .. } | Refused::NotAnObject { .. }) => false,
        Err(other) => panic!("{format} {what}: {other}"),
    }
}

/// Records that somebody would send to break a reader, each with a name.
#[expect(clippy::too_many_lines, reason = "one table of records")]
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let mut records: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut add = |name, bytes: &[u8]| records.push((name, bytes.to_vec()));
    let alert = |field: &str| format!("{{\"title\":\"t\",\"severity\":\"low\",{field}}}").into_bytes();
    let nested = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for (name, text) in [
        ("nothing", ""),
        ("a space", " "),
        ("a line end", "\n"),
        ("a NUL byte", "\0"),
        ("a BOM alone", "\u{feff}"),
        ("null", "null"),
        ("true", "true"),
        ("a number", "1e9"),
        ("a text", "\"title\""),
        ("an empty object", "{}"),
        ("an empty list", "[]"),
        ("a list of nothing", "[null]"),
        ("a list of lists", "[[]]"),
        ("half an object", "{\"title\":"),
        ("no end", "{\"title\":\"t\""),
        ("rubbish after", "{\"title\":\"t\",\"severity\":\"low\"} x"),
        ("two objects", "{\"title\":\"t\",\"severity\":\"low\"}{}"),
        ("single quotes", "{'title':'t'}"),
        ("a comment", "{\"title\":\"t\" /* */}"),
        ("a comma too many", "{\"title\":\"t\",}"),
        ("NaN", "{\"title\":\"t\",\"severity\":NaN}"),
        ("infinity", "{\"title\":\"t\",\"severity\":1e400}"),
        ("a leading zero", "{\"title\":\"t\",\"severity\":01}"),
        ("a lone surrogate", "{\"title\":\"\\ud800\",\"severity\":\"low\"}"),
        ("a raw control sign", "{\"title\":\"a\u{1}b\",\"severity\":\"low\"}"),
        ("a key twice", "{\"title\":\"t\",\"title\":\"u\",\"severity\":\"low\"}"),
        ("a key twice, written in two ways", "{\"title\":\"t\",\"\\u0074itle\":\"u\",\"severity\":\"low\"}"),
        ("a key twice, far down", "{\"title\":\"t\",\"severity\":\"low\",\"a\":[{\"b\":{\"c\":1,\"c\":2}}]}"),
        ("XML", "<alert/>"),
        ("YAML", "title: t\nseverity: low\n"),
        ("CEF", "CEF:0|v|p|1|2|n|5|"),
        ("an HTTP request", "GET / HTTP/1.1\r\n\r\n"),
        ("a BOM before", "\u{feff}{\"title\":\"t\",\"severity\":\"low\"}"),
    ] {
        add(name, text.as_bytes());
    }
    add("bytes that are no UTF-8", b"{\"title\":\"\xff\xfe\",\"severity\":\"low\"}");
    add("UTF-16", &"{\"title\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    add("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00");
    add("over-long UTF-8", b"{\"title\":\"\xc0\xaf\",\"severity\":\"low\"}");
    add("63 lists deep", &alert(&format!("\"x\":{}", nested("[", "]", 63))));
    add("64 lists deep in an object", &alert(&format!("\"x\":{}", nested("[", "]", 64))));
    add("100,000 lists deep", nested("[", "]", 100_000).as_bytes());
    add("100,000 objects deep", nested("{\"a\":", "}", 100_000).as_bytes());
    add("100,000 lists, never closed", "[".repeat(100_000).as_bytes());
    add("10,001 values", &alert(&format!("\"x\":[{}1]", "1,".repeat(10_000))));
    add("257 keys", format!("{{{}\"z\":1}}", (0..256).map(|n| format!("\"k{n}\":1,")).collect::<String>()).as_bytes());
    add("a mebibyte of text", &alert(&format!("\"x\":\"{}\"", "x".repeat(1024 * 1024))));
    add(
        "nearly a mebibyte of title",
        format!("{{\"title\":\"{}\",\"severity\":\"low\"}}", "é".repeat(500_000)).as_bytes(),
    );
    add("a key of 900 kB", &alert(&format!("\"{}\":1", "k".repeat(900_000))));
    add("a title of control signs", b"{\"title\":\"\\u0000\\u001b[2J\\u202e\",\"severity\":\"low\"}");
    add("a title of spaces", b"{\"title\":\"  \",\"severity\":\"low\"}");
    add("a title that is a list", b"{\"title\":[\"t\"],\"severity\":\"low\"}");
    add("a title that is an object", b"{\"title\":{\"t\":1},\"severity\":\"low\"}");
    add("a severity that is an object", b"{\"title\":\"t\",\"severity\":{\"level\":\"high\"}}");
    add("a severity of 1e308", b"{\"title\":\"t\",\"severity\":1e308}");
    for (name, field) in [
        ("a time of minus infinity", "\"start\":-1e308"),
        ("a time in the year 300000", "\"start\":9e12,\"end\":\"+300000-01-01T00:00:00Z\""),
        ("a time before the flood", "\"start\":\"-9999-01-01T00:00:00Z\""),
        ("a leap second", "\"start\":\"2016-12-31T23:59:60Z\""),
        ("an integer past 64 bits", "\"external_id\":123456789012345678901234567890"),
        ("an id of 300 kB", "\"external_id\":\"ID\""),
        ("entities that are a list", "\"entities\":[{\"ip\":1}]"),
        ("entities that are a text", "\"entities\":\"ip\""),
        ("an entity within an entity", "\"entities\":{\"ip\":[[[{\"address\":\"192.0.2.1\"}]]]}"),
        ("an address with a port", "\"entities\":{\"ip\":[{\"address\":\"192.0.2.1:80\"}]}"),
        ("an address of 1 kB", "\"entities\":{\"ip\":[{\"address\":\"ID\"}]}"),
        (
            "properties of every type",
            "\"entities\":{\"host\":[{\"name\":null,\"os\":{},\"id\":[],\"ip\":true,\"fqdn\":1.5}]}",
        ),
        (
            "links of every kind",
            "\"links\":[{\"url\":\"javascript:alert(1)\"},{\"url\":\"https:// x\"},{\"url\":\"HTTP://\"},{\"url\":7},{}]",
        ),
        (
            "raw of its own",
            "\"raw\":{\"title\":\"other\"},\"received\":\"1970-01-01T00:00:00Z\",\"source\":\"x\",\"id\":\"a-1.0\"",
        ),
        ("a status of every type", "\"status\":[{},[],null,\"resolved\"]"),
        ("a prototype", "\"__proto__\":{\"severity\":\"high\"},\"constructor\":{}"),
    ] {
        add(name, &alert(&field.replace("ID", &"9".repeat(if name.contains("300 kB") { 300_000 } else { 1_000 }))));
    }
    let many = |n: usize, item: &str| vec![item; n].join(",");
    add(
        "1,000 entities",
        &alert(&format!(
            "\"entities\":{{\"host\":[{}]}}",
            (0..1_000).map(|n| format!("{{\"name\":\"h{n}\"}}")).collect::<Vec<_>>().join(",")
        )),
    );
    add(
        "5,000 tags",
        &alert(&format!("\"tags\":[{}]", (0..5_000).map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(","))),
    );
    add("a huge extended", &alert(&format!("\"extended\":{{\"a\":\"{}\",\"b\":1}}", "x".repeat(200_000))));
    add(
        "1,001 alerts in one",
        format!("{{\"receiver\":\"r\",\"groupKey\":\"g\",\"alerts\":[{}]}}", many(1_001, "{\"labels\":{\"a\":\"b\"}}"))
            .as_bytes(),
    );
    add(
        "alerts that are no objects",
        b"{\"receiver\":\"r\",\"groupKey\":\"g\",\"alerts\":[{\"labels\":{\"a\":\"b\"}},7]}",
    );
    let defender = |entities: &str| {
        format!("{{\"SystemAlertId\":\"1\",\"AlertType\":\"T\",\"AlertDisplayName\":\"n\",\"Severity\":\"Low\",\"Entities\":{entities}}}").into_bytes()
    };
    add(
        "a reference to itself",
        &defender("[{\"$id\":\"1\",\"Host\":{\"$ref\":\"1\"},\"Name\":\"a\",\"Type\":\"account\"},{\"$ref\":\"1\"}]"),
    );
    add(
        "a circle of references",
        &defender(
            "[{\"$id\":\"1\",\"$ref\":\"2\"},{\"$ref\":\"2\"},{\"$id\":\"2\",\"ParentProcess\":{\"$id\":\"3\",\"ParentProcess\":{\"$ref\":\"2\"},\"CommandLine\":\"c\",\"Type\":\"process\"},\"Type\":\"process\"}]",
        ),
    );
    add("a reference to nothing", &defender("[{\"$ref\":\"99\"},{\"$ref\":null},{\"$ref\":{}}]"));
    add(
        "a thousand references to one",
        &defender(&format!(
            "[{},{{\"$id\":\"1\",\"HostName\":\"h\",\"Type\":\"host\"}}]",
            many(1_000, "{\"$ref\":\"1\"}")
        )),
    );
    add(
        "ids twice",
        &defender(
            "[{\"$id\":\"1\",\"HostName\":\"a\",\"Type\":\"host\"},{\"$id\":\"1\",\"HostName\":\"b\",\"Type\":\"host\"},{\"$ref\":\"1\"}]",
        ),
    );
    add("packed JSON that is too deep", &defender(&serde_json::to_string(&nested("[", "]", 100)).unwrap()));
    add("packed JSON with a key twice", &defender("\"[{\\\"Type\\\":\\\"ip\\\",\\\"Type\\\":\\\"host\\\"}]\""));
    records
}

#[test]
fn hostile_records_become_alerts_or_named_refusals() {
    let formats = shipped();
    let records = hostile();
    assert!(records.len() >= 60);
    let mut lines = Vec::new();
    for (name, bytes) in &records {
        let outcome = match formats.normalise("test", bytes, received(), None) {
            Ok(normalised) => {
                let notes: Vec<String> =
                    normalised.notes.iter().map(|note| format!("{:?} {}", note.kind, note.field)).collect();
                let title: String = normalised.alerts[0].alert.title.chars().take(30).collect();
                let notes = if notes.is_empty() { String::new() } else { format!(" [{}]", notes.join(", ")) };
                format!("{} by {}: {title:?}{notes}", normalised.alerts.len(), normalised.format)
            }
            Err(Refused::NoFormat { tried }) => format!("refused: no format of {} takes it", tried.len().min(1)),
            Err(refused) => format!("refused: {}", refused.to_string().chars().take(120).collect::<String>()),
        };
        lines.push(format!("{name}: {outcome}"));
        formats.unmapped(bytes, None).ok();
    }
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn wrong_format_files_are_answered_with_place_and_cure() {
    let mut count = 0;
    for file in sorted(&root().join("tests/wrong/formats")).into_iter().filter(|file| file.is_file()) {
        let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let path = format!("rules/normalise/{stem}.yaml");
        let files = BTreeMap::from([(path, fs::read_to_string(&file).unwrap())]);
        let (formats, faults) = compile(&files);
        assert_eq!(formats.names().count(), 0, "{stem} is taken for right");
        let shown: Vec<String> = faults.iter().map(|fault| fault.render(&files, false)).collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().join("tests/wrong/formats/snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| assert_snapshot!(stem.as_str(), shown.join("\n\n")));
        count += 1;
    }
    assert!(count >= 20);
}

/// The code block that follows a marker in the documentation.
fn block<'d>(docs: &'d str, marker: &str) -> &'d str {
    let after = docs.split_once(marker).unwrap_or_else(|| panic!("{marker} is in the docs")).1;
    after.split_once("```").unwrap().1.split_once('\n').unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_documentation_is_true() {
    let docs = fs::read_to_string(root().join("docs/formats.md")).unwrap();
    for name in shipped().names() {
        assert!(docs.contains(&format!("\n| `{name}` |")), "{name} is missing in the table of formats");
    }
    for (kind, properties) in ENTITY_PROPERTIES {
        let row =
            format!("| `{kind}` | {} |", properties.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" "));
        assert!(docs.contains(&row), "the table of entities lacks\n{row}");
    }
    let files = BTreeMap::from([("rules/normalise/x.yaml".into(), block(&docs, "<!-- tutorial: format -->").into())]);
    let (formats, faults) = compile(&files);
    assert_eq!(faults, []);
    let record = block(&docs, "<!-- tutorial: record -->");
    let taken = formats.normalise("doors", record.as_bytes(), received(), None).unwrap();
    let alert = &taken.alerts[0].alert;
    assert_eq!(alert.title, "DOOR_FORCED at Depot North, door D-12");
    assert_eq!((alert.severity.as_str(), alert.status.as_str()), ("medium", "active"));
    assert_eq!(alert.start.unwrap().to_string(), "2026-03-01T10:00:00.123Z");
    assert_eq!((alert.account(), alert.links.len(), taken.notes.len()), (Some("dana.roth"), 1, 1));
    let heartbeat = record.replace("DOOR_FORCED", "HEARTBEAT");
    let refused = formats.normalise("doors", heartbeat.as_bytes(), received(), None).unwrap_err();
    assert_eq!(refused.to_string(), "no alert, says format `door-control`: a heartbeat");
    let generic = block(&docs, "## The generic format");
    assert_eq!(shipped().normalise("x", generic.as_bytes(), received(), None).unwrap().format, "soard");
}
