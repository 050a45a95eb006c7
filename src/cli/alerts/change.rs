//! `soard alerts set-status`, `comment`, `tag`, `assign` and `feedback`: each alert gets an entry with who, when and why.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::Context;
use crate::cli::alerts::order::{How, Which};
use crate::cli::fault::{Exit, Fault};
use crate::console::alerts::Want;
use crate::domain::alert::Status;
use crate::domain::triage::{AlertChange, CloseReason, FeedbackReason};

/// Say where alerts stand
///
/// It counts more than what the source says, until the alert's severity rises. `resolved` and `dismissed` need a reason:
/// `true_positive`, `benign` (it was meant to be), `false_positive`, or `other` with a comment.
///
/// More than 20 alerts need --yes. Exits with 1 when something was not done for some alert.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    soard alerts set-status a-1042.0 in_progress\n  \
    soard alerts set-status a-1042.0 a-1043.0 dismissed --reason benign -c \"the nightly backup\"\n  \
    soard alerts list -q --source scanner | soard alerts set-status - dismissed --reason false_positive --dry-run")]
pub struct SetStatus {
    /// Alerts; `-` reads their ids from standard input
    #[arg(value_name = "ID", required = true)]
    alerts: Vec<Which>,
    /// Where they stand
    #[arg(value_name = "STATUS", value_parser = statuses(), required = true)]
    status: Status,
    /// What they turned out to be
    #[arg(long, value_name = "REASON", value_parser = close_reasons())]
    reason: Option<CloseReason>,
    /// Why, for the journal
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
    #[command(flatten)]
    how: How,
}

/// Comment on alerts
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard alerts comment a-1042.0 -c \"asked the owner of web-01\"")]
pub struct Comment {
    /// Alerts; `-` reads their ids from standard input
    #[arg(value_name = "ID", required = true)]
    alerts: Vec<Which>,
    /// The comment
    #[arg(short, long, value_name = "TEXT")]
    comment: String,
    #[command(flatten)]
    how: How,
}

/// Add and remove tags
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard alerts tag a-1042.0 --add vip --add ransomware --remove new")]
pub struct Tag {
    /// Alerts; `-` reads their ids from standard input
    #[arg(value_name = "ID", required = true)]
    alerts: Vec<Which>,
    /// A tag that they have from now on
    #[arg(long, value_name = "TAG", required_unless_present = "remove")]
    add: Vec<String>,
    /// A tag that they have no more
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
    /// Why, for the journal
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
    #[command(flatten)]
    how: How,
}

/// Say who looks after alerts
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard alerts assign a-1042.0 --to ann\n  soard alerts assign a-1042.0 --nobody")]
pub struct Assign {
    /// Alerts; `-` reads their ids from standard input
    #[arg(value_name = "ID", required = true)]
    alerts: Vec<Which>,
    /// This person or team
    #[arg(long, value_name = "WHO", required_unless_present = "nobody")]
    to: Option<String>,
    /// Nobody any more
    #[arg(long, conflicts_with = "to")]
    nobody: bool,
    /// Why, for the journal
    #[arg(short, long, value_name = "WHY", default_value = "", hide_default_value = true)]
    comment: String,
    #[command(flatten)]
    how: How,
}

/// Say whether alerts were worth raising
///
/// For whoever tunes the product and the rules. Reasons of useful ones: `led_to_action`, `gave_context`; of those that
/// were not: `false_positive`, `expected`, `duplicate`, `too_many`, `lacks_detail`; of both: `other`, with a comment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  soard alerts feedback a-1042.0 useful --reason led_to_action\n  \
                        soard alerts feedback a-1042.0 not-useful --reason too_many -c \"twice an hour\"")]
pub struct Feedback {
    /// Alerts; `-` reads their ids from standard input
    #[arg(value_name = "ID", required = true)]
    alerts: Vec<Which>,
    /// Whether they were
    #[arg(value_name = "VERDICT", value_enum, required = true)]
    verdict: Verdict,
    /// In what way
    #[arg(long, value_name = "REASON", value_parser = feedback_reasons())]
    reason: Option<FeedbackReason>,
    /// More about it, for the journal
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verdict {
    Useful,
    NotUseful,
}

fn statuses() -> impl TypedValueParser<Value = Status> {
    let words = PossibleValuesParser::new(Status::ALL.map(Status::as_str));
    words.map(|word| word.parse().expect("clap lets only the statuses pass"))
}

fn close_reasons() -> impl TypedValueParser<Value = CloseReason> {
    let words = PossibleValuesParser::new(CloseReason::ALL.map(CloseReason::as_str));
    words.map(|word| word.parse().expect("clap lets only the reasons pass"))
}

fn feedback_reasons() -> impl TypedValueParser<Value = FeedbackReason> {
    let words = PossibleValuesParser::new(FeedbackReason::ALL.map(FeedbackReason::as_str));
    words.map(|word| word.parse().expect("clap lets only the reasons pass"))
}

impl SetStatus {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let change = AlertChange::Status { to: self.status, reason: self.reason };
        self.how.order(context, &self.alerts, &Want::Change(change), &self.comment)
    }
}

impl Comment {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        self.how.order(context, &self.alerts, &Want::Change(AlertChange::Comment), &self.comment)
    }
}

impl Tag {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let change = AlertChange::Tags { add: self.add.clone(), remove: self.remove.clone() };
        self.how.order(context, &self.alerts, &Want::Change(change), &self.comment)
    }
}

impl Assign {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let change = AlertChange::Assign { to: self.to.clone() };
        self.how.order(context, &self.alerts, &Want::Change(change), &self.comment)
    }
}

impl Feedback {
    pub(super) fn run(&self, context: &Context) -> Result<Exit, Fault> {
        let change = AlertChange::Feedback { useful: self.verdict == Verdict::Useful, reason: self.reason };
        self.how.order(context, &self.alerts, &Want::Change(change), &self.comment)
    }
}
