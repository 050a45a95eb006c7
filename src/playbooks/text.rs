//! Small pure functions that payloads need again and again.

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

use crate::playbooks::run::Halt;
use crate::playbooks::value::to_json;

/// Kinds of errors that a script can catch from a host function.
pub const KINDS: [&str; 5] = ["rejected", "dead", "unknown", "argument", "limit"];

/// Adds the functions to an engine.
pub fn register(engine: &mut Engine) {
    engine
        .register_fn("json", |value: Dynamic| -> Result<String, Box<EvalAltResult>> {
            let json = to_json(&value).map_err(|fault| Halt::argument(format!("json: {fault}")))?;
            Ok(json.to_string())
        })
        .register_fn("shorten", |text: ImmutableString, chars: i64| -> ImmutableString { shorten(text, chars) })
        .register_fn("shorten", |(): (), _: i64| -> ImmutableString { ImmutableString::new() })
        .register_fn("failed", |result: Dynamic| -> bool { failed(&result) });
}

/// At most this many characters; the last one becomes `…` when something is cut off.
fn shorten(text: ImmutableString, chars: i64) -> ImmutableString {
    let max = usize::try_from(chars).unwrap_or(0);
    if text.chars().count() <= max {
        return text;
    }
    let Some(keep) = max.checked_sub(1) else { return ImmutableString::new() };
    let mut cut: String = text.chars().take(keep).collect();
    cut.push('…');
    cut.into()
}

/// Whether an item of the result of `all` is an error.
fn failed(result: &Dynamic) -> bool {
    let Ok(map) = result.as_map_ref() else { return false };
    let kind = map.get("kind").and_then(|kind| kind.as_immutable_string_ref().ok().map(|kind| kind.to_string()));
    map.contains_key("message") && kind.is_some_and(|kind| KINDS.contains(&kind.as_str()))
}
