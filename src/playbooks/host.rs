//! The functions that a playbook has beyond Rhai's own. Each that asks for something is one step of the run.

use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, NativeCallContext};
use serde_json::Value;

use crate::domain::alert::Status;
use crate::domain::effect::{Class, Effect, Reply};
use crate::domain::id::AlertId;
use crate::playbooks::approve;
use crate::playbooks::evaluate::Entry;
use crate::playbooks::limits::{LOG_BYTES_MAX, PARALLEL_MAX, TAG_CHARS_MAX};
use crate::playbooks::request::{self, Request};
use crate::playbooks::run::{Halt, Run, Stop, current};
use crate::playbooks::value::{to_dynamic, to_json, what};
use crate::rules::owners::Owner;
use crate::yaml::diagnostic::nearest;

/// What host functions return to Rhai.
pub type Outcome = Result<Dynamic, Box<EvalAltResult>>;

/// Levels of `log`.
pub const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// Adds the functions to an engine. Registered in its global namespace, they stand before the functions of
/// Rhai's packages with the same name and types: so a blocking `sleep` and a logarithm `log` cannot be reached.
pub fn register(engine: &mut Engine) {
    engine
        .register_fn("webhook", |call: NativeCallContext, to: Dynamic, body: Dynamic| -> Outcome {
            send(&call, |_, _| request::webhook(&to, &body, None))
        })
        .register_fn("webhook", |call: NativeCallContext, to: Dynamic, body: Dynamic, options: Dynamic| -> Outcome {
            send(&call, |_, _| request::webhook(&to, &body, Some(&options)))
        })
        .register_fn("email", |call: NativeCallContext, to: Dynamic| -> Outcome {
            send(&call, |_, entry| request::email(&to, &Dynamic::from_map(Map::new()), entry))
        })
        .register_fn("email", |call: NativeCallContext, to: Dynamic, options: Dynamic| -> Outcome {
            send(&call, |_, entry| request::email(&to, &options, entry))
        })
        .register_fn("sleep", |span: Dynamic| -> Outcome { external(|run, _| request::sleep(&span, run.at)) })
        .register_fn("sleep", |secs: i64| -> Outcome { external(|run, _| request::sleep(&secs.into(), run.at)) })
        .register_fn("sleep", |secs: f64| -> Outcome { external(|run, _| request::sleep(&secs.into(), run.at)) })
        .register_fn("approve", |question: Dynamic, options: Dynamic| -> Outcome {
            external(|run, _| approve::request(&question, &options, run.at))
        })
        .register_fn("all", |members: Dynamic| -> Outcome { current(|run| all(run, &members)) });
    register_local(engine);
}

/// The steps that soard answers itself.
fn register_local(engine: &mut Engine) {
    engine
        .register_fn("now", || -> Outcome { local(Effect::Now, Value::Null) })
        .register_fn("random", || -> Outcome { local(Effect::Random, Value::Null) })
        .register_fn("log", |text: Dynamic| -> Outcome { log(&"info".into(), &text) })
        .register_fn("log", |number: f64| -> Outcome { log(&"info".into(), &number.into()) })
        .register_fn("log", |level: Dynamic, text: Dynamic| -> Outcome { log(&level, &text) })
        .register_fn("log", |level: f64, text: f64| -> Outcome { log(&level.into(), &text.into()) })
        .register_fn("set_status", |alert: Dynamic, status: Dynamic| -> Outcome {
            set_status(&alert, &status, &Dynamic::UNIT)
        })
        .register_fn("set_status", |alert: Dynamic, status: Dynamic, comment: Dynamic| -> Outcome {
            set_status(&alert, &status, &comment)
        })
        .register_fn("tag", |alert: Dynamic, label: Dynamic| -> Outcome { tag(&alert, &label) })
        .register_fn("group_size", || -> Outcome {
            current(|run| Ok(i64::try_from(run.alerts.len()).unwrap_or(i64::MAX).into()))
        })
        .register_fn("owner", |alert: Dynamic| -> Outcome { current(|run| owner(run, &alert)) })
        .register_fn("lookup", |list: Dynamic, key: Dynamic| -> Outcome { current(|run| lookup(run, &list, &key)) });
    // What `print` cannot report, the flag of the run does: `on_print` has no way to return an error.
    engine.on_print(|text| drop(log(&"debug".into(), &text.into())));
    engine.on_debug(|text, _, _| drop(log(&"debug".into(), &text.into())));
}

fn entry(run: &Run) -> Result<Entry, Halt> {
    run.entry.ok_or_else(|| Halt::throw("limit", "constants cannot ask for steps; move the call into a function"))
}

/// [`external`], for the calls with which an entry function may end.
fn send(call: &NativeCallContext, read: impl FnOnce(&Run, Entry) -> Result<Request, Halt>) -> Outcome {
    ask(read, |run| {
        // At the first level nothing runs but the entry function itself.
        let here = run.last.as_ref().filter(|_| call.call_level() == 1);
        here.is_some_and(|(file, at)| call.call_source() == Some(file) && call.call_position() == *at)
    })
}

/// One step that leaves the daemon: returns its outcome, throws when it is not `ok`, or ends the evaluation.
fn external(read: impl FnOnce(&Run, Entry) -> Result<Request, Halt>) -> Outcome {
    ask(read, |_| false)
}

fn ask(read: impl FnOnce(&Run, Entry) -> Result<Request, Halt>, is_last: impl FnOnce(&Run) -> bool) -> Outcome {
    current(|run| {
        let request = read(run, entry(run)?)?;
        let destination = request.effect.destination().map(String::from);
        match run.step(request.effect, &request.args)? {
            Some(reply) if reply.class == Class::Ok => Ok(to_dynamic(&reply.value)),
            Some(reply) => Err(Halt::Throw(Box::new(failure(destination.as_deref(), &reply)))),
            None => {
                run.is_last = is_last(run);
                Err(run.halt(Stop::Waits))
            }
        }
    })
}

/// One step that soard answers itself.
fn local(effect: Effect, args: Value) -> Outcome {
    current(|run| match run.step(effect, &args)? {
        Some(reply) => Ok(to_dynamic(&reply.value)),
        None => Err(run.halt(Stop::Waits)),
    })
}

/// Several steps at once. All members are recorded before the evaluation ends; the result has one item for
/// each, in order: its value, or its error as a map, so that one failure does not hide the others.
fn all(run: &mut Run, members: &Dynamic) -> Result<Dynamic, Halt> {
    let entry = entry(run)?;
    let Ok(members) = members.as_array_ref() else {
        return Err(Halt::argument(format!("all: expected an array of maps, got {}", what(members))));
    };
    if members.len() > PARALLEL_MAX {
        return Err(Halt::throw("limit", format!("all: at most {PARALLEL_MAX} members, got {}", members.len())));
    }
    let requests = members.iter().enumerate().map(|(at, member)| request::member(at, member, entry, run.at));
    let requests: Vec<Request> = requests.collect::<Result<_, _>>()?;
    let mut results = Array::new();
    let mut waits = false;
    for request in requests {
        let destination = request.effect.destination().map(String::from);
        match run.step(request.effect, &request.args)? {
            Some(reply) if reply.class == Class::Ok => results.push(to_dynamic(&reply.value)),
            Some(reply) => results.push(Dynamic::from_map(failure(destination.as_deref(), &reply))),
            None => waits = true,
        }
    }
    if waits { Err(run.halt(Stop::Waits)) } else { Ok(Dynamic::from_array(results)) }
}

/// What a script catches when a step failed: the reply's own fields, and `kind`, `message`, `destination`, `status`.
fn failure(destination: Option<&str>, reply: &Reply) -> Map {
    let mut error = to_dynamic(&reply.value).try_cast::<Map>().unwrap_or_default();
    let (kind, verb) = match reply.class {
        Class::Ok => ("ok", "answered"),
        Class::Rejected => ("rejected", "refused the request"),
        Class::Dead => ("dead", "could not be reached; all attempts are used up"),
        Class::Unknown => ("unknown", "may or may not have taken the request"),
    };
    let name = destination.unwrap_or("the step");
    let cause = reply.error.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
    error.insert("kind".into(), kind.into());
    error.insert("message".into(), format!("{name} {verb}{cause}").into());
    error.insert("destination".into(), destination.map_or(Dynamic::UNIT, |name| name.to_string().into()));
    error.insert("status".into(), reply.status.map_or(Dynamic::UNIT, |code| i64::from(code).into()));
    error.entry("body".into()).or_insert(Dynamic::UNIT);
    error
}

fn log(level: &Dynamic, text: &Dynamic) -> Outcome {
    let word = level.as_immutable_string_ref().map(|word| word.to_string()).unwrap_or_default();
    let mut line = line_of(text);
    if line.len() > LOG_BYTES_MAX {
        line.truncate(line.floor_char_boundary(LOG_BYTES_MAX));
        line.push('…');
    }
    if !LEVELS.contains(&word.as_str()) {
        return current(|_| {
            Err(Halt::argument(format!("log: the level must be one of {}, got {level}", LEVELS.join(", "))))
        });
    }
    let args = Value::Array(vec![word.clone().into(), line.clone().into()]);
    local(Effect::Log { level: word, text: line }, args)
}

/// Text as it is, anything else as JSON where it can be.
fn line_of(value: &Dynamic) -> String {
    match to_json(value) {
        Ok(Value::String(text)) => text,
        Ok(json) => json.to_string(),
        Err(_) => value.to_string(),
    }
}

fn set_status(alert: &Dynamic, status: &Dynamic, comment: &Dynamic) -> Outcome {
    let read = |run: &mut Run| {
        let alert = alert_id(run, "set_status", alert)?;
        let word = status.to_string();
        let status: Status = word.parse().map_err(|_| {
            let words = Status::ALL.map(Status::as_str);
            let near = nearest(&word, &words).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Halt::argument(format!("set_status: {word:?} is none of {}{near}", words.join(", ")))
        })?;
        let comment = match comment.as_immutable_string_ref() {
            Ok(text) => Some(text.to_string()),
            Err(_) if comment.is_unit() => None,
            Err(_) => {
                return Err(Halt::argument(format!("set_status: the comment must be a string, got {}", what(comment))));
            }
        };
        let args = Value::Array(vec![alert.to_string().into(), status.as_str().into(), comment.clone().into()]);
        Ok((Effect::SetStatus { alert, status, comment }, args))
    };
    let (effect, args) = current(read)?;
    local(effect, args)
}

fn tag(alert: &Dynamic, label: &Dynamic) -> Outcome {
    let read = |run: &mut Run| {
        let alert = alert_id(run, "tag", alert)?;
        let Ok(label) = label.as_immutable_string_ref() else {
            return Err(Halt::argument(format!("tag: the label must be a string, got {}", what(label))));
        };
        let (label, chars) = (label.trim(), label.trim().chars().count());
        if chars == 0 || chars > TAG_CHARS_MAX || label.chars().any(char::is_control) {
            return Err(Halt::argument(format!(
                "tag: a label is one line of 1 to {TAG_CHARS_MAX} characters, got {label:?}"
            )));
        }
        let args = Value::Array(vec![alert.to_string().into(), label.into()]);
        Ok((Effect::Tag { alert, tag: label.into() }, args))
    };
    let (effect, args) = current(read)?;
    local(effect, args)
}

/// An alert of this run, given as the alert itself or by its id.
fn alert_id(run: &Run, function: &str, alert: &Dynamic) -> Result<AlertId, Halt> {
    let text = match alert.as_map_ref() {
        Ok(map) => map.get("id").map(ToString::to_string).unwrap_or_default(),
        Err(_) => alert.to_string(),
    };
    let id =
        text.parse().map_err(|_| Halt::argument(format!("{function}: expected an alert or its id, got {text:?}")))?;
    if !run.alerts.contains(&text) {
        return Err(Halt::argument(format!("{function}: {text} is not an alert of this run")));
    }
    Ok(id)
}

/// A value of a list of the bundle: no step, since the run keeps its bundle.
fn lookup(run: &mut Run, list: &Dynamic, key: &Dynamic) -> Result<Dynamic, Halt> {
    let name = list.to_string();
    let Some(entries) = run.lists.0.get(&name) else {
        let known: Vec<&str> = run.lists.0.keys().map(String::as_str).collect();
        let near = nearest(&name, &known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Halt::argument(format!("lookup: there is no list {name:?}{near}")));
    };
    if key.is_unit() {
        return Ok(Dynamic::UNIT);
    }
    if to_json(key).is_ok_and(|key| key.is_array() || key.is_object()) || key.is_fnptr() {
        return Err(Halt::argument(format!("lookup: the key must be a string, got {}", what(key))));
    }
    Ok(entries.get(&key.to_string()).map_or(Dynamic::UNIT, to_dynamic))
}

/// Who owns what an alert is about: no step either.
fn owner(run: &mut Run, alert: &Dynamic) -> Result<Dynamic, Halt> {
    let given = to_json(alert).ok().filter(Value::is_object);
    let alert = given.ok_or_else(|| Halt::argument(format!("owner: expected an alert, got {}", what(alert))))?;
    let Some(Owner { name, email, of, entry, written }) = run.owners.owner(&alert) else { return Ok(Dynamic::UNIT) };
    let mut owner = to_dynamic(&written).try_cast::<Map>().unwrap_or_default();
    owner.insert("name".into(), name.into());
    owner.insert("email".into(), email.map_or(Dynamic::UNIT, Dynamic::from));
    owner.insert("of".into(), of.into());
    owner.insert("entry".into(), entry.into());
    Ok(Dynamic::from_map(owner))
}
