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
        let named = PATH.captures_iter(&file.text).chain(TOP.captures_iter(&file.text));
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

/// Every `soard …` that a document or the unit tells to run is a command, with options that it has.
pub fn commands(files: &[File], help: Help) -> Vec<Breach> {
    static COMMAND: LazyLock<Regex> = LazyLock::new(|| {
        let start = r"(?m)(?:^\s*(?:\$ )?(?:sudo )?|`|\| |ExecStart(?:Pre)?=/usr/bin/|ExecReload=/usr/bin/)";
        Regex::new(&format!(r"{start}(?:soard|cargo run --release --|\./target/release/soard) ([^`\n|>#;&]+)")).unwrap()
    });
    let mut found = Vec::new();
    for file in files.iter().filter(|f| [".md", ".service", ".sh"].iter().any(|end| f.path.ends_with(end))) {
        for command in COMMAND.captures_iter(&file.text).map(|c| c.get(1).expect("the group is in every match")) {
            if let Some(fault) = wrong_command(command.as_str(), help) {
                found.push(file.breach(command.start(), fault));
            }
        }
    }
    found
}

fn wrong_command(command: &str, help: Help) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let mut path: Vec<&str> = Vec::new();
    let mut text = help(&path)?;
    for word in &words {
        let listed = text.split_once("Commands:").map(|(_, list)| list.split("\n\n").next().unwrap_or_default());
        let Some(list) = listed else { break };
        if word.starts_with('-') {
            break;
        }
        path.push(word);
        let known = list.lines().any(|line| line.split_whitespace().next() == Some(word));
        match help(&path).filter(|_| known) {
            Some(next) => text = next,
            None => return Some(format!("there is no command `soard {}`", path.join(" "))),
        }
    }
    let options = words.iter().filter(|w| w.len() > 1 && w.starts_with('-')).map(|w| w.split('=').next().unwrap_or(w));
    let unknown =
        options.filter(|o| *o != "--").find(|o| !text.split([' ', ',', '\n', '=', '[']).any(|word| word == *o));
    unknown.map(|option| format!("`soard {}` has no option `{option}`", path.join(" ")))
}
