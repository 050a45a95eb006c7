//! Views over a small journal in which everything happens once.

use crate::daemon::query::alert;
use crate::daemon::query::log::{self, LogFilter, LogPage};
use crate::daemon::query::quarantine::{self, QuarantineFilter};
use crate::daemon::query::run;
use crate::daemon::query::runs::{self, RunFilter, RunState};
use crate::daemon::query::story::{self, at, hostile_title, lines};
use crate::daemon::query::why::{Subject, Why, why};
use crate::daemon::query::{LogLine, QueryError, group};
use crate::domain::alert::{Severity, Status};
use crate::domain::entry::{BundleName, Facts, Log};
use crate::domain::id::GroupId;
use crate::index::row::TEXT_CHARS_MAX;

/// The story from one entry to another.
fn journal(from: u64, until: usize) -> Box<dyn Iterator<Item = Result<LogLine, QueryError>>> {
    Box::new(lines().into_iter().take(until).skip(usize::try_from(from).unwrap() - 1))
}

#[test]
fn a_row_keeps_only_the_beginning_of_a_long_title() {
    let hostile = alert::show(&mut lines().into_iter(), "a-6.0".parse().unwrap()).unwrap().unwrap().row;
    assert!(hostile_title().len() > 10_000);
    assert_eq!(hostile.title.chars().count(), TEXT_CHARS_MAX + 1);
}

#[test]
fn a_row_says_where_its_alert_stands() {
    let row = alert::show(&mut lines().into_iter(), "a-1.0".parse().unwrap()).unwrap().unwrap().row;
    assert_eq!((row.count, row.severity, row.status), (4, Severity::High, Status::Active));
    assert_eq!((row.received, row.last_seen), (at(1), at(30)));
    assert_eq!(row.resource.as_deref(), Some("web-01"));
    let row = alert::show(&mut lines().into_iter(), "a-10.0".parse().unwrap()).unwrap().unwrap().row;
    assert_eq!(row.runs, ["g-1/chat".parse().unwrap()]);
    let row = alert::show(&mut lines().into_iter(), "a-5.0".parse().unwrap()).unwrap().unwrap().row;
    assert_eq!(row.suppressed_by.map(|rule| rule.id).as_deref(), Some("scanner"));
}

#[test]
fn an_alert_shows_decisions_runs_changes_and_its_raw_part() {
    let view = alert::show(&mut lines().into_iter(), "a-1.0".parse().unwrap()).unwrap().unwrap();
    let times: Vec<u64> = view.seen.iter().map(|seen| seen.times).collect();
    assert_eq!(times, [1, 2, 1], "two repeats in a row are one item");
    assert_eq!(view.seen[0].bundle.commit.as_deref(), Some(&*"9c50b39d".repeat(5)));
    assert_eq!(view.row.count, times.iter().sum::<u64>());
    let runs: Vec<String> = view.runs.iter().map(|run| run.row.id.to_string()).collect();
    assert_eq!(runs, ["a-1.0/notify-email", "a-1.0/ticket"]);
    assert_eq!(view.changes.len(), 2);
    assert_eq!(view.raw["name"], "Suspicious PowerShell on web-01");
    assert!(alert::show(&mut lines().into_iter(), "a-99.0".parse().unwrap()).unwrap().is_none());
}

#[test]
fn a_playbook_that_sets_the_status_moves_the_alert() {
    let row = alert::show(&mut journal(1, 11), "a-1.0".parse().unwrap()).unwrap().unwrap().row;
    assert_eq!(row.status, Status::InProgress);
}

#[test]
fn a_group_member_shows_the_runs_of_its_group() {
    let view = alert::show(&mut lines().into_iter(), "a-10.0".parse().unwrap()).unwrap().unwrap();
    assert_eq!(view.runs.len(), 1);
    assert_eq!(view.runs[0].row.state, RunState::Retrying);
    assert_eq!(view.runs[0].steps[0].attempts.len(), 2);
    assert_eq!(view.runs[0].steps[0].next, Some(at(120)));
}

#[test]
fn runs_are_listed_with_what_they_wait_for() {
    let list = runs::list(&mut lines().into_iter(), &RunFilter::default()).unwrap();
    let rows: Vec<_> = list.runs.iter().map(|row| (row.id.to_string(), row.state.as_str())).collect();
    let expected = [
        ("g-1/chat", "retrying"),
        ("a-1.0/ticket", "waiting"),
        ("a-11.0/isolate", "failed"),
        ("a-11.0/enrich", "stalled"),
        ("a-1.0/notify-email", "finished"),
    ];
    assert_eq!(rows, expected.map(|(id, state)| (id.to_owned(), state)));
    assert_eq!(list.runs[0].waiting_for.as_deref(), Some("webhook to chat: attempt 3 at 2026-11-22T03:02:00Z"));
    assert_eq!(list.runs[0].error.as_deref(), Some("the destination answered 503"));
    assert_eq!(list.runs[1].waiting_for.as_deref(), Some("sleep until 2026-11-22T04:00:00Z"));
    assert_eq!(list.runs[1].steps, 4);
    let newest = runs::list(&mut lines().into_iter(), &RunFilter { limit: Some(3), ..RunFilter::default() }).unwrap();
    assert_eq!((newest.matching, &newest.runs[..]), (5, &list.runs[..3]));
    let failed = RunFilter { state: Some(RunState::Failed), ..RunFilter::default() };
    assert_eq!(runs::list(&mut lines().into_iter(), &failed).unwrap().matching, 1);
}

#[test]
fn a_run_shows_each_attempt_and_outcome() {
    let view = run::show(&mut lines().into_iter(), &"a-1.0/ticket".parse().unwrap()).unwrap().unwrap();
    assert_eq!(view.steps.len(), 4);
    let ticket = &view.steps[0];
    assert_eq!((ticket.attempts.len(), ticket.attempts[0].status), (1, Some(503)));
    let outcome = ticket.outcome.as_ref().unwrap();
    assert_eq!((outcome.status, outcome.attempts, outcome.at), (Some(201), 2, at(9)));
    assert!(view.steps[3].outcome.is_none(), "the sleep is not over");
    assert_eq!(view.cause.rule.place, "rules/route/main.yaml:4");
    let waits_at = |entries| {
        let view = run::show(&mut journal(1, entries), &"a-1.0/ticket".parse().unwrap()).unwrap().unwrap();
        view.row.waiting_for.unwrap()
    };
    assert_eq!(waits_at(4), "its next step");
    assert_eq!(waits_at(5), "webhook to jira");
    assert_eq!(waits_at(8), "webhook to jira: attempt 2 at 2026-11-22T03:00:08Z");
    assert_eq!(waits_at(9), "webhook to jira: attempt 2 under way");
    assert_eq!(waits_at(10), "its next step");
}

#[test]
fn a_group_names_its_members_and_runs() {
    let view = group::show(&mut lines().into_iter(), GroupId(1)).unwrap().unwrap();
    let members: Vec<String> = view.members.iter().map(|member| member.id.to_string()).collect();
    assert_eq!(members, ["a-9.0", "a-10.0"]);
    assert_eq!((view.opened, view.closed, view.runs.len()), (at(60), Some(at(90)), 1));
}

#[test]
fn a_quarantined_record_is_listed_until_a_retry_went_well() {
    let list = |all| {
        let filter = QuarantineFilter { all, ..QuarantineFilter::default() };
        quarantine::list(&mut lines().into_iter(), &filter).unwrap().records
    };
    assert_eq!(list(false), []);
    assert_eq!(list(true)[0].retried.as_ref().unwrap().alerts, ["a-12.0".parse().unwrap()]);
    let before = lines().into_iter().take(18);
    let open = quarantine::list(&mut before.into_iter(), &QuarantineFilter::default()).unwrap();
    assert_eq!((open.matching, open.records[0].record_no, open.records[0].bytes), (1, 8, 17));
    let view = quarantine::show(&mut lines().into_iter(), 8).unwrap().unwrap();
    assert_eq!(view.record.bytes().unwrap(), b"{\"broken\": \x1b[31m\n");
    assert!(quarantine::show(&mut lines().into_iter(), 1).unwrap().is_none());
}

#[test]
fn why_knows_what_an_id_is_the_id_of() {
    let answer = |id: &str| why(&mut lines().into_iter(), &id.parse::<Subject>().unwrap()).unwrap();
    assert!(matches!(answer("a-1.0"), Some(Why::Alert(_))));
    assert!(matches!(answer("a-1.0/ticket"), Some(Why::Run(_))));
    assert!(matches!(answer("g-1"), Some(Why::Group(_))));
    assert!(answer("a-1.7").is_none());
    assert!("x".parse::<Subject>().is_err());
}

#[test]
fn views_read_back_as_they_are_written() {
    for id in ["a-1.0", "a-6.0", "a-10.0", "a-11.0/isolate", "g-1"] {
        let answer = why(&mut lines().into_iter(), &id.parse().unwrap()).unwrap().unwrap();
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Why>(&text).unwrap(), answer, "{id}");
    }
}

fn paged(filter: &LogFilter) -> LogPage {
    let head = lines().len() as u64;
    let from = usize::try_from(filter.start(head)).unwrap() - 1;
    log::page(&mut lines().into_iter().skip(from), filter).unwrap()
}

fn seqs(filter: &LogFilter) -> Vec<u64> {
    paged(filter).lines.iter().map(|line| line.seq).collect()
}

#[test]
fn the_log_is_filtered_by_what_concerns_an_alert_or_a_run() {
    let alert = |id: &str| LogFilter { alert: Some(id.parse().unwrap()), ..LogFilter::default() };
    let run = |id: &str| LogFilter { run: Some(id.parse().unwrap()), ..LogFilter::default() };
    assert_eq!(seqs(&alert("a-1.0")), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    assert_eq!(seqs(&run("a-1.0/ticket")), [3, 5, 8, 9, 10, 11]);
    assert_eq!(seqs(&alert("a-10.0")), [20, 21, 22, 23, 24, 25], "its group's runs, too");
    assert_eq!(seqs(&LogFilter { from: Some(9), ..alert("a-1.0") }), [9, 10, 11, 12, 13, 14]);
    assert_eq!(seqs(&LogFilter { kind: Some("attempt,run".into()), ..LogFilter::default() }), [7, 8, 23, 25, 29, 30]);
    assert_eq!(seqs(&LogFilter { since: Some(at(97)), until: Some(at(101)), ..LogFilter::default() }), [25, 26, 27]);
}

#[test]
fn the_log_comes_in_pages_that_join_without_gap() {
    let mut filter = LogFilter { limit: Some(7), ..LogFilter::default() };
    let mut all = Vec::new();
    loop {
        let page = paged(&filter);
        all.extend(page.lines.iter().map(|line| line.seq));
        filter.from = Some(page.next);
        if !page.more {
            break;
        }
    }
    let head = story::facts().len() as u64;
    assert_eq!(all, (1..=head).collect::<Vec<u64>>());
    assert_eq!(filter.from, Some(head + 1), "where to read on when the journal grows");
    let last = LogFilter { last: true, limit: Some(3), ..LogFilter::default() };
    assert_eq!(seqs(&last), [head - 2, head - 1, head]);
    assert_eq!(seqs(&LogFilter { kind: Some("attempt".into()), ..last }), [8, 23, 25]);
}

#[test]
fn a_bundle_has_its_name_and_commit_also_when_the_entry_that_introduced_it_is_gone() {
    // As after retention: without the beginning, and with the entry that says so at the end.
    let shown = |with_end: bool, given_up: &[&str]| {
        let mut lines: Vec<_> = lines().into_iter().skip(2).collect();
        let bundles = vec![BundleName { id: "3f2a91c0".repeat(8), commit: Some("9c50b39d".repeat(5)) }];
        let (policy, journal, signed_by) = ("age".to_owned(), String::new(), String::new());
        let runs = given_up.iter().map(|run| run.parse().unwrap()).collect();
        let (segments, letters) = (Vec::new(), Vec::new());
        let facts = Facts::Log(Log::Dropped {
            policy,
            segments,
            journal,
            signed_by,
            bundles,
            runs,
            letters,
            base: String::new(),
        });
        let (seq, data) = (900, serde_json::value::RawValue::from_string(facts.data()).unwrap());
        let end = LogLine { seq, at: at(900), kind: facts.kind().into(), data, hash: String::new() };
        lines.extend(with_end.then_some(Ok(end)));
        let view = alert::show(&mut lines.into_iter(), "a-1.0".parse().unwrap()).unwrap().unwrap();
        let runs: Vec<_> = view.runs.iter().map(|run| (run.bundle.commit.is_some(), run.given_up.is_some())).collect();
        (view.seen[0].bundle.commit.clone(), view.seen[0].bundle.id.len(), runs)
    };
    let commit = Some("9c50b39d".repeat(5));
    assert_eq!(shown(true, &[]), (commit.clone(), 64, vec![(true, false), (true, false)]));
    assert_eq!(shown(true, &["a-1.0/ticket"]), (commit, 64, vec![(true, false), (true, true)]));
    assert_eq!(shown(false, &[]).0, None, "the control");
}
