//! Alerts as other systems read them. Pure: a row of the index or a notice of an export in, a line of text out.

pub mod cef;
pub mod notice;
pub mod ocsf;
mod text;

use crate::domain::export::Format;
use crate::export::notice::Notice;

/// A notice on one line, without its end. One that would be longer than `bytes_max` tells only the most important, and says so.
pub fn line(notice: &Notice, format: Format, bytes_max: Option<usize>) -> String {
    let whole = written(notice, format);
    let Some(most) = bytes_max.filter(|most| whole.len() > *most) else { return whole };
    let shorter = written(&text::shortened(notice), format);
    if shorter.len() <= most { shorter } else { written(&text::shortest(notice), format) }
}

fn written(notice: &Notice, format: Format) -> String {
    match format {
        // Maps with text for keys, numbers and texts: there is nothing that JSON cannot say.
        Format::Json => text::json(&serde_json::to_string(notice).unwrap_or_default()),
        Format::Ocsf => text::json(&ocsf::of(notice).to_string()),
        Format::Cef => cef::line(notice),
    }
}
