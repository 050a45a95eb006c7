//! What each function asks for, answers and refuses at run time.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::lists::Lists;
use crate::playbooks::compile::compile;
use crate::playbooks::evaluate::{Entry, Job, PastStep, Then};
use crate::playbooks::tests::{alert, bundle, drive, evaluate, failed, files, job, ok, playbook, run, run_with};

fn effect(text: &str) -> Value {
    let evaluated = evaluate(&playbook(&format!("fn on_alert(alert) {{ {text} }}")), &[]);
    assert_eq!(evaluated.steps.len(), 1, "{text}: {:?}", evaluated.then);
    serde_json::to_value(&evaluated.steps[0].effect).unwrap()
}

#[test]
fn requests_carry_what_the_script_gave() {
    assert_eq!(
        effect(
            "webhook(\"jira\", #{ a: [1, 2.5, \"x\", 'c', true, ()] }, #{ method: \"put\", path: [\"items\", 7], \
             query: #{ q: \"a b\" }, headers: #{ Accept: \"text/plain\" } })"
        ),
        json!({"webhook": {"destination": "jira", "method": "PUT", "path": ["items", "7"], "query": {"q": "a b"},
            "headers": {"Accept": "text/plain"}, "body": {"a": [1, 2.5, "x", "c", true, null]}}})
    );
    assert_eq!(effect("webhook(\"x\", ())"), json!({"webhook": {"destination": "x"}}));
    assert_eq!(effect("email(\"soc\")"), json!({"email": {"destination": "soc", "template": "alert"}}));
    assert_eq!(
        effect("email(\"soc\", #{ template: \"short\", subject: \"s\", n: 1 })"),
        json!({"email": {"destination": "soc", "template": "short", "subject": "s", "data": {"n": 1}}})
    );
    assert_eq!(effect("sleep(\"1h30m\")"), json!({"sleep": {"until": "2026-11-03T04:29:00Z"}}));
    assert_eq!(effect("sleep(1.5)"), json!({"sleep": {"until": "2026-11-03T02:59:01.5Z"}}));
    assert_eq!(
        effect("approve(\" Isolate? \", #{ by: \"admin\", within: \"30m\", otherwise: \"deny\" })"),
        json!({"approve": {"question": "Isolate?", "by": ["admin"], "until": "2026-11-03T03:29:00Z", "otherwise": "deny"}})
    );
    assert_eq!(
        effect(
            "approve(\"Go?\", #{ by: [\"bo\", \"approver\"], within: 60, otherwise: \"approve\", not_by: \"starter\", \
             notify: \"soc\" })"
        ),
        json!({"approve": {"question": "Go?", "by": ["bo", "approver"], "not_by": "starter",
            "until": "2026-11-03T03:00:00Z", "otherwise": "approve", "notify": "soc"}})
    );
    assert_eq!(effect("tag(alert, \" seen \")"), json!({"tag": {"alert": "a-7.0", "tag": "seen"}}));
    assert_eq!(
        effect("set_status(alert.id, \"resolved\", \"by script\")"),
        json!({"set_status": {"alert": "a-7.0", "status": "resolved", "comment": "by script"}})
    );
    assert_eq!(effect("log(\"warn\", #{ a: 1 })"), json!({"log": {"level": "warn", "text": "{\"a\":1}"}}));
}

#[test]
fn a_question_is_asked_whatever_an_alert_puts_into_it() {
    let text =
        "fn on_alert(alert) { approve(`Close ${alert.title}?`, #{ by: \"admin\", within: 60, otherwise: \"deny\" }) }";
    let playbooks = playbook(text);
    let asked = |title: &str| {
        let mut alert = alert();
        alert["title"] = title.into();
        let evaluated = playbooks.evaluate_on_stack(&job(&alert, &[]));
        let Some(Effect::Approve(request)) = evaluated.steps.first().map(|step| &step.effect) else {
            panic!("{title:.40}: {:?}", evaluated.then)
        };
        request.question.clone()
    };
    assert_eq!(asked("it"), "Close it?");
    assert_eq!(asked("one\r\ntwo\u{85}three"), "Close one two three?");
    assert_eq!(asked("one\u{2028}two \u{202E}three\u{200B}"), "Close one two three?", "it reads as it is written");
    let fits = "é".repeat(500 - "Close ?".len());
    assert_eq!(asked(&fits), format!("Close {fits}?"), "500 characters are not cut");
    for long in [format!("{fits}é"), "é".repeat(10_000), "x\n".repeat(5_000)] {
        let question = asked(&long);
        assert_eq!((question.chars().count(), question.lines().count()), (500, 1), "{question}");
        assert!(question.starts_with("Close ") && question.ends_with('…'), "{question}");
    }
}

#[test]
fn groups_get_their_template_and_their_true_size() {
    let many: Value = (0..1_000).map(|n| json!({"id": format!("a-{n}.0"), "title": "t"})).collect();
    let playbooks = playbook("fn on_group(alerts) { email(\"soc\", #{ n: group_size() }); alerts.len() < 1000 }");
    let trace = drive(&playbooks, "p", &many, |_| ok(json!({})));
    let email = serde_json::to_value(&trace.steps[0].effect).unwrap();
    assert_eq!((&email["email"]["template"], &email["email"]["data"]["n"]), (&json!("group"), &json!(1_000)));
    assert_eq!(trace.value(), true);
}

#[test]
fn wrong_arguments_throw_an_error_that_names_them() {
    for (call, message) in [
        ("webhook(7, 1)", "expected the name of a destination, got a whole number"),
        ("webhook(\"\", 1)", "name is empty"),
        ("webhook(\"x\", 0.0 / 0.0)", "cannot be written as JSON"),
        ("let o = #{ by: \"admin\", within: \"1m\" }; approve(\"x\", o)", "`otherwise` is missing"),
        ("let o = #{ by: [], within: \"1m\", otherwise: \"deny\" }; approve(\"x\", o)", "1 to 20 who may decide"),
        (
            "let o = #{ by: \"viewer\", within: \"1m\", otherwise: \"deny\" }; approve(\"x\", o)",
            "viewers cannot decide",
        ),
        ("let o = #{ by: \"bo\", within: 0, otherwise: \"deny\" }; approve(\"x\", o)", "at least 1s"),
        ("let o = #{ by: \"bo\", within: 1, otherwise: \"deny\" }; approve(7, o)", "must be a string"),
        ("let o = #{ by: \"bo\", within: 1, otherwise: \"deny\", x: 1 }; approve(\"x\", o)", "unknown option `x`"),
        (
            "let o = #{ by: \"bo\", within: 1, otherwise: \"deny\" }; let q = \" \"; approve(q, o)",
            "1 to 500 characters",
        ),
        ("webhook(\"x\", 1, 2)", "expected a map of options, got a whole number"),
        ("webhook(\"x\", 1, m)", "unknown option `hedaers`; did you mean `headers`?"),
        ("webhook(\"x\", 1, #{ path: \"a/b\" })", "list of segments"),
        ("webhook(\"x\", 1, #{ path: [\"..\"] })", "no segment of a path"),
        ("webhook(\"x\", 1, #{ path: [[1]] })", "takes strings and numbers, got an array"),
        ("webhook(\"x\", 1, #{ query: 1 })", "`query` must be a map"),
        ("webhook(\"x\", 1, #{ headers: #{ \"a b\": 1 } })", "no name of a header"),
        ("webhook(\"x\", 1, #{ headers: #{ Authorization: \"t\" } })", "belongs to the destination"),
        ("webhook(\"x\", 1, #{ method: word })", "`method` must be one of"),
        ("email(\"x\", #{ template: \"../x\" })", "no name of a template"),
        ("email(\"x\", #{ subject: 1 })", "`subject` must be a string, got a whole number"),
        ("email(\"x\", #{ f: |x| x })", "a function cannot be written"),
        ("sleep(-1)", "not a length of time"),
        ("sleep(word)", "not a length of time"),
        ("sleep([])", "got an array"),
        ("sleep(100000000)", "at most"),
        ("log(word, 1)", "the level must be one of"),
        ("set_status(alert, word)", "is none of active, in_progress, resolved, dismissed"),
        ("set_status(alert, \"resolved\", 1)", "comment must be a string"),
        ("set_status(\"a-9.0\", \"resolved\")", "not an alert of this run"),
        ("tag(word, \"x\")", "expected an alert or its id"),
        ("tag(alert, \"\")", "a label is one line"),
        ("tag(alert, \"a\\nb\")", "a label is one line"),
        ("tag(alert, 1)", "label must be a string"),
        ("lookup(word, 1)", "there is no list \"nonsense\""),
        ("lookup(\"never_touch\", [1])", "key must be a string"),
        ("all(1)", "expected an array of maps"),
        ("all([1])", "member 0 must be a map"),
        ("all([m])", "exactly one of"),
        ("all([#{ sleep: \"1h\", body: 1 }])", "exactly one of"),
        ("json(|x| x)", "a function"),
    ] {
        let prelude = "let word = \"nonsense\"; let m = #{ hedaers: #{} };";
        let trace = run(&format!("fn on_alert(alert) {{ {prelude} try {{ {call}; }} catch (e) {{ return e; }} }}"));
        assert!(trace.steps.is_empty(), "{call}: {:?}", trace.steps);
        let error = trace.value();
        assert_eq!(error["kind"], "argument", "{call}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{call}: {error}");
    }
}

#[test]
fn failed_steps_throw_maps_that_scripts_can_read() {
    let text = "fn on_alert(alert) { try { webhook(\"jira\", 1); } catch (e) { return e; } }";
    for (class, kind) in [(Class::Rejected, "rejected"), (Class::Dead, "dead"), (Class::Unknown, "unknown")] {
        let error = run_with(text, |_| failed(class, 404)).value();
        assert_eq!((&error["kind"], &error["destination"]), (&json!(kind), &json!("jira")), "{error}");
        assert_eq!((&error["status"], &error["body"]["why"]), (&json!(404), &json!("no")), "{error}");
    }
    let mail = "fn on_alert(alert) { try { email(\"soc\"); } catch (e) { return e; } }";
    let refused = json!({"accepted": [], "refused": [{"to": "x@example.com"}]});
    let reply = Reply { class: Class::Rejected, status: Some(550), value: refused, error: Some("550 no".into()) };
    let error = run_with(mail, |_| reply.clone()).value();
    assert_eq!((&error["refused"][0]["to"], &error["body"]), (&json!("x@example.com"), &Value::Null));
    assert_eq!(error["message"], "soc refused the request: 550 no");
}

#[test]
fn what_is_not_caught_fails_the_run_with_its_place() {
    let uncaught = run_with("fn on_alert(alert) {\n    webhook(\"jira\", 1);\n}", |_| failed(Class::Dead, 503));
    let message = "jira could not be reached; all attempts are used up: HTTP 503";
    assert_eq!(uncaught.error(), (message, "playbooks/p.rhai:2:5"));
    let thrown = run("fn on_alert(alert) {\n    log(\"x\");\n    throw \"no owner\";\n}");
    assert_eq!(thrown.error(), ("no owner", "playbooks/p.rhai:3:5"));
    assert_eq!(thrown.steps.len(), 1, "what was logged before stays on record");
    assert_eq!(run("fn on_alert(alert) { throw #{ code: 7 } }").error().0, "{\"code\":7}");
    assert_eq!(
        run("fn f() { alert_id(1) }\nfn alert_id(x) { x.y.z }\nfn on_alert(alert) { f() }").error().1,
        "playbooks/p.rhai:2:20"
    );
}

#[test]
fn errors_in_modules_and_closures_name_the_file_they_are_in() {
    let module = "const LIMIT = 3;\nfn outer(x) {\n    inner(x)\n}\nprivate fn inner(x) {\n    [x].map(|y| {\n        \
                  if y > global::LIMIT { throw `too many: ${y}`; }\n        webhook(\"m\", y)\n    })\n}\n";
    let files = files(&[
        ("playbooks/lib/deep/m.rhai", module),
        ("playbooks/lib/n.rhai", "import \"lib/deep/m\" as m;\nfn pass(x) { m::outer(x) }\n"),
        ("playbooks/p.rhai", "import \"lib/n\" as n;\nfn on_alert(alert) {\n    n::pass(2);\n    n::pass(9)\n}\n"),
    ]);
    let playbooks = bundle(&files);
    let trace = drive(&playbooks, "p", &alert(), |_| ok(json!({})));
    assert_eq!(trace.error(), ("too many: 9", "playbooks/lib/deep/m.rhai:7:32"));
    let refused = drive(&playbooks, "p", &alert(), |_| failed(Class::Rejected, 400));
    assert_eq!(refused.error().1, "playbooks/lib/deep/m.rhai:8:9");
    assert_eq!(playbooks.destinations()[0].place.to_string(), "playbooks/lib/deep/m.rhai:8:17");
}

#[test]
fn lookup_and_the_other_pure_functions_are_no_steps() {
    let trace = run(
        "fn on_alert(alert) { [lookup(\"never_touch\", \"dc1\"), lookup(\"never_touch\", \"db7\"), lookup(\"never_touch\", \"x\"), \
         lookup(\"never_touch\", ()), json(#{ b: 1, a: [()] }), shorten(\"abcdef\", 4), shorten(\"abc\", 4), shorten((), 4), \
         shorten(\"äöü\", 2), shorten(\"a\", 0), failed(#{ kind: \"dead\", message: \"m\" }), failed(#{ status: 200 }), group_size()] }",
    );
    assert!(trace.steps.is_empty());
    assert_eq!(
        trace.value(),
        json!([
            "domain controller",
            true,
            null,
            null,
            "{\"a\":[null],\"b\":1}",
            "abc…",
            "abc",
            "",
            "ä…",
            "",
            true,
            false,
            1
        ])
    );
}

#[test]
fn a_script_asks_who_owns_what_an_alert_is_about() {
    let entries = json!({"web*": {"name": "Shop", "email": "shop@example.com", "chat": "#shop"}, "db7": "dba"});
    let entries = entries.as_object().unwrap().clone().into_iter().collect();
    let lists = Arc::new(Lists([("owners".to_owned(), entries)].into()));
    let script = "fn on_alert(alert) { [owner(alert), owner(#{ resources: [\"/sql/db7\"] }), owner(#{ title: \"x\" })] }\n\
                  fn on_group(alerts) { owner(alerts) }\n";
    let (playbooks, faults) = compile(&files(&[("playbooks/p.rhai", script)]), lists);
    assert!(faults.is_empty(), "{faults:?}");
    let playbooks = playbooks.unwrap();
    let trace = drive(&playbooks, "p", &alert(), |_| ok(json!(null)));
    assert!(trace.steps.is_empty());
    assert_eq!(
        trace.value(),
        json!([
            {"name": "Shop", "email": "shop@example.com", "chat": "#shop", "of": "web3", "entry": "web*"},
            {"name": "dba", "email": null, "of": "db7", "entry": "db7"},
            null
        ])
    );
    let wrong = drive(&playbooks, "p", &json!([alert()]), |_| ok(json!(null)));
    assert!(wrong.error().0.contains("owner: expected an alert"), "{:?}", wrong.error());
}

#[test]
fn a_missing_playbook_or_entry_fails_the_run() {
    let playbooks = playbook("fn on_alert(alert) { }");
    let input = alert();
    let missing = playbooks.evaluate_on_stack(&crate::playbooks::evaluate::Job { playbook: "q", ..job(&input, &[]) });
    assert!(matches!(missing.then, Then::Failed { ref error, .. } if error.contains("`q`")));
    let group = playbooks.evaluate_on_stack(&job(&json!([alert()]), &[]));
    assert!(matches!(group.then, Then::Failed { ref error, .. } if error.contains("on_group")));
}

#[test]
fn destinations_are_found_wherever_they_are_named() {
    let text = "fn on_alert(alert) {\n    webhook(\"a\", #{ email: \"not one\" });\n    [1].map(|x| email(\"b\"));\n    \
                let r = all([#{ webhook: \"c\", body: #{ webhook: \"not one\" } }, #{ email: \"d\" }]);\n    \
                if webhook(\"e\", 1).status == 200 { switch 1 { 1 => email(\"f\") } }\n    return webhook(\"g\", `${webhook(\"h\", 1)}`);\n}\n";
    let names: Vec<String> =
        playbook(text).destinations().iter().map(|u| format!("{}@{}", u.name, u.place.line)).collect();
    assert_eq!(names, ["a@2", "b@3", "c@4", "d@4", "e@5", "f@5", "g@6", "h@6"]);
}

#[test]
fn a_question_waits_and_is_answered_with_true_or_false() {
    let text = r#"fn on_alert(alert) {
        let way = #{ by: "approver", within: "5m", otherwise: "deny" };
        let both = all([#{ approve: "a?", by: "admin", within: "5m", otherwise: "deny" }, #{ sleep: 1 }]);
        if approve("Isolate?", way) { "isolated" } else { both[0] }
    }"#;
    let answers = |yes: bool| {
        move |effect: &Effect| ok(if matches!(effect, Effect::Sleep { .. }) { json!(null) } else { json!(yes) })
    };
    assert_eq!(run_with(text, answers(true)).value(), "isolated");
    assert_eq!(run_with(text, answers(false)).value(), false);
}

#[test]
fn on_status_gets_the_alert_and_the_change() {
    let script = "fn on_status(alert, change) {\n    webhook(\"edr\", #{ id: alert.id, host: alert.host, from: change.from, to: change.to });\n    \
                  [alert.status, change.comment, change.reason, alert.vendor]\n}\n";
    let playbooks = playbook(script);
    assert!(playbooks.has_entry("p", Entry::Status) && !playbooks.has_entry("p", Entry::Alert));
    let mut changed = alert();
    changed["status"] = json!("dismissed");
    let input = json!({ "alert": changed, "change": { "from": "active", "to": "dismissed", "reason": "benign", "comment": "a drill" } });
    let first = playbooks.evaluate_on_stack(&Job { entry: Entry::Status, ..job(&input, &[]) });
    let Effect::Webhook(sent) = &first.steps[0].effect else { panic!("{first:?}") };
    let body = sent.body.clone().unwrap();
    assert_eq!(body, json!({ "id": "a-7.0", "host": "web3", "from": "active", "to": "dismissed" }));
    let past = [PastStep {
        kind: "webhook".into(),
        args_sha256: first.steps[0].args_sha256.clone(),
        outcome: Some(ok(json!({}))),
    }];
    let second = playbooks.evaluate_on_stack(&Job { entry: Entry::Status, ..job(&input, &past) });
    assert_eq!(second.then, Then::Finished(json!(["dismissed", "a drill", "benign", null])));
}
