//! What a peer must have got, told by the journal as plain JSON and by nothing of soard.

use serde_json::Value;

/// A notice by its entry and its number among the notices of that entry.
pub type Key = (u64, u64);

/// The notices that the journal asks for, in order.
pub fn expected(journal: &[Value]) -> Vec<Key> {
    let mut keys = Vec::new();
    for entry in journal {
        let seq = entry["seq"].as_u64().unwrap();
        match entry["k"].as_str().unwrap() {
            "intake" => {
                for (n, taken) in (0..).zip(entry["d"]["alerts"].as_array().unwrap()) {
                    let first = &taken["decision"]["reasons"][0];
                    if first["stage"] != "duplicate" || !first["anew"].is_null() {
                        keys.push((seq, n));
                    }
                }
            }
            "operator" if !entry["d"]["order"]["alert"].is_null() => keys.push((seq, 0)),
            _ => {}
        }
    }
    keys
}

/// Everything that is wrong with what a peer got: each notice at least once, in order; doubles only as a part that begins again further back.
pub fn faults(expected: &[Key], got: &[Key]) -> Vec<String> {
    let place = |key: &Key| expected.binary_search(key);
    let mut faults = Vec::new();
    faults.extend(expected.iter().filter(|key| !got.contains(key)).map(|key| format!("never arrived: {key:?}")));
    let mut last: Option<usize> = None;
    for key in got {
        let Ok(at) = place(key) else {
            faults.push(format!("nobody asked for {key:?}"));
            continue;
        };
        let next = last.map_or(0, |last| last + 1);
        if at > next {
            faults.push(format!("out of order: {key:?} came when {:?} was due", expected[next]));
        }
        last = Some(at);
    }
    faults
}

/// The keys of lines in soard's own form, without those of snapshots.
pub fn keys(lines: &str) -> Vec<Key> {
    let lines =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let told = lines.filter(|notice| {
        matches!(notice["notice"].as_str(), Some("alert" | "change")) && notice["is_snapshot"].is_null()
    });
    told.map(|notice| (notice["seq"].as_u64().unwrap(), notice["n"].as_u64().unwrap())).collect()
}

#[test]
fn the_oracle_sees_what_is_lost_and_what_is_out_of_order() {
    let all: Vec<Key> = (1..=5).map(|seq| (seq, 0)).collect();
    let got = |seqs: &[u64]| seqs.iter().map(|seq| (*seq, 0)).collect::<Vec<Key>>();
    for good in [&[1, 2, 3, 4, 5][..], &[1, 2, 3, 2, 3, 4, 5], &[1, 1, 1, 2, 3, 4, 5, 4, 5], &[1, 2, 1, 2, 3, 4, 5]] {
        assert_eq!(faults(&all, &got(good)), Vec::<String>::new(), "{good:?}");
    }
    for bad in [&[1, 2, 4, 5][..], &[2, 1, 2, 3, 4, 5], &[1, 2, 3, 5, 4, 5], &[1, 2, 3, 4], &[1, 2, 3, 4, 5, 9]] {
        assert!(!faults(&all, &got(bad)).is_empty(), "{bad:?}");
    }
}
