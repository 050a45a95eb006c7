//! JSON to script values and back.

use rhai::{Array, Dynamic, Map};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::playbooks::limits::JSON_DEPTH_MAX;

/// A JSON value as a script sees it; `null` is `()`. Whole numbers past 64 bits become floating point.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or(f64::MAX).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Dynamic::from_array(items.iter().map(to_dynamic).collect::<Array>()),
        Value::Object(items) => {
            Dynamic::from_map(items.iter().map(|(key, item)| (key.as_str().into(), to_dynamic(item))).collect::<Map>())
        }
    }
}

/// A script value as JSON.
///
/// # Errors
/// Says what cannot be written as JSON: functions, blobs, numbers that are not finite, too deep nesting.
pub fn to_json(value: &Dynamic) -> Result<Value, String> {
    json_below(value, 0)
}

fn json_below(value: &Dynamic, depth: usize) -> Result<Value, String> {
    if depth > JSON_DEPTH_MAX {
        return Err(format!("a value nested deeper than {JSON_DEPTH_MAX} levels cannot be written as JSON"));
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    if let Ok(number) = value.as_int() {
        return Ok(number.into());
    }
    if let Ok(number) = value.as_float() {
        let finite = serde_json::Number::from_f64(number).map(Value::Number);
        return finite.ok_or_else(|| format!("{number} cannot be written as JSON"));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(letter.to_string().into());
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(text.as_str().into());
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| json_below(item, depth + 1)).collect();
    }
    if let Ok(items) = value.as_map_ref() {
        let items = items.iter().map(|(key, item)| Ok((key.to_string(), json_below(item, depth + 1)?)));
        return items.collect::<Result<serde_json::Map<_, _>, String>>().map(Value::Object);
    }
    Err(format!("{} cannot be written as JSON", what(value)))
}

/// What a value is, with its article, for messages.
pub fn what(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "nothing"
    } else if value.is_bool() {
        "a boolean"
    } else if value.is_int() {
        "a whole number"
    } else if value.is_float() {
        "a number"
    } else if value.is_string() || value.is_char() {
        "a string"
    } else if value.is_array() {
        "an array"
    } else if value.is_map() {
        "a map"
    } else if value.is_fnptr() {
        "a function"
    } else if value.is_blob() {
        "a blob"
    } else {
        "a value of another kind"
    }
}

/// SHA-256, in hex, of a step's kind and arguments as canonical JSON: compact, keys sorted.
pub fn fingerprint(kind: &str, args: &Value) -> String {
    let text = serde_json::to_string(&(kind, sorted(args))).expect("JSON values are written without fail");
    data_encoding::HEXLOWER.encode(&Sha256::digest(text))
}

/// Sorts keys explicitly: a dependency that turns on serde_json's `preserve_order` must not change the hash.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(items) => {
            let mut keys: Vec<&String> = items.keys().collect();
            keys.sort_unstable();
            keys.into_iter().map(|key| (key.clone(), sorted(&items[key]))).collect()
        }
        other => other.clone(),
    }
}
