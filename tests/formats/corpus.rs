//! The shipped formats and the hand-written samples.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use soard::rules::normalise::{Formats, compile};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The formats that ship with soard; they have no faults.
pub fn shipped() -> Formats {
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

pub fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Each sample with its format and name.
pub fn samples() -> Vec<(String, String, Vec<u8>)> {
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

pub fn received() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}
