//! A text file of the repository, and Rust code with its comments and literals blanked out.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// A breach of a house rule: where, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach(pub String);

/// One text file; paths are from the repository's root, with `/`.
pub struct File {
    pub path: String,
    pub text: String,
    /// For Rust: the text with comments and the content of literals replaced by spaces, byte for byte.
    pub code: String,
    /// The file is part of the tests alone: the `mod` that names it stands under `#[cfg(test)]`.
    pub is_test: bool,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        Self { path: path.into(), text: text.into(), code, is_test: false }
    }

    /// The folder below `src`, or the file's own name for `src/main.rs`.
    pub fn layer(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(below.split_once('/').map_or_else(|| below.trim_end_matches(".rs"), |(folder, _)| folder))
    }

    /// Where the file's unit tests begin; the whole file, when it has none.
    pub fn tests_at(&self) -> usize {
        if self.is_test {
            return 0;
        }
        self.code.find("#[cfg(test)]\n").unwrap_or(self.code.len())
    }

    pub fn breach(&self, offset: usize, what: impl std::fmt::Display) -> Breach {
        let line = 1 + self.text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count();
        Breach(format!("{}:{line}: {what}", self.path))
    }
}

/// Marks the files whose `mod` stands under `#[cfg(test)]`, and those below them.
pub fn mark_tests(files: &mut [File]) {
    static MOD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"#\[cfg\(test\)\]\s+(?:#\[path = "([^"]+)"\]\s+)?(?:pub(?:\([^)]*\))? )?mod (\w+);"#)
            .expect("a pattern")
    });
    let mut tests = Vec::new();
    for file in files.iter().filter(|f| f.path.ends_with(".rs")) {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or_default();
        let stem = name.trim_end_matches(".rs");
        let below = if ["mod", "lib", "main"].contains(&stem) { folder.into() } else { format!("{folder}/{stem}") };
        for module in MOD.captures_iter(&file.text) {
            tests.push(match module.get(1) {
                Some(path) => format!("{folder}/{}", path.as_str().trim_end_matches(".rs")),
                None => format!("{below}/{}", &module[2]),
            });
        }
    }
    for file in files {
        let module = file.path.trim_end_matches(".rs");
        file.is_test = tests
            .iter()
            .any(|test| module.strip_prefix(test).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    }
}

/// All text files of the repository but build output, in order of path.
pub fn repository() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(root, "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    mark_tests(&mut files);
    assert!(files.iter().any(|f| f.path == "src/main.rs"), "the walk began at the wrong folder: {}", root.display());
    files
}

fn walk(root: &Path, below: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(root.join(below)).expect("a folder of the repository") {
        let entry = entry.expect("an entry of the repository");
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type().expect("a file type").is_dir() {
            if name != "target" && ![".git", "soard-quickstart"].contains(&path.as_str()) {
                walk(root, &path, files);
            }
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File::new(&path, &text));
        }
    }
}

/// Blanks comments and the content of string and character literals; quotes and line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (content, next) = literal_or_comment(bytes, at).unwrap_or((at..at, at + 1));
        for byte in &mut out[content] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = next;
    }
    String::from_utf8(out).expect("only whole characters were replaced, by spaces")
}

/// What to blank of the literal or comment that begins at `at`, and where it ends.
fn literal_or_comment(bytes: &[u8], at: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let rest = &bytes[at..];
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        let end = at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        return Some((at..end, end));
    }
    if rest.starts_with(b"/*") {
        let end = block_comment_end(bytes, at);
        return Some((at..end, end));
    }
    match rest[0] {
        b'"' => {
            let end = quoted_end(bytes, at + 1, b'"');
            Some((at + 1..end - 1, end))
        }
        b'r' if !in_word || matches!(bytes[at - 1], b'b' | b'c') => raw_string(bytes, at),
        b'\'' => {
            let width = std::str::from_utf8(&rest[1..]).ok()?.chars().next()?.len_utf8();
            let is_char = rest[1] == b'\\' || rest.get(1 + width) == Some(&b'\'');
            let end = if is_char { quoted_end(bytes, at + 1, b'\'') } else { at + 1 };
            Some((at + 1..end.max(at + 2) - 1, end))
        }
        _ => None,
    }
}

fn raw_string(bytes: &[u8], at: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let length = bytes[open + 1..].windows(close.len()).position(|w| w == close)?;
    let end = open + 1 + length;
    Some((open + 1..end, end + close.len()))
}

/// The offset after the closing quote.
fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else_is() {
    for (text, code) in [
        ("f(\"x // \\\" y\"); // z\ng()", "f(\"         \");     \ng()"),
        ("f(r#\"a \" b\"#, br\"\\\", b\"é\")", "f(r#\"     \"#, br\" \", b\"  \")"),
        ("/* x /* y */ z */ f()", "                  f()"),
        ("f('\\'', '\"', 'ö') fn g<'a>(x: &'a str)", "f('  ', ' ', '  ') fn g<'a>(x: &'a str)"),
        ("let bar = \"x\"; let ö = 1;", "let bar = \" \"; let ö = 1;"),
    ] {
        assert_eq!(blank(text), code);
    }
}
