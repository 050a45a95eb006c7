//! Printing: human text with colours on a terminal, or JSON.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::fault::Fault;
use crate::cli::scrub;
use crate::daemon::clock;
use crate::domain::alert::{Severity, Status};
use crate::domain::time::Span;

/// What needs attention.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What may need attention.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Names to look for.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// Headings.
pub const BOLD: Style = Style::new().bold();
/// What is there for completeness.
pub const FAINT: Style = Style::new().dimmed();

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
    /// For spreadsheets; lists of alerts only.
    Csv,
}

/// What human output depends on.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Now, for "3m ago".
    pub now: Timestamp,
    /// Cells in a line.
    pub width: usize,
}

impl Look {
    /// As the terminal has it. Pipes get whole lines.
    pub fn of_terminal() -> Self {
        let width = if io::stdout().is_terminal() { terminal_size::terminal_size() } else { None };
        let width = width.map_or(PIPE_WIDTH, |(width, _)| usize::from(width.0));
        Self { now: clock::now(), width: width.max(60) }
    }
}

/// Wide enough for every row of a list.
const PIPE_WIDTH: usize = 400;

/// Prints to stdout; colours only reach a terminal.
pub fn print(text: &str) -> Result<(), Fault> {
    if cfg!(test) {
        // Only the macro's output is captured with its test.
        anstream::println!("{text}");
        return Ok(());
    }
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Prints a line to stderr.
pub fn note(text: &str) {
    if cfg!(test) {
        anstream::eprintln!("{text}");
        return;
    }
    // There is nobody left to tell when stderr is closed.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Whoever read our output has read enough.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The value as indented JSON that is safe to show.
pub fn json(value: &impl Serialize) -> String {
    scrub::json(&serde_json::to_string_pretty(value).expect("views are plain data with string keys"))
}

/// The value as JSON on one line that is safe to show.
pub fn json_line(value: &impl Serialize) -> String {
    scrub::json(&serde_json::to_string(value).expect("views are plain data with string keys"))
}

/// The value in a style.
pub fn styled(style: Style, value: impl Display) -> String {
    format!("{style}{value}{style:#}")
}

/// How a severity looks.
pub const fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::High => BAD,
        Severity::Medium => WARN,
        Severity::Low => NAME,
        Severity::Informational => FAINT,
    }
}

/// How a status looks.
pub const fn status_style(status: Status) -> Style {
    match status {
        Status::Active => BOLD,
        Status::InProgress => NAME,
        Status::Resolved => GOOD,
        Status::Dismissed => FAINT,
    }
}

/// The instant in UTC, to the second.
pub fn when(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// The instant, and how long ago or ahead that is.
pub fn when_ago(at: Timestamp, look: &Look) -> String {
    format!("{at:.0} ({})", ago(at, look))
}

/// How long ago or ahead, in its largest unit.
pub fn ago(at: Timestamp, look: &Look) -> String {
    let secs = look.now.duration_since(at).as_secs();
    match secs {
        0 => "now".to_owned(),
        1.. => format!("{} ago", largest_unit(secs.unsigned_abs())),
        _ => format!("in {}", largest_unit(secs.unsigned_abs())),
    }
}

/// A length of time in its largest unit.
pub fn largest_unit(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..86_400 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// How long something took.
pub fn took(from: Timestamp, until: Timestamp) -> String {
    let duration = until.duration_since(from).max(SignedDuration::ZERO);
    match duration.as_millis() {
        millis @ 0..10_000 => Span::from_millis(u64::try_from(millis).unwrap_or_default()).to_string(),
        _ => Span::from_secs(duration.as_secs().unsigned_abs()).to_string(),
    }
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// `1 alert`, `2 alerts`.
pub fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// A beginning of a hash or commit that people recognise.
pub fn short_hash(hash: &str) -> String {
    scrub::line(hash).chars().take(7).collect()
}

/// A point in time as people give it: an instant, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Since this instant.
    At(Timestamp),
    /// Since this long ago.
    Ago(Span),
}

impl std::str::FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let span: Result<Span, _> = text.parse();
        span.map(Self::Ago).map_err(|bad| format!("{bad}, or an instant such as 2026-11-22T03:00:00Z"))
    }
}

impl Since {
    /// The instant that it means now.
    pub fn instant(self, look: &Look) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => {
                let ago = SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX);
                look.now.checked_sub(ago).unwrap_or(Timestamp::MIN)
            }
        }
    }
}

/// An error with its causes on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
