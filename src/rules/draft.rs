//! A suppression that is drafted from an alert: ready to be put into `rules/suppress/`, and to be tried on past alerts.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::domain::alert::Alert;
use crate::domain::id::AlertId;
use crate::rules::compile::{Rules, compile};
use crate::rules::fields::{Field, FieldKind};
use crate::rules::found::Actual;
use crate::rules::header;
use crate::rules::known::Known;
use crate::rules::suppress::SuppressReason;
use crate::yaml::diagnostic::{Gravity, nearest};

/// Most values of one field that a draft lists.
pub const VALUES_MAX: usize = 20;

/// Most fields of a draft.
pub const FIELDS_MAX: usize = 20;

/// Longest title of a draft, in characters.
const TITLE_CHARS_MAX: usize = 100;

/// What a draft is made of beside the alert.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// Fields by which alerts are alike; none: those that usually make sense.
    pub by: &'a [String],
    /// Who answers for the rule.
    pub owner: &'a str,
    /// Why.
    pub reason: SuppressReason,
    /// Why, in words.
    pub comment: &'a str,
    /// Its last day.
    pub expires: Date,
}

/// A drafted suppression.
#[derive(Debug)]
pub struct Draft {
    /// The rule file.
    pub yaml: String,
    /// The fields by which alerts are alike, with the alert's values.
    pub by: BTreeMap<String, Vec<String>>,
    /// The rule, compiled from the file.
    pub rules: Rules,
}

/// Drafts a suppression of alerts like this one.
///
/// # Errors
/// Words for people: a field that there is not, that the alert does not have, or that rules cannot compare.
pub fn suppression(id: AlertId, alert: &Alert, about: &About) -> Result<Draft, String> {
    let fields = if about.by.is_empty() { usual(alert) } else { asked(about.by)? };
    let (mut items, mut by) = (String::new(), BTreeMap::new());
    for field in fields {
        let (item, values) = item(&field, alert)?;
        items.push_str(&format!("      {item}\n"));
        by.insert(field.as_str().to_owned(), values);
    }
    let title: String = alert.title.chars().take(TITLE_CHARS_MAX).collect();
    let rule_id = format!("like-{id}");
    let rule_id: String = rule_id.chars().take(header::ID_BYTES_MAX).collect();
    let yaml = format!(
        "suppress:\n  - id: {rule_id}\n    title: {}\n    owner: {}\n    reason: {}\n    comment: {}\n    expires: {}\n    \
         sources: [{}]\n    match:\n{items}",
        quoted(&format!("Like {id}: {title}")),
        quoted(about.owner),
        about.reason.as_str(),
        quoted(about.comment),
        about.expires,
        quoted(&alert.source),
    );
    let rules = checked(&yaml)?;
    Ok(Draft { yaml, by, rules })
}

/// Kind, else title, and the first of what it is about.
fn usual(alert: &Alert) -> Vec<Field> {
    let named = |path: &str| Field::parse(path).expect("it is a field of alerts");
    let what = if alert.kind.is_some() { "kind" } else { "title" };
    let mut fields = vec![named(what)];
    let about = ["resources", "host", "account", "ip"].map(named);
    fields.extend(about.into_iter().find(|field| !texts(field, alert).is_empty()));
    fields
}

fn asked(by: &[String]) -> Result<Vec<Field>, String> {
    let mut fields: Vec<Field> = Vec::new();
    for path in by {
        let field = Field::parse(path).map_err(|bad| match bad.help {
            Some(help) => format!("{}; {help}", bad.message),
            None => bad.message,
        })?;
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    if fields.len() > FIELDS_MAX {
        return Err(format!("{} fields; a draft takes at most {FIELDS_MAX}", fields.len()));
    }
    Ok(fields)
}

/// The values that a rule can name, as YAML has them.
fn texts(field: &Field, alert: &Alert) -> Vec<(String, String)> {
    let found = field.find(alert);
    let mut values: Vec<(String, String)> = Vec::new();
    for value in &found.values {
        let (yaml, text) = match value {
            Actual::Text(text) if text.is_empty() => continue,
            Actual::Text(text) if field.kind() == FieldKind::Time => (text.to_string(), text.to_string()),
            Actual::Text(text) => (quoted(&literal(text)), text.to_string()),
            Actual::Number(number) => (number.to_string(), number.to_string()),
            Actual::Flag(flag) => (flag.to_string(), flag.to_string()),
            Actual::Null | Actual::Whole(_) => continue,
        };
        if !values.iter().any(|(known, _)| *known == yaml) {
            values.push((yaml, text));
        }
    }
    values
}

/// One line of the match, and the alert's values in it.
fn item(field: &Field, alert: &Alert) -> Result<(String, Vec<String>), String> {
    let path = field.as_str();
    let mut values = texts(field, alert);
    if values.is_empty() {
        return Err(format!("the alert has no `{path}`"));
    }
    // Of what an alert is about the first counts, since the others are rarely the same again.
    if path == "resources" {
        values.truncate(1);
    }
    if values.len() > VALUES_MAX {
        return Err(format!("the alert has {} values at `{path}`; a draft lists at most {VALUES_MAX}", values.len()));
    }
    let (written, plain): (Vec<String>, Vec<String>) = values.into_iter().unzip();
    let line = match &written[..] {
        [one] => format!("{}: {one}", quoted(path)),
        many => format!("{}: [{}]", quoted(&format!("{path}|all")), many.join(", ")),
    };
    Ok((line, plain))
}

/// A value as itself, not as a pattern.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?")
}

/// A text in YAML: as it is where that is safe, else in quotes.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./@| ".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && !text.ends_with(' ') && text.chars().all(plain) && !WORDS.contains(&text.to_ascii_lowercase().as_str())
    {
        return text.to_owned();
    }
    if text.contains('\'') || !text.chars().all(|c| c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric()) {
        return double_quoted(text);
    }
    format!("'{text}'")
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => out.push(c),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// The file as `soard check` reads it.
fn checked(yaml: &str) -> Result<Rules, String> {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [file("rules/suppress/draft.yaml", yaml), file("rules/route/none.yaml", "default_route: none\n")];
    let (rules, found) = compile(&files.into(), &Known::default());
    match found.iter().find(|fault| fault.gravity == Gravity::Error || fault.code == "matches-everything") {
        None => Ok(rules),
        Some(fault) => {
            let help = fault.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
            Err(format!("{}{help}", fault.message))
        }
    }
}

/// A word for why, as people give it.
///
/// # Errors
/// What the words are.
pub fn reason(word: &str) -> Result<SuppressReason, String> {
    let all = SuppressReason::ALL;
    let found = all.into_iter().find(|reason| reason.as_str() == word);
    found.ok_or_else(|| {
        let words = all.map(SuppressReason::as_str);
        let near = nearest(word, &words).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("`{word}` is none of {}{near}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: AlertId = AlertId { record: 12, index: 0 };

    fn alert(more: &serde_json::Value) -> Alert {
        let mut fields = json!({
            "source": "edr", "title": "Scan", "severity": "medium", "received": "2030-01-01T00:00:00Z", "kind": "PortScan",
            "entities": { "host": [{ "name": "web-01" }], "ip": [{ "address": "10.0.0.7" }, { "address": "10.0.0.8" }] },
        });
        for (field, value) in more.as_object().unwrap() {
            fields[field] = value.clone();
        }
        serde_json::from_value(fields).unwrap()
    }

    fn draft(by: &[&str], alert: &Alert) -> Result<Draft, String> {
        let by: Vec<String> = by.iter().map(ToString::to_string).collect();
        let expires = "2030-02-01".parse().unwrap();
        let about = About { by: &by, owner: "ann", reason: SuppressReason::Expected, comment: "a drill", expires };
        suppression(ID, alert, &about)
    }

    fn holds(draft: &Draft, alert: &Alert) -> bool {
        let at = "2030-01-15T00:00:00Z".parse().unwrap();
        draft.rules.suppression(&draft.rules.matches(alert), at, &alert.source).is_some()
    }

    #[test]
    fn a_draft_is_a_rule_file_that_people_can_read() {
        let draft = draft(&[], &alert(&json!({}))).unwrap();
        let expected = "suppress:\n  - id: like-a-12.0\n    title: 'Like a-12.0: Scan'\n    owner: ann\n    reason: expected\n    \
                        comment: a drill\n    expires: 2030-02-01\n    sources: [edr]\n    match:\n      kind: PortScan\n      \
                        host: web-01\n";
        assert_eq!(draft.yaml, expected);
        assert_eq!(draft.by["host"], ["web-01"]);
    }

    #[test]
    fn a_draft_matches_its_alert_and_not_another() {
        let all =
            alert(&json!({ "resources": ["/a/b", "/a/c"], "tags": ["x", "y"], "extended": { "n": 7, "on": true } }));
        for by in [
            &[][..],
            &["kind", "severity"],
            &["tags"],
            &["entities.ip.address"],
            &["extended.n", "extended.on"],
            &["is_incident"],
        ] {
            let draft = draft(by, &all).unwrap();
            assert!(holds(&draft, &all), "{by:?}\n{}", draft.yaml);
            let other = alert(&json!({ "kind": "Other", "severity": "low", "is_incident": true, "entities": {} }));
            assert!(!holds(&draft, &other), "{by:?}\n{}", draft.yaml);
            let elsewhere = Alert { source: "mail".into(), ..all.clone() };
            assert!(!holds(&draft, &elsewhere), "{by:?}: it is for the alert's source alone");
        }
    }

    #[test]
    fn values_stand_for_themselves_whatever_they_hold() {
        for text in [
            "*",
            "a?b",
            "C:\\Temp\\*",
            "it's",
            "a: b # c",
            "true",
            "0x1f",
            "1e3",
            "- x",
            "{a}",
            "line\nend",
            "\u{1b}[31m",
            "\"q\"",
            "ü",
            "\u{202e}abc",
            "%list%",
            " padded ",
            "~",
            "null",
            "2030-01-01",
            "\\",
            "'",
            "@x",
            "&a",
            "!t",
            "|",
        ] {
            let this = alert(&json!({ "kind": text, "title": text }));
            let draft = draft(&[], &this).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert!(holds(&draft, &this), "{text:?}\n{}", draft.yaml);
            assert!(!holds(&draft, &alert(&json!({ "kind": "something else" }))), "{text:?}\n{}", draft.yaml);
            assert!(draft.yaml.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", draft.yaml);
        }
    }

    #[test]
    fn what_cannot_be_drafted_says_why() {
        let many: Vec<_> = (0..21).map(|n| json!({ "name": format!("h{n}") })).collect();
        let alert = alert(&json!({ "entities": { "host": many }, "start": "2030-01-01T00:00:00Z" }));
        for (by, expected) in [
            (&["hots"][..], "an alert has no field `hots`; did you mean `host`?"),
            (&["account"], "the alert has no `account`"),
            (&["entities.host.name"], "the alert has 21 values"),
            (&["id"], "use `external_id`"),
        ] {
            let error = draft(by, &alert).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(
            reason("expectd").unwrap_err(),
            "`expectd` is none of false_positive, expected, accepted_risk, other; did you mean `expected`?"
        );
    }
}
