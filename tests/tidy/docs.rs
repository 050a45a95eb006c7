//! Rules about the documents: what they name exists, what they tell to type works, and they stay short.

use std::sync::LazyLock;

use regex::Regex;

use crate::tidy::source::{Breach, File};

/// Longest documents, in lines.
const LINES_MAX: &[(&str, usize)] = &[("README.md", 150), ("ARCHITECTURE.md", 250), ("CONTRIBUTING.md", 150)];

/// What `soard WORDS… --help` prints; `None` when there is no such command.
pub type Help<'a> = &'a dyn Fn(&[&str]) -> Option<String>;

/// Documents that everybody reads stay short.
pub fn lengths(files: &[File]) -> Vec<Breach> {
    let mut found = Vec::new();
    for (path, most) in LINES_MAX {
        let Some(file) = files.iter().find(|f| f.path == *path) else {
            found.push(Breach(format!("{path}: the document is missing")));
            continue;
        };
        let lines = file.text.lines().count();
        if lines > *most {
            found.push(file.breach(0, format!("{lines} lines; at most {most}")));
        }
    }
    found
}

/// Files of the repository that a document mentions exist; `*` stands for any name.
pub fn mentions(files: &[File]) -> Vec<Breach> {
    static PATH: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)(?:^|[^\w/.-])((?:src|tests|docs|examples|systemd|\.ci)/[\w./*-]*)").unwrap()
    });
    static TOP: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)(?:^|[^\w/.-])([A-Z]{3,}\.md|Cargo\.toml|clippy\.toml|LICENSE)\b").unwrap());
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\]\(([^)\s]+)\)").unwrap());
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.path.ends_with(".md")) {
        let prose = LINK.replace_all(&file.text, |link: &regex::Captures| " ".repeat(link[0].len()));
        let named = PATH.captures_iter(&prose).chain(TOP.captures_iter(&prose));
        for path in named.map(|c| c.get(1).expect("the group is in every match")) {
            let wanted = path.as_str().trim_end_matches('.');
            if !exists(files, wanted) {
                found.push(file.breach(path.start(), format!("there is no `{wanted}`")));
            }
        }
        for link in LINK.captures_iter(&file.text).map(|c| c.get(1).expect("the group is in every match")) {
            if let Some(fault) = broken_link(files, file, link.as_str()) {
                found.push(file.breach(link.start(), fault));
            }
        }
    }
    found
}

/// A file, a folder, or a pattern with `*` that some path fits.
fn exists(files: &[File], path: &str) -> bool {
    let pattern = regex::escape(path.trim_end_matches('/')).replace(r"\*", "[^/]*");
    let pattern = Regex::new(&format!("^{pattern}(?:/|$)")).expect("an escaped path is a pattern");
    files.iter().any(|f| pattern.is_match(&f.path))
}

/// What is wrong with a link to a file or heading of the repository.
fn broken_link(files: &[File], from: &File, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { from.path.clone() } else { resolve(&from.path, path) };
    if !exists(files, &target) {
        return Some(format!("the link leads to `{target}`, which is not there"));
    }
    let page = files.iter().find(|f| f.path == target);
    let missing = page.is_some_and(|page| !anchor.is_empty() && !headings(&page.text).any(|slug| slug == anchor));
    missing.then(|| format!("`{target}` has no heading `#{anchor}`"))
}

fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors of a page's headings, as code hosts make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    titles.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .collect::<String>()
            .replace(' ', "-")
    })
}

/// A fenced block whose first line names an example is a part of that file, word for word.
pub fn quotes(files: &[File]) -> Vec<Breach> {
    static QUOTE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?s)```\w+\n(?://|#) (examples/\S+)\n(.*?)```").unwrap());
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.path.ends_with(".md")) {
        for quote in QUOTE.captures_iter(&file.text) {
            let original = files.iter().find(|f| f.path == quote[1]);
            if !original.is_some_and(|original| original.text.contains(&quote[2])) {
                let at = quote.get(0).expect("the whole match").start();
                found.push(file.breach(at, format!("this is not what `{}` says", &quote[1])));
            }
        }
    }
    found
}

/// Every `soard …` that a document or the unit tells to run is a command, with options that it has.
pub fn commands(files: &[File], help: Help) -> Vec<Breach> {
    let mut found = Vec::new();
    for file in files.iter().filter(|f| [".md", ".service", ".sh"].iter().any(|end| f.path.ends_with(end))) {
        for (at, command) in told_to_run(file) {
            if let Some(fault) = wrong_command(command, help) {
                found.push(file.breach(at, fault));
            }
        }
    }
    found
}

/// What follows `soard` wherever a file tells to run it: in fenced blocks, scripts and units at the beginning of a
/// line, in prose between backticks.
fn told_to_run(file: &File) -> Vec<(usize, &str)> {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        let soard = r"(?:soard|cargo run (?:--release )?--)";
        Regex::new(&format!(r"^\s*(?:\$ )?(?:sudo )?(?:Exec\w+=/usr/bin/)?{soard} ([^`|>#;&\n]+)")).unwrap()
    });
    static PROSE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`soard ([^`|>#;&\n]+)`").unwrap());
    let mut found = Vec::new();
    let (mut at, mut fenced) = (0, !file.path.ends_with(".md"));
    for line in file.text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.extend(LINE.captures(line).and_then(|c| c.get(1)).map(|m| (at + m.start(), m.as_str())));
        } else if !fenced {
            found.extend(PROSE.captures_iter(line).filter_map(|c| c.get(1)).map(|m| (at + m.start(), m.as_str())));
        }
        at += line.len();
    }
    found
}

fn wrong_command(command: &str, help: Help) -> Option<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut text = help(&path).unwrap_or_default();
    if commands_in(&text).is_empty() {
        return Some("`soard --help` lists no commands".into());
    }
    let mut words = command.split_whitespace();
    while let Some(word) = words.next() {
        if word.len() > 1 && word.starts_with('-') {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(line) = text.lines().find(|line| line.split([' ', ',']).any(|part| part == name)) else {
                return Some(format!("`soard {}` has no option `{name}`", path.join(" ")));
            };
            if line.contains('<') && value.is_none() {
                words.next();
            }
        } else if !commands_in(&text).is_empty() {
            path.push(word);
            match help(&path).filter(|_| commands_in(&text).contains(&word)) {
                Some(next) => text = next,
                None => return Some(format!("there is no command `soard {}`", path.join(" "))),
            }
        }
    }
    None
}

/// The names under `Commands:` in a help text.
fn commands_in(help: &str) -> Vec<&str> {
    let list = help.split_once("Commands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or_default());
    list.lines().filter_map(|line| line.split_whitespace().next()).collect()
}
