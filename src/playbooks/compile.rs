//! Files of a bundle to playbooks. Every fault of every file is reported, with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rhai::module_resolvers::StaticModuleResolver;
use rhai::{AST, ASTFlags, Engine, EvalAltResult, Expr, FnAccess, Module, ParseErrorType, Position, Scope, Stmt};

use crate::domain::lists::Lists;
use crate::playbooks::check::{self, Arities, Checked, HOST_FUNCTIONS, place};
use crate::playbooks::evaluate::{Entry, Playbook, Playbooks};
use crate::playbooks::limits::FILE_BYTES_MAX;
use crate::playbooks::run::{self, Run};
use crate::playbooks::{engine, fault, last};
use crate::rules::owners::Owners;
use crate::yaml::diagnostic::{Diagnostic, Gravity, Place};

/// Compiles and checks all scripts of a bundle.
///
/// `files` holds the text of each `playbooks/**/*.rhai` by path: those directly in `playbooks/` are playbooks,
/// those below `playbooks/lib/` are modules that scripts import as `"lib/…"`. Returns `None` when an error is
/// among the faults; warnings alone do not refuse.
pub fn compile(files: &BTreeMap<String, String>, lists: Arc<Lists>) -> (Option<Playbooks>, Vec<Diagnostic>) {
    // Parsing nests as deeply as the text does, so it gets the stack that evaluation gets.
    let compiled = run::on_stack(|| compile_here(files, lists));
    compiled.ok().flatten().unwrap_or_else(|| {
        let file: Arc<str> = files.keys().next().map_or("playbooks", String::as_str).into();
        (None, vec![Diagnostic::error("playbook-compiler", Place::start(&file), "the scripts could not be compiled")])
    })
}

/// [`compile`] on this thread, which has the stack of a worker.
pub fn compile_here(files: &BTreeMap<String, String>, lists: Arc<Lists>) -> (Option<Playbooks>, Vec<Diagnostic>) {
    Bundle::new(files, lists).finish()
}

/// A file that was parsed.
#[derive(Debug)]
struct Script {
    file: Arc<str>,
    /// `notify-email` for a playbook, `lib/slack` for a module.
    name: String,
    is_module: bool,
    ast: AST,
    imports: Vec<Import>,
    entries: BTreeMap<Entry, u32>,
}

#[derive(Debug)]
struct Import {
    path: String,
    alias: String,
    place: Place,
}

#[derive(Debug)]
struct Bundle {
    engine: Engine,
    lists: Arc<Lists>,
    scripts: BTreeMap<String, Script>,
    /// Every module of the bundle, also those that do not parse: their importers are not at fault.
    modules: BTreeSet<String>,
    faults: Vec<Diagnostic>,
}

impl Bundle {
    fn new(files: &BTreeMap<String, String>, lists: Arc<Lists>) -> Self {
        let mut bundle = Self {
            engine: engine::new(),
            lists,
            scripts: BTreeMap::new(),
            modules: BTreeSet::new(),
            faults: Vec::new(),
        };
        for (path, text) in files {
            let file: Arc<str> = path.as_str().into();
            match classify(path) {
                Ok((name, is_module)) => bundle.add(file, name, is_module, text),
                Err(message) => bundle.error("playbook-path", Place::start(&file), message),
            }
        }
        bundle
    }

    fn error(&mut self, code: &'static str, place: Place, message: impl Into<String>) {
        self.faults.push(Diagnostic::error(code, place, message));
    }

    fn add(&mut self, file: Arc<str>, name: String, is_module: bool, text: &str) {
        if is_module {
            self.modules.insert(name.clone());
        }
        if text.len() > FILE_BYTES_MAX {
            let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
            return self.error("playbook-too-large", Place::start(&file), message);
        }
        match self.engine.compile(text) {
            Ok(mut ast) => {
                ast.set_source(&*file);
                let imports = self.top_level(&file, &ast);
                let entries = self.functions(&file, is_module, &ast, text);
                self.scripts.insert(name.clone(), Script { file, name, is_module, ast, imports, entries });
            }
            Err(error) => self.faults.push(syntax(&file, text, &error.0, error.1)),
        }
    }

    /// Only imports, constants and functions stand at the top, so that nothing happens before the entry function.
    fn top_level(&mut self, file: &Arc<str>, ast: &AST) -> Vec<Import> {
        let mut imports = Vec::new();
        for statement in ast.statements() {
            let at = place(file, statement.position());
            match statement {
                Stmt::Noop(_) | Stmt::Export(..) => {}
                Stmt::Var(_, flags, _) if flags.contains(ASTFlags::CONSTANT) => {}
                Stmt::Var(..) => {
                    let message = "functions do not see a variable at the top of the file";
                    let help = "use `const NAME = …;` and read it as `global::NAME`";
                    self.faults.push(Diagnostic::error("variable-at-top", at, message).help(help));
                }
                Stmt::Import(import, _) => imports.extend(self.import(file, &import.0, import.1.as_str(), at)),
                _ => {
                    let message = "only imports, constants and functions stand at the top of a file";
                    let help = "move it into `fn on_alert(alert)` or `fn on_group(alerts)`";
                    self.faults.push(Diagnostic::error("statement-at-top", at, message).help(help));
                }
            }
        }
        ast.walk(&mut |path| {
            if let (Some(rhai::ASTNode::Stmt(Stmt::Import(_, at))), false) = (path.last(), is_top(path, ast)) {
                self.error("import-inside", place(file, *at), "imports stand at the top of a file");
            }
            true
        });
        imports
    }

    fn import(&mut self, file: &Arc<str>, path: &Expr, alias: &str, at: Place) -> Option<Import> {
        let Expr::StringConstant(path, position) = path else {
            self.error("import-path", at, "the path of an import is a plain string, so that it can be checked");
            return None;
        };
        if alias.is_empty() {
            let help = format!("write `import \"{path}\" as {};`", path.rsplit('/').next().unwrap_or("name"));
            let message = "an import needs a name, or its functions cannot be called";
            self.faults.push(Diagnostic::error("import-name", at, message).help(help));
            return None;
        }
        Some(Import { path: path.to_string(), alias: alias.into(), place: place(file, *position) })
    }

    /// Checks what the file defines; gives the line of each entry function.
    fn functions(&mut self, file: &Arc<str>, is_module: bool, ast: &AST, text: &str) -> BTreeMap<Entry, u32> {
        let mut entries = BTreeMap::new();
        for name in ast.iter_functions().map(|function| function.name).filter(|name| HOST_FUNCTIONS.contains(name)) {
            let message = format!("`{name}` is a function of soard; give yours another name");
            self.error("function-name", line_of(file, text, name), message);
        }
        if is_module {
            return entries;
        }
        let defined = check::defined(ast);
        for entry in Entry::ALL {
            let Some(arities) = defined.get(entry.function()) else { continue };
            let place = line_of(file, text, entry.function());
            entries.insert(entry, place.line);
            if !arities.contains(&entry.arguments()) {
                let counts = ["no arguments", "one argument", "two arguments"];
                let message = format!("`{}` takes {}", entry.function(), counts[entry.arguments()]);
                self.error("entry-arguments", place, message);
            }
        }
        if entries.is_empty() {
            let near = defined.keys().find_map(|name| Some((name, crate::yaml::diagnostic::nearest(name, &ENTRIES)?)));
            let message =
                "a playbook needs `fn on_alert(alert)`, `fn on_group(alerts)` or `fn on_status(alert, change)`";
            let mut fault = Diagnostic::error("no-entry", Place::start(file), message);
            if let Some((name, near)) = near {
                fault.place = line_of(file, text, name);
                fault = fault.help(format!("did you mean `{near}`?"));
            }
            self.faults.push(fault);
        }
        entries
    }

    fn finish(mut self) -> (Option<Playbooks>, Vec<Diagnostic>) {
        let order = self.order();
        let uses = self.check();
        let playbooks = if self.has_errors() { None } else { self.build(&order, uses) };
        self.faults.sort_by(|a, b| a.place.cmp(&b.place));
        (playbooks, self.faults)
    }

    fn has_errors(&self) -> bool {
        self.faults.iter().any(|fault| fault.gravity == Gravity::Error)
    }

    /// Modules in the order in which they can be built. Reports imports of what is not there, and cycles.
    fn order(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        for import in self.scripts.values().flat_map(|script| &script.imports) {
            if !self.modules.contains(&import.path) {
                let message = format!("there is no module \"{}\" in the bundle", import.path);
                let fault = Diagnostic::error("unknown-import", import.place.clone(), message);
                let help = "modules lie in playbooks/lib/ and are imported as \"lib/NAME\"";
                let known = self.modules.iter().map(String::as_str);
                let fault = fault.suggest(&import.path, known);
                faults.push(if fault.help.is_some() { fault } else { fault.help(help) });
            }
        }
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        for name in self.scripts.values().filter(|script| script.is_module).map(|script| &script.name) {
            self.visit(name, &mut Vec::new(), &mut done, &mut order, &mut faults);
        }
        self.faults.extend(faults);
        order
    }

    fn visit(
        &self,
        name: &str,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
        order: &mut Vec<String>,
        faults: &mut Vec<Diagnostic>,
    ) {
        let Some(script) = self.scripts.get(name).filter(|script| script.is_module && !done.contains(name)) else {
            return;
        };
        way.push(name.into());
        for import in &script.imports {
            if let Some(from) = way.iter().position(|earlier| *earlier == import.path) {
                let circle = format!("{} → {}", way[from..].join(" → "), import.path);
                let message = format!("modules import one another in a circle: {circle}");
                faults.push(Diagnostic::error("import-circle", import.place.clone(), message));
            } else {
                self.visit(&import.path, way, done, order, faults);
            }
        }
        way.pop();
        done.insert(name.into());
        order.push(name.into());
    }

    /// Checks the calls of every file, with what its imports offer.
    fn check(&mut self) -> Vec<check::Use> {
        let natives = check::natives(&self.engine);
        let exported: BTreeMap<&str, Arities> =
            self.scripts.values().filter(|s| s.is_module).map(|s| (s.name.as_str(), exports(&s.ast))).collect();
        let (mut faults, mut uses) = (Vec::new(), Vec::new());
        for script in self.scripts.values() {
            let imports = script.imports.iter();
            let imports = imports.filter_map(|i| Some((i.alias.as_str(), exported.get(i.path.as_str())?))).collect();
            let mut checked = Checked {
                file: &script.file,
                natives: &natives,
                defined: check::defined(&script.ast),
                imports,
                lists: &self.lists,
                faults: Vec::new(),
                uses: Vec::new(),
            };
            checked.walk(&script.ast);
            faults.extend(checked.faults);
            uses.extend(checked.uses);
        }
        self.faults.extend(faults);
        uses.sort_by(|a, b| a.place.cmp(&b.place));
        uses
    }

    /// Evaluates the constants of modules and playbooks, where the last faults show.
    fn build(&mut self, order: &[String], uses: Vec<check::Use>) -> Option<Playbooks> {
        let mut resolver = StaticModuleResolver::new();
        for name in order {
            self.engine.set_module_resolver(resolver.clone());
            let script = &self.scripts[name];
            let work = || Module::eval_ast_as_new(Scope::new(), &script.ast, &self.engine);
            match self.constants(script, work) {
                Ok(module) => resolver.insert(name.clone(), module),
                Err(fault) => self.faults.push(*fault),
            }
        }
        self.engine.set_module_resolver(resolver);
        let mut playbooks = BTreeMap::new();
        for script in self.scripts.values().filter(|script| !script.is_module) {
            let work = || self.engine.run_ast_with_scope(&mut Scope::new(), &script.ast);
            if let Err(fault) = self.constants(script, work) {
                self.faults.push(*fault);
            }
        }
        if self.has_errors() {
            return None;
        }
        for (name, script) in std::mem::take(&mut self.scripts).into_iter().filter(|(_, script)| !script.is_module) {
            playbooks.insert(
                name,
                Playbook {
                    last: Entry::ALL
                        .into_iter()
                        .filter_map(|entry| Some((entry, last::last(&script.ast, entry)?)))
                        .collect(),
                    file: script.file,
                    ast: script.ast,
                    entries: script.entries,
                },
            );
        }
        let engine = std::mem::take(&mut self.engine);
        let owners = Arc::new(Owners::of_lists(&self.lists));
        Some(Playbooks { engine, playbooks, lists: self.lists.clone(), owners, uses })
    }

    fn constants<T>(
        &self,
        script: &Script,
        work: impl FnOnce() -> Result<T, Box<EvalAltResult>>,
    ) -> Result<T, Box<Diagnostic>> {
        let (result, run) = run::with(Run::of_constants(self.lists.clone()), work);
        let refuse = |place, message| Err(Box::new(Diagnostic::error("constant-failed", place, message)));
        match (run.stop, result) {
            (Some(run::Stop::Limit(message)), _) => refuse(Place::start(&script.file), message),
            (None, Ok(Ok(value))) => Ok(value),
            (None, Ok(Err(error))) => {
                let (cause, file, at) = fault::innermost(*error, script.file.to_string());
                refuse(place(&file.as_str().into(), at), fault::message(&cause))
            }
            _ => refuse(Place::start(&script.file), "the constants of this file cannot be computed".into()),
        }
    }
}

const ENTRIES: [&str; 3] = [Entry::Alert.function(), Entry::Group.function(), Entry::Status.function()];

/// Whether a walk's last node stands at the top of the file, and not inside a function or block.
fn is_top(path: &[rhai::ASTNode], ast: &AST) -> bool {
    match path {
        [rhai::ASTNode::Stmt(statement)] => ast.statements().iter().any(|top| std::ptr::eq(top, *statement)),
        _ => false,
    }
}

/// The functions of a module that others may call.
fn exports(ast: &AST) -> Arities {
    let mut all = Arities::new();
    for function in ast.iter_functions().filter(|function| function.access == FnAccess::Public) {
        all.entry(function.name.into()).or_default().insert(function.params.len());
    }
    all.retain(|name, _| !name.starts_with("anon$"));
    all
}

/// Name and kind of a file, or why it is neither.
fn classify(path: &str) -> Result<(String, bool), String> {
    let inside = path.strip_prefix("playbooks/").and_then(|rest| rest.strip_suffix(".rhai"));
    let good = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match inside {
        Some(name) if good(name) => Ok((name.into(), false)),
        Some(name) if name.starts_with("lib/") && name.split('/').all(good) => Ok((name.into(), true)),
        Some(name) if name.split('/').all(good) => {
            Err("playbooks lie directly in playbooks/, modules in playbooks/lib/".into())
        }
        _ => Err("a script's name consists of letters, digits, `-` and `_`, and ends in .rhai".into()),
    }
}

/// The line that defines a function: Rhai does not keep it.
fn line_of(file: &Arc<str>, text: &str, function: &str) -> Place {
    for (at, line) in text.lines().enumerate() {
        let Some(found) = line.find(&format!("fn {function}")) else { continue };
        let after = line[found + 3 + function.len()..].chars().next();
        if !after.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            let column = line[..found].chars().count() + 4;
            return place(file, Position::new(saturate(at + 1), saturate(column)));
        }
    }
    Place::start(file)
}

fn saturate(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn syntax(file: &Arc<str>, text: &str, kind: &ParseErrorType, at: Position) -> Diagnostic {
    let past_end = at.line().is_none_or(|line| line > text.lines().count());
    let place = if past_end { end_of(file, text) } else { place(file, at) };
    let message = fault::lower(&kind.to_string());
    match kind {
        ParseErrorType::VariableUndefined(name) => {
            let fault = Diagnostic::error("unknown-variable", place, format!("there is no variable `{name}`"));
            let constant = text.lines().any(|line| line.trim_start().starts_with(&format!("const {name} ")));
            if constant {
                fault.help(format!("read a constant as `global::{name}`"))
            } else if looks_like_map(text, at, name) {
                fault.help("a map begins with `#{`")
            } else {
                fault
            }
        }
        ParseErrorType::ModuleUndefined(name) => {
            let message = format!("there is no import named `{name}`");
            Diagnostic::error("unknown-module", place, message)
                .help("import a module as `import \"lib/NAME\" as NAME;`")
        }
        other => {
            let fault = Diagnostic::error("playbook-syntax", place, message);
            let line = text.lines().nth(at.line().map_or(0, |line| line - 1)).unwrap_or_default();
            let rest: String = line.chars().skip(at.position().map_or(0, |column| column - 1)).collect();
            let switched_off = |word: &str| rest.starts_with(word) || other.to_string().contains(&format!("'{word}'"));
            match ["eval", "curry"].into_iter().find(|word| switched_off(word)) {
                Some(word) => fault.help(format!("`{word}` is switched off in playbooks")),
                None => fault,
            }
        }
    }
}

/// Whether the variable is rather a key: `{ name: …`.
fn looks_like_map(text: &str, at: Position, name: &str) -> bool {
    let Some(line) = at.line().and_then(|line| text.lines().nth(line - 1)) else { return false };
    let skip = at.position().map_or(0, |column| column - 1);
    let before: String = line.chars().take(skip).collect();
    let after: String = line.chars().skip(skip + name.chars().count()).collect();
    before.trim_end().ends_with('{') && after.trim_start().starts_with(':')
}

fn end_of(file: &Arc<str>, text: &str) -> Place {
    let line = text.lines().count().max(1);
    let column = text.lines().last().map_or(0, |line| line.chars().count()) + 1;
    place(file, Position::new(saturate(line), saturate(column)))
}
