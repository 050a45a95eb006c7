//! The shipped formats over hand-written records: what each becomes, and that no record is lost or breaks anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};
use soard::rules::normalise::{Formats, Refused, compile};

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
