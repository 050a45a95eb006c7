//! Scripts that mean harm, or are written so badly that it makes no difference: each ends in an error, the
//! process goes on. Those that only a worker process withstands lie in `tests/hostile-playbooks/`.

use crate::playbooks::compile::compile;
use crate::playbooks::evaluate::Then;
use crate::playbooks::tests::{evaluate, files, lists};

/// Name, script, and a word of the error.
const SCRIPTS: [(&str, &str, &str); 25] = [
    ("big values by property", "fn on_alert(alert) { let m = #{}; loop { m.l = m; m.r = m; } }", "map"),
    ("endless loop", "fn on_alert(alert) { loop { } }", "operations"),
    ("endless loop in a closure", "fn on_alert(alert) { [1].map(|x| { loop { } }) }", "operations"),
    ("endless while with try", "fn on_alert(alert) { while true { try { throw 1; } catch { } } }", "operations"),
    ("recursion", "fn f(x) { f(x + 1) } fn on_alert(alert) { f(0) }", "deeply"),
    ("mutual recursion", "fn f(x) { g(x) } fn g(x) { f(x) } fn on_alert(alert) { f(0) }", "deeply"),
    ("recursion by pointer", "fn f(x) { call(Fn(\"f\"), x) } fn on_alert(alert) { f(0) }", "deeply"),
    ("recursion in closures", "fn f(x) { [x].map(|y| f(y)) } fn on_alert(alert) { f(0) }", "deeply"),
    ("doubling string", "fn on_alert(alert) { let s = \"x\"; loop { s += s; } }", "string"),
    ("doubling string by template", "fn on_alert(alert) { let s = \"x\"; loop { s = `${s}${s}`; } }", "string"),
    ("padded string", "fn on_alert(alert) { let s = \"x\"; s.pad(1000000000, \"y\"); }", "string"),
    ("padded array", "fn on_alert(alert) { let a = []; a.pad(1000000000, 1); }", "array"),
    ("padded blob", "fn on_alert(alert) { blob(1000000000) }", "array"),
    ("doubling array", "fn on_alert(alert) { let a = [1]; loop { a += a; } }", "array"),
    ("wide map", "fn on_alert(alert) { let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; } }", "operations"),
    ("bushy maps", "fn on_alert(alert) { let m = #{ a: 1 }; loop { m = #{ l: m, r: m }; } }", "map"),
    (
        "many strings in an array",
        "fn on_alert(alert) { let s = \"x\"; s.pad(60000, \"y\"); let a = []; loop { a.push(s + a.len()); } }",
        "string",
    ),
    ("split into many", "fn on_alert(alert) { let s = \"x\"; s.pad(400000, \"y\"); s.split(\"y\") }", "array"),
    ("endless range", "fn on_alert(alert) { for i in 0..9223372036854775807 { } }", "operations"),
    ("too many steps", "fn on_alert(alert) { loop { log(\"again\"); } }", "steps"),
    ("too many members", "fn on_alert(alert) { let a = []; a.pad(101, #{ webhook: \"x\" }); all(a) }", "at most 100"),
    ("deep body", "fn on_alert(alert) { let a = []; for i in 0..100 { a = [a]; } webhook(\"x\", a) }", "nested deeper"),
    ("function in a body", "fn on_alert(alert) { webhook(\"x\", #{ f: |x| x }) }", "a function"),
    ("chain of closures", "fn on_alert(alert) { let f = || 0; loop { let g = f; f = || g; } }", "operations"),
    (
        "chain of calling closures",
        "fn on_alert(alert) { let f = || 0; for i in 0..500 { let g = f; f = || g.call(); } f.call() }",
        "deeply",
    ),
];

#[test]
fn hostile_scripts_end_in_an_error() {
    for (name, text, word) in SCRIPTS {
        let files = files(&[("playbooks/p.rhai", text)]);
        let (playbooks, faults) = compile(&files, lists());
        let Some(playbooks) = playbooks else { panic!("{name}: {faults:?}") };
        let evaluated = evaluate(&playbooks, &[]);
        match &evaluated.then {
            Then::Failed { error, place } => {
                assert!(error.contains(word), "{name}: {error}");
                assert!(
                    place.as_ref().is_some_and(|place| place.starts_with("playbooks/p.rhai:1")),
                    "{name}: {place:?}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// What is refused before it runs, with a word of the diagnostic.
const REFUSED: [(&str, &str, &str); 11] = [
    ("eval", "fn on_alert(alert) { eval(\"1\") }", "eval"),
    ("curry", "fn on_alert(alert) { let f = Fn(\"print\"); loop { f = f.curry(f); } }", "curry"),
    ("curry as function", "fn on_alert(alert) { let f = Fn(\"print\"); curry(f, f) }", "curry"),
    ("file outside", "import \"../../etc/passwd\" as x; fn on_alert(alert) { }", "no module"),
    ("absolute file", "import \"/etc/passwd\" as x; fn on_alert(alert) { }", "no module"),
    ("playbook as module", "import \"p\" as x; fn on_alert(alert) { }", "no module"),
    ("computed import", "import \"lib/\" + \"x\" as x; fn on_alert(alert) { }", "plain string"),
    ("import in a function", "fn on_alert(alert) { import \"/etc/passwd\" as x; }", "top of a file"),
    ("step in a constant", "const T = webhook(\"x\", 1); fn on_alert(alert) { }", "cannot ask for steps"),
    ("endless constant", "const T = { loop { } }; fn on_alert(alert) { }", "operations"),
    ("endless constant by function", "const T = f(); fn f() { loop { } } fn on_alert(alert) { }", "operations"),
];

#[test]
fn what_could_escape_is_refused_before_it_runs() {
    for (name, text, word) in REFUSED {
        let (playbooks, faults) = compile(&files(&[("playbooks/p.rhai", text)]), lists());
        assert!(playbooks.is_none(), "{name}");
        let told = |fault: &crate::yaml::diagnostic::Diagnostic| format!("{} {:?}", fault.message, fault.help);
        assert!(faults.iter().any(|fault| told(fault).contains(word)), "{name}: {faults:?}");
    }
}

#[test]
fn pointers_reach_nothing_that_is_switched_off() {
    for call in ["call(Fn(\"eval\"), \"1\")", "call(Fn(\"curry\"), 1, 2)", "call(Fn(\"import\"), \"/etc/passwd\")"] {
        let evaluated = evaluate(&crate::playbooks::tests::playbook(&format!("fn on_alert(alert) {{ {call} }}")), &[]);
        assert!(matches!(evaluated.then, Then::Failed { .. }), "{call}: {:?}", evaluated.then);
    }
}

#[test]
fn text_that_nests_without_end_is_refused_without_harm() {
    let deep = [
        format!("fn on_alert(alert) {{ {}1{} }}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("fn on_alert(alert) {{ {}{} }}", "{".repeat(20_000), "}".repeat(20_000)),
        format!("fn on_alert(alert) {{ {} }}", "if true { ".repeat(20_000)),
        format!("fn on_alert(alert) {{ if true {{ }} {} }}", "else if true { } ".repeat(10_000)),
        format!("fn on_alert(alert) {{ let x = {}1; }}", "-".repeat(100_000)),
        format!("fn on_alert(alert) {{ let x = {}1; }}", "1 + ".repeat(50_000)),
        format!("fn on_alert(alert) {{ alert{} }}", ".a".repeat(50_000)),
        format!("fn on_alert(alert) {{ {} }}", "|x| ".repeat(20_000)),
    ];
    for text in deep {
        let start: String = text.chars().take(60).collect();
        let (playbooks, faults) = compile(&files(&[("playbooks/p.rhai", &text)]), lists());
        match playbooks {
            None => assert!(!faults.is_empty(), "{start}"),
            Some(playbooks) => drop(evaluate(&playbooks, &[])),
        }
    }
}
