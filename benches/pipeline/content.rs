//! Alerts, rules and routes, the same for soard and for Alertmanager.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

/// Suppressions and routes that are loaded.
pub const RULES: usize = 1000;

/// What one alert says; about 1 KB as JSON in either form.
struct Facts {
    number: usize,
    kind: String,
    host: String,
    ip: String,
    severity: &'static str,
}

impl Facts {
    fn of(number: usize) -> Self {
        let severity = ["low", "medium", "high"][number % 3];
        Self {
            number,
            kind: format!("Kind{}", number % 1500),
            host: format!("web-{}.example.com", number % 977),
            ip: format!("10.{}.{}.{}", number % 7, number / 250 % 250, number % 250),
            severity,
        }
    }

    fn description(&self) -> String {
        let text = format!(
            "A process on {} opened a connection to {} that no profile of this host expects; it was started by a \
             scheduled task that nobody in the team owns. ",
            self.host, self.ip
        );
        text.repeat(4)
    }
}

/// One alert in soard's own shape, on one line.
pub fn record(number: usize) -> String {
    let facts = Facts::of(number);
    json!({
        "external_id": format!("bench-{number}"),
        "title": format!("Unexpected connection from {}", facts.host),
        "kind": facts.kind,
        "severity": facts.severity,
        "description": facts.description(),
        "start": "2026-11-01T08:00:00Z",
        "entities": { "host": [{ "name": facts.host }], "ip": [{ "address": facts.ip }] },
        "extended": { "rule": format!("profile-{}", facts.number % 40), "zone": "dmz", "unit": "payments" },
    })
    .to_string()
}

/// The same alert as Alertmanager takes it.
pub fn alertmanager_alert(number: usize) -> Value {
    let facts = Facts::of(number);
    json!({
        "labels": {
            "alertname": facts.kind,
            "instance": facts.host,
            "ip": facts.ip,
            "severity": facts.severity,
            "uid": format!("bench-{number}"),
            "zone": "dmz",
            "unit": "payments",
        },
        "annotations": {
            "summary": format!("Unexpected connection from {}", facts.host),
            "description": facts.description(),
            "rule": format!("profile-{}", facts.number % 40),
        },
        "startsAt": "2026-11-01T08:00:00Z",
    })
}

/// 1,000 suppressions of five kinds, of which few match.
pub fn suppressions() -> String {
    let mut text = String::from("suppress:\n");
    for n in 0..RULES {
        let condition = match n % 5 {
            0 => format!("{{ kind: Kind{}, host: quiet-{n}.example.com }}", n),
            1 => format!("{{ kind|startswith: Silent{n}, entities.ip.address|cidr: 10.{}.{}.0/24 }}", n % 7, n % 250),
            2 => format!("{{ title|contains: 'maintenance {n}', severity: low }}"),
            3 => format!("{{ extended.rule: profile-{}, host|endswith: '.lab-{n}.example.com' }}", n % 40),
            _ => format!("{{ host|re: '^batch-{n}-[0-9]+\\.', kind|endswith: Batch }}"),
        };
        let _ = writeln!(
            text,
            "  - {{ id: s-{n}, title: Expected {n}, owner: soc@example.com, reason: expected, expires: 2036-12-31, match: {condition} }}"
        );
    }
    text
}

/// 999 routes with conditions and a last one for everything, all with these playbooks.
pub fn routes(playbooks: &str) -> String {
    let mut text = String::from("route:\n");
    for n in 1..RULES {
        let condition = match n % 3 {
            0 => format!("{{ kind: Kind{n}, severity|gte: medium }}"),
            1 => format!("{{ host: web-{}.example.com, kind: Kind{n} }}", n % 977),
            _ => format!("{{ kind: Kind{n} }}"),
        };
        let _ = writeln!(
            text,
            "  - {{ id: r-{n}, title: Route {n}, owner: soc@example.com, playbooks: {playbooks}, match: {condition} }}"
        );
    }
    let _ = writeln!(text, "  - {{ id: rest, title: The rest, owner: soc@example.com, playbooks: {playbooks} }}");
    text
}

/// Alertmanager's configuration with as many routes; `receiver` is the text of the receiver's settings.
pub fn alertmanager_config(routes: usize, group_by: &str, group_wait: &str, receiver: &str) -> String {
    let mut text = format!(
        "route:\n  receiver: sink\n  group_by: [{group_by}]\n  group_wait: {group_wait}\n  group_interval: 1h\n  repeat_interval: 24h\n"
    );
    if routes > 1 {
        text.push_str("  routes:\n");
    }
    for n in 1..routes {
        let matchers = match n % 3 {
            0 => format!("['alertname=\"Kind{n}\"', 'severity=~\"medium|high\"']"),
            1 => format!("['instance=\"web-{}.example.com\"', 'alertname=\"Kind{n}\"']", n % 977),
            _ => format!("['alertname=\"Kind{n}\"']"),
        };
        let _ = writeln!(text, "    - {{ receiver: sink, matchers: {matchers} }}");
    }
    let _ = writeln!(text, "receivers:\n  - name: sink\n{receiver}");
    text
}

/// Writes a file below a folder.
pub fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().expect("a path below the folder")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
}
