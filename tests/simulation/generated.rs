//! Generated playbooks, crashed at each step and edited in mid-run: a replay either does what it did, or says that it
//! differs and where.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use soard::domain::effect::{Class, Effect, Reply};
use soard::domain::lists::Lists;
use soard::playbooks::compile::compile_here;
use soard::playbooks::evaluate::{Entry, Evaluated, Job, NewStep, PastStep, Playbooks, Then};

use crate::random::Random;
use crate::{deep, is_long, number};

/// Playbooks of an ordinary run.
const PLAYBOOKS: u64 = 500;
/// Playbooks of the long form.
const PLAYBOOKS_LONG: u64 = 5000;
/// Steps of one run that are looked at.
const STEPS_MAX: usize = 40;

/// A statement of a generated script.
#[derive(Clone)]
enum Statement {
    Webhook(String),
    Keep(usize, String),
    Email(String),
    Log(String),
    Sleep(usize),
    Chance(usize),
    Parallel(String, String),
    Swallowing(usize, String),
    If(String, Vec<Statement>, Vec<Statement>),
    For(usize, Vec<Statement>),
    Try(Vec<Statement>, Vec<Statement>),
}

/// Native functions that run a closure and may swallow the error that ends it.
const NATIVES: [&str; 5] = ["map(|x| ", "filter(|x| ", "some(|x| ", "index_of(|x| ", "retain(|x| "];

fn block(random: &mut Random, depth: usize) -> Vec<Statement> {
    (0..=random.below(3)).map(|_| statement(random, depth)).collect()
}

fn statement(random: &mut Random, depth: usize) -> Statement {
    let kinds = if depth < 3 { 11 } else { 8 };
    match random.below(kinds) {
        0 => Statement::Webhook(expression(random)),
        1 => Statement::Keep(random.below(3), expression(random)),
        2 => Statement::Email(expression(random)),
        3 => Statement::Log(expression(random)),
        4 => Statement::Sleep(random.below(90)),
        5 => Statement::Chance(random.below(3)),
        6 => Statement::Parallel(expression(random), expression(random)),
        7 => Statement::Swallowing(random.below(NATIVES.len()), expression(random)),
        8 => Statement::If(condition(random), block(random, depth + 1), block(random, depth + 1)),
        9 => Statement::For(1 + random.below(3), block(random, depth + 1)),
        _ => Statement::Try(block(random, depth + 1), block(random, depth + 1)),
    }
}

fn expression(random: &mut Random) -> String {
    match random.below(7) {
        0 => random.below(9).to_string(),
        1 => format!("\"{}\"", random.pick(&["red", "green", "blue"])),
        2 => "alert.title".into(),
        3 => format!("#{{ a: {}, b: alert.host }}", random.below(9)),
        4 => "now()".into(),
        n => format!("v{}", n % 3),
    }
}

fn condition(random: &mut Random) -> String {
    match random.below(3) {
        0 => "random() < 0.5".into(),
        1 => format!("v{} == {}", random.below(3), random.below(4)),
        _ => format!("alert.title.len() > {}", random.below(9)),
    }
}

fn script(statements: &[Statement]) -> String {
    let mut text = String::from("fn on_alert(alert) {\n    let v0 = 0;\n    let v1 = 1;\n    let v2 = 2;\n");
    render(statements, &mut text);
    // Some end with what they did last, whose success is their end.
    text.push_str(if statements.len().is_multiple_of(2) { "    v0\n}\n" } else { "}\n" });
    text
}

fn render(statements: &[Statement], text: &mut String) {
    for statement in statements {
        match statement {
            Statement::Webhook(body) => writeln!(text, "webhook(\"d\", {body});"),
            Statement::Keep(n, body) => writeln!(text, "v{n} = webhook(\"d\", {body}).body.n;"),
            Statement::Email(subject) => writeln!(text, "email(\"e\", #{{ subject: `${{{subject}}}` }});"),
            Statement::Log(line) => writeln!(text, "log(`${{{line}}}`);"),
            Statement::Sleep(minutes) => writeln!(text, "sleep(\"{minutes}m\");"),
            Statement::Chance(n) => writeln!(text, "v{n} = random();"),
            Statement::Parallel(one, two) => {
                writeln!(text, "all([#{{ webhook: \"d\", body: {one} }}, #{{ webhook: \"d\", body: {two} }}, #{{ sleep: \"1m\" }}]);")
            }
            Statement::Swallowing(native, body) => {
                writeln!(text, "try {{ [1, 2].{}{{ webhook(\"d\", [x, {body}]); true }}); }} catch {{ }}", NATIVES[*native])
            }
            Statement::If(condition, yes, no) => {
                writeln!(text, "if {condition} {{").unwrap();
                render(yes, text);
                text.push_str("} else {\n");
                render(no, text);
                writeln!(text, "}}")
            }
            Statement::For(times, inside) => {
                writeln!(text, "for i in 0..{times} {{").unwrap();
                render(inside, text);
                writeln!(text, "}}")
            }
            Statement::Try(inside, caught) => {
                text.push_str("try {\n");
                render(inside, text);
                text.push_str("} catch (e) {\n");
                render(caught, text);
                writeln!(text, "}}")
            }
        }
        .unwrap();
    }
}

/// Changes one statement somewhere.
fn edit(statements: &mut Vec<Statement>, random: &mut Random) {
    if statements.is_empty() {
        return statements.push(statement(random, 3));
    }
    let at = random.below(statements.len());
    match (&mut statements[at], random.below(3)) {
        (Statement::If(_, inside, _) | Statement::For(_, inside) | Statement::Try(inside, _), 1 | 2) => {
            edit(inside, random);
        }
        (_, 0) => drop(statements.remove(at)),
        (_, 1) => statements.insert(at, statement(random, 2)),
        (place, _) => *place = statement(random, 2),
    }
}

fn compiled(text: &str) -> Playbooks {
    let files = BTreeMap::from([("playbooks/p.rhai".to_owned(), text.to_owned())]);
    let (playbooks, faults) = compile_here(&files, Arc::new(Lists(BTreeMap::new())));
    playbooks.unwrap_or_else(|| panic!("{faults:?}\n{text}"))
}

fn evaluate(playbooks: &Playbooks, past: &[PastStep]) -> Evaluated {
    let input = json!({ "id": "a-1.0", "title": "Malware", "entities": { "host": [{ "name": "h" }] } });
    let at = "2030-01-01T00:00:00Z".parse().unwrap();
    playbooks.evaluate(&Job { playbook: "p", entry: Entry::Alert, input: &input, at, seed: [3; 32], past })
}

/// What the outside answers to step `n`: the same whatever the script.
fn answer(n: usize, effect: &Effect) -> Reply {
    match effect {
        Effect::Sleep { .. } => Reply { class: Class::Ok, status: None, value: Value::Null, error: None },
        _ if n % 5 == 3 => {
            Reply { class: Class::Rejected, status: Some(400), value: Value::Null, error: Some("400".into()) }
        }
        _ => {
            let value = json!({ "status": 200, "headers": {}, "body": { "n": n % 4 } });
            Reply { class: Class::Ok, status: Some(200), value, error: None }
        }
    }
}

/// A run from its first step to its end, or as far as it is looked at.
struct Life {
    steps: Vec<NewStep>,
    past: Vec<PastStep>,
    then: Option<Then>,
}

fn live(playbooks: &Playbooks) -> Life {
    let mut life = Life { steps: Vec::new(), past: Vec::new(), then: None };
    let mut promised = None;
    while life.steps.len() < STEPS_MAX {
        let evaluated = evaluate(playbooks, &life.past);
        assert!(
            promised.is_none_or(|end| end == evaluated),
            "a step that was said to be the last is not: {evaluated:?}"
        );
        let is_last = evaluated.is_last;
        for step in evaluated.steps {
            let value = step.value.clone().map(|value| Reply { class: Class::Ok, status: None, value, error: None });
            let outcome = value.or_else(|| Some(answer(life.past.len(), &step.effect)));
            let (kind, args_sha256) = (step.effect.kind().into(), step.args_sha256.clone());
            life.past.push(PastStep { kind, args_sha256, outcome });
            life.steps.push(step);
        }
        if evaluated.then != Then::Waits {
            life.then = Some(evaluated.then);
            break;
        }
        let outcome =
            life.past.last().and_then(|step| step.outcome.as_ref()).filter(|outcome| outcome.class == Class::Ok);
        promised = outcome.filter(|_| is_last).map(|outcome| Evaluated::after_last(&outcome.value));
    }
    life
}

/// Evaluates after a crash at each step: what follows is what followed.
fn crashed(playbooks: &Playbooks, life: &Life) -> Result<(), String> {
    for cut in 0..life.past.len() {
        let again = evaluate(playbooks, &life.past[..cut]);
        let follows = again.steps.len().min(life.steps.len() - cut);
        if again.steps[..follows] != life.steps[cut..cut + follows] || follows == 0 {
            return Err(format!("after a crash at step {cut} another step follows: {:?}", again.then));
        }
    }
    Ok(())
}

/// The edited script over the record of the old one, cut at each step: it differs exactly where it differs when it
/// runs by itself.
fn edited(edited: &Playbooks, life: &Life) -> Result<(usize, usize), String> {
    let own = live(edited);
    let same = |a: &NewStep, b: &NewStep| a.effect.kind() == b.effect.kind() && a.args_sha256 == b.args_sha256;
    let pairs = life.steps.iter().zip(&own.steps);
    let alike = pairs.take_while(|(old, new)| same(old, new)).count();
    let (mut told, mut silent) = (0, 0);
    for cut in 1..=life.past.len() {
        let differs = cut > alike && (alike < own.steps.len() || own.then.is_some());
        match (evaluate(edited, &life.past[..cut]).then, differs) {
            (Then::Diverged { step, .. }, true) if step as usize == alike => told += 1,
            (Then::Diverged { step, .. }, _) => {
                return Err(format!("cut at {cut}: told of step {step}, but {alike} are alike"));
            }
            (_, true) => return Err(format!("cut at {cut}: differs at {alike} in silence")),
            (_, false) => silent += 1,
        }
    }
    Ok((told, silent))
}

fn check(seed: u64) -> Result<(usize, usize, usize), String> {
    let mut random = Random::new(seed);
    let mut statements = block(&mut random, 0);
    statements.extend(block(&mut random, 0));
    let old = compiled(&script(&statements));
    let life = live(&old);
    crashed(&old, &life)?;
    edit(&mut statements, &mut random);
    let (told, silent) = edited(&compiled(&script(&statements)), &life)?;
    Ok((life.past.len(), told, silent))
}

#[test]
fn generated_playbooks_replay_exactly_or_say_where_they_differ() {
    let (first, count) = match number("SOARD_PLAYBOOK") {
        Some(seed) => (seed, 1),
        None => (0, if is_long() { PLAYBOOKS_LONG } else { PLAYBOOKS }),
    };
    let halves = [first, first + 1].map(|start| {
        std::thread::spawn(move || {
            deep(move || {
                let mut sum = (0_u64, 0_u64, 0_u64);
                for seed in (start..first + count).step_by(2) {
                    let (crashes, told, alike) = check(seed)
                        .unwrap_or_else(|broken| panic!("playbook {seed}: {broken}; again with SOARD_PLAYBOOK={seed}"));
                    sum = (sum.0 + crashes as u64, sum.1 + told as u64, sum.2 + alike as u64);
                }
                sum
            })
        })
    });
    let sums = halves.map(|half| half.join().unwrap());
    let sum = sums.into_iter().fold((0_u64, 0_u64, 0_u64), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
    println!("{count} playbooks, {} crashes, {} edits told, {} that change nothing yet", sum.0, sum.1, sum.2);
    assert!(count == 1 || (sum.1 > count && sum.2 > count), "{sum:?}");
}

/// Without the check of arguments, an edit goes unnoticed: the comparison above can fail.
#[test]
fn a_replay_that_is_not_compared_is_found_out() {
    deep(|| {
        let old = live(&compiled("fn on_alert(alert) { webhook(\"d\", 1); webhook(\"d\", 2); }"));
        let new = compiled("fn on_alert(alert) { webhook(\"d\", 1); webhook(\"d\", 3); }");
        let mut forged = old.past.clone();
        forged[1].args_sha256 = live(&new).past[1].args_sha256.clone();
        let life = Life { past: forged, ..old };
        assert!(edited(&new, &life).unwrap_err().contains("in silence"));
    });
}
