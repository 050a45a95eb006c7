//! `soard quarantine retry`.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::access::spoken;
use crate::cli::client::{Client, ClientError};
use crate::cli::fault::{Exit, Fault};
use crate::cli::output::{BAD, GOOD, Look, styled};
use crate::cli::plain::safe;
use crate::console::shared::Comment;
use crate::daemon::report::RetryReport;

/// Send quarantined records through again, once a format takes them
///
/// Each passes all stages like a new record. One that fails again stays in quarantine; then the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard quarantine retry 17\n  soard quarantine retry 17 18 19\n  \
                        soard quarantine list -q --source defender | xargs soard quarantine retry")]
pub struct Args {
    /// Numbers of the records
    #[arg(value_name = "RECORD", required = true)]
    records: Vec<u64>,
    /// Why; it stands in the journal beside your name
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
}

/// What came of one record.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Retry {
    record_no: u64,
    /// What it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<RetryReport>,
    /// Why it stays in quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Args {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let daemon = context.daemon()?;
        let retries = self.records.iter().map(|record_no| retry(&daemon, *record_no, &self.comment));
        let retries: Vec<Retry> = retries.collect::<Result<_, Fault>>()?;
        context.print(&retries, |retries, look| human(retries, look))?;
        Ok(if retries.iter().all(|retry| retry.error.is_none()) { Exit::Good } else { Exit::Nothing })
    }
}

fn retry(daemon: &Client, record_no: u64, why: &str) -> Result<Retry, Fault> {
    let why = Comment { comment: why.to_owned() };
    match daemon.send(&format!("/quarantine/{record_no}/retry"), &why) {
        Ok(report) => Ok(Retry { record_no, report: Some(report), error: None }),
        Err(ClientError::Refused { status, error }) if matches!(status.as_u16(), 404 | 409) => {
            Ok(Retry { record_no, report: None, error: Some(error) })
        }
        Err(error) => Err(spoken(error)),
    }
}

pub(in crate::cli) fn human(retries: &[Retry], _: &Look) -> String {
    let lines = retries.iter().map(|Retry { record_no, report, error }| match (report, error) {
        (Some(report), _) => {
            let alerts: Vec<String> = report.alerts.iter().map(ToString::to_string).collect();
            let alerts = if alerts.is_empty() { "no alerts".to_owned() } else { alerts.join(", ") };
            format!("record {record_no}  {}: {} gave {alerts}\n", styled(GOOD, "taken"), safe(&report.format))
        }
        (None, error) => {
            let error = safe(error.as_deref().unwrap_or("for no known reason"));
            format!("record {record_no}  {}: {error}\n", styled(BAD, "stays in quarantine"))
        }
    });
    lines.collect()
}
