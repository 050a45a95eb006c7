//! What each command prints, and that it prints the same through a daemon and from the journal alone.

use std::path::Path;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tokio::sync::{mpsc, watch};

use crate::cli::access::{Access, Places, spoken};
use crate::cli::client::{Client, ClientError};
use crate::cli::output::{Look, Since, ago, json};
use crate::cli::{Cli, Global, alerts, deliveries, log, quarantine, reload, runs, status, why};
use crate::console;
use crate::console::shared::Comment;
use crate::daemon::api::{Api, Command};
use crate::daemon::auth::Gate;
use crate::daemon::links::Links;
use crate::daemon::measures::Measures;
use crate::daemon::order::Ordered;
use crate::daemon::query::alert::AlertView;
use crate::daemon::query::deliveries::{DeliveryFilter, DeliveryState};
use crate::daemon::query::log::LogFilter;
use crate::daemon::query::quarantine::QuarantineFilter;
use crate::daemon::query::runs::RunFilter;
use crate::daemon::query::story::{self, at};
use crate::daemon::query::why::Subject;
use crate::daemon::report::{
    AlertCounts, BundleReport, DestinationReport, HoldsReport, IndexReport, JournalReport, KeptBy, LeapReport,
    NotResent, OrderReport, RefusedBundle, ReloadReport, ResendReport, RetryReport, SourceReport, Status,
    WorkersReport,
};
use crate::daemon::resend::Which;
use crate::daemon::samples::SamplesReport;
use crate::daemon::socket;
use crate::domain::effect::Class;
use crate::domain::hold::{Hold, Scope};
use crate::domain::operator::Order;
use crate::engine::orders::Wish;
use crate::index::build::build;
use crate::index::follow::Follower;
use crate::index::place::Place;
use crate::index::query::{Request, Sort};
use crate::journal::reader::Reader;
use crate::journal::writer::Journal;

fn look() -> Look {
    Look { now: at(200), width: 120 }
}

fn plain(styled: &str) -> String {
    anstream::adapter::strip_str(styled).to_string()
}

/// What can be done about an alert, with a text from outside in every corner.
fn measures(text: &str) -> Measures {
    serde_json::from_value(serde_json::json!({
        "id": "a-1.0", "bundle": "b",
        "inspect": [{ "text": "Logs", "url": "https://logs.example.com/?q=web-1",
                      "rule": { "id": "hosts", "place": "rules/advise/main.yaml:3" } }],
        "mitigate": [{ "text": format!("{text}\nand more of it") },
                     { "text": "Ask the owner", "rule": { "id": "hosts", "place": "rules/advise/main.yaml:3" } }],
        "prevent": [],
        "owner": { "name": text, "email": "shop@example.com", "of": text, "entry": "web-*", "written": "x" },
        "playbooks": [{ "playbook": "chat", "ran": "g-4/chat" }, { "playbook": "ticket" }],
        "mails": [
            { "route": { "id": "high", "place": "rules/route/main.yaml:3" }, "playbook": "mail", "destination": "oncall",
              "to": ["shop@example.com"], "grouped": true },
            { "route": { "id": "all", "place": "rules/route/main.yaml:9" }, "playbook": "mail", "destination": "other", "to": [] },
        ],
        "related": { "capped": true, "alerts": [{
            "id": "a-7.0", "severity": "high", "status": "active", "title": text, "last_seen": at(100),
            "shares": [{ "field": "host", "value": text }, { "field": "ip", "value": "192.0.2.7" }],
        }] },
    }))
    .unwrap()
}

/// An alert as the journal alone has it.
fn shown(view: AlertView) -> alerts::show::Shown {
    alerts::show::Shown { view, take_action: None }
}

/// What is asked of a list.
fn asked(filter: &[&str]) -> Request {
    Request { filter: filter.iter().map(|term| (*term).to_owned()).collect(), ..Request::default() }
}

/// A state folder with the story in its journal and the index, and no daemon.
struct World {
    dir: tempfile::TempDir,
    journal: Option<Journal>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = story::journal(&dir.path().join("journal"));
        let place = Place::of(dir.path());
        let lock = place.lock().unwrap();
        build(&place, &journal.reader(), &mut |_| true).unwrap();
        drop(lock);
        Self { dir, journal: Some(journal) }
    }

    fn places(&self) -> Places {
        Places { socket: self.dir.path().join("soard.sock"), state: self.dir.path().to_path_buf() }
    }

    fn access(&self) -> Access {
        Access::open(&self.places()).unwrap()
    }

    fn why(&self, id: &str) -> String {
        why::human(&self.access().why(&id.parse().unwrap()).unwrap().unwrap(), &look())
    }
}

#[test]
fn why_says_everything_about_an_alert() {
    let world = World::new();
    insta::assert_snapshot!("why_alert", plain(&world.why("a-1.0")));
    insta::assert_snapshot!("why_suppressed", plain(&world.why("a-5.0")));
    insta::assert_snapshot!("why_muted_and_hostile", plain(&world.why("a-6.0")));
    insta::assert_snapshot!("why_throttled", plain(&world.why("a-7.0")));
    insta::assert_snapshot!("why_grouped", plain(&world.why("a-10.0")));
    insta::assert_snapshot!("why_no_route", plain(&world.why("a-9.1")));
    insta::assert_snapshot!("why_resolved", plain(&world.why("a-12.0")));
}

#[test]
fn why_says_everything_about_runs_and_groups() {
    let world = World::new();
    insta::assert_snapshot!("why_run", plain(&world.why("a-1.0/ticket")));
    insta::assert_snapshot!("why_run_failed", plain(&world.why("a-11.0/isolate")));
    insta::assert_snapshot!("why_run_stalled", plain(&world.why("a-11.0/enrich")));
    insta::assert_snapshot!("why_group", plain(&world.why("g-1")));
}

#[test]
fn lists_are_aligned() {
    let access = World::new();
    let access = access.access();
    let alerts = access.alerts(&asked(&[])).unwrap();
    insta::assert_snapshot!("alerts_list", plain(&alerts::list::human(&alerts, &look())));
    let narrow = Look { width: 80, ..look() };
    insta::assert_snapshot!("alerts_list_narrow", plain(&alerts::list::human(&alerts, &narrow)));
    let suppressed = access.alerts(&asked(&["suppressed_by=scanner"])).unwrap();
    insta::assert_snapshot!("alerts_list_suppressed", plain(&alerts::list::human(&suppressed, &look())));
    let first = access.alerts(&Request { limit: Some(2), ..asked(&[]) }).unwrap();
    assert!(plain(&alerts::list::human(&first, &look())).contains("2 of 6 alerts; --limit shows more, --cursor "));
    let history = access.history("a-1.0".parse().unwrap()).unwrap().unwrap();
    insta::assert_snapshot!("alerts_history", plain(&alerts::history::human(&history, &look())));
    let runs = access.runs(&RunFilter::default()).unwrap();
    insta::assert_snapshot!("runs_list", plain(&runs::list::human(&runs, &look())));
    let all = access.quarantine(&QuarantineFilter { all: true, ..QuarantineFilter::default() }).unwrap();
    insta::assert_snapshot!("quarantine_list", plain(&quarantine::list::human(&all, &look())));
    let any = DeliveryFilter { outcome: Some(DeliveryState::Any), ..DeliveryFilter::default() };
    let sent = access.deliveries(&any).unwrap();
    insta::assert_snapshot!("deliveries_list", plain(&deliveries::list::human(&sent, &look())));
    let none = access.deliveries(&DeliveryFilter::default()).unwrap();
    assert_eq!(plain(&deliveries::list::human(&none, &look())), "no deliveries like that\n");
    let none = access.quarantine(&QuarantineFilter::default()).unwrap();
    assert_eq!(plain(&quarantine::list::human(&none, &look())), "no quarantined records\n");
}

#[test]
fn one_alert_record_or_entry_is_shown() {
    let world = World::new();
    let access = world.access();
    let alert = access.alert("a-1.0".parse().unwrap()).unwrap().unwrap();
    insta::assert_snapshot!("alerts_show", plain(&alerts::show::human(&shown(alert.clone()), &look())));
    let told = alerts::show::Shown { view: alert, take_action: Some(measures("Isolate it")) };
    let page = plain(&alerts::show::human(&told, &look()));
    let (_, part) = page.split_once("  take action\n").unwrap();
    insta::assert_snapshot!("alerts_show_take_action", part);
    let record = access.quarantined(8).unwrap().unwrap();
    insta::assert_snapshot!("quarantine_show", plain(&quarantine::show::human(&record, &look())));
    let sent = access.deliveries(&DeliveryFilter { outcome: Some(DeliveryState::Any), ..DeliveryFilter::default() });
    for row in sent.unwrap().deliveries.iter().filter(|row| ["edr", "jira"].contains(&&*row.destination)) {
        let view = access.delivery(&row.key).unwrap().unwrap();
        insta::assert_snapshot!(
            format!("deliveries_show_{}", row.destination),
            plain(&deliveries::show::human(&view, &look()))
        );
    }
    let page = access.log(&LogFilter::default()).unwrap();
    let text: Vec<String> = page.lines.iter().map(|line| plain(&log::human(line, 120))).collect();
    insta::assert_snapshot!("log_query", text.join("\n"));
}

#[test]
fn json_keeps_its_shape() {
    let world = World::new();
    let access = world.access();
    insta::assert_snapshot!("alerts_list_json", json(&access.alerts(&asked(&["title=~PowerShell"])).unwrap()));
    insta::assert_snapshot!("why_json", json(&access.why(&"g-1".parse().unwrap()).unwrap()));
    let filter = QuarantineFilter { all: true, ..QuarantineFilter::default() };
    insta::assert_snapshot!("quarantine_list_json", json(&access.quarantine(&filter).unwrap()));
    let filter = DeliveryFilter { outcome: Some(DeliveryState::Waiting), ..DeliveryFilter::default() };
    insta::assert_snapshot!("deliveries_list_json", json(&access.deliveries(&filter).unwrap()));
    insta::assert_snapshot!("status_json", json(&status_report()));
}

#[test]
fn the_journal_is_verified() {
    let mut world = World::new();
    world.journal.take().unwrap().close().unwrap();
    let dir = world.places().journal();
    let verified = |dir: &Path| {
        let report = crate::journal::verify::verify(dir);
        log::verify::Verified::new("STATE/journal".into(), report)
    };
    let hashes = |text: &str| {
        let is_hash = |word: &&str| word.len() == 64;
        let hash = text.split_whitespace().filter(is_hash).map(str::to_owned).collect::<Vec<_>>();
        hash.iter().fold(text.to_owned(), |text, hash| text.replace(hash, "[64 hex digits]"))
    };
    insta::assert_snapshot!("log_verify", hashes(&plain(&log::verify::human(&verified(&dir), &look()))));

    let segment = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path());
    let segment = segment.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replace("Port scan", "Port skan")).unwrap();
    insta::assert_snapshot!("log_verify_tampered", hashes(&plain(&log::verify::human(&verified(&dir), &look()))));
    let arguments = ["soard", "log", "verify", "--journal", dir.to_str().unwrap()];
    assert_eq!(code(&arguments), "1");
    assert_eq!(code(&["soard", "log", "verify", "--journal", "/nonexistent"]), "2");
}

/// The exit code of a command.
fn code(arguments: &[&str]) -> String {
    let cli = Cli::try_parse_from(arguments).unwrap();
    let dir = cli.global.dir.clone();
    let context = super::Context { dir, places: Places::of(&cli.global), format: cli.global.output, look: look() };
    match cli.command.run(&context) {
        Ok(crate::cli::fault::Exit::Good) => "0".into(),
        Ok(crate::cli::fault::Exit::Nothing) => "1".into(),
        Err(fault) => format!("{:?}", fault.report()).chars().filter(char::is_ascii_digit).collect(),
    }
}

#[test]
fn exit_codes_tell_nothing_found_from_could_not_run() {
    let world = World::new();
    let dir = world.dir.path().join("soard.sock");
    let socket = dir.to_str().unwrap();
    let code = |rest: &[&str]| code(&[&["soard", "--socket", socket], rest].concat());
    assert_eq!(code(&["alerts", "list"]), "0");
    assert_eq!(code(&["alerts", "list", "source=nobody"]), "1");
    assert_eq!(code(&["alerts", "list", "severity>=hihg"]), "2");
    assert_eq!(code(&["alerts", "list", "--all", "-o", "csv"]), "0");
    assert_eq!(code(&["alerts", "list", "--count-by", "kind"]), "0");
    assert_eq!(code(&["alerts", "list", "--count-by", "colour"]), "2");
    assert_eq!(code(&["alerts", "history", "a-99.0"]), "1");
    assert_eq!(code(&["runs", "list", "-o", "csv"]), "2");
    assert_eq!(code(&["index", "rebuild"]), "0");
    assert_eq!(code(&["alerts", "show", "a-99.0"]), "1");
    assert_eq!(code(&["why", "a-1.0/none"]), "1");
    assert_eq!(code(&["runs", "list", "--state", "failed"]), "0");
    assert_eq!(code(&["quarantine", "list"]), "1");
    assert_eq!(code(&["deliveries", "list"]), "1");
    assert_eq!(code(&["deliveries", "list", "--outcome", "waiting", "-q"]), "0");
    assert_eq!(code(&["deliveries", "show", &"a".repeat(26)]), "1");
    assert_eq!(code(&["deliveries", "retry", &"a".repeat(26), "--comment", "why"]), "2");
    assert_eq!(code(&["log", "query", "--kind", "attempt", "-o", "json"]), "0");
    assert_eq!(code(&["log", "tail", "-n", "3"]), "0");
    assert_eq!(code(&["status"]), "2");
    assert_eq!(code(&["reload"]), "2");
    assert_eq!(code(&["quarantine", "retry", "8"]), "2");
    assert_eq!(super::tests::code(&["soard", "--socket", "/nonexistent/soard.sock", "alerts", "list"]), "2");
}

#[test]
fn hostile_text_never_reaches_the_terminal_raw() {
    let world = World::new();
    let access = world.access();
    let alert = access.alert("a-6.0".parse().unwrap()).unwrap().unwrap();
    let list = access.alerts(&asked(&[])).unwrap();
    let record = access.quarantined(8).unwrap().unwrap();
    let page = access.log(&LogFilter::default()).unwrap();
    let log: String = page.lines.iter().map(|line| log::human(line, 10_000) + "\n").collect();
    let outputs = [
        alerts::show::human(&shown(alert.clone()), &look()),
        alerts::show::human(
            &alerts::show::Shown { view: alert.clone(), take_action: Some(measures("\u{1b}[31m\u{202e}\nerror: x")) },
            &look(),
        ),
        alerts::list::human(&list, &look()),
        alerts::csv::rows(&list.answer.alerts),
        world.why("a-6.0"),
        quarantine::show::human(&record, &look()),
        log,
        json(&alert),
        json(&list),
        json(&record),
        page.lines.iter().map(|line| crate::cli::output::json_line(line) + "\n").collect(),
    ];
    let colours = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    for output in outputs {
        // Our own colours are the only escapes: removing just those leaves none.
        let own = colours.replace_all(&output, "");
        let raw = own.chars().find(|c| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{2069}').contains(c));
        assert_eq!(raw, None, "{own:?}");
        assert!(!own.lines().any(|line| line.starts_with("error:")), "a title cannot begin a line of its own");
        assert!(own.contains("u{1b}") || own.contains("\\u001b"), "it is shown, escaped: {own}");
    }
    assert!(plain(&quarantine::show::human(&record, &look())).contains("no format took it: \\u{1b}[31mexpected"));
    let error = crate::cli::fault::Fault::new("\x1b[2Jgone").hint("\u{9b}2J").text();
    assert_eq!(plain(&error), "error: \\u{1b}[2Jgone\nhint: \\u{9b}2J");
}

fn bundle_report() -> BundleReport {
    BundleReport {
        id: "3f2a91c0".repeat(8),
        commit: Some("9c50b39d".repeat(5)),
        loaded_at: at(0),
        counts: [("formats".to_owned(), 5), ("playbooks".to_owned(), 4)].into(),
    }
}

fn journal_report() -> JournalReport {
    JournalReport {
        seq: 31,
        hash: "ab".repeat(32),
        room: false,
        waiting: 0,
        kept_by: Some(KeptBy {
            kind: "quarantined_record".into(),
            id: "8".into(),
            entry: 12,
            since: at(100),
            segments: 3,
        }),
        leap: Some(LeapReport { from: at(0), to: at(90_000), until: at(176_400) }),
        ahead_secs: 90_000,
    }
}

fn status_report() -> Status {
    let fault = "error[unknown-key]: unknown key `titel`\n --> rules/route/main.yaml:5:3";
    let source = |name: &str, last_error: Option<&str>| SourceReport {
        name: name.into(),
        kind: "http".into(),
        records: 12,
        bytes: 34_567,
        refused: 0,
        ignored: 3,
        oddities: last_error.map(|_| ("unknown_word".into(), 2)).into_iter().collect(),
        last_oddity: last_error.map(|_| "unknown_word in severity: \"Urgent\"".into()),
        last_error: last_error.map(Into::into),
    };
    Status {
        version: "0.1.0".into(),
        pid: 4711,
        started: at(0),
        uptime_secs: 200,
        state_dir: "/var/lib/soard".into(),
        bundle: bundle_report(),
        refused_bundle: Some(RefusedBundle { at: at(150), faults: vec![fault.into()] }),
        journal: journal_report(),
        index: Some(IndexReport { entry: 29, behind: 2, doing: "following".into(), why: None }),
        sources: vec![source("defender", None), source("falco", Some("401: \x1b[31mwrong token"))],
        destinations: vec![DestinationReport {
            name: "chat".into(),
            kind: "webhook".into(),
            in_flight: 0,
            waiting: 1,
            held: true,
            open_until: Some(at(212)),
            sent: 3,
            failed: 1,
            last_error: Some("the destination answered 503".into()),
        }],
        exports: Vec::new(),
        alerts: AlertCounts {
            total: 9,
            by_status: [("active".to_owned(), 7), ("dismissed".to_owned(), 2)].into(),
            by_severity: [("high".to_owned(), 4), ("low".to_owned(), 5)].into(),
        },
        totals: [("runs_finished".to_owned(), 1), ("suppressed".to_owned(), 1), ("muted".to_owned(), 0)].into(),
        runs_open: 2,
        runs_full: true,
        runs_stalled: 1,
        workers: WorkersReport { running: 2, started: 5, died: 1, late: 2, lacks: vec!["landlock".into()] },
        groups_open: 0,
        dead_letters: 2,
        silences_active: 1,
        approvals_open: 1,
        on_hold: HoldsReport {
            holds: vec![Hold {
                scope: Scope::Destination("chat".into()),
                since: at(140),
                by: "ann (uid 1000)".into(),
                comment: "it floods \x1b[31mus".into(),
            }],
            waiting: 3,
        },
        quarantined: 1,
        queue_depth: 0,
    }
}

#[test]
fn status_and_reload_say_what_is_in_charge() {
    insta::assert_snapshot!("status", plain(&status::human(&status_report(), &look())));
    let faults = status_report().refused_bundle.unwrap().faults;
    let refused = ReloadReport { loaded: false, bundle: bundle_report(), faults };
    insta::assert_snapshot!("reload_refused", plain(&reload::human(&refused, &look())));
    let loaded = ReloadReport { loaded: true, bundle: bundle_report(), faults: Vec::new() };
    insta::assert_snapshot!("reload_loaded", plain(&reload::human(&loaded, &look())));
}

#[test]
fn every_command_has_help_with_examples() {
    let mut cli = Cli::command();
    cli.build();
    cli.clone().debug_assert();
    let mut commands: Vec<clap::Command> =
        cli.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()).cloned().collect();
    let mut leaves = 0;
    while let Some(mut command) = commands.pop() {
        let inner: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
        if inner.is_empty() {
            leaves += 1;
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:\n  soard "), "{help}");
        }
        commands.extend(inner);
    }
    assert!(leaves >= 12, "{leaves}");
    insta::assert_snapshot!("help", cli.render_help().to_string());
}

#[test]
fn what_a_command_says_at_length_is_shown() {
    for (words, said) in [
        (["log", "verify"], "1 when something was changed, removed or added"),
        (["log", "repair"], "No daemon may be running"),
        (["runs", "restart"], "is sent again"),
        (["deliveries", "retry"], "same key"),
    ] {
        let mut command = &mut crate::cli::Cli::command();
        for word in words {
            command = command.find_subcommand_mut(word).unwrap();
        }
        let help = command.render_long_help().to_string();
        let first = help.lines().next().unwrap().to_owned();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(said) && help.matches(&first).count() == 1, "{words:?}: {help}");
    }
}

#[test]
fn times_are_read_and_written_as_people_do() {
    assert_eq!(ago(at(200), &look()), "now");
    assert_eq!(ago(at(20), &look()), "3m ago");
    assert_eq!(ago(at(200 + 7200), &look()), "in 2h");
    assert_eq!("1m".parse::<Since>().unwrap().instant(&look()), at(140));
    assert_eq!("2026-11-22T03:00:07Z".parse::<Since>().unwrap().instant(&look()), at(7));
    assert!("yesterday".parse::<Since>().unwrap_err().contains("30s, 5m, 2h"));
}

#[test]
fn the_daemon_is_found_by_socket_then_folder_then_system() {
    let of = |socket: Option<&str>, dir: Option<&str>| {
        let global = Global { socket: socket.map(Into::into), dir: dir.map(Into::into), ..Global::default() };
        let Places { socket, state } = Places::of(&global);
        (socket.display().to_string(), state.display().to_string())
    };
    let pair = |socket: &str, state: &str| (socket.to_owned(), state.to_owned());
    assert_eq!(of(None, None), pair("/run/soard/soard.sock", "/var/lib/soard"));
    assert_eq!(of(None, Some("/etc/soard")), pair("/etc/soard/.soard/soard.sock", "/etc/soard/.soard"));
    assert_eq!(of(Some("/tmp/x/s"), None), pair("/tmp/x/s", "/tmp/x"));
    assert_eq!(of(Some("/tmp/x/s"), Some("/etc/soard")), pair("/tmp/x/s", "/etc/soard/.soard"));
}

/// A daemon of which only the control socket is real.
struct Daemon {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(places: &Places, reader: Reader) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (up, is_up) = std_mpsc::channel();
        let (socket, state, place) = (places.socket.clone(), places.state.clone(), Place::of(&places.state));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::bind(&socket).unwrap();
                let (commands, inbox) = mpsc::channel(4);
                tokio::spawn(answer(inbox));
                up.send(()).unwrap();
                let follower = Follower::start(place, reader.clone(), || {});
                let (gate, stop) = (Arc::new(Gate::default()), stopped.clone());
                let links = Arc::new(Links::open(&state, None, "j").unwrap());
                let api = Api { reader, index: follower.index(), commands, gate, links, stop };
                socket::serve(listener, console::doors(api).socket, stopped).await;
                follower.finish(Duration::from_secs(10));
            });
        });
        is_up.recv().unwrap();
        Self { stop, thread: Some(thread) }
    }

    fn stop(mut self) {
        self.stop.send(true).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn answer(mut inbox: mpsc::Receiver<Command>) {
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Status(done) => done.send(status_report()).unwrap(),
            Command::Reload(done) => {
                done.send(ReloadReport { loaded: true, bundle: bundle_report(), faults: Vec::new() }).unwrap();
            }
            Command::RotateKey(done) => done.send(Err("no test asks for it".into())).unwrap(),
            Command::Order(ordered) => {
                let Ordered { comment, wish, done, .. } = *ordered;
                let order = match wish {
                    Wish::Cancel(run) => Ok(Order::RunCancel { run }),
                    Wish::Upkeep(upkeep) => Ok(Order::Upkeep(upkeep)),
                    _ => Err(format!("no: {comment}")),
                };
                drop(done.send(order.map(|order| OrderReport { seq: Some(7), order })));
            }
            Command::Resend { ask, done } => {
                assert!(ask.who.actor.contains("uid") && ask.comment == "it is back", "{ask:?}");
                let mut report = ResendReport::default();
                match ask.which {
                    Which::Key(key) => report.refused.push(NotResent { key, why: "it succeeded".into() }),
                    Which::Destination(name, classes) => {
                        assert_eq!((&*name, &classes[..]), ("edr", &[Class::Dead][..]))
                    }
                }
                done.send(report).unwrap();
            }
            Command::Retry { record_no: 8, done } => {
                let report = RetryReport { record_no: 8, format: "generic".into(), alerts: Vec::new() };
                done.send(Ok(report)).unwrap();
            }
            Command::Retry { done, .. } => done.send(Err("no format takes it yet".into())).unwrap(),
            Command::Destinations(done) => done.send(Vec::new()).unwrap(),
            Command::TryOut { done, .. } => done.send(Ok(None)).unwrap(),
            Command::Exports(done) => done.send(Vec::new()).unwrap(),
            Command::TryOutExport { done, .. } => done.send(Ok(None)).unwrap(),
            Command::Tokens(done) => done.send(Vec::new()).unwrap(),
            Command::Approvals(done) => done.send(Vec::new()).unwrap(),
            Command::Holds(done) => done.send(HoldsReport::default()).unwrap(),
            Command::Samples { done, .. } => done.send(SamplesReport::default()).unwrap(),
            Command::Recipients(done) => done.send(Vec::new()).unwrap(),
            Command::Silences(done) => done.send(Vec::new()).unwrap(),
            Command::Today(done) => drop(done),
            Command::Body(_, done) => done.send(None).unwrap(),
            Command::Active(.., done) => drop(done),
        }
    }
}

#[test]
fn a_daemon_answers_what_the_journal_itself_says() {
    let world = World::new();
    let direct = world.access();
    assert!(matches!(direct, Access::Journal(..)));
    let daemon = Daemon::start(&world.places(), world.journal.as_ref().unwrap().reader());
    let through = world.access();
    assert!(matches!(through, Access::Daemon(_)));

    for request in [
        asked(&[]),
        asked(&["suppressed_by=scanner", "seen>=2026-11-22T03:00:30Z", "source=defender"]),
        Request { limit: Some(2), ..asked(&["severity=high", "status=active"]) },
        asked(&["source=a&b=c %/ü", "title=~[+?#]"]),
        Request { all: true, sort: Sort::Oldest, ..asked(&["powershell"]) },
    ] {
        // A cursor holds the time of the query.
        let list = |access: &Access| {
            let mut list = access.alerts(&request).unwrap();
            list.answer.next = list.answer.next.map(|_| "more".into());
            list
        };
        assert_eq!(list(&through), list(&direct), "{request:?}");
        let facet = |access: &Access| access.facet(&request, "kind").unwrap();
        assert_eq!(facet(&through), facet(&direct));
    }
    for id in ["a-1.0", "a-11.0", "a-99.0"] {
        let id = id.parse().unwrap();
        assert_eq!(through.history(id).unwrap(), direct.history(id).unwrap(), "{id}");
    }
    for id in ["a-1.0", "a-6.0", "a-99.0", "g-1", "g-9", "a-1.0/ticket", "a-1.0/none"] {
        let subject: Subject = id.parse().unwrap();
        assert_eq!(through.why(&subject).unwrap(), direct.why(&subject).unwrap(), "{id}");
    }
    let runs = RunFilter { playbook: Some("ticket".into()), ..RunFilter::default() };
    assert_eq!(through.runs(&runs).unwrap(), direct.runs(&runs).unwrap());
    let run = "g-1/chat".parse().unwrap();
    assert_eq!(through.run(&run).unwrap(), direct.run(&run).unwrap());
    let all = QuarantineFilter { all: true, ..QuarantineFilter::default() };
    let any = DeliveryFilter { outcome: Some(DeliveryState::Any), ..DeliveryFilter::default() };
    assert_eq!(through.deliveries(&any).unwrap(), direct.deliveries(&any).unwrap());
    let key = direct.deliveries(&any).unwrap().deliveries[0].key.clone();
    assert_eq!(through.delivery(&key).unwrap(), direct.delivery(&key).unwrap());
    assert_eq!(through.quarantine(&all).unwrap(), direct.quarantine(&all).unwrap());
    assert_eq!(through.quarantined(8).unwrap(), direct.quarantined(8).unwrap());
    assert_eq!(through.quarantined(9).unwrap(), None);
    let log = LogFilter { run: Some(run), last: true, limit: Some(2), ..LogFilter::default() };
    assert_eq!(json(&through.log(&log).unwrap()), json(&direct.log(&log).unwrap()));
    daemon.stop();
    assert!(matches!(world.access(), Access::Journal(..)), "after the daemon stopped, the journal is read directly");
}

#[test]
fn commands_reach_the_daemon_and_its_refusals_come_back() {
    let world = World::new();
    let daemon = Daemon::start(&world.places(), world.journal.as_ref().unwrap().reader());
    let socket = world.places().socket;
    let client = Client::connect(&socket).unwrap();
    let status = client.get::<Status>("/status").unwrap();
    assert_eq!(status.index.as_ref().map(|index| index.entry + index.behind), Some(story::facts().len() as u64));
    assert_eq!(Status { index: status_report().index, ..status }, status_report());
    assert!(client.send::<ReloadReport>("/reload", &Comment::default()).unwrap().loaded);
    assert_eq!(client.send::<RetryReport>("/quarantine/8/retry", &Comment::default()).unwrap().format, "generic");
    let code = |rest: &[&str]| code(&[&["soard", "--socket", socket.to_str().unwrap()], rest].concat());
    assert_eq!(code(&["status"]), "0");
    assert_eq!(code(&["quarantine", "retry", "8"]), "0");
    let retry = |more: &[&str]| code(&[&["deliveries", "retry", "--comment", "it is back"], more].concat());
    assert_eq!((retry(&[&"a".repeat(26)]), retry(&["--destination", "edr", "--yes"])), ("1".into(), "1".into()));
    assert_eq!(code(&["quarantine", "retry", "8", "9"]), "1");
    for (path, status) in [
        ("/quarantine/9/retry", 405),
        ("/nothing", 404),
        ("/alerts?colour=red", 400),
        ("/alerts?filter=severity%3Dworst", 400),
        ("/alerts?sort=up", 400),
        ("/alerts?cursor=AAAA", 400),
        ("/facets/colour", 400),
        ("/alerts/a-99.0/history", 404),
        ("/alerts/a-1", 400),
        ("/why?id=x", 400),
        ("/why", 400),
        ("/runs/a-1.0/ticket~1", 400),
        ("/runs/x/ticket", 400),
    ] {
        match client.get::<serde_json::Value>(path) {
            Err(ClientError::Refused { status: got, .. }) => assert_eq!(got.as_u16(), status, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    let refused = ClientError::Refused { status: hyper::StatusCode::FORBIDDEN, error: "no".into() };
    assert!(spoken(refused).text().contains("as the daemon's user"));
    daemon.stop();
}

#[test]
fn following_the_log_waits_for_news_and_ends_with_the_daemon() {
    let world = World::new();
    let journal = world.journal.as_ref().unwrap();
    let daemon = Daemon::start(&world.places(), journal.reader());
    let head = journal.reader().head().seq;
    let follow = LogFilter { from: Some(head + 1), follow: true, ..LogFilter::default() };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.access().log(&follow).unwrap());
        story::append(journal, story::facts().split_off(story::facts().len() - 1));
        let page = waiting.join().unwrap();
        assert_eq!(page.lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [head + 1]);
        let on = LogFilter { from: Some(page.next), ..follow.clone() };
        let world = &world;
        let waiting = scope.spawn(move || world.access().log(&on));
        daemon.stop();
        // Asked before the stop: an empty page. Asked after it: the journal itself, where there is nothing either.
        if let Ok(page) = waiting.join().unwrap() {
            assert!(page.lines.is_empty());
        }
    });
}
