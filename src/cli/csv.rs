//! Values separated by commas, for spreadsheets.

use crate::cli::scrub;

/// A head line, and a line for each row.
pub fn lines<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    head.join(",") + "\n" + &body(rows)
}

/// A line for each row.
pub fn body<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&row.map(|value| cell(&value)).join(","));
        text.push('\n');
    }
    text
}

/// One value: scrubbed, quoted where it must be, and never a formula, since alerts say what attackers want them to say.
fn cell(text: &str) -> String {
    let text = scrub::line(text);
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_values() {
        for (text, written) in [
            ("plain", "plain"),
            ("a, \"b\"", "\"a, \"\"b\"\"\""),
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("@x", "'@x"),
            ("a\nb\x1b", "a b\\u{1b}"),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
