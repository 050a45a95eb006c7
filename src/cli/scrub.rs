//! Text from alerts on its way to a terminal. Nothing in it may move the cursor, change colours, set titles,
//! reverse the reading order or hide: what could is shown as `\u{…}`.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longest text that is shown, in characters.
pub const TEXT_CHARS_MAX: usize = 8000;

/// Marks over one letter that are shown; more would run into the lines above.
const MARKS_MAX: usize = 3;

/// The text on one line.
pub fn line(text: &str) -> String {
    clean(text, |c| if matches!(c, '\n' | '\r' | '\t') { Some(' ') } else { None })
}

/// The text with its own line ends.
pub fn block(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    clean(&text, |c| match c {
        '\n' => Some('\n'),
        '\t' => Some(' '),
        _ => None,
    })
}

/// JSON text: what could do harm stands within strings, where JSON has escapes of its own.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_harmful(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The text, or as much of its beginning as fits, with an ellipsis.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > room {
            break;
        }
        room -= wide;
        out.push(c);
    }
    out.push('…');
    out
}

fn clean(text: &str, own: impl Fn(char) -> Option<char>) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_CHARS_MAX));
    let mut marks = 0;
    for (at, c) in text.chars().enumerate() {
        if at >= TEXT_CHARS_MAX {
            out.push('…');
            break;
        }
        if let Some(c) = own(c) {
            out.push(c);
        } else if is_harmful(c) {
            out.extend(c.escape_unicode());
        } else {
            marks = if c.width() == Some(0) { marks + 1 } else { 0 };
            if marks <= MARKS_MAX {
                out.push(c);
            }
        }
    }
    out
}

/// Control characters (C0, DEL, C1), reordering and invisible ones.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_passes() {
        let hostile = "a\x1b[31mred\x1b]0;title\x07\u{9b}2J\u{202e}gpj.exe\u{2066}\u{200b}\u{e0041}\r\nb\x7f\tc";
        for text in [line(hostile), block(hostile), json(hostile)] {
            assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
        }
        assert_eq!(line("a\x1b[31m\r\nb"), "a\\u{1b}[31m  b");
        assert_eq!(block("a\r\nb\x1b"), "a\nb\\u{1b}");
    }

    #[test]
    fn scrubbed_json_means_the_same() {
        let value = serde_json::json!({ "title": "\u{9b}2J \u{202e}x\u{e0041} \x1b[0m é" });
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains(r"\u009b2J \u202ex\udb40\udc41 \u001b[0m é"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn long_and_towering_text_stays_small() {
        assert_eq!(line(&"x".repeat(100_000)).chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(line(&format!("e{}", "\u{301}".repeat(500))).chars().count(), 1 + MARKS_MAX);
        assert_eq!(cut("日本語テキスト", 7), "日本語…");
        assert_eq!(cut("short", 5), "short");
    }
}
