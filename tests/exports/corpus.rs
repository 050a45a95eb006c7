//! Values that mean harm, through each form and each way: read back by parsers that know nothing of soard, they are what they were.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::hostile_values;
use crate::syslog::Rsyslog;
use crate::{caught_up, daemon};

/// Whether one line may hold the character as it is.
fn is_plain(c: char) -> bool {
    !(c.is_control()
        || matches!(c as u32, 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f))
}

/// What CEF shows of a text: what hides is written out.
fn shown(text: &str) -> String {
    let one = |c: char| match c {
        '\n' | '\r' => c.to_string(),
        '\t' => " ".into(),
        c if is_plain(c) => c.to_string(),
        c => format!("\\u{{{:x}}}", c as u32),
    };
    text.chars().map(one).collect()
}

/// A reader of CEF, by its specification: seven bars, then pairs whose keys are words before an `=` that nothing escapes.
fn cef(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut header, mut part, mut rest) = (Vec::new(), String::new(), line.chars());
    while header.len() < 7 {
        match rest.next().expect("seven parts") {
            '\\' => part.push(rest.next().unwrap()),
            '|' => header.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    let text: Vec<char> = rest.collect();
    let mut equals = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            '\\' => at += 1,
            '=' => equals.push(at),
            _ => {}
        }
        at += 1;
    }
    let key_begins = |equal: usize| text[..equal].iter().rposition(|c| *c == ' ').map_or(0, |space| space + 1);
    let mut pairs = BTreeMap::new();
    for (n, equal) in equals.iter().enumerate() {
        let end = equals.get(n + 1).map_or(text.len(), |next| key_begins(*next) - 1);
        let mut value = String::new();
        let mut from = text[equal + 1..end].iter();
        while let Some(c) = from.next() {
            value.push(match c {
                '\\' => match from.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    c => *c,
                },
                c => *c,
            });
        }
        pairs.insert(text[key_begins(*equal)..*equal].iter().collect(), value);
    }
    (header, pairs)
}

/// A reader of CSV, by RFC 4180.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut from = text.chars().peekable();
    while let Some(c) = from.next() {
        match c {
            '"' if quoted && from.peek() == Some(&'"') => cell.push(from.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    rows
}

#[test]
fn no_value_breaks_out_of_its_place_in_any_form() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Rsyslog::new(&folder.path().join("rsyslog"), None);
    let to = format!("syslog: {{ host: 127.0.0.1, port: {}, tls: none, message_bytes_max: 65536 }}", server.port);
    let exports = format!(
        "  json: {{ file: {{ path: out.json }} }}\n  ocsf: {{ file: {{ path: out.ocsf }}, format: ocsf }}\n  cef: {{ file: {{ path: out.cef }}, format: cef }}\n  \
         wire: {{ {to} }}\n"
    );
    let mut daemon = daemon(folder.path(), &exports);
    daemon.start();
    let values: Vec<(String, String)> =
        hostile_values().into_iter().filter(|(_, text)| !text.trim().is_empty()).collect();
    for (n, (name, text)) in values.iter().enumerate() {
        let alert = json!({ "external_id": format!("x{n}"), "title": text, "description": text, "kind": text, "severity": "high",
            "entities": { "host": [{ "name": text }], "account": [{ "name": text }] }, "tags": [text] });
        let (status, answer) = daemon.post(&alert.to_string()).unwrap();
        assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{name}: {answer}");
    }
    ["json", "ocsf", "cef", "wire"].iter().for_each(|name| drop(caught_up(&daemon, name)));
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let (jsons, ocsfs, cefs) = (read("out.json"), read("out.ocsf"), read("out.cef"));
    for text in [&jsons, &ocsfs, &cefs] {
        assert!(text.chars().all(|c| c == '\n' || is_plain(c)), "only line ends end lines");
        assert_eq!(text.lines().count(), values.len());
    }
    server.stop();
    assert_eq!(server.messages(), jsons, "syslog hands over what the file has");
    let listed = String::from_utf8(daemon.soard(&["export", "--format", "csv", "--all"]).stdout).unwrap();
    let rows = csv(&listed);
    assert_eq!(rows.len(), values.len() + 1);
    let rows_told = String::from_utf8(daemon.soard(&["export", "--format", "jsonl", "--all"]).stdout).unwrap();
    let rows_told = rows_told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let listed_rows: BTreeMap<String, Value> =
        rows_told.map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect();
    let column = |name: &str| rows[0].iter().position(|head| head == name).unwrap();
    let lines = jsons.lines().zip(ocsfs.lines()).zip(cefs.lines());
    for ((((json, ocsf), cef_line), row), (name, _)) in lines.zip(&rows[1..]).zip(&values) {
        let (json, ocsf): (Value, Value) = (serde_json::from_str(json).unwrap(), serde_json::from_str(ocsf).unwrap());
        // What soard itself holds of it, as the API tells.
        let told = &listed_rows[json["id"].as_str().unwrap()];
        let title = told["title"].as_str().unwrap();
        assert_eq!(&json["alert"], told, "{name}");
        assert_eq!(ocsf["finding_info"]["title"], title, "{name}");
        assert_eq!(ocsf["unmapped"]["soard"]["notice"], "alert", "{name}");
        let (header, pairs) = cef(cef_line);
        let flat = |text: &str| shown(text).replace(['\n', '\r'], " ");
        assert_eq!((&*header[0], &*header[6], &*header[5]), ("CEF:0", "9", &*flat(title)), "{name}");
        assert_eq!((&*pairs["act"], &*pairs["cs1"]), ("alert", "active"), "{name}");
        let host = told["entities"]["host"][0].as_str().unwrap_or_default();
        let account = told["entities"]["account"][0].as_str().unwrap_or_default();
        for (key, value) in [("dhost", host), ("duser", account)] {
            let found = pairs.get(key).map(String::as_str).unwrap_or_default();
            assert_eq!(found, shown(value), "{name}: {key}");
        }
        let cell = &row[column("title")];
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{name}: {cell:?} is a formula");
        assert!(!cell.contains(['\n', '\r', '\u{1b}', '\u{202e}']), "{name}: {cell:?}");
        assert_eq!(row.len(), rows[0].len(), "{name}");
        assert_eq!(row[column("severity")], "high", "{name}");
    }
}
