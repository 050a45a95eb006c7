//! What a state folder has to hold once archiving and retention have come to rest, told from outside the daemon: the lines
//! that were there before anything was dropped are the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use soard::daemon::snapshot::read_base;
use soard::domain::entry::{Entry, Facts};
use soard::engine::apply::apply;
use soard::engine::state::State;
use soard::journal::line::Line;

use crate::support::Daemon;

/// The journal's lines by number.
pub type Lines = BTreeMap<u64, String>;

/// The state folder at rest.
pub struct Rest {
    /// All that was on record before anything was dropped.
    pub whole: Lines,
    /// The last entry that goes; the base is named after it.
    pub dropped: u64,
    /// The files that are there then.
    pub files: BTreeSet<String>,
}

/// The files in the state folder and in the journal, but for what each life makes anew or keeps aside on purpose.
pub fn files(state: &Path) -> BTreeSet<String> {
    let names = |folder: &str| {
        let entries = fs::read_dir(state.join(folder)).unwrap().flatten();
        entries.map(move |entry| format!("{folder}{}", entry.file_name().into_string().unwrap())).collect::<Vec<_>>()
    };
    let mut files: BTreeSet<String> = [names(""), names("journal/")].concat().into_iter().collect();
    files.retain(|name| !["index", "soard.sock"].contains(&name.as_str()) && !name.ends_with(".torn"));
    files
}

/// First entries of the segments among the files, each with its file.
pub fn segments(files: &BTreeSet<String>) -> Vec<(u64, String)> {
    let first = |name: &String| {
        let digits =
            name.strip_prefix("journal/")?.split_once(".jsonl").filter(|(_, end)| ["", ".zst"].contains(end))?.0;
        Some((digits.parse().ok()?, name.clone()))
    };
    files.iter().filter_map(first).collect()
}

/// The lines of all segments, read by nothing but zstd and the ends of lines.
pub fn lines(state: &Path) -> Lines {
    let mut lines = Lines::new();
    for (_, name) in segments(&files(state)) {
        // A segment may just be going.
        let Ok(bytes) = fs::read(state.join(&name)) else { continue };
        let bytes = if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
        for line in String::from_utf8(bytes).unwrap().split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            lines.insert(read(line)["seq"].as_u64().unwrap(), line.trim_end().to_owned());
        }
    }
    lines
}

/// What neither a running daemon nor a stopped one needs: files that nobody will complete, segments that lie there twice or are on
/// record as dropped, and bases that nothing begins with.
pub fn leftovers(state: &Path) -> Vec<String> {
    let all = files(state);
    let firsts = segments(&all);
    let dropped = lines(state).values().filter_map(|line| last_of(&read(line)["d"]["dropped"])).max().unwrap_or(0);
    let base = format!("base-{dropped:020}");
    let is_base = |name: &String| name.starts_with("base-") && *name != base;
    let mut left: Vec<String> = all.iter().filter(|name| name.ends_with(".tmp") || is_base(name)).cloned().collect();
    let gone = |pair: &&[(u64, String)]| pair[0].0 == pair[1].0 || pair[1].0 <= dropped + 1;
    left.extend(firsts.windows(2).filter(gone).map(|pair| pair[0].1.clone()));
    left
}

/// The last entry of the segments that an entry says are dropped.
fn last_of(dropped: &Value) -> Option<u64> {
    dropped["segments"].as_array()?.last()?["last"].as_u64()
}

fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// The alerts that a line took: id and external id.
fn taken(line: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let alerts = read(line)["d"]["alerts"].as_array().cloned().unwrap_or_default();
    alerts.iter().map(|taken| (text(&taken["id"]), text(&taken["alert"]["external_id"]))).collect()
}

/// What is wrong with a daemon that has come to rest; it is stopped. `acknowledged` are the alerts that were taken since.
pub fn faults(daemon: &mut Daemon, rest: &Rest, acknowledged: &BTreeSet<String>) -> Vec<String> {
    let state = daemon.dir.join("state");
    let (status, listed) = (daemon.json(&["status"]), daemon.json(&["alerts", "list", "--all", "--limit", "2000"]));
    let mut faults = Vec::new();
    let mut expect = |what: &str, found: Value, expected: Value| {
        if found != expected {
            faults.push(format!("{what}: {found} instead of {expected}"));
        }
    };
    expect("a stop", json!(daemon.stop()), json!(0));
    let verified = daemon.soard(&["-o", "json", "log", "verify"]);
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap_or_default();
    expect("log verify", json!([verified.status.code(), report["verdict"]]), json!([0, "good"]));
    expect("files", json!(files(&state)), json!(rest.files));
    if rest.files != files(&state) {
        return faults;
    }
    let kept = lines(&state);
    let mut all = rest.whole.clone();
    all.extend(kept.clone());
    let alerts = |lines: &Lines| lines.values().flat_map(|line| taken(line)).collect::<BTreeMap<_, _>>();
    let known: BTreeSet<String> = alerts(&all).into_values().collect();
    expect("acknowledged and lost", json!(acknowledged.difference(&known).collect::<Vec<_>>()), json!([]));
    expect("alerts by status", status["totals"]["alerts"].clone(), json!(known.len()));
    expect("open runs", status["runs_open"].clone(), json!(1));
    let ids = |list: &Value| list.as_array().map(|all| all.iter().map(|row| row["id"].clone()).collect::<Vec<_>>());
    let ids = ids(&listed["alerts"]).unwrap_or_default();
    let ids: BTreeSet<&str> = ids.iter().filter_map(Value::as_str).collect();
    expect("alerts in the list", json!(ids), json!(alerts(&kept).into_keys().collect::<BTreeSet<_>>()));
    faults.extend(chain(&kept, rest));
    faults.extend(seals(&all, rest));
    faults.extend(archives(&state, &kept));
    let base = read_base(&state.join(format!("base-{:020}", rest.dropped)));
    let folded = base.ok().flatten().map(|(base, _)| shown(&fold(base, &kept)));
    if folded != Some(shown(&fold(State::default(), &all))) {
        faults.push("base and entries do not add up to what the whole journal adds up to".into());
    }
    faults
}

fn fold(mut state: State, lines: &Lines) -> State {
    for line in lines.values() {
        let line = Line::parse(line.as_bytes()).unwrap();
        let facts = Facts::parse(&line.kind, line.data.get()).unwrap();
        apply(&mut state, &Entry { seq: line.seq, at: line.at, facts });
    }
    state
}

/// A state as text that does not depend on the order of its tables.
fn shown(state: &State) -> Vec<String> {
    let mut lines: Vec<String> = format!("{state:#?}").lines().map(String::from).collect();
    lines.sort();
    lines
}

/// Every line continues the one before, from the first that stays on, and none of them was changed.
fn chain(kept: &Lines, rest: &Rest) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut next, mut before) = (rest.dropped + 1, read(&rest.whole[&rest.dropped])["h"].clone());
    for (seq, line) in kept {
        let (hashed, _) = line.rsplit_once(",\"h\":").unwrap();
        let (said, hash) = (read(line), data_encoding::HEXLOWER.encode(&Sha256::digest(hashed)));
        if *seq != next || said["prev"] != before || said["h"] != json!(hash) {
            faults.push(format!("entry {seq} does not continue entry {}", next - 1));
        }
        if rest.whole.get(seq).is_some_and(|was| was != line) {
            faults.push(format!("entry {seq} is not what it was"));
        }
        (next, before) = (seq + 1, said["h"].clone());
    }
    faults
}

/// The entries about dropped segments name, once each, exactly what is gone.
fn seals(all: &Lines, rest: &Rest) -> Vec<String> {
    let mut faults = Vec::new();
    let mut next = 1;
    let said = all.values().map(|line| read(line)["d"]["dropped"].clone()).filter(Value::is_object);
    for seal in said.flat_map(|dropped| dropped["segments"].as_array().cloned().unwrap_or_default()) {
        let hash = |end: &Value| end.as_u64().and_then(|seq| Some(read(rest.whole.get(&seq)?)["h"].clone()));
        let fits = hash(&seal["first"]) == Some(seal["first_hash"].clone())
            && hash(&seal["last"]) == Some(seal["hash"].clone());
        if seal["first"] != json!(next) || !fits {
            faults.push(format!("a seal does not fit what was there from entry {next} on: {seal}"));
        }
        next = seal["last"].as_u64().unwrap_or(0) + 1;
    }
    if next != rest.dropped + 1 {
        faults.push(format!("the seals go up to entry {}, and entry {} is gone", next - 1, rest.dropped));
    }
    faults
}

/// Each archive is on record, with both lengths.
fn archives(state: &Path, kept: &Lines) -> Vec<String> {
    let said: Vec<Value> = kept.values().map(|line| read(line)["d"]["archived"].clone()).collect();
    let is_missing = |(first, name): &(u64, String)| {
        let packed = fs::read(state.join(name)).unwrap();
        let bytes = zstd::decode_all(&packed[..]).unwrap().len();
        let last = said.iter().rfind(|said| said["first"] == json!(first));
        last.is_none_or(|last| last["bytes"] != json!(bytes) || last["packed"] != json!(packed.len()))
    };
    let archives = segments(&files(state)).into_iter().filter(|(_, name)| name.ends_with(".zst"));
    archives.filter(is_missing).map(|(_, name)| format!("{name} is not on record as it is")).collect()
}
