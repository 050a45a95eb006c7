//! Cleans text from alerts before it goes into a header, a subject or a mail.

use crate::domain::text::{breaks_line, is_disguise, one_line};

/// One line of at most `chars_max` characters: runs of controls and white space become one space.
pub fn line(text: &str, chars_max: usize) -> String {
    cut(one_line(text), chars_max)
}

/// Text of several lines, each ended by `\n`, of at most `chars_max` characters.
pub(super) fn block(text: &str, chars_max: usize) -> String {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    let kept = text.chars().filter(|c| !is_disguise(*c) && (!breaks_line(*c) || matches!(c, '\n' | '\t')));
    cut(kept.collect(), chars_max)
}

/// The text, or its beginning and `…`.
pub(super) fn cut(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => {
            let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn error_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.ends_with(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    line(&text, 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_an_alert_breaks_a_line_or_turns_it_around() {
        let evil = "a\r\nBcc: x\u{85}b\u{2028}c\u{2029}d\u{202E}gpj\u{2066}\0e\u{7}";
        assert_eq!(line(evil, 100), "a Bcc: x b c dgpj e");
        assert_eq!(block("a\r\nb\rc\u{85}d\te\0\u{1b}[0m", 100), "a\nb\nc\nd\te[0m");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("Grüße 🚨", 100), "Grüße 🚨");
    }
}
