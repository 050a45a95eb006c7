//! How far something is that takes long, on one line of a terminal.

use std::io::{self, IsTerminal, Write};

/// Cells of the bar.
const CELLS: usize = 30;

/// A bar on stderr; nothing where that is no terminal.
#[derive(Debug)]
pub struct Bar {
    what: &'static str,
    shown: Option<u64>,
}

impl Bar {
    /// Counts these.
    pub fn new(what: &'static str) -> Self {
        Self { what, shown: None }
    }

    /// So many of so many are done.
    pub fn show(&mut self, done: u64, of: u64) {
        let percent = done.min(of) * 100 / of.max(1);
        if !io::stderr().is_terminal() || self.shown == Some(percent) {
            return;
        }
        self.shown = Some(percent);
        let full = CELLS * usize::try_from(percent).unwrap_or_default() / 100;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(CELLS - full));
        // There is nobody left to tell when stderr is closed.
        let _ = write!(io::stderr(), "\r{bar} {percent:>3} % of {of} {}", self.what);
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
