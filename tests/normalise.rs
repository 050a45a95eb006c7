//! `soard normalise` as people use it: the tutorial's command, records of every kind, and what it says of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the command in a folder: exit code, stdout, stderr.
fn run(folder: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soard"));
    command.arg("normalise").args(arguments).current_dir(folder).env_remove("SOARD_DIR");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The output without the one line that names the present.
fn timeless(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("received ")).map(|line| format!("{line}\n")).collect()
}

/// The code block that follows a marker in the documentation.
fn block<'d>(docs: &'d str, marker: &str) -> &'d str {
    let after = docs.split_once(marker).unwrap_or_else(|| panic!("{marker} is in the docs")).1;
    after.split_once("```").unwrap().1.split_once('\n').unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_tutorials_command_runs_and_shows_what_the_tutorial_says() {
    let docs = fs::read_to_string(root().join("docs/formats.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("rules/normalise")).unwrap();
    let format = block(&docs, "<!-- tutorial: format -->");
    fs::write(folder.path().join("rules/normalise/door-control.yaml"), format).unwrap();
    fs::write(folder.path().join("record.json"), block(&docs, "<!-- tutorial: record -->")).unwrap();
    let command = block(&docs, "<!-- tutorial: command -->");
    let arguments: Vec<&str> = command.split_whitespace().skip(2).collect();
    let (code, out, err) = run(folder.path(), &arguments, "");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(timeless(&out), timeless(block(&docs, "<!-- tutorial: output -->")));
}

#[test]
fn every_shape_of_input_is_read_and_each_record_has_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let alert = |title: &str| format!("{{\"title\": \"{title}\", \"severity\": \"low\"}}");
    let pretty = "{\n  \"title\": \"one\",\n  \"severity\": \"low\"\n}\n";
    for (input, count) in [
        (pretty.to_owned(), 1),
        (format!("\u{feff}[{},\n {}]", alert("one"), alert("two")), 2),
        (format!("{}\n\n{}\r\n{}\n", alert("one"), alert("two"), alert("three")), 3),
    ] {
        let (code, out, err) = run(folder.path(), &["-f", "-", "-o", "json"], &input);
        let all: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        assert_eq!((code, all.as_array().unwrap().len()), (0, count), "{out}");
        assert!(all.as_array().unwrap().iter().all(|one| one["alerts"]["format"] == "soard"), "{out}");
    }
    let mixed = "{\"title\": \"\\u001b[2Jevil\", \"severity\": \"urgent\", \"own\": {\"a\": [1]}}\n\
                 {\"timestamp\": \"2026-01-01T00:00:00Z\", \"event_type\": \"stats\"}\n{broken\n{\"what\": 1}\n";
    let (code, out, err) = run(folder.path(), &["-f", "-"], mixed);
    assert_eq!((code, err.as_str()), (1, ""));
    assert_snapshot!(timeless(&out));
    let (code, out, _) = run(folder.path(), &["-f", "-", "-o", "json"], mixed);
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    assert_eq!(all[0]["alerts"]["notes"][0]["kind"], "unknown_word");
    assert_eq!(all[0]["alerts"]["unmapped"][0], serde_json::json!({"pointer": "/own/a/0", "value": 1}));
    assert_eq!(all[1]["not_an_alert"]["format"], "suricata-eve");
    assert!(all[2]["refused"]["cause"].as_str().unwrap().starts_with("not JSON"));
    assert_eq!(all[3]["refused"]["tried"]["wazuh"], "`rule.level` is absent");
}

#[test]
fn formats_are_those_of_the_folder_over_the_shipped_ones_and_sources_pin_them() {
    let folder = tempfile::tempdir().unwrap();
    let sample = fs::read_to_string(root().join("tests/samples/falco/outbound.json")).unwrap();
    let code = |arguments: &[&str]| {
        let (code, out, err) = run(folder.path(), &[&["-f", "-"], arguments].concat(), &sample);
        (code, out + &err)
    };
    assert_eq!(code(&[]).0, 0, "no soard.yaml is needed");
    assert_eq!(code(&["--format", "falco"]).0, 0);
    let (exit, said) = code(&["--format", "wazuh"]);
    assert!(exit == 1 && said.contains("`rule.level` is absent") && !said.contains("crowdsec"), "{said}");
    let (exit, said) = code(&["--format", "flaco"]);
    assert!(exit == 2 && said.contains("did you mean `falco`"), "{said}");
    assert_eq!(code(&["--source", "edge"]).0, 2, "there is no soard.yaml");
    fs::write(folder.path().join("soard.yaml"), "sources:\n  edge: { format: wazuh, file: { path: a.jsonl } }\n")
        .unwrap();
    assert!(code(&["--source", "edge"]).1.contains("`rule.level` is absent"));
    let (exit, said) = code(&["--source", "egde"]);
    assert!(exit == 2 && said.contains("its sources are edge"), "{said}");

    fs::create_dir_all(folder.path().join("rules/normalise")).unwrap();
    let own = root().join("rules/normalise/falco.yaml");
    let own = fs::read_to_string(own)
        .unwrap()
        .replace("product: =Falco", "product: =Own")
        .replace("format: falco", "format: aa-falco");
    fs::write(folder.path().join("rules/normalise/own.yml"), &own).unwrap();
    let (exit, said) = code(&[]);
    assert!(exit == 0 && said.contains("recognised by aa-falco too") && said.contains("ambiguous-format"), "{said}");
    let own = own.replace("dotted_keys: true", "before: [falco]\ndotted_keys: true");
    fs::write(folder.path().join("rules/normalise/own.yml"), &own).unwrap();
    let (exit, said) = code(&[]);
    assert!(exit == 0 && said.contains("by format aa-falco") && !said.contains("ambiguous-format"), "{said}");
    fs::write(folder.path().join("rules/normalise/own.yml"), own.replace("severity:", "sevrity:")).unwrap();
    let (exit, said) = code(&[]);
    assert!(exit == 2 && said.contains("rules/normalise/own.yml:") && said.contains("did you mean"), "{said}");
    let (exit, said) = {
        let (exit, out, err) = run(folder.path(), &["-f", "none.json"], "");
        (exit, out + &err)
    };
    assert_eq!(exit, 2, "{said}");
}
