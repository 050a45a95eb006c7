//! The examples are what people copy: each must pass the check that it would meet in use.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs `soard check` on a folder: its exit code and everything that it said.
fn check(folder: &Path) -> (Option<i32>, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_soard")).arg("check").arg(folder).output().unwrap();
    (run.status.code(), [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap()).concat())
}

#[test]
fn every_example_passes_the_check_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut checked = 0;
    for example in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let (code, said) = check(&example);
        assert_eq!(code, Some(0), "{}:\n{said}", example.display());
        assert!(!said.contains("warning"), "{}:\n{said}", example.display());
        checked += 1;
    }
    assert!(checked >= 3, "{checked} examples found");
}

#[test]
fn the_mistake_that_the_quickstart_suggests_is_found_in_its_place() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    let broken = tempfile::tempdir().unwrap();
    for file in ["soard.yaml", "rules/route/routes.yaml", "playbooks/tell-owner.rhai", "lists/owners.yaml"] {
        let text = fs::read_to_string(example.join(file)).unwrap().replace("severity: high", "severty: high");
        let copy = broken.path().join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, text).unwrap();
    }
    let (code, said) = check(broken.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("rules/route/routes.yaml:7:") && said.contains("severity"), "{said}");
}

#[test]
fn the_settings_that_the_reference_shows_are_read_without_a_fault() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let text = fs::read_to_string(reference).unwrap();
    let shown: Vec<&str> = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let pinned = shown.iter().filter(|settings| settings.contains("format: falco")).count();
    assert!(shown.len() >= 3 && pinned >= 2);
    for settings in shown {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("soard.yaml"), settings).unwrap();
        fs::create_dir_all(folder.path().join("rules/route")).unwrap();
        fs::write(folder.path().join("rules/route/none.yaml"), "default_route: none\n").unwrap();
        let (code, said) = check(folder.path());
        assert_eq!(code, Some(0), "{settings}\n{said}");
        if !settings.contains("format: falco") {
            continue;
        }
        let (code, said) = {
            fs::write(folder.path().join("soard.yaml"), settings.replace("format: falco", "format: flaco")).unwrap();
            check(folder.path())
        };
        assert!(code == Some(1) && said.contains("did you mean `falco`"), "{said}");
    }
}
