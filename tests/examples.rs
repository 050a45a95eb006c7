//! The examples are what people copy: each must pass the check that it would meet in use.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_example_passes_the_check_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut checked = 0;
    for example in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let run = Command::new(env!("CARGO_BIN_EXE_soard")).arg("check").arg(&example).output().unwrap();
        let said = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(run.status.success(), "{}:\n{said}", example.display());
        assert!(!said.contains("warning"), "{}:\n{said}", example.display());
        checked += 1;
    }
    assert!(checked >= 3, "{checked} examples found");
}
