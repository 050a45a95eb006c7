//! Alerts as other systems read them. Pure: a row of the index or a record of an export in, a line of text out.

pub mod cef;
pub mod ocsf;
pub mod record;
mod text;

use crate::domain::export::Format;
use crate::export::record::Record;

/// A record on one line, without its end. One that would be longer than `bytes_max` tells only the most important, and says so.
pub fn line(record: &Record, format: Format, bytes_max: Option<usize>) -> String {
    let whole = written(record, format);
    let Some(most) = bytes_max.filter(|most| whole.len() > *most) else { return whole };
    let shorter = written(&text::shortened(record), format);
    if shorter.len() <= most { shorter } else { written(&text::shortest(record), format) }
}

fn written(record: &Record, format: Format) -> String {
    match format {
        // Maps with text for keys, numbers and texts: there is nothing that JSON cannot say.
        Format::Json => text::json(&serde_json::to_string(record).unwrap_or_default()),
        Format::Ocsf => text::json(&ocsf::of(record).to_string()),
        Format::Cef => cef::line(record),
    }
}
