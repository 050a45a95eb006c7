//! Raw events as JSON text: read once, without building what no rule asks for.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::rules::fields::Fields;
use crate::rules::found::Actual;
use crate::rules::matcher::document::Document;
use crate::rules::matcher::paths::{PathId, Paths};
use crate::rules::matcher::run::Run;

/// An event's text, with the tree of the fields that rules name.
#[derive(Debug, Clone, Copy)]
pub struct Event<'t> {
    /// JSON.
    pub text: &'t str,
    /// Of the same rules.
    pub paths: &'t Paths,
}

/// The text is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the event is not JSON")]
pub struct NotJson(#[source] serde_json::Error);

impl Document for Event<'_> {
    type Fault = NotJson;

    fn tell<'d>(&'d self, fields: &'d Fields, run: &mut Run<'_, 'd>) -> Result<(), NotJson> {
        // Searches over everything see what no path names, and of a repeated key only the last value.
        let everywhere = fields.all().iter().any(|field| field.is_everywhere());
        if !everywhere {
            let ambiguous = Cell::new(false);
            let walk = Walk { paths: self.paths, at: 0, run, ambiguous: &ambiguous };
            let mut reader = serde_json::Deserializer::from_str(self.text);
            walk.deserialize(&mut reader).and_then(|()| reader.end()).map_err(NotJson)?;
            if !ambiguous.get() {
                return Ok(());
            }
            run.restart();
        }
        let whole: Value = serde_json::from_str(self.text).map_err(NotJson)?;
        for (number, field) in fields.all().iter().enumerate() {
            if field.visit_event(&whole, &mut |value| run.value(number, owned(value))) {
                run.present(number);
            }
        }
        Ok(())
    }
}

/// The value without the tree that it was found in.
fn owned<'d>(value: Actual) -> Actual<'d> {
    match value {
        Actual::Null => Actual::Null,
        Actual::Flag(flag) => Actual::Flag(flag),
        Actual::Number(number) => Actual::Number(number),
        Actual::Text(text) => Actual::Text(Cow::Owned(text.into_owned())),
        Actual::Whole(_) => Actual::Whole(None),
    }
}

/// One place in the text.
struct Walk<'w, 'm, 'd> {
    paths: &'w Paths,
    at: PathId,
    run: &'w mut Run<'m, 'd>,
    /// Two keys of one object lead to the same field: which of them counts is told by the whole object only.
    ambiguous: &'w Cell<bool>,
}

impl<'d> Walk<'_, '_, 'd> {
    fn field(&self) -> Option<usize> {
        self.paths.node(self.at).field.map(|field| field as usize)
    }

    fn value(self, value: Actual<'d>) {
        if let Some(field) = self.field() {
            self.run.present(field);
            self.run.value(field, value);
        }
    }
}

impl<'d> DeserializeSeed<'d> for Walk<'_, '_, 'd> {
    type Value = ();

    fn deserialize<D: Deserializer<'d>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for Walk<'_, '_, 'd> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.value(Actual::Flag(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.value(Actual::Number(value.into()));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.value(Actual::Number(value.into()));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.value(Number::from_f64(value).map_or(Actual::Null, Actual::Number));
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, value: &'d str) -> Result<(), E> {
        self.value(Actual::Text(Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if self.field().is_some() {
            self.value(Actual::Text(Cow::Owned(value.to_owned())));
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.value(Actual::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut items: A) -> Result<(), A::Error> {
        if let Some(field) = self.field() {
            self.run.present(field);
        }
        let Self { paths, at, run, ambiguous } = self;
        while items.next_element_seed(Walk { paths, at, run: &mut *run, ambiguous })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'d>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { paths, at, run, ambiguous } = self;
        if let Some(field) = paths.node(at).field {
            run.present(field as usize);
            run.whole(field as usize);
        }
        if !paths.node(at).is_inner() {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut led: Vec<PathId> = Vec::new();
        while let Some(child) = entries.next_key_seed(Key { paths, at })? {
            let Some(child) = child else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            if !ambiguous.get() && led.iter().any(|other| paths.related(*other, child)) {
                ambiguous.set(true);
            }
            led.push(child);
            entries.next_value_seed(Walk { paths, at: child, run: &mut *run, ambiguous })?;
        }
        Ok(())
    }
}

/// A key, looked up without being kept.
struct Key<'w> {
    paths: &'w Paths,
    at: PathId,
}

impl<'d> DeserializeSeed<'d> for Key<'_> {
    type Value = Option<PathId>;

    fn deserialize<D: Deserializer<'d>>(self, from: D) -> Result<Option<PathId>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<PathId>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<PathId>, E> {
        Ok(self.paths.child(self.at, key))
    }
}
