//! Wrong playbooks and what their authors read.

use std::fmt::Write as _;

use crate::playbooks::compile::compile;
use crate::playbooks::tests::{files, lists};

/// What is wrong, and the files: `p` is the playbook; further files follow after a line `--- path`.
const WRONG: [(&str, &str); 54] = [
    ("no function", "let x = 1;\n"),
    ("empty file", ""),
    ("misspelt entry", "fn on_alrt(alert) {\n}\n"),
    ("entry with two arguments", "fn on_alert(alert, more) {\n}\n"),
    ("brace missing", "fn on_alert(alert) {\n    if true {\n        log(\"x\");\n}\n"),
    ("parenthesis missing", "fn on_alert(alert) {\n    webhook(\"jira\", #{ a: 1 };\n}\n"),
    ("semicolon missing", "fn on_alert(alert) {\n    let a = 1\n    let b = 2;\n}\n"),
    ("string not closed", "fn on_alert(alert) {\n    log(\"x);\n}\n"),
    ("map without hash", "fn on_alert(alert) {\n    webhook(\"jira\", { summary: alert.title });\n}\n"),
    ("duplicate key of a map", "fn on_alert(alert) {\n    webhook(\"jira\", #{ a: 1, a: 2 });\n}\n"),
    ("unknown variable", "fn on_alert(alert) {\n    log(alerts.len());\n}\n"),
    ("constant without global", "const TEAM = \"soc\";\nfn on_alert(alert) {\n    log(TEAM);\n}\n"),
    ("variable at the top", "let seen = 0;\nfn on_alert(alert) {\n}\n"),
    ("call at the top", "log(\"loaded\");\nfn on_alert(alert) {\n}\n"),
    ("step in a constant", "const NOW = now();\nfn on_alert(alert) {\n}\n"),
    ("constant that fails", "const X = 1 / 0;\nfn on_alert(alert) {\n}\n"),
    ("misspelt function", "fn on_alert(alert) {\n    webhok(\"jira\", #{});\n}\n"),
    ("unknown function", "fn on_alert(alert) {\n    fetch(\"https://example.com\");\n}\n"),
    ("too few arguments", "fn on_alert(alert) {\n    webhook(\"jira\");\n}\n"),
    ("too many arguments", "fn on_alert(alert) {\n    now(1);\n}\n"),
    ("own function, wrong arguments", "fn f(a, b) { a }\nfn on_alert(alert) {\n    f(1);\n}\n"),
    ("own function named like ours", "fn webhook(a, b) { a }\nfn on_alert(alert) {\n}\n"),
    ("function defined twice", "fn f(a) { a }\nfn f(b) { b }\nfn on_alert(alert) {\n}\n"),
    ("misspelt method", "fn on_alert(alert) {\n    let t = alert.title;\n    t.to_uper();\n}\n"),
    ("misspelt field", "fn on_alert(alert) {\n    log(alert.sevrity);\n}\n"),
    ("field that is no field", "fn on_alert(alert) {\n    log(alert.customer);\n}\n"),
    (
        "value of a catch block",
        "fn on_alert(alert) {\n    try {\n        tag(alert, \"x\");\n    } catch (e) {\n        false\n    }\n}\n",
    ),
    ("eval", "fn on_alert(alert) {\n    eval(\"1\");\n}\n"),
    ("curry", "fn on_alert(alert) {\n    let f = |a, b| a;\n    f.curry(1);\n}\n"),
    ("bad sleep", "fn on_alert(alert) {\n    sleep(\"30 minutes\");\n}\n"),
    ("long sleep", "fn on_alert(alert) {\n    sleep(\"91d\");\n}\n"),
    ("unknown status", "fn on_alert(alert) {\n    set_status(alert, \"closed\");\n}\n"),
    ("misspelt status", "fn on_alert(alert) {\n    set_status(alert, \"resolvd\");\n}\n"),
    ("unknown level", "fn on_alert(alert) {\n    log(\"warning\", \"x\");\n}\n"),
    ("on_status of one argument", "fn on_status(alert) {\n    log(alert.id)\n}\n"),
    ("unknown list", "fn on_alert(alert) {\n    lookup(\"never_tuoch\", alert.host)\n}\n"),
    ("unknown option", "fn on_alert(alert) {\n    webhook(\"jira\", #{}, #{ header: #{} });\n}\n"),
    ("unknown http method", "fn on_alert(alert) {\n    webhook(\"jira\", #{}, #{ method: \"FETCH\" });\n}\n"),
    ("approval without its end", "fn on_alert(alert) {\n    approve(\"Isolate?\", #{ by: \"approver\" });\n}\n"),
    (
        "approval, misspelt option",
        "fn on_alert(alert) {\n    approve(\"Go?\", #{ by: \"admin\", within: \"5m\", otherwize: \"deny\", otherwise: \"deny\" });\n}\n",
    ),
    (
        "approval, wrong words",
        "fn on_alert(alert) {\n    approve(\"\", #{\n        by: [\"operator\", \"Bo\"],\n        within: \"91d\",\n        otherwise: \"no\",\n        not_by: \"author\",\n    });\n}\n",
    ),
    ("approval without options", "fn on_alert(alert) {\n    approve(\"Isolate?\");\n}\n"),
    (
        "approval in all without its end",
        "fn on_alert(alert) {\n    all([#{ approve: \"Isolate?\", by: \"admin\", within: \"soon\" }]);\n}\n",
    ),
    ("member of all without kind", "fn on_alert(alert) {\n    all([#{ body: 1 }]);\n}\n"),
    ("member of all, misspelt option", "fn on_alert(alert) {\n    all([#{ webhook: \"jira\", boddy: 1 }]);\n}\n"),
    (
        "unknown module",
        "import \"lib/slak\" as slack;\nfn on_alert(alert) {\n}\n--- playbooks/lib/slack.rhai\nfn f() {}\n",
    ),
    ("import from outside", "import \"../secrets\" as s;\nfn on_alert(alert) {\n}\n"),
    ("import without name", "import \"lib/a\";\nfn on_alert(alert) {\n}\n--- playbooks/lib/a.rhai\nfn f() {}\n"),
    (
        "import in a function",
        "fn on_alert(alert) {\n    import \"lib/a\" as a;\n}\n--- playbooks/lib/a.rhai\nfn f() {}\n",
    ),
    ("module not imported", "fn on_alert(alert) {\n    slack::post(alert);\n}\n"),
    (
        "functions of a module",
        "import \"lib/a\" as a;\nfn on_alert(alert) {\n    a::pst(1);\n    a::post();\n    a::hidden();\n}\n\
         --- playbooks/lib/a.rhai\nfn post(x) { x }\nprivate fn hidden() { 1 }\n",
    ),
    (
        "modules in a circle",
        "import \"lib/a\" as a;\nfn on_alert(alert) {\n}\n--- playbooks/lib/a.rhai\nimport \"lib/b\" as b;\nfn f() {}\n\
         --- playbooks/lib/b.rhai\nimport \"lib/a\" as a;\nfn g() {}\n",
    ),
    (
        "paths",
        "fn on_alert(alert) {}\n--- playbooks/sub/x.rhai\nfn f() {}\n--- playbooks/a b.rhai\nfn on_alert(a) {}\n",
    ),
    (
        "several faults at once",
        "fn on_alert(alert) {\n    webhok(\"jira\", 1);\n    sleep(\"soon\");\n}\n--- playbooks/q.rhai\nfn on_group(alerts) {\n    \
         emial(\"soc\");\n}\n--- playbooks/lib/broken.rhai\nfn f( {\n",
    ),
];

#[test]
fn wrong_playbooks_say_what_is_wrong_where_and_how_to_cure_it() {
    let mut shown = String::new();
    for (what, text) in WRONG {
        let mut parts = text.split("--- ");
        let mut texts = vec![("playbooks/p.rhai", parts.next().unwrap())];
        texts.extend(parts.map(|part| part.split_once('\n').unwrap()));
        let files = files(&texts);
        let (playbooks, faults) = compile(&files, lists());
        assert!(!faults.is_empty(), "{what}");
        let errors = faults.iter().any(|fault| fault.gravity == crate::yaml::diagnostic::Gravity::Error);
        assert_eq!(playbooks.is_none(), errors, "{what}");
        writeln!(shown, "=== {what}").unwrap();
        for fault in faults {
            writeln!(shown, "{}\n", fault.render(&files, false)).unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let text = format!("fn on_alert(alert) {{ }}\n// {}", "x".repeat(300_000));
    let (playbooks, faults) = compile(&files(&[("playbooks/p.rhai", &text)]), lists());
    assert!(playbooks.is_none());
    assert!(faults[0].message.contains("at most"), "{faults:?}");
}
