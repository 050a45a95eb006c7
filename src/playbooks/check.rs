//! What can be told from a script without running it: calls that cannot work, and the destinations it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};

use crate::domain::alert::{ALERT_FIELDS, Status};
use crate::domain::lists::Lists;
use crate::domain::time::Span;
use crate::playbooks::host::LEVELS;
use crate::playbooks::limits::{SLEEP_DAYS_MAX, SLEEP_MAX};
use crate::playbooks::request::{METHODS, WEBHOOK_OPTIONS};
use crate::yaml::diagnostic::{Diagnostic, Place, nearest};

/// Functions that playbooks have beyond Rhai's own; a script may not define its own under these names.
pub const HOST_FUNCTIONS: [&str; 16] = [
    "all",
    "approve",
    "email",
    "failed",
    "group_size",
    "json",
    "log",
    "lookup",
    "now",
    "owner",
    "random",
    "set_status",
    "shorten",
    "sleep",
    "tag",
    "webhook",
];

/// Calls that Rhai answers itself, without a registered function, and how many arguments they take.
const KEYWORDS: [(&str, std::ops::RangeInclusive<usize>); 8] = [
    ("Fn", 1..=1),
    ("call", 1..=16),
    ("curry", 1..=16),
    ("debug", 0..=1),
    ("is_def_fn", 2..=3),
    ("is_def_var", 1..=1),
    ("is_shared", 1..=1),
    ("type_of", 1..=1),
];

/// A destination that a script names literally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The destination's name.
    pub name: String,
    /// What it has to be.
    pub kind: UseKind,
    /// Where the script names it.
    pub place: Place,
}

/// What a script uses a destination for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseKind {
    /// `webhook(…)`.
    Webhook,
    /// `email(…)`.
    Email,
}

/// Function name → numbers of arguments it takes.
pub type Arities = BTreeMap<String, BTreeSet<usize>>;

/// The functions that an engine has for every script.
pub fn natives(engine: &Engine) -> Arities {
    let mut all = Arities::new();
    let found =
        engine.collect_fn_metadata(None, |info| Some((info.metadata.name.to_string(), info.metadata.num_params)), true);
    for (name, params) in found {
        all.entry(name).or_default().insert(params);
    }
    for (name, params) in KEYWORDS {
        all.entry(name.into()).or_default().extend(params);
    }
    all
}

/// The functions that a script defines, closures included.
pub fn defined(ast: &AST) -> Arities {
    let mut all = Arities::new();
    for function in ast.iter_functions() {
        all.entry(function.name.into()).or_default().insert(function.params.len());
    }
    all
}

/// One file being checked.
#[derive(Debug)]
pub struct Checked<'a> {
    /// Its path.
    pub file: &'a Arc<str>,
    /// What every script can call.
    pub natives: &'a Arities,
    /// What this file defines.
    pub defined: Arities,
    /// Alias → the functions of the imported module.
    pub imports: BTreeMap<&'a str, &'a Arities>,
    /// For `lookup`.
    pub lists: &'a Lists,
    /// What is wrong.
    pub faults: Vec<Diagnostic>,
    /// What it uses.
    pub uses: Vec<Use>,
}

impl Checked<'_> {
    /// Walks the whole file, functions and closures included.
    pub fn walk(&mut self, ast: &AST) {
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) => {
                    self.call(call, *at);
                }
                Some(ASTNode::Expr(Expr::MethodCall(call, at))) => self.method(call, *at),
                Some(ASTNode::Stmt(Stmt::TryCatch(parts, _))) => self.catch(parts.branch.statements()),
                Some(ASTNode::Expr(Expr::Dot(dot, ..))) => self.field(&dot.lhs, &dot.rhs),
                _ => {}
            }
            true
        });
    }

    fn call(&mut self, call: &FnCallExpr, at: Position) {
        if call.op_token.is_some() || !rhai::is_valid_identifier(&call.name) {
            return;
        }
        if call.is_qualified() {
            return self.qualified(call, at);
        }
        let (name, count) = (call.name.as_str(), call.args.len());
        let here = self.defined.get(name).is_some_and(|arities| arities.contains(&count));
        if !here {
            match self.natives.get(name).or_else(|| self.defined.get(name)) {
                Some(arities) if arities.contains(&count) => {}
                Some(arities) => {
                    let message = format!("`{name}` takes {}, got {count}", counts(arities));
                    self.faults.push(Diagnostic::error("wrong-arity", place(self.file, at), message));
                    return;
                }
                None => return self.unknown(name, at),
            }
        }
        self.literals(name, call);
    }

    fn unknown(&mut self, name: &str, at: Position) {
        let known = self.defined.keys().filter(|name| !name.starts_with("anon$")).map(String::as_str);
        let words: Vec<&str> = known.chain(HOST_FUNCTIONS).chain(self.natives.keys().map(String::as_str)).collect();
        let fault =
            Diagnostic::error("unknown-function", place(self.file, at), format!("there is no function `{name}`"));
        self.faults.push(fault.suggest(name, words));
    }

    /// `alias::function(…)`.
    fn qualified(&mut self, call: &FnCallExpr, at: Position) {
        let (alias, name, count) = (call.namespace.root(), call.name.as_str(), call.args.len());
        let Some(functions) = self.imports.get(alias).filter(|_| call.namespace.path.len() == 1) else { return };
        match functions.get(name) {
            Some(arities) if arities.contains(&count) => {}
            Some(arities) => {
                let message = format!("`{alias}::{name}` takes {}, got {count}", counts(arities));
                self.faults.push(Diagnostic::error("module-arity", place(self.file, at), message));
            }
            None => {
                let message = format!("the module `{alias}` has no function `{name}`");
                let fault = Diagnostic::error("unknown-module-function", place(self.file, at), message);
                self.faults.push(fault.suggest(name, functions.keys().map(String::as_str)));
            }
        }
    }

    /// `value.function(…)`. A map may hold a function under any name, so this is a warning.
    fn method(&mut self, call: &FnCallExpr, at: Position) {
        let name = call.name.as_str();
        if self.natives.contains_key(name) || self.defined.contains_key(name) {
            return;
        }
        let words = self.natives.keys().map(String::as_str).filter(|name| rhai::is_valid_identifier(name));
        let fault = Diagnostic::warning("unknown-method", place(self.file, at), format!("there is no method `{name}`"));
        self.faults.push(fault.suggest(name, words.collect::<Vec<_>>()));
    }

    /// `catch (e) { value }`: Rhai returns the value of a `try` block and drops that of a `catch` block.
    fn catch(&mut self, statements: &[Stmt]) {
        let Some(Stmt::Expr(value)) = statements.last() else { return };
        let mere = matches!(
            **value,
            Expr::Map(..)
                | Expr::Array(..)
                | Expr::Variable(..)
                | Expr::StringConstant(..)
                | Expr::InterpolatedString(..)
                | Expr::BoolConstant(..)
                | Expr::IntegerConstant(..)
        );
        if mere {
            let message = "the value of a `catch` block is dropped";
            let fault = Diagnostic::warning("catch-value", place(self.file, value.start_position()), message);
            self.faults.push(fault.help("write `return` before it"));
        }
    }

    /// `alert.field`: a map answers `()` to any name, so a slip of the pen would pass in silence.
    fn field(&mut self, object: &Expr, rest: &Expr) {
        let first = if let Expr::Dot(dot, ..) | Expr::Index(dot, ..) = rest { &dot.lhs } else { rest };
        let (Expr::Variable(variable, ..), Expr::Property(property, at)) = (object, first) else { return };
        let name = property.2.as_str();
        if variable.1 == "alert" && variable.2.is_empty() && !ALERT_FIELDS.contains(&name) {
            let fault =
                Diagnostic::warning("unknown-field", place(self.file, *at), format!("an alert has no field `{name}`"));
            let near = nearest(name, ALERT_FIELDS).map(|near| format!("did you mean `{near}`?"));
            self.faults
                .push(fault.help(near.unwrap_or_else(|| "what has no field of its own is in `alert.raw`".into())));
        }
    }

    /// Arguments that are written out, so that they can be checked now rather than in the middle of the night.
    fn literals(&mut self, name: &str, call: &FnCallExpr) {
        let args = &call.args;
        match (name, args.len()) {
            ("webhook", 2 | 3) => {
                self.destination(UseKind::Webhook, &args[0]);
                if let Some(options) = args.get(2).and_then(entries) {
                    self.options(options, &[]);
                }
            }
            ("email", 1 | 2) => self.destination(UseKind::Email, &args[0]),
            ("approve", 2) => {
                if let Some(options) = entries(&args[1]) {
                    self.approval(&args[0], options, args[1].start_position());
                }
            }
            ("all", 1) => {
                if let Expr::Array(members, _) = &args[0] {
                    members.iter().for_each(|member| self.member(member));
                }
            }
            ("sleep", 1) => self.span(&args[0]),
            ("set_status", 2 | 3) => {
                self.word("unknown-status", "a status", &args[1], &Status::ALL.map(Status::as_str))
            }
            ("log", 2) => self.word("unknown-level", "a level of `log`", &args[0], &LEVELS),
            ("lookup", 2) => {
                let lists: Vec<&str> = self.lists.0.keys().map(String::as_str).collect();
                self.word("unknown-list", "a list of this bundle", &args[0], &lists);
            }
            _ => {}
        }
    }

    pub(super) fn destination(&mut self, kind: UseKind, name: &Expr) {
        if let Some((name, at)) = literal(name) {
            self.uses.push(Use { name: name.into(), kind, place: place(self.file, at) });
        }
    }

    /// A member of `all([…])` that is written out.
    fn member(&mut self, member: &Expr) {
        let Some(items) = entries(member) else { return };
        let of = |key: &str| items.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value);
        match (of("webhook"), of("email"), of("sleep"), of("approve")) {
            (Some(name), None, None, None) => {
                self.destination(UseKind::Webhook, name);
                self.options(items, &["webhook", "body"]);
            }
            (None, Some(name), None, None) => self.destination(UseKind::Email, name),
            (None, None, Some(span), None) => self.span(span),
            (None, None, None, Some(question)) => self.approval(question, items, member.start_position()),
            _ => {
                let message = "a member of `all` needs exactly one of `webhook`, `email`, `sleep`, `approve`";
                self.faults.push(Diagnostic::error("all-member", place(self.file, member.start_position()), message));
            }
        }
    }

    fn options(&mut self, items: &[(rhai::Ident, Expr)], more: &[&str]) {
        for (key, value) in items {
            if more.contains(&key.as_str()) {
                continue;
            }
            if !WEBHOOK_OPTIONS.contains(&key.as_str()) {
                let message = format!("`webhook` has no option `{key}`", key = key.as_str());
                let fault = Diagnostic::error("unknown-option", place(self.file, key.pos), message);
                self.faults.push(fault.suggest(key.as_str(), WEBHOOK_OPTIONS.into_iter().chain(more.iter().copied())));
            } else if key.as_str() == "method" {
                let upper = literal(value).map(|(word, at)| (word.to_ascii_uppercase(), at));
                if let Some((word, at)) = upper.filter(|(word, _)| !METHODS.contains(&word.as_str())) {
                    let message = format!("{word:?} is none of the methods that `webhook` takes");
                    let fault = Diagnostic::error("unknown-method-word", place(self.file, at), message);
                    self.faults.push(fault.suggest(&word, METHODS));
                }
            }
        }
    }

    fn span(&mut self, span: &Expr) {
        let Some((text, at)) = literal(span) else { return };
        let message = match text.parse::<Span>() {
            Ok(span) if span <= SLEEP_MAX => return,
            Ok(_) => format!("`sleep` takes at most {SLEEP_DAYS_MAX} days, got {text}"),
            Err(fault) => fault.to_string(),
        };
        self.faults.push(Diagnostic::error("bad-sleep", place(self.file, at), message));
    }

    /// A word of a closed list. The code is a parameter; each call names its own.
    fn word(&mut self, code: &'static str, what: &str, expr: &Expr, known: &[&str]) {
        let Some((word, at)) = literal(expr) else { return };
        if !known.contains(&word) {
            let fault = Diagnostic::error(code, place(self.file, at), format!("{word:?} is not {what}"));
            self.faults.push(fault.suggest(word, known.iter().copied()));
        }
    }
}

fn counts(arities: &BTreeSet<usize>) -> String {
    let all: Vec<String> = arities.iter().map(ToString::to_string).collect();
    let plural = if all == ["1"] { "argument" } else { "arguments" };
    match all.split_last() {
        Some((last, [])) => format!("{last} {plural}"),
        Some((last, rest)) => format!("{} or {last} {plural}", rest.join(", ")),
        None => format!("no {plural}"),
    }
}

pub(super) fn literal(expr: &Expr) -> Option<(&str, Position)> {
    match expr {
        Expr::StringConstant(text, at) => Some((text.as_str(), *at)),
        _ => None,
    }
}

fn entries(expr: &Expr) -> Option<&[(rhai::Ident, Expr)]> {
    match expr {
        Expr::Map(map, _) => Some(&map.0),
        _ => None,
    }
}

/// A Rhai position in a file of the bundle.
pub fn place(file: &Arc<str>, at: Position) -> Place {
    let number = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
    Place { file: file.clone(), line: number(at.line()), column: number(at.position()) }
}
