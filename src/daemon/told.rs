//! What the sender of a record is answered.

use crate::domain::entry::{Entry, Facts};
use crate::journal::{AppendError, Receipt};
use crate::sources::intake::Answer;

/// What the sender of a record is told, kept until the entry is durable.
pub struct Told {
    record_no: u64,
    alerts: Vec<String>,
    redelivery: bool,
    cause: Option<String>,
}

impl Told {
    /// Of an entry that holds a record.
    pub fn of(entry: &Entry) -> Self {
        match &entry.facts {
            Facts::Intake(intake) => Self {
                record_no: intake.redelivery_of.unwrap_or(intake.record_no),
                alerts: intake.alerts.iter().map(|taken| taken.id.to_string()).collect(),
                redelivery: intake.redelivery_of.is_some(),
                cause: None,
            },
            Facts::Quarantine(quarantine) => Self {
                record_no: quarantine.record_no,
                alerts: Vec::new(),
                redelivery: false,
                cause: Some(quarantine.cause.clone()),
            },
            _ => Self { record_no: 0, alerts: Vec::new(), redelivery: false, cause: None },
        }
    }

    /// Once it is known whether the entry is durable.
    pub fn answer(self, receipt: &Result<Receipt, AppendError>) -> Answer {
        let (seq, hash) = match receipt {
            Ok(receipt) => (receipt.seq, receipt.hash.clone()),
            Err(AppendError::Full(_)) => return Answer::Full,
            Err(_) => return Answer::Stopped,
        };
        let Self { record_no, alerts, redelivery, cause } = self;
        match cause {
            None => Answer::Accepted { seq, hash, record_no, alerts, redelivery },
            Some(cause) => Answer::Quarantined { seq, hash, record_no, cause },
        }
    }
}
