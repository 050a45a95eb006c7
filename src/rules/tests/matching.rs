//! What each operator says of the alert in every corner.

use super::{alert, matches};

/// One item a line: what is expected, then the item as YAML.
const ITEMS: &str = r#"
    # texts: case does not count, the whole value does
    yes  kind: PortScan_External
    yes  kind: portscan_external
    no   kind: PortScan
    yes  kind: [Nothing, portscan_external]
    no   kind: [Nothing, Else]
    yes  source: defender
    yes  external_id: 2518_abc
    no   fingerprint: x
    no   vendor: ''
    yes  vendor: Microsoft
    yes  source_severity: "5"
    yes  source_severity: 5
    no   source_severity: 5.5
    yes  extended.version: 1.10
    yes  extended.version: "1.10"
    no   extended.version: "1.1"
    yes  raw.Straße: gross
    # wildcards
    yes  kind: PortScan*
    yes  kind: '*external'
    yes  kind: '*scan*'
    yes  kind: P?rt*Ext?rnal
    no   kind: P?ort*
    no   kind: '?PortScan*'
    yes  kind: '*'
    no   fingerprint: '*'
    yes  description: '*\*seen\**'
    no   description: '*\*scan\**'
    yes  description: '*C:\Temp\scan.exe'
    yes  description: '*C:\\Temp\\scan.exe'
    no   description: '*C:\\\\Temp*'
    yes  description|contains: '\\*.exe'
    yes  title: '*scan*from*10.*'
    no   title: '*from*scan*'
    # contains, startswith, endswith
    yes  kind|contains: SCAN_
    no   kind|contains: scan-
    yes  kind|contains: [nothing, scan]
    yes  kind|startswith: port
    no   kind|startswith: ort
    yes  kind|endswith: EXTERNAL
    no   kind|endswith: extern
    yes  title|contains: scan*10.20
    yes  title|startswith: p?rt
    yes  source_severity|contains: 5
    yes  raw.output_fields.fd.rport|startswith: 44
    # all
    yes  kind|contains|all: [port, external]
    no   kind|contains|all: [port, internal]
    yes  techniques|all: [T1046, t1059.001]
    no   techniques|all: [T1046, T1059]
    yes  tactics|all|contains: [disc, access]
    # cased
    yes  kind|cased: PortScan_External
    no   kind|cased: portscan_external
    yes  kind|contains|cased: Scan
    no   kind|contains|cased: scan
    yes  kind|startswith|cased: P*t
    # neq
    yes  kind|neq: Other
    no   kind|neq: portscan_external
    no   kind|neq: [Other, PortScan_External]
    yes  kind|neq: [Other, Another]
    yes  kind|contains|neq: internal
    no   kind|contains|neq: external
    yes  kind|contains|all|neq: [port, internal]
    no   kind|contains|all|neq: [port, external]
    yes  fingerprint|neq: anything
    no   techniques|neq: T1046
    yes  techniques|neq: T1047
    no   entities.ip.address|cidr|neq: 10.0.0.0/8
    yes  entities.ip.address|cidr|neq: 172.16.0.0/12
    # regular expressions: case counts, anywhere in the value
    yes  kind|re: 'Scan_E'
    no   kind|re: 'scan_e'
    yes  kind|re|i: 'scan_e'
    yes  kind|re: '^Port\w+$'
    no   kind|re: '^Scan'
    yes  description|re|m: '^was'
    no   description|re: '^was'
    yes  description|re|s: 'scan.was'
    no   description|re: 'scan.was'
    yes  description|re|i|s: 'SCAN.WAS'
    yes  kind|re: ['^X', 'External$']
    yes  kind|re|neq: '^X'
    yes  raw.output_fields.fd.rport|re: '^4{4}$'
    # networks
    yes  entities.ip.address|cidr: 10.20.0.0/16
    no   entities.ip.address|cidr: 10.21.0.0/16
    yes  entities.ip.address|cidr: 192.0.2.0/24
    yes  entities.ip.address|cidr: 2001:db8::/32
    no   entities.ip.address|cidr: 2001:db9::/32
    yes  entities.ip.address|cidr: [10.99.0.0/16, '2001:db8::1/128']
    yes  ip|cidr: 10.20.3.4/32
    no   title|cidr: 0.0.0.0/0
    # presence and null
    yes  kind|exists: true
    no   kind|exists: false
    no   fingerprint|exists: true
    yes  fingerprint|exists: false
    yes  fingerprint: null
    no   kind: null
    yes  kind|neq: null
    yes  extended.none|exists: true
    yes  extended.none: null
    yes  extended.empty|exists: true
    no   extended.empty: null
    yes  extended.empty: ''
    yes  extended.list|exists: true
    yes  extended.list: null
    yes  extended.missing: null
    yes  extended.missing: [x, null]
    no   correlation_key|exists: true
    yes  tags|exists: true
    no   remediation|exists: true
    yes  entities.host.os: null
    yes  entities.host.os|exists: true
    no   entities.host.domain|exists: true
    yes  raw.object|exists: true
    no   raw.object: '*'
    # numbers and booleans
    yes  entities.process.pid: 42
    yes  entities.process.pid: 42.0
    yes  entities.process.pid: "42"
    no   entities.process.pid: 43
    yes  entities.process.pid|gt: 41
    no   entities.process.pid|gt: 42
    yes  entities.process.pid|gte: 42
    yes  entities.process.pid|lt: 42.5
    no   entities.process.pid|lt: 42
    yes  entities.process.pid|lte: 42
    yes  extended.score|gt: 7
    yes  extended.score: 7.5
    yes  confidence|gte: 0.8
    no   confidence|gt: 0.9
    no   title|gt: 0
    no   fingerprint|lt: 5
    yes  fingerprint|lt|neq: 5
    yes  raw.big|gt: 9223372036854775807
    yes  raw.big: 18446744073709551615
    yes  entities.account.admin: true
    no   entities.account.admin: false
    yes  raw.flag: true
    yes  is_incident: false
    no   is_incident: true
    # severity by rank, status, times
    yes  severity: Medium
    yes  severity: [low, medium]
    no   severity: high
    yes  severity: m*
    yes  severity|gte: low
    yes  severity|gte: medium
    no   severity|gt: medium
    yes  severity|lt: high
    no   severity|lte: low
    yes  severity|neq: high
    yes  status: active
    no   status: [resolved, dismissed]
    yes  start|lt: 2026-03-01T10:00:01Z
    no   start|gt: 2026-03-01T10:00:00Z
    yes  start|gte: '2026-03-01T11:00:00+01:00'
    yes  received|gt: 2026-03-01T00:00:00Z
    no   end|gt: 2000-01-01T00:00:00Z
    yes  start|startswith: 2026-03-01
    # paths: short forms, lists, literal keys
    yes  host: web-01
    no   host: web-02
    yes  account: svc_*
    yes  ip: 10.20.3.4
    yes  entities.host.name: web-02
    no   entities.host.name: web-03
    yes  entities.ip.location.country: de
    yes  entities.account.groups: backup
    yes  entities.account.sid: 1001
    yes  links.url|contains: /alert/
    yes  links.label: portal
    yes  resources|endswith: web-02
    yes  extended.k8s.pod.name: api-7
    yes  extended.nested.a.b: deep
    no   extended.nested.a: deep
    yes  raw.output_fields.proc.name: bash
    yes  raw.dots.a.b.c: first
    no   raw.dots.a.b.c: [second, third]
    yes  raw.dots.a.b.d: fourth
    yes  raw.items.user: bob
    yes  raw.items.user: eve
    no   raw.items.user: dan
    no   raw.items.user|neq: ann
    no   raw.missing.path: x
"#;

#[test]
fn every_operator_says_what_it_should_of_every_kind_of_field() {
    let alert = alert();
    let cases: Vec<&str> =
        ITEMS.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let wrong: Vec<&str> = cases
        .into_iter()
        .filter(|case| {
            let (expected, item) = case.split_once(' ').unwrap();
            matches(item.trim(), &alert) != (expected == "yes")
        })
        .collect();
    assert!(wrong.is_empty(), "these came out the other way:\n{}", wrong.join("\n"));
}

#[test]
fn items_of_a_map_are_joined_by_and_maps_of_a_list_by_or() {
    let alert = alert();
    assert!(matches("kind: PortScan*\nseverity: medium", &alert));
    assert!(!matches("kind: PortScan*\nseverity: high", &alert));
    assert!(matches("- kind: Other\n- kind: PortScan*\n  severity: medium", &alert));
    assert!(!matches("- kind: Other\n- kind: PortScan*\n  severity: high", &alert));
    assert!(matches("scan: {kind: PortScan*}\nsevere: {severity: high}\ncondition: scan and not severe", &alert));
    assert!(matches("a:\n  - kind: x\n  - severity: medium\nb: {host: none}\ncondition: [b, a]", &alert));
    assert!(!matches("_a: {severity: medium}\nb: {host: none}\ncondition: 1 of them\n", &alert));
    assert!(matches("_a: {severity: medium}\nb: {host: none}\ncondition: 1 of _*\n", &alert));
}

#[test]
fn items_of_one_entity_type_are_matched_each_on_its_own() {
    // Another element may answer each item: that is Sigma, and written so in docs/rules.md.
    assert!(matches("entities.host.name: web-02\nentities.host.os: null", &alert()));
}
