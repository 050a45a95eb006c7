//! What exports are told apart by: the form of their records, and what they tell of.

use std::fmt;

/// In which form an export sends its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// soard's own: a line of JSON for each record.
    Json,
    /// A line of JSON for each record: an OCSF Detection Finding.
    Ocsf,
    /// A line of ArcSight's Common Event Format for each record.
    Cef,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Ocsf, Self::Cef];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ocsf => "ocsf",
            Self::Cef => "cef",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text with `*` for anything, compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl Pattern {
    /// Of this text.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase().split('*').map(str::to_owned).collect())
    }

    /// Whether all of the text is as the pattern says.
    pub fn fits(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let [first, middle @ .., last] = self.0.as_slice() else { return self.0.first() == Some(&text) };
        let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        middle.iter().all(|part| match rest.find(part.as_str()) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, fits) in [
            ("PortScan", "portscan", true),
            ("PortScan", "PortScans", false),
            ("Port*", "PortScan", true),
            ("*scan", "PortScan", true),
            ("P*t*n", "PortScan", true),
            ("P*s*t*n", "PortScan", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }
}
