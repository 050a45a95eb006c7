//! A bundle: rules, formats, playbooks, lists and templates as loaded, named by the hash of their files.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::actions::templates::Templates;
use crate::daemon::settings::Names;
use crate::domain::entry::BundleFacts;
use crate::domain::lists::Lists;
use crate::domain::mail::DIGEST;
use crate::playbooks::check::{Use, UseKind};
use crate::playbooks::compile as scripts;
use crate::playbooks::evaluate::{Entry, Playbooks};
use crate::rules::compile::{self as rules, Rules};
use crate::rules::guard;
use crate::rules::known::{Known, PlaybookEntries};
use crate::rules::lists;
use crate::rules::normalise::{self, Formats};
use crate::yaml::diagnostic::{Diagnostic, Gravity, Place, Sources};
use crate::yaml::reader::Faults;

static SHIPPED_FORMATS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/rules/normalise");
static SHIPPED_PLAYBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");

/// Folders of the content folder that make the bundle, and the endings that count in them.
const FOLDERS: [(&str, &[&str]); 8] = [
    ("rules/normalise", &["yaml", "yml"]),
    ("rules/suppress", &["yaml", "yml"]),
    ("rules/route", &["yaml", "yml"]),
    ("rules/advise", &["yaml", "yml"]),
    ("playbooks", &["rhai"]),
    ("playbooks/lib", &["rhai"]),
    ("lists", &["yaml", "yml", "txt"]),
    ("templates", &["html", "txt"]),
];

/// Length of a bundle's id: SHA-256 in hex.
const ID_DIGITS: usize = 64;
/// Most bytes of all files of a bundle together.
const BUNDLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A checked bundle.
pub struct Bundle {
    /// SHA-256 over its files, in hex.
    pub id: String,
    /// The git commit of its folder, where there is one.
    pub commit: Option<String>,
    /// Its texts, by path.
    pub files: Sources,
    /// Suppressions, routes, advice and the matcher.
    pub rules: Rules,
    /// Formats.
    pub formats: Formats,
    /// Playbooks.
    pub playbooks: Playbooks,
    /// Mail templates.
    pub templates: Templates,
}

/// What loading came to: a bundle unless a fault is an error, and all faults.
pub struct Loaded {
    /// The bundle, if it may be used.
    pub bundle: Option<Bundle>,
    /// Errors and warnings.
    pub faults: Vec<Diagnostic>,
}

impl Bundle {
    /// What the journal says of it.
    pub fn facts(&self) -> BundleFacts {
        let counts = [
            ("suppressions", self.rules.suppress.len()),
            ("routes", self.rules.route_count()),
            ("advice", self.rules.advice.all.len()),
            ("formats", self.formats.names().count()),
            ("playbooks", self.playbooks.names().count()),
        ];
        let counts = counts.into_iter().map(|(what, n)| (what.to_owned(), n)).collect();
        BundleFacts { id: self.id.clone(), commit: self.commit.clone(), counts }
    }
}

/// Checks files and builds the bundle from them. Pure. `names`: what the settings define; without it (a bundle
/// from the state folder) references to destinations and sources are not checked again.
pub fn compile(files: Sources, commit: Option<String>, names: Option<&Names>) -> Loaded {
    let (formats, mut faults) = normalise::compile(&files);
    let (texts, lists) = scripts_and_lists(&files);
    let (playbooks, found) = scripts::compile(&texts, lists);
    faults.extend(found);
    let (templates, found) = Templates::compile(&below(&files, "templates/", ""));
    faults.extend(found);
    let entries = |name: &str| match &playbooks {
        Some(playbooks) => PlaybookEntries {
            on_alert: playbooks.has_entry(name, Entry::Alert),
            on_group: playbooks.has_entry(name, Entry::Group),
            on_status: playbooks.has_entry(name, Entry::Status),
        },
        // Their own faults are found already; the rules are checked all the same.
        None => PlaybookEntries { on_alert: true, on_group: true, on_status: true },
    };
    let known = Known {
        playbooks: playbook_names(&files).map(|name| (name.to_owned(), entries(name))).collect(),
        sources: names.map(|names| names.sources.clone()),
    };
    let (rules, found) = rules::compile(&files, &known);
    faults.extend(found);
    if let (Some(names), Some(playbooks)) = (names, &playbooks) {
        check_destinations(&rules, playbooks, names, &mut faults);
    }
    // Runs go on with the bundle that they began with, whatever a newer soard asks of a digest.
    if names.is_some() && playbook_names(&files).any(|name| name == DIGEST) && !entries(DIGEST).on_group {
        let place = Place::start(&format!("playbooks/{DIGEST}.rhai").into());
        let message = format!("the playbook `{DIGEST}` has no `on_group(alerts)`, so no digest would ever be sent");
        faults.push(
            Diagnostic::error("digest-entry", place, message).help("soard starts it for what waits for a recipient"),
        );
    }
    for (format, place) in names.iter().flat_map(|names| &names.pinned) {
        if !formats.names().any(|name| name == format) {
            let fault = Diagnostic::error("unknown-format", place.clone(), format!("no format `{format}`"));
            faults.push(fault.suggest(format, formats.names()));
        }
    }
    for (name, place) in names.iter().flat_map(|names| &names.limited) {
        if let Some(known) = playbooks.as_ref().filter(|known| !known.names().any(|known| known == name)) {
            let fault = Diagnostic::error("limit-playbook", place.clone(), format!("no playbook `{name}`"));
            faults.push(fault.suggest(name, known.names()));
        }
    }
    for place in names.iter().flat_map(|names| &names.guarded).filter(|_| rules.guard.is_empty()) {
        let message = format!("the list `{}` is empty: nothing is guarded", guard::LIST);
        let fault = Diagnostic::error("guard-nothing", place.clone(), message);
        faults.push(fault.help(format!("write lists/{}.yaml, with names, patterns and networks", guard::LIST)));
    }
    faults.sort_by(|a, b| (&a.place, a.gravity).cmp(&(&b.place, b.gravity)));
    let usable = faults.iter().all(|fault| fault.gravity != Gravity::Error);
    let playbooks = playbooks.filter(|_| usable);
    let bundle =
        playbooks.map(|playbooks| Bundle { id: id_of(&files), commit, files, rules, formats, playbooks, templates });
    Loaded { bundle, faults }
}

/// What the playbooks of a bundle are compiled from.
pub fn scripts_and_lists(files: &Sources) -> (Sources, Arc<Lists>) {
    // The rules report what is wrong with the lists.
    let lists = Arc::new(lists::read(files, &mut Faults::default()));
    (below(files, "playbooks/", "playbooks/"), lists)
}

/// The files that [`scripts_and_lists`] reads.
pub fn scripts(files: &Sources) -> Sources {
    let read = |path: &str| path.starts_with("playbooks/") || path.starts_with("lists/");
    files.iter().filter(|(path, _)| read(path)).map(|(path, text)| (path.clone(), text.clone())).collect()
}

fn playbook_names(files: &Sources) -> impl Iterator<Item = &str> {
    let names = files.keys().filter_map(|path| path.strip_prefix("playbooks/")?.strip_suffix(".rhai"));
    names.filter(|name| !name.contains('/'))
}

/// The files of a folder, with the folder's name replaced.
fn below(files: &Sources, folder: &str, by: &str) -> Sources {
    let inside = files.iter().filter_map(|(path, text)| Some((path.strip_prefix(folder)?, text)));
    inside.map(|(path, text)| (format!("{by}{path}"), text.clone())).collect()
}

/// A playbook that starts must find its destinations: one that a route names, or the digest's, which soard starts. One that
/// nothing names may lie there unused.
fn check_destinations(rules: &Rules, playbooks: &Playbooks, names: &Names, faults: &mut Vec<Diagnostic>) {
    let routed = rules.routed_playbooks();
    for Use { name, kind, place } in playbooks.destinations() {
        let (known, what) = match kind {
            UseKind::Webhook => (&names.webhooks, "webhook"),
            UseKind::Email => (&names.emails, "email"),
        };
        let by = place.file.trim_start_matches("playbooks/").trim_end_matches(".rhai");
        let is_routed = routed.contains(by);
        // There, the name stands for where the alerts waited, and only there.
        let stands_in = by == DIGEST && name == DIGEST && *kind == UseKind::Email && !is_routed;
        if known.contains(name) || stands_in || !is_routed && by != DIGEST {
            continue;
        }
        let message = format!("no {what} destination `{name}` in soard.yaml");
        let fault = Diagnostic::error("unknown-destination", place.clone(), message);
        faults.push(fault.suggest(name, known.iter().map(String::as_str)));
    }
}

/// Reads a content folder, with the shipped formats and playbooks below it: a file of the folder takes the
/// place of the shipped one with the same path.
///
/// # Errors
/// Faults of files that cannot be read as text.
pub fn read_folder(dir: &Path) -> Result<Sources, Vec<Diagnostic>> {
    let mut files = Sources::new();
    shipped(&mut files);
    let mut faults = Vec::new();
    for (folder, endings) in FOLDERS {
        read_into(dir, folder, endings, &mut files, &mut faults);
    }
    let bytes: usize = files.values().map(String::len).sum();
    if bytes > BUNDLE_BYTES_MAX {
        let message = format!("the bundle has {bytes} bytes; at most {BUNDLE_BYTES_MAX} are loaded");
        faults.push(Diagnostic::error("bundle-too-large", Place::start(&"rules".into()), message));
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

/// Adds what ships: formats, playbooks, their modules and the empty defaults of the lists that they ask.
fn shipped(files: &mut Sources) {
    for (dir, at) in [(&SHIPPED_FORMATS, "rules/normalise"), (&SHIPPED_PLAYBOOKS, "playbooks")] {
        let below = dir.dirs().flat_map(|below| below.files());
        for file in dir.files().chain(below) {
            let path = format!("{at}/{}", file.path().display());
            let path = path.strip_prefix("playbooks/lists/").map(|list| format!("lists/{list}")).unwrap_or(path);
            let ending = file.path().extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("yaml" | "rhai")) {
                let text = file.contents_utf8().expect("shipped files are UTF-8, a test loads them all");
                files.insert(path, text.to_owned());
            }
        }
    }
}

fn read_into(dir: &Path, folder: &str, endings: &[&str], files: &mut Sources, faults: &mut Vec<Diagnostic>) {
    let entries = match fs::read_dir(dir.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return faults.push(unreadable(folder, &error)),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ending = Path::new(&name).extension().and_then(|e| e.to_str());
        if name.starts_with('.') || !ending.is_some_and(|ending| endings.contains(&ending)) {
            continue;
        }
        let path = format!("{folder}/{name}");
        match regular(&entry.path()).and_then(fs::read).map(String::from_utf8) {
            Ok(Ok(text)) => {
                files.insert(path, text);
            }
            Ok(Err(error)) => {
                let bytes = error.as_bytes();
                let line = bytes[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                let place = Place { file: path.into(), line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 };
                faults.push(Diagnostic::error("not-utf8", place, "the file is not UTF-8 text"));
            }
            Err(error) => faults.push(unreadable(&path, &error)),
        }
    }
}

/// A pipe or a device would block the load for ever.
fn regular(path: &Path) -> io::Result<&Path> {
    if fs::metadata(path)?.is_file() { Ok(path) } else { Err(io::Error::other("it is no regular file")) }
}

fn unreadable(path: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::error("unreadable", Place::start(&path.into()), format!("cannot read it: {error}"))
}

/// The commit that a folder's `.git` is at, without running git.
pub fn commit(dir: &Path) -> Option<String> {
    let git = dir.ancestors().map(|above| above.join(".git")).find(|git| git.is_dir())?;
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(branch) = head.trim().strip_prefix("ref: ") else {
        return Some(head.trim().to_owned());
    };
    if let Ok(commit) = fs::read_to_string(git.join(branch)) {
        return Some(commit.trim().to_owned());
    }
    let packed = fs::read_to_string(git.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| Some(line.strip_suffix(branch)?.trim().to_owned()))
}

/// Id of a bundle of these files.
pub fn id_of(files: &Sources) -> String {
    let mut digest = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
    }
    data_encoding::HEXLOWER.encode(&digest.finalize())
}

/// The bundles in the state folder: `bundles/<id>/`, kept while a retained entry names them.
pub struct Bundles {
    dir: PathBuf,
    loaded: Mutex<HashMap<String, Arc<Bundle>>>,
}

/// Bundles kept compiled beside the one in charge.
const COMPILED_MAX: usize = 8;

impl Bundles {
    /// The store in a state folder.
    pub fn new(state: &Path) -> Self {
        Self { dir: state.join("bundles"), loaded: Mutex::default() }
    }

    /// Writes a bundle and syncs it, so that a `bundle` entry may name it. Writing it twice is no fault.
    ///
    /// # Errors
    /// When the state folder cannot be written.
    pub fn keep(&self, bundle: &Arc<Bundle>) -> io::Result<()> {
        let place = self.dir.join(&bundle.id);
        if !place.exists() {
            let aside = self.dir.join(format!(".{}", bundle.id));
            if aside.exists() {
                fs::remove_dir_all(&aside)?;
            }
            for (path, text) in &bundle.files {
                let path = aside.join(path);
                let folder = path.parent().expect("a file of a bundle lies in a folder");
                fs::create_dir_all(folder)?;
                let mut file = fs::File::create(&path)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                for above in folder.ancestors().take_while(|above| above.starts_with(&aside)) {
                    fs::File::open(above)?.sync_all()?;
                }
            }
            fs::rename(&aside, &place)?;
            fs::File::open(&self.dir)?.sync_all()?;
        }
        self.remember(bundle.clone());
        Ok(())
    }

    /// The bundle whose id begins like this, compiled: see [`Bundles::get`].
    ///
    /// # Errors
    /// Words for the log: there is none or more than one, or it cannot be had.
    pub fn get_short(&self, digits: &str) -> Result<Arc<Bundle>, String> {
        let unreadable = |error: io::Error| format!("cannot look for bundle {digits}: {error}");
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.dir).map_err(unreadable)? {
            let name = folder.map_err(unreadable)?.file_name();
            // Folders that are being made end in something else than a digit.
            let name = name.to_str().filter(|name| name.len() == ID_DIGITS && name.starts_with(digits));
            found.extend(name.map(str::to_owned));
        }
        match &found[..] {
            [id] => self.get(id),
            [] => Err(format!("there is no bundle {digits}")),
            _ => Err(format!("{} bundles begin with {digits}", found.len())),
        }
    }

    /// The bundle with this id, compiled: from memory or from the state folder.
    ///
    /// # Errors
    /// Words for the log: the folder is missing, was edited, or this version of soard refuses it.
    pub fn get(&self, id: &str) -> Result<Arc<Bundle>, String> {
        if let Some(bundle) = self.loaded.lock().expect("nothing panics while it is held").get(id) {
            return Ok(bundle.clone());
        }
        let files = read_tree(&self.dir.join(id)).map_err(|error| format!("cannot read bundle {id}: {error}"))?;
        if id_of(&files) != id {
            return Err(format!("bundle {id} was changed in the state folder"));
        }
        let loaded = compile(files, None, None);
        let first = loaded.faults.iter().find(|fault| fault.gravity == Gravity::Error);
        let bundle = loaded.bundle.ok_or_else(|| match first {
            Some(fault) => format!("bundle {id} is refused: {}: {}", fault.place, fault.message),
            None => format!("bundle {id} is refused"),
        })?;
        let bundle = Arc::new(bundle);
        self.remember(bundle.clone());
        Ok(bundle)
    }

    fn remember(&self, bundle: Arc<Bundle>) {
        let mut loaded = self.loaded.lock().expect("nothing panics while it is held");
        let mut given_up = Vec::new();
        if loaded.len() >= COMPILED_MAX {
            given_up.extend(loaded.extract_if(|_, kept| Arc::strong_count(kept) == 1));
        }
        if loaded.len() >= COMPILED_MAX {
            given_up.extend(loaded.drain());
        }
        loaded.insert(bundle.id.clone(), bundle);
        // Freeing thousands of rules takes a while, and runs wait for the lock.
        drop(loaded);
        drop(given_up);
    }
}

fn read_tree(dir: &Path) -> io::Result<Sources> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            let name = path.strip_prefix(dir).expect("it was found below that folder");
            files.insert(name.to_string_lossy().into_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors that loading ends with, by code and message.
    fn errors(digest: &str, names: Option<&Names>) -> Vec<(&'static str, String)> {
        let files = [("playbooks/digest.rhai", digest), ("rules/route/main.yaml", "default_route: none\n")];
        let files = Sources::from(files.map(|(path, text)| (path.to_owned(), text.to_owned())));
        let faults = compile(files, None, names).faults.into_iter();
        faults.filter(|fault| fault.gravity == Gravity::Error).map(|fault| (fault.code, fault.message)).collect()
    }

    #[test]
    fn a_digest_that_could_not_be_sent_is_no_fault_of_a_bundle_that_runs_began_with() {
        let of_old = "fn on_alert(alert) { }";
        let found = errors(of_old, Some(&Names::default()));
        assert_eq!(found.iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["digest-entry"]);
        assert_eq!(errors(of_old, None), []);
    }

    #[test]
    fn destinations_of_ones_own_digest_are_checked_though_no_route_names_it() {
        let names = Names { emails: ["oncall".to_owned()].into(), ..Names::default() };
        let digest = |more: &str| format!("fn on_group(alerts) {{ email(\"digest\"); {more} }}");
        assert_eq!(errors(&digest("email(\"oncall\");"), Some(&names)), []);
        let typo = ("unknown-destination", "no email destination `oncal` in soard.yaml".to_owned());
        assert_eq!(errors(&digest("email(\"oncal\");"), Some(&names)), [typo]);
        let other = ("unknown-destination", "no webhook destination `digest` in soard.yaml".to_owned());
        assert_eq!(errors(&digest("webhook(\"digest\", 1);"), Some(&names)), [other]);
    }
}
