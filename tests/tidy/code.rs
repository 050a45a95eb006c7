//! Rules about the code below `src`: who may import whom, who may wait, who may read a clock.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::tidy::source::{Breach, File};

/// Each folder of `src` and what it may import; siblings never import one another.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("yaml", &["domain"]),
    ("rules", &["domain", "yaml"]),
    ("engine", &["domain", "yaml", "rules"]),
    ("playbooks", &["domain", "yaml", "rules"]),
    ("journal", &["domain", "yaml"]),
    ("sources", &["domain", "yaml"]),
    ("actions", &["domain", "yaml"]),
    ("index", &["domain", "yaml", "journal"]),
    ("export", &["domain", "index"]),
    ("daemon", &["domain", "yaml", "rules", "engine", "playbooks", "journal", "sources", "actions", "index", "export"]),
    (
        "console",
        &["domain", "yaml", "rules", "engine", "playbooks", "journal", "sources", "actions", "index", "daemon"],
    ),
    (
        "cli",
        &[
            "domain",
            "yaml",
            "rules",
            "engine",
            "playbooks",
            "journal",
            "sources",
            "actions",
            "index",
            "daemon",
            "console",
            "export",
        ],
    ),
    (
        "main",
        &["domain", "yaml", "rules", "engine", "playbooks", "journal", "sources", "actions", "index", "daemon", "cli"],
    ),
];

/// Folders that neither touch files, processes, environment or network outside their tests.
const PURE: &[&str] = &["domain", "yaml", "rules", "engine", "playbooks", "export"];

/// Folders in which something may wait.
const ASYNC: &[&str] = &["sources", "actions", "daemon", "console", "cli"];

/// Folders that may measure how long something took; what time it is, only `daemon/clock.rs` knows.
const STOPWATCH: &[&str] = &["journal", "sources", "actions", "index", "daemon", "console"];

/// Words that name nothing.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "util", "utility", "processor"];

/// Longest file before its tests, in lines.
const FILE_LINES_MAX: usize = 500;

/// Runs one rule over the files below `src`.
fn in_src(files: &[File], rule: impl Fn(&File) -> Vec<Breach>) -> Vec<Breach> {
    files.iter().filter(|f| f.path.starts_with("src/") && f.path.ends_with(".rs")).flat_map(rule).collect()
}

/// One breach for each match of `pattern` in the file's code, up to `until`.
fn matches(file: &File, until: usize, pattern: &Regex, what: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let found = pattern.captures_iter(&file.code[..until]);
    found.filter_map(|c| Some(file.breach(c.get(0)?.start(), what(c.get(1)?.as_str())?))).collect()
}

/// Imports go down only, name one folder each, and nothing is re-exported.
pub fn layers(files: &[File]) -> Vec<Breach> {
    static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bcrate::([A-Za-z_]\w*|\{|\*)").unwrap());
    static FROM_MAIN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bsoard::([A-Za-z_]\w*|\{|\*)").unwrap());
    static REEXPORT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bpub(?:\([^)]*\))?\s+(use)\b").unwrap());
    in_src(files, |file| {
        let layer = file.layer().expect("files below src have a layer");
        if layer == "lib" {
            return Vec::new();
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            return vec![file.breach(0, format!("`{layer}` is not in the list of layers (tests/tidy/code.rs)"))];
        };
        let pattern = if layer == "main" { &*FROM_MAIN } else { &*PATH };
        let mut found = matches(file, file.code.len(), pattern, |target| match target {
            "{" | "*" => Some("one folder per `use`: write crate::FOLDER::…".into()),
            own if own == layer => None,
            target if allowed.contains(&target) => None,
            target => Some(format!("`{layer}` must not import `{target}`")),
        });
        found.extend(matches(file, file.code.len(), &REEXPORT, |_| Some("re-exports hide who depends on whom".into())));
        found.extend(supers(file));
        found
    })
}

/// `super::super::…` that climbs to the crate's root would be an import that the list of layers does not see.
fn supers(file: &File) -> Vec<Breach> {
    static SUPERS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b((?:super::)+)").unwrap());
    let depth = file.path.trim_end_matches("/mod.rs").matches('/').count();
    let tests_at = file.tests_at();
    let climb = SUPERS.find_iter(&file.code);
    let too_high = climb.filter(|m| m.len() / "super::".len() >= depth + usize::from(m.start() >= tests_at));
    too_high.map(|m| file.breach(m.start(), "`super` climbs to the crate's root: write crate::FOLDER::…")).collect()
}

/// Waiting happens in the adapters and above; the core is synchronous.
pub fn waiting(files: &[File]) -> Vec<Breach> {
    static WAIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(async|await|tokio)\b").unwrap());
    in_src(files, |file| {
        if ASYNC.contains(&file.layer().unwrap_or_default()) {
            return Vec::new();
        }
        matches(file, file.code.len(), &WAIT, |word| Some(format!("`{word}` outside {}", ASYNC.join(", "))))
    })
}

/// The core touches no file, process, environment or network.
pub fn purity(files: &[File]) -> Vec<Breach> {
    static IO: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\b(std::(?:fs|process|env|os)|TcpStream|TcpListener|UdpSocket|ToSocketAddrs)\b").unwrap()
    });
    in_src(files, |file| {
        if !PURE.contains(&file.layer().unwrap_or_default()) {
            return Vec::new();
        }
        matches(file, file.tests_at(), &IO, |what| Some(format!("`{what}` in a pure folder")))
    })
}

/// Time is passed in; only `daemon/clock.rs` knows what time it is.
pub fn clocks(files: &[File]) -> Vec<Breach> {
    static NOW: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b(Timestamp|Zoned|SystemTime|Instant)::now\b").unwrap());
    in_src(files, |file| {
        if file.path == "src/daemon/clock.rs" {
            return Vec::new();
        }
        let stopwatch = STOPWATCH.contains(&file.layer().unwrap_or_default());
        let until = file.tests_at();
        let reads = NOW
            .captures_iter(&file.code)
            .filter(|c| &c[1] != "Instant" || !(stopwatch || c.get(0).unwrap().start() >= until));
        reads
            .map(|c| file.breach(c.get(0).unwrap().start(), format!("`{}` reads a clock; pass the time in", &c[0])))
            .collect()
    })
}

/// Input never panics, nothing but the command line prints, and nothing is left for later.
pub fn loose_ends(files: &[File]) -> Vec<Breach> {
    static UNWRAP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\.(unwrap)\(\)").unwrap());
    static PRINT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(e?print(?:ln)?|dbg)!").unwrap());
    static LATER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\b(?:todo|unimplemented)!|#\[ignore\b)").unwrap());
    in_src(files, |file| {
        let shipped = file.tests_at();
        let prints = !["cli", "main"].contains(&file.layer().unwrap_or_default());
        let mut found =
            matches(file, shipped, &UNWRAP, |_| Some("`unwrap` says nothing: write `expect(\"why\")`".into()));
        found.extend(matches(file, if prints { shipped } else { 0 }, &PRINT, |word| {
            Some(format!("`{word}!` outside cli"))
        }));
        found.extend(matches(file, file.code.len(), &LATER, |_| Some("unfinished".into())));
        found
    })
}

/// A file is read in one sitting.
pub fn lengths(files: &[File]) -> Vec<Breach> {
    in_src(files, |file| {
        let lines = file.code[..file.tests_at()].lines().count();
        let message = format!("{lines} lines before the tests; split at {FILE_LINES_MAX}");
        (lines > FILE_LINES_MAX).then(|| file.breach(0, message)).into_iter().collect()
    })
}

/// Names say what a thing is.
pub fn names(files: &[File]) -> Vec<Breach> {
    static GIVEN: LazyLock<Regex> = LazyLock::new(|| {
        let introduced = r"\b(?:fn|struct|enum|trait|mod|type|const|static|union|let(?:\s+mut)?)\s+([A-Za-z_]\w*)";
        Regex::new(&format!(r"{introduced}|\b([a-z_]\w*)\s*:[^:]")).unwrap()
    });
    in_src(files, |file| {
        let in_path =
            empty_word(&file.path).map(|word| file.breach(0, format!("`{word}` in a file's name says nothing")));
        let given = GIVEN.captures_iter(&file.code).filter_map(|c| {
            let name = c.get(1).or(c.get(2))?;
            let word = empty_word(name.as_str())?;
            Some(file.breach(name.start(), format!("`{word}` in `{}` says nothing", name.as_str())))
        });
        in_path.into_iter().chain(given).collect()
    })
}

/// The empty word among the words of a name in any case, in singular or plural.
fn empty_word(name: &str) -> Option<&'static str> {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new("[A-Z]?[a-z]+|[A-Z]+").unwrap());
    WORD.find_iter(name).find_map(|word| {
        let word = word.as_str().to_lowercase();
        EMPTY_WORDS.iter().copied().find(|empty| word == *empty || word.strip_suffix('s') == Some(empty))
    })
}

/// A diagnostic's code leads to one place in the code.
pub fn diagnostic_codes(files: &[File]) -> Vec<Breach> {
    static GIVEN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(?:\bDiagnostic::|\.)(?:error|warning)\(\s*"( *)""#).unwrap());
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.path.starts_with("src/") && f.path.ends_with(".rs")) {
        for given in GIVEN.captures_iter(&file.code[..file.tests_at()]) {
            let at = given.get(1).expect("the group is in every match");
            let code = &file.text[at.range()];
            let Breach(place) = file.breach(at.start(), format!("`{code}`"));
            if !code
                .split('-')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
            {
                found.push(Breach(format!("{place} is not a code in kebab-case")));
            }
            match first.get(code) {
                Some(other) => found.push(Breach(format!("{place} is given at {other} already"))),
                None => drop(first.insert(code.into(), place.split(": ").next().unwrap_or_default().into())),
            }
        }
    }
    found
}

/// `unsafe` is forbidden to the compiler as well; this keeps the lint from being dropped.
pub fn no_unsafe(files: &[File]) -> Vec<Breach> {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(unsafe)\b").unwrap());
    let in_code = files.iter().filter(|f| f.path.ends_with(".rs"));
    let mut found: Vec<Breach> =
        in_code.flat_map(|f| matches(f, f.code.len(), &WORD, |_| Some("`unsafe` is forbidden".into()))).collect();
    let manifest = files.iter().find(|f| f.path == "Cargo.toml");
    if !manifest.is_some_and(|f| f.text.contains("\nunsafe_code = \"forbid\"\n")) {
        found.push(Breach("Cargo.toml: the lint `unsafe_code = \"forbid\"` is gone".into()));
    }
    found
}
