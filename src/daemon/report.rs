//! What the daemon reports of itself: plain data, sent over the control socket.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::actions::trial::Stage;
use crate::domain::effect::EffectKey;
use crate::domain::hold::Hold;
use crate::domain::id::AlertId;
use crate::domain::operator::Order;

/// Everything `soard status` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DaemonStatus")]
pub struct Status {
    /// Version of soard.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When the daemon was started.
    pub started: Timestamp,
    /// How long ago that was, in seconds.
    pub uptime_secs: u64,
    /// The state folder.
    pub state_dir: String,
    /// The bundle in charge.
    pub bundle: BundleReport,
    /// The bundle that was refused since, if the last reload failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_bundle: Option<RefusedBundle>,
    /// The journal.
    pub journal: JournalReport,
    /// The index of alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexReport>,
    /// Every source, by name.
    pub sources: Vec<SourceReport>,
    /// Every destination, by name.
    pub destinations: Vec<DestinationReport>,
    /// Every export, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<ExportReport>,
    /// The alerts on record.
    pub alerts: AlertCounts,
    /// Totals since the journal began, by name.
    pub totals: BTreeMap<String, u64>,
    /// Runs that have not ended.
    pub runs_open: u64,
    /// So many runs are open that no new alerts are taken.
    #[serde(default)]
    pub runs_full: bool,
    /// Stalled runs that wait for an operator.
    #[serde(default)]
    pub runs_stalled: u64,
    /// The processes that evaluate playbooks.
    #[serde(default)]
    pub workers: WorkersReport,
    /// Groups that have not closed.
    pub groups_open: u64,
    /// Operators' silences that hold.
    #[serde(default)]
    pub silences_active: u64,
    /// Approvals that wait for somebody.
    #[serde(default)]
    pub approvals_open: u64,
    /// What operators keep from going out.
    #[serde(default)]
    pub on_hold: HoldsReport,
    /// Records in quarantine.
    pub quarantined: u64,
    /// Effects that ended without success and can be sent again.
    #[serde(default)]
    pub dead_letters: u64,
    /// Inputs that wait to be decided.
    pub queue_depth: u64,
}

/// A key that signs the journal from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyReport {
    /// Its public half.
    pub verifier: String,
    /// The one that signed before.
    pub replaces: String,
}

/// The processes that evaluate playbooks, since the daemon was started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkersReport {
    /// Running now; they start on first use and stop when idle.
    pub running: u64,
    /// Started so far.
    pub started: u64,
    /// Brought down by a playbook.
    pub died: u64,
    /// Ended since a batch took longer than the quick lane gives: what was late went on in the slow lane.
    #[serde(default)]
    pub late: u64,
    /// Protections that this system does not give them.
    pub lacks: Vec<String>,
}

/// What is on hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HoldsReport {
    /// The holds that are on, the oldest first.
    pub holds: Vec<Hold>,
    /// Webhooks and mails that wait for them.
    pub waiting: u64,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderReport {
    /// Sequence number of its entry; absent when it was only asked whether it could be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What is done.
    pub order: Order,
}

/// What came of an order for many alerts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrdersReport {
    /// What is done, one entry for each alert.
    pub done: Vec<OrderReport>,
    /// The alerts for which nothing is done.
    pub refused: Vec<NotOrdered>,
}

/// An alert for which nothing is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotOrdered {
    /// Which.
    pub alert: AlertId,
    /// Why.
    pub why: String,
}

/// A bundle that is in charge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BundleReport {
    /// SHA-256 over its files, in hex.
    pub id: String,
    /// The git commit, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When it took over.
    pub loaded_at: Timestamp,
    /// How many rules, formats and playbooks.
    pub counts: BTreeMap<String, usize>,
}

/// A bundle that did not pass its check; the one before stays in charge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedBundle {
    /// When it was refused.
    pub at: Timestamp,
    /// Its faults, as a person reads them.
    pub faults: Vec<String>,
}

/// How the journal stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JournalReport {
    /// Sequence number of the last entry.
    pub seq: u64,
    /// Its hash, in hex.
    pub hash: String,
    /// There is room for new alerts; without it they are refused, and only results are written.
    pub room: bool,
    /// Entries that wait for a full disk; 0 unless it is full.
    #[serde(default)]
    pub waiting: u64,
    /// What keeps segments from being dropped that `keep` or `size` would drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<KeptBy>,
    /// The clock leapt, and nothing is dropped for its age by the new time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leap: Option<LeapReport>,
    /// Seconds that the time of entries is ahead of the system's clock; 0 when less than a minute.
    #[serde(default)]
    pub ahead_secs: u64,
}

/// The clock went ahead at once, or the daemon was off so long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeapReport {
    /// Where it stood before.
    pub from: Timestamp,
    /// Where it stood next.
    pub to: Timestamp,
    /// Until when ages are judged as if it had not been.
    pub until: Timestamp,
}

/// What keeps segments of the journal from being dropped: it refers to the earliest entry that is still needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptBy {
    /// What kind of thing it is: `run`, `failed_run`, `group`, `effect`, `dead_letter`, `alert`, `quarantined_record` or `export`.
    pub kind: String,
    /// Which.
    pub id: String,
    /// Sequence number of the entry.
    pub entry: u64,
    /// Time of the entry.
    pub since: Timestamp,
    /// How many segments stay for it and for what comes behind it.
    pub segments: u64,
}

/// How the index of alerts stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexReport {
    /// The last entry of the journal that is in it, or in the build under way.
    pub entry: u64,
    /// How many entries it is behind.
    pub behind: u64,
    /// `starting`, `following`, `building` or `failing`.
    pub doing: String,
    /// Why it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An answer of the index, and how far the index is behind the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Indexed{T}")]
pub struct Indexed<T> {
    /// The answer.
    #[serde(flatten)]
    pub answer: T,
    /// Entries of the journal that were not in the index yet.
    #[serde(default)]
    pub behind: u64,
}

/// How a source stands, since the daemon was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceReport {
    /// Its name in `soard.yaml`.
    pub name: String,
    /// `file`, `folder`, `http` or `stdin`.
    pub kind: String,
    /// Records handed over.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records or requests that were turned away.
    pub refused: u64,
    /// Records that their format says are no alerts.
    #[serde(default)]
    pub ignored: u64,
    /// Oddities of records that became alerts all the same, by kind: words that only a fallback took, times that
    /// are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub oddities: BTreeMap<String, u64>,
    /// The last of them, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_oddity: Option<String>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How a destination stands, since the daemon was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationReport {
    /// Its name in `soard.yaml`.
    pub name: String,
    /// `webhook` or `email`.
    pub kind: String,
    /// Attempts under way.
    pub in_flight: u64,
    /// Effects that wait for their turn or for their next attempt.
    pub waiting: u64,
    /// Its breaker is open: it failed, what waits is held back, and one attempt tries it now and then.
    #[serde(default)]
    pub held: bool,
    /// Until when no attempt is made; absent while one is trying the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until: Option<Timestamp>,
    /// Effects that succeeded.
    pub sent: u64,
    /// Effects that did not.
    pub failed: u64,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How an export stands; the counts are since the daemon was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportReport {
    /// Its name in `soard.yaml`.
    pub name: String,
    /// `file`, `http` or `syslog`.
    pub kind: String,
    /// `json`, `ocsf` or `cef`.
    pub format: String,
    /// Everything up to this entry of the journal was taken.
    pub entry: u64,
    /// How many entries follow it.
    pub behind: u64,
    /// For how many seconds the first of them with something to send has waited.
    pub lag_secs: u64,
    /// `starting`, `following`, `sending` or `waiting`.
    pub doing: String,
    /// When the batch that waits is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Timestamp>,
    /// Notices that were taken.
    pub sent: u64,
    /// Attempts that were not.
    pub failed: u64,
    /// Attempts in a row that were not.
    pub failing: u64,
    /// Entries that retention dropped before they were exported.
    pub missed: u64,
    /// How often it went back because the journal was another one than it had read.
    pub set_back: u64,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The snapshot that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotReport>,
}

/// A snapshot that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotReport {
    /// The entry as of which it was taken.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// How many alerts it has.
    pub alerts: u64,
    /// How many of them were taken.
    pub taken: u64,
}

/// What a peer said to one marked message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialReport {
    /// Name of the destination or of the export.
    pub destination: String,
    /// `webhook` or `email`; of an export `file`, `http` or `syslog`.
    pub kind: String,
    /// Sequence number of the entry that ordered it.
    pub seq: u64,
    /// The message's key, by which the peer knows it.
    pub key: EffectKey,
    /// Every stage went well.
    pub good: bool,
    /// The stages, in order; the first that goes wrong is the last, but for recipients, of whom each is told.
    pub stages: Vec<Stage>,
}

/// How many alerts are on record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertCounts {
    /// All.
    pub total: u64,
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// By severity.
    pub by_severity: BTreeMap<String, u64>,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadReport {
    /// The bundle passed its check and is in charge; otherwise the one before stays.
    pub loaded: bool,
    /// The bundle in charge now.
    pub bundle: BundleReport,
    /// Faults, as a person reads them: errors when it was refused, else warnings.
    pub faults: Vec<String>,
}

/// What came of an order to send effects again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResendReport {
    /// Those that are sent again.
    pub again: Vec<EffectKey>,
    /// Those that are not.
    pub refused: Vec<NotResent>,
}

/// An effect that is not sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotResent {
    /// Which.
    pub key: EffectKey,
    /// Why.
    pub why: String,
}

/// What came of sending a quarantined record through again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetryReport {
    /// Ordinal of the quarantined record.
    pub record_no: u64,
    /// The format that took it this time.
    pub format: String,
    /// The alerts that it gave.
    pub alerts: Vec<AlertId>,
}
