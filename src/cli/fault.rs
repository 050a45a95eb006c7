//! How a command ends: well, with nothing, or with an error, its cause and a hint.

use std::fmt;
use std::process::ExitCode;

use crate::cli::output;
use crate::cli::scrub;

/// How a command that could run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Good,
    /// It found nothing, or what it checked is not as it should be.
    Nothing,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Good => Self::SUCCESS,
            Exit::Nothing => Self::from(1),
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Fault {
    error: anyhow::Error,
    hint: Option<String>,
    code: u8,
}

impl Fault {
    /// The command could not run.
    pub fn new(error: impl fmt::Display) -> Self {
        Self { error: anyhow::anyhow!("{error}"), hint: None, code: 2 }
    }

    /// What was asked for is not there.
    pub fn nothing(what: impl fmt::Display) -> Self {
        Self { code: 1, ..Self::new(what) }
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.error = cause.into().context(self.error.to_string());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says on stderr what went wrong.
    pub fn report(&self) -> ExitCode {
        if output::is_broken_pipe(&self.error) {
            return ExitCode::SUCCESS;
        }
        output::note(&self.text());
        ExitCode::from(self.code)
    }

    /// The error, its causes and the hint.
    pub fn text(&self) -> String {
        let mut text = format!("{}error:{:#} {}", output::BAD, output::BAD, scrub::line(&self.error.to_string()));
        for cause in self.error.chain().skip(1) {
            text.push_str(&format!("\n  because: {}", scrub::line(&cause.to_string())));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n{}hint:{:#} {}", output::GOOD, output::GOOD, scrub::line(hint)));
        }
        text
    }
}

impl<E: Into<anyhow::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self { error: error.into(), hint: None, code: 2 }
    }
}
