//! Characters that do harm where people read one line: in a question, a subject, a name.

/// What breaks a line or a protocol: C0 and C1 controls and Unicode's line and paragraph separators.
pub fn breaks_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// What makes text read differently than it is written: directional embeddings, overrides and isolates, and what nobody sees.
///
/// Not these: joiners, which scripts and emoji need, and marks of direction, which move no letter. [`is_unseen`] has them.
pub fn is_disguise(c: char) -> bool {
    matches!(c,
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{206A}'..='\u{206F}'
        | '\u{200B}' | '\u{2060}'..='\u{2065}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}' | '\u{3164}' | '\u{FFA0}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// All that, and what has no place in one line that people judge by: joiners and marks of direction.
pub fn is_unseen(c: char) -> bool {
    is_disguise(c) || matches!(c, '\u{200C}'..='\u{200F}' | '\u{061C}')
}

/// One line: runs of controls and white space become one space, and nothing is left that hides or turns text.
pub fn one_line(text: &str) -> String {
    let seen = text.chars().filter(|c| !is_unseen(*c));
    let spaced: String = seen.map(|c| if breaks_line(c) { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_one_line_and_reads_as_it_is_written() {
        let evil =
            "a\r\nb\u{85}c\u{2028}d\u{2029}e\u{202E}f\u{2066}g\0h\u{200B}i\u{200F}j\u{061C}k\u{AD}l\u{E0041}m\tn";
        assert_eq!(one_line(evil), "a b c d efg hijklm n");
        assert_eq!(one_line(" Grüße \u{a0} 🚨 日本語 "), "Grüße 🚨 日本語");
    }
}
