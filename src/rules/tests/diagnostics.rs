//! Wrong files, and exactly what their writer is told. The files lie in `tests/diagnostics/rules`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{errors, files, known, show};
use crate::rules::compile::compile;

fn fixtures(folder: &str) -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics/rules").join(folder);
    let mut out: Vec<(String, PathBuf)> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    out.sort();
    assert!(!out.is_empty(), "no files under {}", root.display());
    out
}

/// The file's text as a bundle: beside a suppression or a list stands a route file without faults.
fn bundle(folder: &str, path: &Path) -> BTreeMap<String, String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let at = if folder == "lists" { format!("lists/{name}") } else { format!("rules/{folder}/{name}") };
    let mut out = files(&[(at.as_str(), text.as_str())]);
    if folder != "route" {
        out.insert("rules/route/none.yaml".into(), "default_route: none\n".into());
    }
    out
}

fn check(folder: &str) {
    for (name, path) in fixtures(folder) {
        let texts = bundle(folder, &path);
        let (_, found) = compile(&texts, &known());
        assert!(!found.is_empty(), "{name} has no fault");
        assert_eq!(errors(&found).is_empty(), name.starts_with("warn-"), "{name}: {}", show(&found, &texts));
        let place = format!("{folder}-{name}");
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true, snapshot_path => "snapshots/diagnostics"}, {
            insta::assert_snapshot!(place, show(&found, &texts));
        });
    }
}

#[test]
fn wrong_suppressions_are_refused_with_a_cure() {
    check("suppress");
}

#[test]
fn wrong_routes_are_refused_with_a_cure() {
    check("route");
}

#[test]
fn wrong_advice_is_refused_with_a_cure() {
    check("advise");
}

#[test]
fn wrong_lists_are_refused_with_a_cure() {
    check("lists");
}

#[test]
fn there_are_enough_of_them() {
    let count: usize = ["suppress", "route", "advise", "lists"].iter().map(|folder| fixtures(folder).len()).sum();
    assert!(count >= 60, "{count} wrong files");
}

#[test]
fn faults_across_files_name_the_first_place() {
    let texts = files(&[
        (
            "rules/suppress/a.yaml",
            "suppress:\n  - {id: same, title: A, owner: x, reason: expected, expires: 2027-01-01, match: {kind: a}}\n",
        ),
        (
            "rules/suppress/b.yaml",
            "suppress:\n  - {id: same, title: B, owner: x, reason: expected, expires: 2027-01-01, match: {kind: b}}\n",
        ),
        ("rules/suppress/notes.md", "# not a rule\n"),
        (
            "rules/route/a.yaml",
            "times: {night: {from: \"22:00\", to: \"06:00\"}}\nroute:\n  - {id: same, match: {kind: a}}\n  - id: rest\n",
        ),
        ("rules/route/b.yaml", "times: {night: {from: \"21:00\", to: \"06:00\"}}\nroute:\n  - id: rest\n"),
        ("lists/vip.txt", "ann\n"),
        ("lists/vip.yaml", "- ann\n"),
        ("lists/vip.csv", "ann\n"),
    ]);
    let (_, found) = compile(&texts, &known());
    insta::assert_snapshot!(show(&found, &texts));
}

#[test]
fn without_any_route_file_the_default_is_asked_for() {
    let (_, found) = compile(&BTreeMap::new(), &known());
    insta::assert_snapshot!(show(&found, &BTreeMap::new()));
}

#[test]
fn lists_of_values_and_expressions_have_a_limit() {
    let values: String = (0..=crate::rules::item::VALUES_MAX).map(|number| format!("k{number}, ")).collect();
    let text = super::suppression(&format!("kind: [{values}]"));
    let (_, found) = compile(&files(&[("rules/suppress/a.yaml", &text), super::NO_DEFAULT]), &known());
    assert_eq!(errors(&found).len(), 1);
    assert!(found[0].message.contains("10001 values; an item lists at most 10000"), "{}", found[0].message);
}

#[test]
fn hostile_files_are_faults_and_nothing_else() {
    let deep = format!("route:\n  - id: a\n    routes: {}", "[{id: b, routes: ".repeat(40) + "[]" + &"}]".repeat(40));
    for text in [
        "\u{0}",
        "[",
        "- - - -",
        "&a [*a]",
        "suppress: 1",
        "suppress: {a: b}",
        "suppress: [1, ~, [], {}]",
        "route: [[]]",
        "route:\n",
        "!!binary x",
        "? [a, b]\n: c",
        "route: [{id: 1}]",
        "route: [{id: a, match: []}]",
        "route: [{id: a, match: [[]]}]",
        "route: [{id: a, match: {'': x}}]",
        "route: [{id: a, match: {'|all': [x]}}]",
        "route: [{id: a, match: {condition: 5}}]",
        "route: [{id: a, match: {condition: []}}]",
        "route: [{id: a, match: {kind: {a: b}, condition: kind}}]",
        "route: [{id: a, match: {kind: [[x]]}}]",
        "\u{feff}route: x",
        &deep,
    ] {
        for path in ["rules/route/x.yaml", "rules/suppress/x.yaml", "rules/advise/x.yaml", "lists/x.yaml"] {
            let texts = files(&[(path, text)]);
            let (_, found) = compile(&texts, &known());
            let _ = show(&found, &texts);
            assert!(path.starts_with("lists") || !errors(&found).is_empty(), "{path}: {text}");
        }
    }
}
