//! What a script gives to `approve`: checked when it runs, and as far as it is written out, before.

use jiff::Timestamp;
use rhai::{Array, Dynamic, Expr, Ident, Map, Position};
use serde_json::Value;

use crate::domain::approval::{
    self, ApprovalRequest, Barred, Choice, DECIDERS_MAX, QUESTION_CHARS_MAX, WITHIN_DAYS_MAX, WITHIN_MAX, WITHIN_MIN,
};
use crate::domain::effect::Effect;
use crate::domain::text::{breaks_line, one_line};
use crate::domain::time::Span;
use crate::playbooks::check::{Checked, UseKind, literal, place};
use crate::playbooks::request::{self, Request};
use crate::playbooks::run::Halt;
use crate::playbooks::value::what;
use crate::yaml::diagnostic::{Diagnostic, nearest};

/// Options of `approve`.
const OPTIONS: [&str; 5] = ["by", "within", "otherwise", "not_by", "notify"];
/// Those without which nobody knows how it ends.
const REQUIRED: [&str; 3] = ["by", "within", "otherwise"];

/// `approve(question, options)`.
///
/// # Errors
/// When an argument is missing or has the wrong kind.
pub fn request(question: &Dynamic, options: &Dynamic, at: Timestamp) -> Result<Request, Halt> {
    let options = request::options_map("approve", options)?;
    let args = Value::Array(vec![question.to_string().into(), request::map_json(&options)?]);
    Ok(Request { effect: effect(question, &options, at)?, args })
}

/// The effect of a question and its options.
///
/// # Errors
/// When an option is missing or has the wrong kind.
pub fn effect(question: &Dynamic, options: &Map, at: Timestamp) -> Result<Effect, Halt> {
    let bad = |message: String| Halt::argument(format!("approve: {message}"));
    if let Some(unknown) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
        let near = nearest(unknown, &OPTIONS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(bad(format!("unknown option `{unknown}`{near}")));
    }
    let given = |key: &str| options.get(key).filter(|value| !value.is_unit());
    if let Some(missing) = REQUIRED.into_iter().find(|key| given(key).is_none()) {
        return Err(bad(missing_words(missing)));
    }
    let text = |key: &str, value: &Dynamic| {
        let text = value.as_immutable_string_ref().map(|text| text.to_string());
        text.map_err(|_| bad(format!("`{key}` must be a string, got {}", what(value))))
    };
    let word = |key: &str| given(key).map(|value| text(key, value)).transpose();
    let within = request::read_span("approve", given("within").unwrap_or(&Dynamic::UNIT))?;
    Ok(Effect::Approve(ApprovalRequest {
        id: None,
        question: check_question(&clean(&text("question", question)?)).map_err(bad)?,
        by: deciders(given("by").unwrap_or(&Dynamic::UNIT))?,
        not_by: word("not_by")?.map(|word| check_barred(&word)).transpose().map_err(bad)?,
        until: check_within(within).map_err(bad)?.after(at),
        otherwise: check_choice(&word("otherwise")?.unwrap_or_default()).map_err(bad)?,
        notify: given("notify").map(|name| request::destination_name("approve", name)).transpose()?,
    }))
}

fn deciders(by: &Dynamic) -> Result<Vec<String>, Halt> {
    let one = |by: &Dynamic| match by.as_immutable_string_ref() {
        Ok(name) => match approval::check_decider(&name) {
            Ok(()) => Ok(name.to_string()),
            Err(fault) => Err(Halt::argument(format!("approve: {fault}"))),
        },
        Err(_) => Err(Halt::argument(format!("approve: `by` takes roles and names, got {}", what(by)))),
    };
    let several: Option<Array> = by.as_array_ref().ok().map(|all| all.clone());
    let all: Vec<String> = match several {
        Some(all) => all.iter().map(one).collect::<Result<_, _>>()?,
        None => vec![one(by)?],
    };
    if all.is_empty() || all.len() > DECIDERS_MAX {
        let message = format!("approve: `by` names 1 to {DECIDERS_MAX} who may decide, got {}", all.len());
        return Err(Halt::argument(message));
    }
    Ok(all)
}

fn missing_words(key: &str) -> String {
    let why = match key {
        "by" => "who may decide: a role (\"approver\", \"admin\"), a name, or a list of them",
        "within" => "how long it waits, such as \"30m\"",
        _ => "what happens when nobody decides in time: \"approve\" or \"deny\"",
    };
    format!("`{key}` is missing: {why}")
}

/// What an alert put into a question, on one line and no longer than a question is: it must not keep people from being asked.
fn clean(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(QUESTION_CHARS_MAX) {
        None => line,
        Some(_) => line.chars().take(QUESTION_CHARS_MAX - 1).chain(['…']).collect(),
    }
}

/// One line of at most so many characters.
fn check_question(text: &str) -> Result<String, String> {
    let (text, chars) = (text.trim(), text.trim().chars().count());
    if chars == 0 || chars > QUESTION_CHARS_MAX || text.chars().any(breaks_line) {
        return Err(format!("a question is one line of 1 to {QUESTION_CHARS_MAX} characters; `shorten` cuts"));
    }
    Ok(text.to_owned())
}

fn check_within(span: Span) -> Result<Span, String> {
    if span < WITHIN_MIN || span > WITHIN_MAX {
        return Err(format!("`within` is at least {WITHIN_MIN} and at most {WITHIN_DAYS_MAX} days, got {span}"));
    }
    Ok(span)
}

fn check_choice(word: &str) -> Result<Choice, String> {
    word.parse().map_err(|_| format!("`otherwise` is \"approve\" or \"deny\", got {word:?}"))
}

fn check_barred(word: &str) -> Result<Barred, String> {
    if word == Barred::WORD {
        return Ok(Barred::Starter);
    }
    Err(format!("`not_by` is \"{}\": who started the run by hand; got {word:?}", Barred::WORD))
}

impl Checked<'_> {
    /// A question whose options are written out.
    pub(super) fn approval(&mut self, question: &Expr, options: &[(Ident, Expr)], at: Position) {
        let of = |key: &str| options.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value);
        if let Some((text, at)) = literal(question)
            && let Err(message) = check_question(text)
        {
            self.wrong("approve-question", at, message);
        }
        for key in REQUIRED.into_iter().filter(|key| of(key).is_none()) {
            self.wrong("approve-incomplete", at, missing_words(key));
        }
        for (key, value) in options {
            self.approval_option(key, value);
        }
    }

    fn approval_option(&mut self, key: &Ident, value: &Expr) {
        match (key.as_str(), literal(value), value) {
            ("within", Some((text, at)), _) => {
                let span = text.parse::<Span>().map_err(|fault| fault.to_string());
                if let Err(message) = span.and_then(check_within) {
                    self.wrong("approve-within", at, message);
                }
            }
            ("otherwise", Some((word, at)), _) => {
                if let Err(message) = check_choice(word) {
                    self.wrong("approve-otherwise", at, message);
                }
            }
            ("not_by", Some((word, at)), _) => {
                if let Err(message) = check_barred(word) {
                    self.wrong("approve-not-by", at, message);
                }
            }
            ("by", Some(_), _) => self.deciders(std::slice::from_ref(value)),
            ("by", None, Expr::Array(all, _)) => self.deciders(all),
            ("notify", ..) => self.destination(UseKind::Email, value),
            (key_text, ..) if !OPTIONS.contains(&key_text) && key_text != "approve" => {
                let message = format!("`approve` has no option `{key_text}`");
                let fault = Diagnostic::error("approve-option", place(self.file, key.pos), message);
                self.faults.push(fault.suggest(key_text, OPTIONS));
            }
            _ => {}
        }
    }

    fn deciders(&mut self, all: &[Expr]) {
        for (name, at) in all.iter().filter_map(literal) {
            if let Err(fault) = approval::check_decider(name) {
                self.wrong("approve-by", at, fault.to_string());
            }
        }
    }

    fn wrong(&mut self, code: &'static str, at: Position, message: String) {
        self.faults.push(Diagnostic::error(code, place(self.file, at), message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alert_put_into_a_question_neither_ends_its_line_nor_turns_it_around() {
        let options: Map = [("by", "approver"), ("within", "1h"), ("otherwise", "deny")]
            .into_iter()
            .map(|(key, value)| (key.into(), Dynamic::from(value.to_owned())))
            .collect();
        let question = "Isolate web-1\u{2028}(\u{202e}ton\u{202c} a\u{200b}b\u{2066}c\u{2069}\u{200f})\n?".to_owned();
        let effect = effect(&Dynamic::from(question), &options, Timestamp::UNIX_EPOCH);
        let Ok(Effect::Approve(asked)) = effect else { panic!("it is asked all the same") };
        assert_eq!(asked.question, "Isolate web-1 (ton abc) ?");
        assert!(check_question("a\u{2029}b").is_err(), "nor may one that is written out");
    }
}
