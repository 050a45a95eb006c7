//! Rhai's errors in soard's words: what went wrong, and at which place of which file.

use rhai::{Dynamic, EvalAltResult, Position};

use crate::playbooks::limits::ERROR_BYTES_MAX;
use crate::playbooks::value::to_json;

/// Why a script failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub error: String,
    /// `file:line:column`, where Rhai says.
    pub place: Option<String>,
}

/// The innermost cause with its place; `file` is the playbook, errors in modules name the module's file.
pub fn explain(error: EvalAltResult, file: &str) -> Fault {
    let (cause, file, at) = innermost(error, file.to_string());
    let place = at.line().map(|line| format!("{file}:{line}:{}", at.position().unwrap_or(1)));
    Fault { error: cut(message(&cause)), place }
}

/// Unwraps calls and modules. The place of a cause without one is that of the call.
pub fn innermost(error: EvalAltResult, file: String) -> (EvalAltResult, String, Position) {
    let (mut error, mut file) = (error, file);
    let mut known = (file.clone(), Position::NONE);
    loop {
        let at = error.position();
        if !at.is_none() {
            known = (file.clone(), at);
        }
        error = match error {
            EvalAltResult::ErrorInFunctionCall(_, source, inner, _) => {
                if !source.is_empty() {
                    file = source;
                }
                *inner
            }
            EvalAltResult::ErrorInModule(_, inner, _) => *inner,
            cause => return (cause, known.0, known.1),
        };
    }
}

/// What went wrong, in one line, without the place.
pub fn message(cause: &EvalAltResult) -> String {
    match cause {
        EvalAltResult::ErrorRuntime(thrown, _) => thrown_text(thrown),
        EvalAltResult::ErrorDataTooLarge(what, _) => format!("{} over the limit", lower(what)),
        EvalAltResult::ErrorStackOverflow(_) => "functions call one another too deeply".into(),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => format!("there is no function {signature}"),
        EvalAltResult::ErrorVariableNotFound(name, _) => format!("there is no variable `{name}`"),
        EvalAltResult::ErrorModuleNotFound(path, _) => format!("there is no module \"{path}\" in the bundle"),
        other => {
            let mut text = other.to_string();
            if let Some(cut) = text.rfind(" (line ") {
                text.truncate(cut);
            }
            lower(&text)
        }
    }
}

/// At most [`ERROR_BYTES_MAX`] of a message: a script may throw what it likes, but not fill the journal with it.
pub fn cut(mut message: String) -> String {
    if message.len() > ERROR_BYTES_MAX {
        message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX));
        message.push('…');
    }
    message
}

/// What a script threw: the `message` of a map, text as it is, anything else as JSON.
fn thrown_text(thrown: &Dynamic) -> String {
    if let Ok(map) = thrown.as_map_ref()
        && let Some(message) = map.get("message").filter(|message| message.is_string())
    {
        return message.to_string();
    }
    match to_json(thrown) {
        Ok(serde_json::Value::Null) => "the script threw an error without a message".into(),
        Ok(serde_json::Value::String(text)) => text,
        Ok(json) => json.to_string(),
        Err(_) => thrown.to_string(),
    }
}

/// Rhai begins messages with a capital; ours stand inside sentences.
pub fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.into(),
    }
}
