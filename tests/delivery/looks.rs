//! How mails read: the text as snapshots, the HTML for what must and must not be in it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use soard::actions::message::OwnLinks;
use soard::actions::templates::{Background, Page, Rendered, Subject, Templates};
use soard::domain::effect::EffectKey;
use soard::domain::id::RunId;
use soard::domain::mail::DIGEST_ALERTS_MAX;

use crate::alert;

fn render(templates: &Templates, name: &str, run: &str, input: &Value, data: Value) -> Result<Rendered, String> {
    render_with(templates, name, run, input, data, (&Background::default(), &OwnLinks::default()))
}

fn render_with(
    templates: &Templates,
    name: &str,
    run: &str,
    input: &Value,
    data: Value,
    (background, links): (&Background, &OwnLinks),
) -> Result<Rendered, String> {
    let run: RunId = run.parse().unwrap();
    let key = EffectKey::new("journal", &run, 0);
    let data: Map<String, Value> = serde_json::from_value(data).unwrap();
    let at = "2026-11-22T01:00:00Z".parse().unwrap();
    templates.render(name, &Subject { input, run: &run, key: &key, at, data: &data, background, links })
}

/// What is known beyond the alert, all of it.
fn background() -> Background {
    let page = |label: &str, url: &str| Page { label: label.into(), url: url.into() };
    Background {
        did: vec![
            "Sent a request to jira: done (201), SEC-12".into(),
            "Asked “Isolate web-01?”: nobody decided in time, so it was denied".into(),
        ],
        mitigate: vec!["Check with alice whether she ran the script.".into(), "If not, isolate web-01.".into()],
        prevent: vec!["Let PowerShell run signed scripts only.".into()],
        inspect: vec![
            page("Logins of the last day", "https://siem.example.com/logins?host=web-01"),
            page("Not a page", "javascript:alert(1)"),
        ],
        change: Value::Null,
    }
}

fn links() -> OwnLinks {
    let url = |what: &str| {
        format!(
            "https://soard.example.com/mail/{what}/x/c29jQGV4YW1wbGUuY29t/1795000000/7k2l3m4n5o6p7q2r3s4t5u6v7w2x3y4z"
        )
    };
    OwnLinks { acknowledge: Some(url("acknowledge")), unsubscribe: Some(url("unsubscribe")) }
}

fn group() -> Value {
    let of = |n: usize, severity: &str, title: &str, host: &str| {
        json!({"id": format!("a-{}.0", 1000 + n), "title": title, "severity": severity, "status": "active", "host": host,
            "product": "Falco", "received": format!("2026-11-22T00:{:02}:00Z", n % 60), "links": [{"url": format!("https://portal.example.com/a/{n}")}]})
    };
    let mut alerts = vec![
        of(1, "low", "Port scan from an internal address", "scan-7"),
        of(2, "medium", "Login from an unusual country", "mail-02"),
        alert(),
        of(
            3,
            "high",
            "Shell spawned in a container that serves the public web site of the whole organisation",
            "kube-node-with-a-long-name-17.eu-central-1.example.com",
        ),
        of(4, "informational", "Package manager started", "build-4"),
    ];
    alerts.extend((5..70).map(|n| of(n, "low", "Port scan from an internal address", "scan-7")));
    Value::Array(alerts)
}

/// Writes the HTML where a person can open it: `target/tmp/mail-preview/`.
fn preview(name: &str, html: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mail-preview");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), html).unwrap();
}

fn show(mail: &Rendered) -> String {
    format!("Subject: {}\n\n{}", mail.subject, mail.text)
}

#[test]
fn the_alert_mail_says_what_where_and_what_to_do() {
    let data = json!({"note": "Ticket SEC-123 is open; the host was not isolated, nobody approved it."});
    let mail = render(&Templates::default(), "alert", "a-1042.0/notify-email", &alert(), data).unwrap();
    insta::assert_snapshot!(show(&mail));
    let html = mail.html.unwrap();
    preview("alert.html", &html);
    for part in [
        "prefers-color-scheme: dark",
        "CONTOSO\\alice",
        "T1059.001",
        "SEC-123",
        "isolate web-01",
        "a-1042.0&#x2f;notify-email",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(html.matches("href=").count(), 1, "one link");
    assert!(html.contains("https:&#x2f;&#x2f;portal.example.com&#x2f;alerts&#x2f;2518?tenant=1&amp;view=full"));
    for absent in ["<img", "<script", "src=", "url(", "@import", "<link"] {
        assert!(!html.contains(absent), "{absent}");
    }
}

#[test]
fn the_group_mail_lists_the_worst_first() {
    let mail = render(&Templates::default(), "group", "g-17/digest", &group(), json!({})).unwrap();
    let shown = show(&mail);
    let lines: Vec<&str> = shown.lines().collect();
    insta::assert_snapshot!([&lines[..26], &["…"], &lines[lines.len() - 9..]].concat().join("\n"));
    let html = mail.html.unwrap();
    preview("group.html", &html);
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("Shell spawned") < at("unusual country") && at("unusual country") < at("Port scan"));
    assert!(html.contains("and 20 more"));
}

#[test]
fn a_mail_tells_why_it_matters_what_was_done_and_what_its_recipient_can_do() {
    let mut input = alert();
    input["confidence"] = "high".into();
    let change = json!({"from": "resolved", "to": "in_progress", "by": "ann (uid 1000)", "comment": "it goes on"});
    let background = Background { change, ..background() };
    let mail = |links: &OwnLinks| {
        render_with(&Templates::default(), "alert", "a-1042.0@57/tell", &input, json!({}), (&background, links))
            .unwrap()
    };
    let whole = mail(&links());
    insta::assert_snapshot!(show(&whole));
    let html = whole.html.unwrap();
    preview("alert-whole.html", &html);
    for part in
        ["SEC-12", "runs code that is not ours", "siem.example.com", "signed scripts", "it goes on", "Acknowledge"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("javascript:") && !whole.text.contains("javascript:"), "what is no page is no link");
    let none = mail(&OwnLinks::default());
    for text in [&none.text, &none.html.unwrap()] {
        assert!(!text.contains("soard.example.com") && !text.contains("cknowledge"), "{text}");
    }
}

/// What waited for one recipient, as the digest's playbook gets it.
fn digest() -> (Value, Value) {
    let data = json!({"digest": {"recipient": "soc@example.com", "since": "2026-11-21T08:00:00Z",
        "reasons": [{"why": "over the cap of 4 high a day", "count": 3}, {"why": "quiet hours until 06:00 (Europe/Berlin)", "count": 1066}],
        "more": {"low": 1000, "medium": 0}}});
    (group(), data)
}

#[test]
fn a_digest_accounts_for_every_alert_worst_first_and_says_why_it_waited() {
    let (input, data) = digest();
    let mail =
        render_with(&Templates::default(), "digest", "g-7/digest", &input, data, (&Background::default(), &links()));
    let mail = mail.unwrap();
    let html = mail.html.as_ref().unwrap();
    preview("digest.html", html);
    assert_eq!(mail.subject, "[DIGEST] 1070 alerts: 2 high, 1 medium, 1066 low");
    let lines: Vec<&str> = mail.text.lines().collect();
    insta::assert_snapshot!([&lines[..26], &["…"], &lines[lines.len() - 18..]].concat().join("\n"));
    for said in ["1070 alerts", "over the cap of 4 high a day", "1000 low", "Acknowledge those listed"] {
        assert!(html.contains(said), "{said}");
    }
    assert_eq!(mail.text.matches("\n              a-").count(), 70, "the others are listed one by one");
    let low = |n: u32| json!({"id": format!("a-{n}.0"), "title": "Many", "severity": "low"});
    let many: Value = (1..=150).map(low).collect();
    let mail = render(&Templates::default(), "digest", "g-9/digest", &many, json!({})).unwrap();
    assert_eq!(mail.text.matches("Many").count(), DIGEST_ALERTS_MAX, "{}", mail.text);
    assert!(mail.text.contains("Not listed, since there are too many: 50 low."), "{}", mail.text);
    let one = json!([{"id": "a-1.0", "title": "Alone", "severity": "low"}]);
    let mail = render(&Templates::default(), "digest", "g-8/digest", &one, json!({})).unwrap();
    assert_eq!(mail.subject, "[DIGEST] 1 alert: 1 low");
    assert!(mail.text.starts_with("1 alert that was not mailed alone: 1 low"), "{}", mail.text);
}

#[test]
fn an_alert_that_says_little_still_gives_a_whole_mail() {
    let input = json!({"id": "a-7.0", "title": "Something", "severity": "low", "status": "resolved", "received": "2026-11-22T01:00:00Z"});
    let mail = render(&Templates::default(), "alert", "a-7.0/notify", &input, json!({})).unwrap();
    insta::assert_snapshot!(show(&mail));
    preview("sparse.html", mail.html.as_deref().unwrap());
    let mut inputs = vec![json!({}), json!([]), json!(null), json!("x"), json!([1, {}])];
    let whole = alert();
    for field in whole.as_object().unwrap().keys() {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(field);
        inputs.push(lacking.clone());
        inputs.push(json!({field: whole[field]}));
        inputs.push(json!([lacking, {field: whole[field]}]));
    }
    let templates = Templates::default();
    for input in inputs {
        for name in ["alert", "group", "digest", "approval"] {
            let mail = render(&templates, name, "a-7.0/notify", &input, json!({}));
            assert!(mail.is_ok(), "{name}: {mail:?}: {input}");
        }
    }
}

#[test]
fn the_subject_names_severity_what_and_where_within_sixty_characters() {
    let subject = |title: &str, host: &str| {
        let input = json!({"title": title, "severity": "high", "host": host});
        render(&Templates::default(), "alert", "a-7.0/notify", &input, json!({})).unwrap().subject
    };
    let long = "Suspicious PowerShell activity with an encoded command line was detected in a virtual machine";
    let cases = [
        subject("Suspicious PowerShell", "web-01"),
        subject(long, "web-01"),
        subject(long, "kube-node-with-a-long-name-17.eu-central-1.example.com"),
        subject("Malware on WEB-01 was removed", "web-01"),
        subject("Line\r\nBcc: a@b\u{202e}txt", "h\nost"),
        subject("Größe überschritten: Datenträger 日本語 🚨", "web-01"),
        subject("", ""),
    ];
    insta::assert_snapshot!(cases.join("\n"));
    for case in cases {
        assert!(case.chars().count() <= 60, "{case}");
    }
}

#[test]
fn nothing_in_an_alert_becomes_markup_a_script_or_another_link() {
    let evil = "</td><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}\" onclick=\"x";
    let mut input = alert();
    for field in ["title", "description", "host", "kind", "product", "status", "severity", "received", "id"] {
        input[field] = evil.into();
    }
    input["entities"] = json!({evil: [{"name": evil, evil: evil}]});
    input["remediation"] = json!([evil]);
    input["resources"] = json!([evil]);
    input["links"] =
        json!([{"label": evil, "url": "javascript:alert(3)"}, {"url": format!("https://example.com/{evil}")}]);
    for (name, input) in [("alert", input.clone()), ("group", json!([input]))] {
        let mail = render(&Templates::default(), name, "a-7.0/notify", &input, json!({"note": evil})).unwrap();
        let html = mail.html.unwrap();
        preview(&format!("hostile-{name}.html"), &html);
        for absent in ["<script", "<img", "javascript:", "\" onclick", "49"] {
            assert!(!html.contains(absent), "{name}: {absent}");
        }
        assert_eq!(html.matches("href=\"https:&#x2f;&#x2f;example.com").count(), html.matches("href=").count());
        assert_eq!(mail.subject.lines().count(), 1);
    }
}

fn compile(files: &[(&str, &str)]) -> (Templates, String) {
    let files: BTreeMap<String, String> =
        files.iter().map(|(path, text)| (String::from(*path), String::from(*text))).collect();
    let (templates, faults) = Templates::compile(&files);
    let sources = files;
    let shown: Vec<String> = faults.iter().map(|fault| fault.render(&sources, false)).collect();
    (templates, shown.join("\n\n"))
}

#[test]
fn templates_of_the_bundle_override_the_shipped_ones_and_add_to_them() {
    let (templates, faults) = compile(&[
        ("templates/alert.txt", "Subject: {{ alert.title }}\n\nMine: {% include '_end.txt' %}\n"),
        ("templates/alert.html", "<p>{{ alert.title }}</p>"),
        ("templates/page.txt", "Subject: {{ headline }}\n\n{{ data.reason }} {{ alert.nothing_here.at_all }}!\n"),
        ("templates/_end.txt", "bye {{ alert.host }}"),
    ]);
    insta::assert_snapshot!("overrides", faults);
    assert_eq!(templates.names().collect::<Vec<_>>(), ["alert", "approval", "digest", "group", "page"]);
    let input = json!({"title": "a <b>\nc", "host": "h", "severity": "low"});
    let mail = render(&templates, "alert", "a-7.0/n", &input, json!({})).unwrap();
    assert_eq!((mail.subject.as_str(), mail.text.trim()), ("a <b> c", "Mine: bye h"));
    assert_eq!(mail.html.as_deref(), Some("<p>a &lt;b&gt; c</p>"));
    let mail = render(&templates, "page", "a-7.0/n", &input, json!({"reason": "why"})).unwrap();
    assert_eq!((mail.text.as_str(), mail.html), ("why !", None));
}

#[test]
fn faulty_templates_are_told_with_their_place() {
    let (_, faults) = compile(&[
        ("templates/a.txt", "Subject: x\n\n{% if alert.title %}\nno end\n"),
        ("templates/b.txt", "Subject: x\n\n{{ alert.title|shout }}\n"),
        ("templates/c.html", "<p>alone</p>"),
        ("templates/d.md", "x"),
        ("templates/e.txt", "Subject: {{ alert.titel }}\n"),
        ("templates/f.txt", "Subject: x\n{% include 'none.txt' %}\n"),
        (
            "templates/g.txt",
            "Subject: x\n{% for i in range(9000) %}{% for j in range(9000) %}{{ j }}{% endfor %}{% endfor %}",
        ),
    ]);
    insta::assert_snapshot!(faults);
}

#[test]
fn a_template_that_fails_on_an_alert_says_where() {
    let (templates, faults) =
        compile(&[("templates/t.txt", "Subject: x\n\n{{ 1 / data.zero if data.zero is defined }}\n")]);
    assert_eq!(faults, "");
    let fail = |data| render(&templates, "t", "a-1.0/n", &json!({}), data).unwrap_err();
    insta::assert_snapshot!(fail(json!({"zero": "x"})));
    let unknown = render(&templates, "alrt", "a-1.0/n", &json!({}), json!({})).unwrap_err();
    assert_eq!(unknown, "no mail template `alrt`; did you mean `alert`?");
}

#[test]
fn a_question_is_mailed_with_what_it_is_about_and_with_links_where_there_are_any() {
    let approval = |links: bool| {
        let url = |choice: &str| links.then(|| format!("https://soard.example.com/decide/ap-3/{choice}/1/x"));
        json!({"approval": {"id": "ap-3", "question": "Isolate <web-1>?", "by": ["approver", "bo"], "until": "2026-11-22T01:30:00Z",
            "otherwise": "deny", "approve_url": url("approve"), "deny_url": url("deny")}})
    };
    let templates = Templates::default();
    for (input, run) in [(alert(), "a-1.0/isolate"), (group(), "g-7/isolate")] {
        for links in [true, false] {
            let mail = render(&templates, "approval", run, &input, approval(links)).unwrap();
            let html = mail.html.unwrap();
            preview(&format!("approval-{links}.html"), &html);
            assert_eq!(mail.subject, "HIGH: approve? Isolate <web-1>?");
            for said in ["approver or bo", "2026-11-22 01:30:00 UTC", "it is denied", "soard approve ap-3", run] {
                assert!(
                    mail.text.contains(said) && html.contains(&said.replace('/', "&#x2f;")),
                    "{said}: {}",
                    mail.text
                );
            }
            assert!(html.contains("Isolate &lt;web-1&gt;?") && !html.contains("<web-1>"));
            for choice in ["approve", "deny"] {
                let link = format!("/decide/ap-3/{choice}/1/x");
                let in_both = mail.text.contains(&link) && html.contains(&link.replace('/', "&#x2f;"));
                assert_eq!(in_both, links, "{choice}: {}", mail.text);
            }
            assert_eq!(mail.text.contains("Opening a link decides nothing"), links);
        }
    }
}
