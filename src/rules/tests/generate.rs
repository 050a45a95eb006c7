//! Rules and events made from a seed: small vocabularies, so that much of it meets.

use serde_json::{Map, Value, json};

/// Numbers that depend on the seed alone (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Which rules and events to make.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// All that soard reads.
    Whole,
    /// What soard and the public engine that it is compared with read in the same way; docs/rules.md lists the rest.
    Common,
}

const FRAGMENTS: [&str; 22] = [
    "a", "b", "ab", "AB", "Cmd", ".exe", " -enc", " /c", "\\", "x y", "10", "é", "\u{130}", "\u{3a3}", "-", "_", "foo",
    "bar", "foobar", "\n", "*", "?",
];

const WORDS: [&str; 14] = [
    "foo",
    "Foobar",
    "cmd.exe",
    "C:\\Windows\\cmd.exe",
    "10",
    "true",
    "",
    "a",
    "2026-03-01T22:10:00Z",
    "10.1.2.3",
    "10.200.0.1",
    "2001:db8::1",
    "1.5",
    "powershell -enc aGVsbG8=",
];

/// A text of some fragments, or a whole word.
pub fn text(dice: &mut Dice, dialect: Dialect) -> String {
    if dice.one_in(3) {
        let word = *dice.pick(&WORDS);
        return if word.is_empty() && dialect == Dialect::Common { "foo".into() } else { word.to_owned() };
    }
    let count = 1 + dice.below(4);
    let odd = ["\u{130}", "\u{3a3}", "\n", "*", "?", "\\"];
    let mut out = String::new();
    while out.is_empty() {
        for _ in 0..count {
            let fragment = *dice.pick(&FRAGMENTS);
            if dialect == Dialect::Whole || !odd.contains(&fragment) {
                out.push_str(fragment);
            }
        }
    }
    out
}

/// A text as a rule may write it: with wildcards and escapes.
fn pattern(dice: &mut Dice, dialect: Dialect) -> String {
    let mut out = String::new();
    for _ in 0..=dice.below(3) {
        let edge = out.is_empty() && dialect == Dialect::Common;
        match dice.below(8) {
            0 | 1 if edge => out.push_str("foo"),
            0 => out.push('*'),
            1 => out.push('?'),
            2 if dialect == Dialect::Whole => out.push_str("\\*"),
            3 if dialect == Dialect::Whole => out.push_str("\\\\"),
            _ => out.push_str(&text(dice, dialect)),
        }
    }
    if dialect == Dialect::Common && out.ends_with(['*', '?']) {
        out.push('a');
    }
    if out.is_empty() { "foo".into() } else { out }
}

const REGEXES: [&str; 12] = [
    "foo",
    "^foo",
    "bar$",
    "[a-c]+b",
    "(foo|bar)x?",
    "\\bcmd\\b",
    "^\\d+$",
    "f.o",
    "(?:foobar)+",
    "Cmd\\.exe",
    "(powershell|pwsh)",
    "x{2,3}",
];

const NETWORKS: [&str; 5] = ["10.0.0.0/8", "10.1.2.0/24", "10.1.2.3/32", "2001:db8::/32", "0.0.0.0/0"];

/// The value of one item, fitting its modifiers.
fn value(dice: &mut Dice, modifiers: &str, dialect: Dialect) -> Value {
    let first = modifiers.split('|').nth(1).unwrap_or_default();
    match first {
        "re" => json!(*dice.pick(&REGEXES)),
        "cidr" => json!(*dice.pick(&NETWORKS)),
        "gt" | "gte" | "lt" | "lte" => json!(*dice.pick(&[1, 5, 9, 10, 11, 1000])),
        "hour" => json!(*dice.pick(&[22, 0, 10])),
        "month" | "day" => json!(*dice.pick(&[1, 3, 12])),
        "base64" | "base64offset" | "utf16le" | "wide" | "utf16" | "utf16be" => {
            json!(*dice.pick(&["foo", "IEX", "hello"]))
        }
        "startswith" | "endswith" if dialect == Dialect::Common => json!(text(dice, dialect)),
        "windash" => json!(*dice.pick(&[" -enc", " -c", "cmd -enc"])),
        "" | "neq" | "all" | "cased" => match dice.below(12) {
            0 => json!(10),
            1 if dialect == Dialect::Whole => json!(1.5),
            2 if modifiers.is_empty() => json!(true),
            3 if modifiers.is_empty() => Value::Null,
            _ => json!(pattern(dice, dialect)),
        },
        _ => json!(pattern(dice, dialect)),
    }
}

const MODIFIERS: [&str; 34] = [
    "",
    "",
    "",
    "",
    "|contains",
    "|contains",
    "|contains",
    "|startswith",
    "|startswith",
    "|endswith",
    "|endswith",
    "|contains|all",
    "|all",
    "|re",
    "|re|i",
    "|re|s",
    "|re|m",
    "|cidr",
    "|cidr",
    "|gt",
    "|lte",
    "|cased",
    "|contains|cased",
    "|base64offset|contains",
    "|base64|contains",
    "|wide|base64offset|contains",
    "|windash|contains",
    "|hour",
    "|month|gte",
    "|neq",
    "|contains|neq",
    "|re|neq",
    "|endswith|all|neq",
    "|startswith|cased",
];

/// Items joined by "and", over these fields.
fn items(dice: &mut Dice, fields: &[&str], dialect: Dialect) -> Value {
    let mut out = Map::new();
    for _ in 0..=dice.below(3) {
        let field = *dice.pick(fields);
        match dice.below(16) {
            0 if dialect == Dialect::Whole => {
                out.insert(format!("{field}|exists"), json!(dice.one_in(2)));
                continue;
            }
            1 if dialect == Dialect::Whole => {
                let modifiers = *dice.pick(&["|fieldref", "|fieldref|contains", "|fieldref|startswith"]);
                out.insert(format!("{field}{modifiers}"), json!(*dice.pick(fields)));
                continue;
            }
            _ => {}
        }
        let modifiers = *dice.pick(&MODIFIERS);
        let apart = ["neq", "base64offset", "hour", "month", "windash"];
        if dialect == Dialect::Common && apart.iter().any(|apart| modifiers.contains(apart)) {
            continue;
        }
        let many = modifiers.contains("all") || dice.one_in(3);
        let count = if many { 2 + dice.below(3) } else { 1 };
        let mut values: Vec<Value> = (0..count).map(|_| value(dice, modifiers, dialect)).collect();
        if values.len() > 1 {
            values.retain(|value| !value.is_null());
        }
        while many && values.len() < 2 {
            values.push(json!("foo"));
        }
        let value = if values.len() == 1 { values.remove(0) } else { json!(values) };
        out.insert(format!("{field}{modifiers}"), value);
    }
    if out.is_empty() {
        out.insert(fields[0].into(), json!("foo"));
    }
    Value::Object(out)
}

/// A detection over these fields: searches and a condition.
pub fn detection(dice: &mut Dice, fields: &[&str], dialect: Dialect) -> Value {
    let mut out = Map::new();
    let names = ["sel_a", "sel_b", "filter"];
    for name in names.iter().take(1 + dice.below(3)) {
        let search = match dice.below(8) {
            0 | 1 => json!([items(dice, fields, dialect), items(dice, fields, dialect)]),
            2 if dialect == Dialect::Whole => json!([pattern(dice, dialect), "foo"]),
            3 if dialect == Dialect::Common => json!([*dice.pick(&["cmd.exe", "foobar", "-enc", "x y"]), "nothing"]),
            _ => items(dice, fields, dialect),
        };
        out.insert((*name).into(), search);
    }
    let conditions: &[&str] = match out.len() {
        1 => &["sel_a", "not sel_a", "1 of sel_*"],
        2 => &["sel_a and sel_b", "sel_a or sel_b", "sel_a and not sel_b", "all of sel_*", "not (sel_a and sel_b)"],
        _ => &[
            "1 of sel_* and not filter",
            "all of them",
            "2 of them",
            "sel_a and sel_b or filter",
            "(sel_a or sel_b) and filter",
            "not 1 of sel_* or filter",
        ],
    };
    out.insert("condition".into(), json!(*dice.pick(conditions)));
    Value::Object(out)
}

/// One value of an event.
fn leaf(dice: &mut Dice, dialect: Dialect) -> Value {
    match dice.below(14) {
        0 => json!(dice.below(12)),
        1 if dialect == Dialect::Whole => json!(*dice.pick(&[1.5, -0.0, 1e20, 10.0])),
        2 if dialect == Dialect::Whole => Value::Null,
        3 => json!(dice.one_in(2)),
        4 if dialect == Dialect::Whole => json!([text(dice, dialect), leaf(dice, dialect)]),
        4 => json!([text(dice, dialect), text(dice, dialect)]),
        5 if dialect == Dialect::Whole => json!([]),
        6 if dialect == Dialect::Whole => json!({"inner": text(dice, dialect)}),
        _ => json!(text(dice, dialect)),
    }
}

/// An event with fields `a`, `b.c`, `b.d.e`, `n` and others; some are missing, some have dots in their keys.
pub fn event(dice: &mut Dice, dialect: Dialect) -> Value {
    let mut out = Map::new();
    for key in ["a", "n", "Image", "other"] {
        if !dice.one_in(4) {
            out.insert(key.into(), leaf(dice, dialect));
        }
    }
    let mut b = Map::new();
    if !dice.one_in(4) {
        b.insert("c".into(), leaf(dice, dialect));
    }
    if !dice.one_in(3) {
        let inner = json!({"e": leaf(dice, dialect)});
        b.insert("d".into(), if dice.one_in(3) { json!([inner, {"e": text(dice, dialect)}]) } else { inner });
    }
    if dialect == Dialect::Whole && dice.one_in(4) {
        b.insert("d.e".into(), leaf(dice, dialect));
    }
    if dialect == Dialect::Whole && dice.one_in(4) {
        out.insert("b.c".into(), leaf(dice, dialect));
    }
    match dice.below(6) {
        0 if dialect == Dialect::Whole => out.insert("b".into(), leaf(dice, dialect)),
        1 => out.insert("b".into(), json!([b, {"c": leaf(dice, dialect)}])),
        _ => out.insert("b".into(), Value::Object(b)),
    };
    Value::Object(out)
}

/// The fields that rules over such events name.
pub const EVENT_FIELDS: [&str; 7] = ["a", "b.c", "b.d.e", "n", "Image", "missing", "b"];
