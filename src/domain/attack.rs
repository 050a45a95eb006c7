//! Names and ids of MITRE ATT&CK® tactics and techniques. The table is generated: `attack.jq` says how, the head of
//! `attack.tsv` has its version and MITRE's notice.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("attack.tsv");

/// A technique or sub-technique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Technique {
    /// Such as `T1110.001`.
    pub id: &'static str,
    /// Its name; a sub-technique's begins with the technique's: `Brute Force: Password Guessing`.
    pub name: String,
    /// Names of the tactics that it serves.
    pub tactics: Vec<&'static str>,
    /// MITRE revoked or deprecated it; old detections still name it.
    pub retired: bool,
}

#[derive(Default)]
struct Table {
    /// Names of tactics, by id and by name, both folded.
    tactics: HashMap<String, &'static str>,
    techniques: HashMap<&'static str, Technique>,
    /// Ids of the techniques in use, by folded name; `None` where several have the name.
    by_name: HashMap<String, Option<&'static str>>,
}

static ATTACK: LazyLock<Table> = LazyLock::new(|| Table::read(TABLE));

impl Table {
    fn read(text: &'static str) -> Self {
        let mut table = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            let (Some(id), Some(name)) = (columns.next(), columns.next()) else { continue };
            match columns.next() {
                None => {
                    table.tactics.insert(fold(id), name);
                    table.tactics.insert(fold(name), name);
                }
                Some(tactics) => table.add(id, name, tactics, columns.next().is_some()),
            }
        }
        table
    }

    /// Adds a technique; its parent stands before it.
    fn add(&mut self, id: &'static str, own_name: &'static str, tactics: &'static str, retired: bool) {
        let parent = id.split_once('.').and_then(|(parent, _)| self.techniques.get(parent));
        let name = parent.map_or_else(|| own_name.to_owned(), |parent| format!("{}: {own_name}", parent.name));
        if !retired {
            self.by_name.insert(fold(&name), Some(id));
            if parent.is_some() {
                self.by_name.entry(fold(own_name)).and_modify(|other| *other = None).or_insert(Some(id));
            }
        }
        let tactics = tactics.split(',').filter_map(|id| self.tactics.get(&fold(id)).copied()).collect();
        self.techniques.insert(id, Technique { id, name, tactics, retired });
    }
}

/// Letters and digits only, all small: how `CredentialAccess`, `credential-access` and `Credential Access` are one.
fn fold(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// A tactic's name as MITRE writes it, of its id or its name in any spelling.
pub fn tactic(word: &str) -> Option<&'static str> {
    ATTACK.tactics.get(&fold(word)).copied()
}

/// The technique with this id, such as `T1059` or `t1059.001`.
pub fn technique(id: &str) -> Option<&'static Technique> {
    ATTACK.techniques.get(id.trim().to_ascii_uppercase().as_str())
}

/// The id of the technique with this name; none when several sub-techniques share it.
pub fn technique_named(name: &str) -> Option<&'static str> {
    ATTACK.by_name.get(&fold(name)).copied().flatten()
}

/// A technique for people: `T1110.001 Brute Force: Password Guessing`; as it stands when it is not known.
pub fn titled(id: &str) -> Cow<'_, str> {
    technique(id).map_or(Cow::Borrowed(id), |known| Cow::Owned(format!("{} {}", known.id, known.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_carries_the_notice() {
        let rows: Vec<&str> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        let ids: Vec<&str> = rows.iter().skip(14).filter_map(|row| row.split('\t').next()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "sorted, no doubles");
        assert_eq!(ATTACK.tactics.len(), 2 * 14);
        assert_eq!(ATTACK.techniques.len() + 14, rows.len());
        for known in ATTACK.techniques.values() {
            assert!(!known.tactics.is_empty() || known.retired, "{known:?}");
            let parent = known.id.split_once('.').map(|(parent, _)| parent);
            assert!(parent.is_none_or(|parent| ATTACK.techniques.contains_key(parent)), "{known:?}");
        }
        for notice in
            ["© 2025 The MITRE Corporation.", "reproduced and distributed with the permission of The MITRE Corporation"]
        {
            assert!(TABLE.contains(notice));
        }
    }

    #[test]
    fn names_are_found_however_products_write_them() {
        for word in
            ["CredentialAccess", "credential-access", "credential_access", "Credential Access", "TA0006", "ta0006"]
        {
            assert_eq!(tactic(word), Some("Credential Access"), "{word}");
        }
        assert_eq!(tactic("Probing"), None);
        assert_eq!(titled("t1110.001"), "T1110.001 Brute Force: Password Guessing");
        assert_eq!(titled("T9999"), "T9999");
        assert_eq!(technique("T1078").unwrap().tactics.len(), 4);
        assert!(technique("T1086").unwrap().retired);
        assert_eq!(technique_named("brute force"), Some("T1110"));
        assert_eq!(technique_named("Password Guessing"), Some("T1110.001"));
        assert_eq!(technique_named("Brute Force: Password Guessing"), Some("T1110.001"));
        assert_eq!(technique_named("PowerShell"), Some("T1059.001"), "and not the retired T1086");
        assert_eq!(technique_named("Domain Account"), None, "T1087.002 and T1136.002");
    }
}
