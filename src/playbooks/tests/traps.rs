//! The traps of Rhai that a durable run must not fall into; each was seen to bite without its cure.

use serde_json::json;

use crate::playbooks::evaluate::Then;
use crate::playbooks::tests::{evaluate, ok, playbook, run, run_with};

/// Constructs that take or drop the error by which a script is ended.
const SWALLOWING: [&str; 11] = [
    "[1, 2].map(|x| webhook(\"jira\", x))",
    "[1, 2].filter(|x| { webhook(\"jira\", x); true })",
    "[2, 1].sort(|a, b| { webhook(\"jira\", a); a - b })",
    "[1, 2].reduce(|sum, x| { webhook(\"jira\", x); x })",
    "{ let a = [2, 1, 3]; a.order_by(|a, b| { webhook(\"jira\", a); a - b }); a }",
    "{ let a = [1, 2]; a.retain(|x| { webhook(\"jira\", x); true }) }",
    "{ let a = [1, 1]; a.dedup(|a, b| { webhook(\"jira\", a); a == b }); a }",
    "[1, 2].index_of(|x| { webhook(\"jira\", x); x == 2 })",
    "[1, 2].for_each(|i| { webhook(\"jira\", this); })",
    "[1, 2].some(|x| { webhook(\"jira\", x); false })",
    "#{ a: 1 }.filter(|k, v| { webhook(\"jira\", v); true })",
];

#[test]
fn a_script_cannot_swallow_the_end_of_its_evaluation() {
    for construct in SWALLOWING {
        for text in [
            format!("fn on_alert(alert) {{ let r = {construct}; email(\"late\"); }}"),
            format!(
                "fn on_alert(alert) {{ try {{ let r = {construct}; }} catch (e) {{ email(\"late\"); }} email(\"late\"); 1 }}"
            ),
        ] {
            let evaluated = evaluate(&playbook(&text), &[]);
            assert_eq!(evaluated.then, Then::Waits, "{text}");
            assert_eq!(evaluated.steps.len(), 1, "{text}: {:?}", evaluated.steps);
            assert_eq!(evaluated.steps[0].effect.destination(), Some("jira"), "{text}");
        }
    }
}

#[test]
fn a_script_cannot_swallow_the_operations_limit_and_closures_count() {
    for text in [
        "fn on_alert(alert) { loop { try { loop {} } catch { } } }",
        "fn on_alert(alert) { let a = []; a.pad(5000, 1); loop { try { a.map(|x| x + 1); } catch { } } }",
        "fn on_alert(alert) { let a = []; a.pad(5000, 1); for i in 0..1000 { a.order_by(|a, b| a - b); } 1 }",
    ] {
        let trace = run(text);
        assert!(trace.error().0.contains("1000000 operations"), "{text}: {:?}", trace.then);
    }
}

#[test]
fn rhais_own_sleep_is_out_of_reach() {
    let calls =
        ["sleep(3600)", "sleep(3600.0)", "3600.sleep()", "call(Fn(\"sleep\"), 3600)", "[3600].map(Fn(\"sleep\"))"];
    for call in calls {
        let started = std::time::Instant::now();
        let evaluated = evaluate(&playbook(&format!("fn on_alert(alert) {{ {call}; 1 }}")), &[]);
        assert_eq!(evaluated.then, Then::Waits, "{call}");
        assert_eq!(serde_json::to_value(&evaluated.steps[0].effect).unwrap()["sleep"]["until"], "2026-11-03T03:59:00Z");
        assert!(started.elapsed().as_secs() < 60, "{call}");
    }
}

#[test]
fn log_is_never_the_logarithm() {
    for call in ["log(2.5)", "log(8)", "log(\"info\", 2.5)"] {
        assert_eq!(run(&format!("fn on_alert(alert) {{ {call}; 1 }}")).steps.len(), 1, "{call}");
    }
    assert!(run("fn on_alert(alert) { log(8.0, 2.0) }").error().0.contains("level"));
}

#[test]
fn there_is_no_clock_and_no_chance_but_the_journals() {
    let trace = run("fn on_alert(alert) { [now(), random(), random()] }");
    let again = run("fn on_alert(alert) { [now(), random(), random()] }");
    assert_eq!(trace.value(), again.value());
    assert_eq!(trace.value()[0], "2026-11-03T02:59:00Z");
    let (first, second) = (trace.value()[1].as_f64().unwrap(), trace.value()[2].as_f64().unwrap());
    assert!((0.0..1.0).contains(&first) && (0.0..1.0).contains(&second) && (first - second).abs() > f64::EPSILON);
    let replayed = evaluate(&playbook("fn on_alert(alert) { [now(), random(), random()] }"), &trace.past);
    assert_eq!(replayed.then, trace.then);
    let other = crate::playbooks::compile::compile(
        &crate::playbooks::tests::files(&[("playbooks/p.rhai", "fn on_alert(alert) { timestamp() }")]),
        crate::playbooks::tests::lists(),
    );
    assert!(other.0.is_none() && other.1[0].message.contains("timestamp"), "{:?}", other.1);
}

#[test]
fn maps_are_written_in_one_order() {
    let one = run("fn on_alert(alert) { webhook(\"x\", #{ b: 1, a: #{ d: 1, c: 2 } }) }");
    let two = run("fn on_alert(alert) { let m = #{ a: #{ c: 2 } }; m.b = 1; m.a.d = 1; webhook(\"x\", m) }");
    assert_eq!(one.steps, two.steps);
}

#[test]
fn whole_numbers_overflow_loudly() {
    let trace = run("fn on_alert(alert) { let x = 9223372036854775807; x += 1; x }");
    assert_eq!(trace.error().1, "playbooks/p.rhai:1:53");
    assert!(trace.error().0.contains("overflow"), "{:?}", trace.then);
}

#[test]
fn printing_is_a_step_so_that_nothing_leaves_unrecorded() {
    let trace = run("fn on_alert(alert) { print(\"seen \" + alert.title); debug(#{ a: 1 }); }");
    let shown: Vec<String> = trace.steps.iter().map(|step| serde_json::to_string(&step.effect).unwrap()).collect();
    assert_eq!(shown[0], r#"{"log":{"level":"debug","text":"seen Ransomware behaviour"}}"#);
    assert_eq!(shown.len(), 2);
}

#[test]
fn one_engine_serves_many_threads_without_mixing_runs() {
    let playbooks =
        playbook("fn on_alert(alert) { let s = 0; for i in 0..200 { s += i; } webhook(\"x\", alert.id).n + s }");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let playbooks = &playbooks;
            scope.spawn(move || {
                for round in 0..10 {
                    let n = thread * 100 + round;
                    let mut input = crate::playbooks::tests::alert();
                    input["id"] = json!(format!("a-{n}.0"));
                    let trace = crate::playbooks::tests::drive(playbooks, "p", &input, |effect| {
                        let body = serde_json::to_value(effect).unwrap()["webhook"]["body"].clone();
                        assert_eq!(body, json!(format!("a-{n}.0")));
                        ok(json!({ "n": n }))
                    });
                    assert_eq!(trace.value(), json!(19_900 + n));
                }
            });
        }
    });
}

#[test]
fn a_panic_inside_fails_the_run_and_leaves_the_thread_usable() {
    use crate::playbooks::run::{Run, with};
    let (result, _) = with(Run::of_constants(crate::playbooks::tests::lists()), || panic!("inside"));
    let _: Box<dyn std::any::Any + Send> = result.map(|(): ()| ()).unwrap_err();
    let (result, _) = with(Run::of_constants(crate::playbooks::tests::lists()), || 1);
    assert_eq!(result.unwrap(), 1);
}

#[test]
fn errors_that_are_caught_do_not_end_the_run() {
    let text = "fn on_alert(alert) { let caught = []; for i in 0..3 { try { [1].map(|x| webhook(\"x\", i)); } catch (e) { \
                caught.push(e.kind); } } caught }";
    let trace = run_with(text, |_| crate::playbooks::tests::failed(crate::domain::effect::Class::Rejected, 404));
    assert_eq!(trace.value(), json!(["rejected", "rejected", "rejected"]));
}
