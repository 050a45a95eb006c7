//! Reads `sources:` of `soard.yaml`.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::time::Span;
use crate::sources::{Kind, Settings, file, folder, http};
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Key, Node};
use crate::yaml::reader::{Faults, MapReader};
use crate::yaml::secret::secret_ref;

/// Longest name of a source.
const NAME_BYTES_MAX: usize = 64;

pub(super) fn read(node: &Node, faults: &mut Faults) -> Vec<Settings> {
    let Some(mut map) = MapReader::new(node, "a map of source names to sources", faults) else {
        return Vec::new();
    };
    let items = map.rest();
    let read: Vec<(&Key, Settings)> =
        items.into_iter().filter_map(|(key, item)| Some((key, source(key, item, faults)?))).collect();
    let mut stdins = read.iter().filter(|(_, source)| source.kind == Kind::Stdin);
    if let (Some((first, _)), Some((second, _))) = (stdins.next(), stdins.next()) {
        let message = format!("only one source can read standard input; `{}` does already", first.text);
        faults.error("source-second-stdin", &second.place, message);
    }
    read.into_iter().map(|(_, source)| source).collect()
}

fn source(key: &Key, node: &Node, faults: &mut Faults) -> Option<Settings> {
    if !is_name(&key.text) {
        let message = format!("{:?} is no name for a source", key.text);
        let fault = Diagnostic::error("source-name", key.place.clone(), message);
        faults.push(fault.help("lower-case letters, digits, `_`, `.` and `-`, at most 64, a letter or digit first"));
    }
    let mut map = MapReader::new(node, "a map with `file`, `folder`, `http` or `stdin`", faults)?;
    let format = map.text("format", faults);
    let given = [map.get("file"), map.get("folder"), map.get("http"), map.get("stdin")];
    let place = map.place();
    map.finish(faults);
    let kind = match given {
        [Some(file), None, None, None] => file_settings(file, faults).map(Kind::File),
        [None, Some(folder), None, None] => folder_settings(folder, faults).map(Kind::Folder),
        [None, None, Some(http), None] => http_settings(http, faults).map(Kind::Http),
        [None, None, None, Some(stdin)] => MapReader::new(stdin, "a map (`stdin: {}`)", faults).map(|map| {
            map.finish(faults);
            Kind::Stdin
        }),
        _ => {
            faults.error("source-kind", place, "expected exactly one of `file`, `folder`, `http` and `stdin`");
            None
        }
    }?;
    Some(Settings { name: key.text.as_str().into(), format, kind })
}

/// `[a-z0-9][a-z0-9_.-]{0,63}`: fit for paths, URLs and file names alike.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    first && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}

fn file_settings(node: &Node, faults: &mut Faults) -> Option<file::Settings> {
    let mut map = MapReader::new(node, "a map with `path`", faults)?;
    let path = map.need_text("path", faults).map(PathBuf::from);
    let start = map.parsed("start", "`beginning` or `end`", faults).unwrap_or_default();
    let poll = span(&mut map, "poll", file::POLL, faults);
    let quiet = span(&mut map, "quiet", file::QUIET, faults);
    map.finish(faults);
    Some(file::Settings { path: path?, start, poll, quiet })
}

fn folder_settings(node: &Node, faults: &mut Faults) -> Option<folder::Settings> {
    let mut map = MapReader::new(node, "a map with `path`", faults)?;
    let path = map.need_text("path", faults).map(PathBuf::from);
    let move_done = map.parsed::<DoneWord>("done", "`keep` or `move`", faults);
    let moved_to = map.text("moved_to", faults).map(PathBuf::from);
    let poll = span(&mut map, "poll", folder::POLL, faults);
    let place = map.place();
    map.finish(faults);
    let done = match (move_done, moved_to) {
        (Some(DoneWord::Move), None) => {
            faults.error("source-moved-to", place, "`done: move` needs `moved_to`, the folder for read files");
            return None;
        }
        (Some(DoneWord::Keep), Some(_)) => {
            faults.error("source-keep-moved-to", place, "`moved_to` says nothing with `done: keep`");
            return None;
        }
        (_, Some(to)) if path.as_ref() == Some(&to) => {
            faults.error("source-moved-to-self", place, "`moved_to` is the folder that is read");
            return None;
        }
        (_, Some(to)) => folder::Done::Move { to },
        (_, None) => folder::Done::Keep,
    };
    Some(folder::Settings { path: path?, done, poll })
}

enum DoneWord {
    Keep,
    Move,
}

impl std::str::FromStr for DoneWord {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "keep" => Ok(Self::Keep),
            "move" => Ok(Self::Move),
            _ => Err(()),
        }
    }
}

fn http_settings(node: &Node, faults: &mut Faults) -> Option<http::Settings> {
    let mut map = MapReader::new(node, "a map with `token`", faults)?;
    map.need("token", faults);
    let nodes = map.list("token").unwrap_or_default();
    let tokens: Vec<_> = nodes.iter().filter_map(|token| secret_ref(token, faults)).collect();
    map.finish(faults);
    (!tokens.is_empty()).then_some(http::Settings { tokens })
}

/// A length of time from 10 ms to an hour.
pub(super) fn span(map: &mut MapReader<'_>, key: &'static str, default: Duration, faults: &mut Faults) -> Duration {
    let Some(node) = map.get(key) else { return default };
    let Some(span) = crate::yaml::reader::parsed::<Span>(node, "a length of time such as 1s", faults) else {
        return default;
    };
    if !(Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&span.duration()) {
        faults.error("source-span", &node.place, format!("expected 10ms to 1h, found {span}"));
    }
    span.duration()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::SecretRef;
    use crate::yaml::node::parse;

    fn check(text: &str) -> (Vec<Settings>, Vec<String>) {
        let mut faults = Faults::default();
        let read = read(&parse(&"soard.yaml".into(), text).unwrap(), &mut faults);
        (
            read,
            faults
                .found
                .iter()
                .map(|f| format!("{}:{} {}: {}", f.place.line, f.place.column, f.code, f.message))
                .collect(),
        )
    }

    #[test]
    fn every_kind_of_source_is_read() {
        let text = "falco: { format: falco, file: { path: /var/log/falco.jsonl, start: end, poll: 50ms, quiet: 2s } }\n\
                    drop: { folder: { path: in, done: move, moved_to: out } }\n\
                    kept: { folder: { path: in, done: keep } }\n\
                    prom: { http: { token: [{ env: OLD }, { credential: prom }] } }\n\
                    pipe: { stdin: {} }\n";
        let (mut read, faults) = check(text);
        assert_eq!(faults, [""; 0]);
        assert_eq!(read.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["falco", "drop", "kept", "prom", "pipe"]);
        assert_eq!(read[0].format.as_deref(), Some("falco"));
        let Kind::File(file) = &read[0].kind else { panic!() };
        assert_eq!(
            (file.start, file.poll, file.quiet),
            (file::Start::End, Duration::from_millis(50), Duration::from_secs(2))
        );
        assert_eq!(
            read[3].kind,
            Kind::Http(http::Settings {
                tokens: vec![SecretRef::Env("OLD".into()), SecretRef::Credential("prom".into())]
            })
        );
        read[1].rebase("/etc/soard".as_ref());
        let Kind::Folder(folder) = &read[1].kind else { panic!() };
        assert_eq!(
            (&*folder.path, &folder.done),
            ("/etc/soard/in".as_ref(), &folder::Done::Move { to: "/etc/soard/out".into() })
        );
    }

    #[test]
    fn all_faults_are_reported_with_their_places() {
        let text = "Bad Name: { stdin: {} }\n\
                    none: { format: x }\n\
                    two: { file: { path: a }, stdin: {} }\n\
                    typo: { flie: { path: a } }\n\
                    keys: { file: { pth: a, start: middle, poll: 0s } }\n\
                    drop: { folder: { path: in, done: move } }\n\
                    same: { folder: { path: in, moved_to: in } }\n\
                    kept: { folder: { path: in, done: keep, moved_to: x } }\n\
                    token: { http: { token: hunter2 } }\n\
                    open: { http: {} }\n\
                    again: { stdin: {} }\n\
                    list: [a]\n";
        let (_, faults) = check(text);
        assert!(!faults.iter().any(|f| f.contains("hunter2")));
        insta::assert_snapshot!(faults.join("\n"));
        assert!(check("- a").1[0].contains("wrong-type"));
    }
}
