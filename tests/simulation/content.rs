//! The rules and playbooks that the simulation runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use soard::domain::lists::Lists;
use soard::playbooks::compile::compile_here;
use soard::playbooks::evaluate::Playbooks;
use soard::rules::compile::{Rules, compile};
use soard::rules::known::{Known, PlaybookEntries};

const ROUTES: &str = "
route:
  - { id: each, title: Each, owner: a@example.com, match: { kind: each }, playbooks: [chain], continue: true }
  - { id: more, title: More, owner: a@example.com, match: { kind: each }, playbooks: [parallel, waits, catches, asks, mails] }
  - id: grouped
    title: Grouped
    owner: a@example.com
    match: { kind: grouped }
    group_by: [title]
    group_wait: 30s
    playbooks: [group]
  - id: noisy
    title: Noisy
    owner: a@example.com
    match: { kind: noisy }
    throttle: { per: [title], at_most: 2, within: 1h }
    playbooks: [once]
  - { id: rest, title: Rest, owner: a@example.com, playbooks: [] }
";

const PLAYBOOKS: [(&str, &str); 9] = [
    (
        "chain",
        r#"fn on_alert(alert) {
            let first = webhook("at_least", #{ step: 1, id: alert.id });
            log("answered " + first.body.n);
            webhook("at_least", #{ step: 2, n: first.body.n });
            set_status(alert, "in_progress");
            webhook("at_least", #{ step: 3, at: now(), by: random() });
        }"#,
    ),
    (
        "parallel",
        r#"fn on_alert(alert) {
            let all = all([#{ webhook: "at_least", body: 1 }, #{ webhook: "at_most", body: 2 }, #{ sleep: "20s" }]);
            let bad = all.filter(|one| failed(one)).len();
            webhook("at_least", #{ bad: bad });
            bad
        }"#,
    ),
    (
        "waits",
        r#"fn on_alert(alert) {
            for n in 0..3 {
                sleep("1m");
                webhook("at_least", #{ reminder: n });
            }
        }"#,
    ),
    (
        "catches",
        r#"fn on_alert(alert) {
            try {
                webhook("at_most", #{ isolate: alert.title });
            } catch (error) {
                log(error.kind);
                if error.kind == "unknown" { sleep("10s"); }
                webhook("at_least", #{ failed: error.kind });
            }
        }"#,
    ),
    (
        "asks",
        r#"fn on_alert(alert) {
            let way = #{ by: "approver", within: "2m", otherwise: "deny" };
            if approve("Isolate?", way) { webhook("at_most", #{ isolate: alert.id }); }
            let two = all([#{ approve: "Lock?", by: ["ann", "admin"], within: "1m", otherwise: "approve" },
                           #{ webhook: "at_least", body: 1 }]);
            two[0]
        }"#,
    ),
    (
        "mails",
        r#"fn on_alert(alert) {
            email("at_least");
            try { email("at_most", #{ subject: alert.title }); } catch (error) { log(error.kind); }
        }"#,
    ),
    ("digest", include_str!("../../playbooks/digest.rhai")),
    ("once", r#"fn on_alert(alert) { webhook("at_most", #{ id: alert.id }); }"#),
    (
        "group",
        r#"fn on_group(alerts) {
            for alert in alerts { webhook("at_least", #{ id: alert.id }); tag(alert, "seen"); }
            alerts.len()
        }"#,
    ),
];

/// What the daemon has as its bundle.
pub struct Content {
    pub rules: Rules,
    pub playbooks: Playbooks,
}

impl Content {
    /// Compiles it; needs a deep stack.
    pub fn new() -> Self {
        let both = PlaybookEntries { on_alert: true, on_group: true, on_status: true };
        let known = PLAYBOOKS.map(|(name, _)| (name.to_owned(), both)).into();
        let files = BTreeMap::from([("rules/route/t.yaml".to_owned(), ROUTES.to_owned())]);
        let (rules, faults) = compile(&files, &Known { playbooks: known, sources: None });
        assert!(faults.is_empty(), "{faults:#?}");
        let scripts = PLAYBOOKS.map(|(name, text)| (format!("playbooks/{name}.rhai"), text.to_owned())).into();
        let (playbooks, faults) = compile_here(&scripts, Arc::new(Lists(BTreeMap::new())));
        assert!(faults.is_empty(), "{faults:#?}");
        Self { rules, playbooks: playbooks.unwrap() }
    }
}
