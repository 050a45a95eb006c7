//! Texts of notices: shortened where a peer takes only so much, and without what breaks lines.

use crate::export::notice::{Change, Notice};
use crate::index::row::Row;

/// Characters of each text in a notice that is shortened once.
const CHARS_MAX: usize = 200;

/// Characters of each text in one that is shortened as far as it goes.
const CHARS_LEAST: usize = 60;

/// Changes, names of entities of each type and items of lists in a shortened notice.
const ITEMS_MAX: usize = 3;

/// The notice without long texts and long lists.
pub(super) fn shortened(notice: &Notice) -> Notice {
    let mut short = cut(notice, CHARS_MAX);
    if let Some(row) = &mut short.alert {
        row.entities.values_mut().for_each(|names| names.truncate(ITEMS_MAX));
        for list in [&mut row.tags, &mut row.source_tags, &mut row.tactics, &mut row.techniques, &mut row.routes] {
            list.truncate(ITEMS_MAX);
        }
        row.resources.truncate(ITEMS_MAX);
        row.runs.truncate(ITEMS_MAX);
        row.entities.values_mut().flatten().for_each(|name| *name = begin(name, CHARS_LEAST));
    }
    short
}

/// The notice with which alert it is about, what kind it is of, how bad it is and where it stands.
pub(super) fn shortest(notice: &Notice) -> Notice {
    let mut short = cut(notice, CHARS_LEAST);
    if let Some(row) = &mut short.alert {
        **row = Row {
            entities: Default::default(),
            tags: Vec::new(),
            source_tags: Vec::new(),
            tactics: Vec::new(),
            techniques: Vec::new(),
            routes: Vec::new(),
            resources: Vec::new(),
            runs: Vec::new(),
            ..Row::clone(row)
        };
    }
    short
}

fn cut(notice: &Notice, chars: usize) -> Notice {
    let mut short = Notice { shortened: true, decision: None, ..notice.clone() };
    let text = |text: &mut String| *text = begin(text, chars);
    short.changes.truncate(ITEMS_MAX);
    for Change { value, actor, comment, .. } in &mut short.changes {
        [value, actor].into_iter().chain(comment).for_each(text);
    }
    if let Some(row) = &mut short.alert {
        row.description = None;
        [&mut row.title, &mut row.source].into_iter().for_each(text);
        let given = [&mut row.kind, &mut row.external_id, &mut row.vendor, &mut row.product, &mut row.resource];
        given.into_iter().flatten().for_each(text);
        row.assignee.iter_mut().for_each(text);
    }
    short
}

/// The text, or its beginning and an ellipsis.
pub(super) fn begin(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a character breaks lines or makes text read differently than it is written: controls, Unicode's line and paragraph separators,
/// directional marks, and marks that nobody sees.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
        || matches!(c, '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// JSON text whose strings escape what is harmful as well, so that a line stays one line to whoever reads it.
pub(super) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}
