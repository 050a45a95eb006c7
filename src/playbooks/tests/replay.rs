//! A crash at any point of a run: what is on record decides, and the rest of the run is the same.

use serde_json::{Value, json};

use crate::domain::effect::{Class, Effect, Reply};
use crate::playbooks::evaluate::{Job, PastStep, Playbooks, Then};
use crate::playbooks::tests::{Trace, alert, bundle, drive, evaluate, failed, files, job, ok, playbook, shipped};

/// Evaluates with every prefix of the record, and asserts that what follows is what followed then.
fn crash_everywhere(playbooks: &Playbooks, name: &str, input: &Value, trace: &Trace) {
    let at = |past: &[PastStep]| playbooks.evaluate_on_stack(&Job { playbook: name, ..job(input, past) });
    for cut in 0..trace.past.len() {
        let next = at(&trace.past[..cut]).steps;
        assert!(!next.is_empty(), "{name}: nothing follows step {cut}");
        assert_eq!(next[..], trace.steps[cut..cut + next.len()], "{name}: after {cut} steps");
        let mut open = trace.past[..=cut].to_vec();
        if trace.steps[cut].value.is_none() {
            open[cut].outcome = None;
            let waiting = at(&open);
            assert_eq!(waiting.then, Then::Waits, "{name}: with step {cut} open");
            assert_eq!(waiting.steps[..], trace.steps[cut + 1..cut + 1 + waiting.steps.len()]);
        }
    }
    let whole = at(&trace.past);
    assert_eq!((&whole.then, whole.steps.len()), (&trace.then, 0), "{name}");
}

fn answers(effect: &Effect) -> Reply {
    match effect {
        Effect::Webhook(request) if request.destination == "edr" && request.method.is_some() => {
            ok(json!({"status": 200, "headers": {}, "body": {"isolated": request.path == ["web3"]}}))
        }
        Effect::Webhook(_) => ok(json!({"status": 200, "headers": {}, "body": {"key": "SOC-17", "score": 40}})),
        Effect::Email(_) => ok(json!({"accepted": ["soc@example.com"], "refused": []})),
        _ => ok(Value::Null),
    }
}

#[test]
fn every_shipped_playbook_survives_a_crash_at_every_step() {
    let playbooks = bundle(&shipped::files());
    let group = json!([alert(), shipped::second()]);
    for name in playbooks.names() {
        let worst = |effect: &Effect| match effect {
            Effect::Webhook(_) => failed(Class::Dead, 503),
            other => answers(other),
        };
        for input in [&alert(), &group] {
            if playbooks.has_entry(name, job(input, &[]).entry) {
                crash_everywhere(&playbooks, name, input, &drive(&playbooks, name, input, answers));
                crash_everywhere(&playbooks, name, input, &drive(&playbooks, name, input, worst));
            }
        }
    }
}

#[test]
fn scripts_with_everything_in_them_survive_too() {
    for text in [
        "fn on_alert(alert) { log(now()); let r = random(); webhook(\"a\", r); sleep(\"1h\"); tag(alert, \"x\"); \
         let all = all([#{ webhook: \"a\", body: 1 }, #{ email: \"b\" }, #{ sleep: \"5m\" }]); log(all.len()); all }",
        "fn on_alert(alert) { [1, 2, 3].map(|x| webhook(\"a\", x).status) }",
        "fn on_alert(alert) { try { webhook(\"a\", 1); throw 1; } catch (e) { webhook(\"b\", e); } sleep(1); throw \"end\"; }",
        "fn f(n) { if n > 0 { webhook(\"a\", n); f(n - 1); } } fn on_alert(alert) { f(5); exit(7); }",
    ] {
        let playbooks = playbook(text);
        crash_everywhere(&playbooks, "p", &alert(), &drive(&playbooks, "p", &alert(), answers));
    }
}

#[test]
fn parallel_members_are_recorded_together_and_answered_in_any_order() {
    let playbooks =
        playbook("fn on_alert(alert) { all([#{ webhook: \"a\", body: 1 }, #{ webhook: \"b\", body: 2 }]) }");
    let first = evaluate(&playbooks, &[]);
    assert_eq!((first.steps.len(), &first.then), (2, &Then::Waits));
    let record = |one: Option<Reply>, two: Option<Reply>| {
        let outcomes = [one, two].into_iter();
        let past = first.steps.iter().zip(outcomes).map(|(step, outcome)| PastStep {
            kind: step.effect.kind().into(),
            args_sha256: step.args_sha256.clone(),
            outcome,
        });
        evaluate(&playbooks, &past.collect::<Vec<_>>())
    };
    assert_eq!(record(None, Some(ok(json!("second")))).then, Then::Waits);
    let done = record(Some(failed(Class::Rejected, 400)), Some(ok(json!("second"))));
    let Then::Finished(value) = done.then else { panic!("{:?}", done.then) };
    assert_eq!(
        (&value[0]["kind"], &value[0]["status"], &value[1]),
        (&json!("rejected"), &json!(400), &json!("second"))
    );
}

#[test]
fn a_script_that_asks_for_something_else_than_the_record_diverges() {
    let trace = drive(&playbook("fn on_alert(alert) { webhook(\"a\", 1); log(\"x\"); }"), "p", &alert(), answers);
    for (text, step, got) in [
        ("fn on_alert(alert) { webhook(\"a\", 2); }", 0, "webhook[\"a\",2,{}]"),
        ("fn on_alert(alert) { email(\"a\"); }", 0, "email"),
        ("fn on_alert(alert) { webhook(\"a\", 1); log(\"y\"); }", 1, "log[\"info\",\"y\"]"),
        ("fn on_alert(alert) { try { webhook(\"a\", 2) } catch { } webhook(\"b\", 1); 1 }", 0, "webhook[\"a\",2,{}]"),
        (
            "fn on_alert(alert) { [1].map(|x| { try { webhook(\"a\", 2) } catch { } }); webhook(\"b\", 1) }",
            0,
            "webhook",
        ),
        ("fn on_alert(alert) { webhook(\"a\", 1); }", 1, "the end of the script"),
        ("fn on_alert(alert) { webhook(\"a\", 1); throw 1; }", 1, "an error that ends the script"),
    ] {
        let evaluated = evaluate(&playbook(text), &trace.past);
        assert!(evaluated.steps.is_empty(), "{text}");
        match evaluated.then {
            Then::Diverged { step: at, got: what, .. } => {
                assert_eq!(at, step, "{text}");
                assert!(what.starts_with(got), "{text}: {what}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_step_is_the_last_only_where_nothing_can_follow_its_success() {
    let library = ("playbooks/lib/m.rhai", "\n    fn tell(a) { webhook(\"a\", a); }");
    let starts = "import \"lib/m\" as m;\nfn tell(a) { webhook(\"a\", a); }\n";
    for (body, expected) in [
        ("log(\"x\"); webhook(\"a\", 1);", vec![true]),
        ("webhook(\"a\", 1); email(\"b\")", vec![false, true]),
        ("webhook(\"a\", webhook(\"b\", 1).body);", vec![false, true]),
        ("for n in 0..2 { webhook(\"a\", n); } webhook(\"a\", 2);", vec![false, false, true]),
        ("webhook(\"a\", 1); if alert.title == \"\" { webhook(\"b\", 1); }", vec![false]),
        ("tell(1); m::tell(1); [1].map(|x| webhook(\"a\", x));", vec![false, false, false]),
        ("all([#{ webhook: \"a\", body: 1 }]);", vec![false]),
    ] {
        let text = format!("{starts}fn on_alert(alert) {{ {body} }}");
        let playbooks = bundle(&files(&[library, ("playbooks/p.rhai", &text)]));
        let mut said = Vec::new();
        let mut past: Vec<PastStep> = Vec::new();
        loop {
            let evaluated = evaluate(&playbooks, &past);
            past.extend(evaluated.steps.iter().map(|step| PastStep {
                kind: step.effect.kind().into(),
                args_sha256: step.args_sha256.clone(),
                outcome: Some(step.value.clone().map_or_else(|| answers(&step.effect), ok)),
            }));
            if evaluated.then != Then::Waits {
                break;
            }
            said.push(evaluated.is_last);
        }
        assert_eq!(said, expected, "{body}");
    }
    // Its failure is for the script to see, and may be caught by nobody.
    let playbooks = playbook("fn on_alert(alert) { webhook(\"a\", 1); }");
    let trace = drive(&playbooks, "p", &alert(), |_| failed(Class::Rejected, 400));
    assert!(matches!(trace.then, Then::Failed { .. }));
}
