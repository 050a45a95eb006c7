//! Limits on what an alert carries, and texts made fit for one line.

use serde_json::{Map, Value};

use crate::rules::normalise::NoteKind;
use crate::rules::normalise::path::{Found, Reading, scalar_text};

/// Most characters of a title.
pub const TITLE_CHARS_MAX: usize = 512;
/// Most bytes of a description.
pub const DESCRIPTION_BYTES_MAX: usize = 32 * 1024;
/// Most bytes of any other text of an alert, and of a property of an entity.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Most items of a list of an alert.
pub const ITEMS_MAX: usize = 256;
/// Most entities of an alert, of all types together.
pub const ENTITIES_MAX: usize = 256;
/// Most bytes of `extended`, as JSON.
pub const EXTENDED_BYTES_MAX: usize = 64 * 1024;

/// The first of the values, as one line; control and direction signs become spaces.
pub fn line(found: &Found<'_>, bytes_max: usize, reading: &Reading<'_>) -> Option<String> {
    let text = first_text(found, reading)?;
    let clean = clean_line(&text);
    (!clean.is_empty()).then(|| limited(clean, bytes_max, reading))
}

/// The first of the values, as text of several lines; other control signs become spaces.
pub fn paragraph(found: &Found<'_>, bytes_max: usize, reading: &Reading<'_>) -> Option<String> {
    let text = first_text(found, reading)?;
    if is_plain(&text, true) {
        let clean = text.trim();
        return (!clean.is_empty()).then(|| limited(clean.into(), bytes_max, reading));
    }
    let text = text.replace("\r\n", "\n");
    let clean: String = text.chars().map(|c| if is_unseen(c) && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| limited(clean.into(), bytes_max, reading))
}

/// All values as lines, each once (whatever its case), in their order.
pub fn lines(found: &Found<'_>, reading: &Reading<'_>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in found.items() {
        let Some(text) = scalar_text(item) else {
            reading.note(NoteKind::WrongType, &item.to_string());
            continue;
        };
        let clean = clean_line(&text);
        if clean.is_empty() || lines.iter().any(|line| line.eq_ignore_ascii_case(&clean)) {
            continue;
        }
        if lines.len() == ITEMS_MAX {
            reading.note(NoteKind::Truncated, &format!("more than {ITEMS_MAX} items"));
            break;
        }
        lines.push(limited(clean, VALUE_BYTES_MAX, reading));
    }
    lines
}

/// A text cut at a limit, at a character's boundary, with `…` as its end.
pub fn limited(mut text: String, bytes_max: usize, reading: &Reading<'_>) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    reading.note(NoteKind::Truncated, &format!("{} bytes, at most {bytes_max} kept", text.len()));
    let mut end = bytes_max - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('…');
    text
}

/// The title's own limit counts characters.
pub fn title(found: &Found<'_>, reading: &Reading<'_>) -> Option<String> {
    let clean = clean_line(&first_text(found, reading)?);
    if clean.is_empty() {
        return None;
    }
    if clean.chars().count() <= TITLE_CHARS_MAX {
        return Some(clean);
    }
    reading.note(NoteKind::Truncated, &format!("at most {TITLE_CHARS_MAX} characters kept"));
    Some(clean.chars().take(TITLE_CHARS_MAX - 1).chain(['…']).collect())
}

/// Leaves out what is past the limit of `extended`, the last names first.
pub fn limit_extended(mut extended: Map<String, Value>, reading: &Reading<'_>) -> Map<String, Value> {
    let mut bytes = 0;
    let sizes = extended.iter().map(|(name, value)| (name.clone(), name.len() + value.to_string().len()));
    for (name, size) in sizes.collect::<Vec<_>>() {
        bytes += size;
        if bytes > EXTENDED_BYTES_MAX {
            reading.note(NoteKind::Truncated, &name);
            extended.remove(&name);
        }
    }
    extended
}

fn first_text(found: &Found<'_>, reading: &Reading<'_>) -> Option<String> {
    let mut wrong = None;
    for item in found.items() {
        match scalar_text(item) {
            Some(text) => return Some(text.into_owned()),
            None => wrong = Some(item),
        }
    }
    if let Some(item) = wrong {
        reading.note(NoteKind::WrongType, &item.to_string());
    }
    None
}

fn clean_line(text: &str) -> String {
    if is_plain(text, false) {
        return text.trim().into();
    }
    let spaced: String = text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    spaced.trim().into()
}

/// Nothing but printable ASCII, with line ends and tabs where there may be lines: there is nothing to clean. Written
/// without an early end, so that it takes many bytes at a time.
fn is_plain(text: &str, has_lines: bool) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') | (has_lines & matches!(byte, b'\n' | b'\t'));
    text.bytes().fold(true, |plain, byte| plain & is_plain(byte))
}

/// Signs that move the cursor, end a line or turn the direction of writing, and so make a line show what it is not.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_shows_what_it_is() {
        let reading = Reading::default();
        let found = |text: &str| Found::One(Cow::Owned(json!(text)));
        assert_eq!(title(&found("a\u{0}b\r\nc\u{202E}d\u{1b}[1m "), &reading).unwrap(), "a b  c d [1m");
        assert_eq!(paragraph(&found("a\r\nb\u{7}\tc"), 99, &reading).unwrap(), "a\nb \tc");
        assert_eq!(title(&found("\u{0}\n"), &reading), None);
        let long = title(&found(&"ü".repeat(600)), &reading).unwrap();
        assert_eq!((long.chars().count(), long.ends_with('…')), (512, true));
        let cut = limited("ü".repeat(600), 100, &reading);
        assert!(cut.len() <= 100 && cut.ends_with('…'));
        assert_eq!(reading.notes.borrow().len(), 2);
    }
}
