//! Reads a record as JSON, strictly and within limits: what is past them is refused by name.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::domain::record::RECORD_BYTES_MAX;
use crate::rules::normalise::Refused;

/// Deepest nesting of lists and objects in a record.
pub const DEPTH_MAX: usize = 64;
/// Most values in a record, counting each list, object, text, number, boolean and null.
pub const NODES_MAX: usize = 10_000;
/// Most keys in one object.
pub const KEYS_MAX: usize = 256;

/// Reads a record. A byte order mark before it is skipped; an object that names a key twice is refused,
/// since readers disagree on which of the two counts.
///
/// # Errors
/// [`Refused`] names the limit, the repeated key or the fault in the syntax.
pub fn parse(bytes: &[u8]) -> Result<Value, Refused> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Refused::TooLarge { bytes: bytes.len() });
    }
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let budget = Budget { nodes: RefCell::new(0), refused: RefCell::new(None) };
    let mut from = serde_json::Deserializer::from_slice(text);
    let parsed = Reader { budget: &budget, depth: 0 }.deserialize(&mut from).and_then(|value| {
        from.end()?;
        Ok(value)
    });
    parsed.map_err(|error| budget.refused.take().unwrap_or_else(|| Refused::NotJson { cause: error.to_string() }))
}

struct Budget {
    nodes: RefCell<usize>,
    refused: RefCell<Option<Refused>>,
}

impl Budget {
    fn refuse<E: Error>(&self, why: Refused) -> E {
        let message = why.to_string();
        *self.refused.borrow_mut() = Some(why);
        E::custom(message)
    }
}

/// Builds one value and counts it.
#[derive(Clone, Copy)]
struct Reader<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Reader<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.budget.refuse(Refused::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let mut nodes = self.budget.nodes.borrow_mut();
        *nodes += 1;
        if *nodes > NODES_MAX {
            return Err(self.budget.refuse(Refused::TooManyValues));
        }
        drop(nodes);
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            if items.len() == KEYS_MAX {
                return Err(self.budget.refuse(Refused::TooManyKeys));
            }
            match items.entry(key) {
                Entry::Vacant(free) => _ = free.insert(from.next_value_seed(inner)?),
                Entry::Occupied(taken) => {
                    let key = taken.key().clone();
                    return Err(self.budget.refuse(Refused::DuplicateKey { key }));
                }
            }
        }
        Ok(Value::Object(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        format!("{:?}", parse(text.as_bytes()).unwrap_err())
    }

    #[test]
    fn values_are_as_serde_json_has_them() {
        let text = r#"{"a":[1,-2,3.5,1e3,18446744073709551615,true,null,"x\u0000\ud83d\ude00"],"b":{"c":{}}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(parse(b"\xEF\xBB\xBF{}").unwrap(), serde_json::json!({}));
    }

    #[test]
    fn each_limit_has_its_name() {
        assert!(parse("[".repeat(DEPTH_MAX).as_bytes()).is_err());
        let nested = |n| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(refusal(&nested(DEPTH_MAX + 1)), "TooDeep");
        assert_eq!(refusal(&nested(100_000)), "TooDeep");
        assert_eq!(refusal(&format!("[{}1]", "1,".repeat(NODES_MAX))), "TooManyValues");
        let keys: Vec<String> = (0..=KEYS_MAX).map(|n| format!("\"k{n}\":1")).collect();
        assert_eq!(refusal(&format!("{{{}}}", keys.join(","))), "TooManyKeys");
        assert_eq!(refusal(r#"{"a":{"b":1,"b":2}}"#), r#"DuplicateKey { key: "b" }"#);
        assert_eq!(refusal(&format!("\"{}\"", "x".repeat(RECORD_BYTES_MAX))), "TooLarge { bytes: 1048578 }");
        for text in ["", "  ", "{", "nul", "{} {}", "\"\\ud800\"", "1e400", "{\"a\":01}", "\u{0}"] {
            assert!(refusal(text).starts_with("NotJson"), "{text:?}");
        }
    }
}
