//! Wrong destinations and the diagnostics that they get.

use std::path::Path;

use soard::actions::Actions;
use soard::domain::effect::Mode;
use soard::yaml::diagnostic::Sources;

use crate::{parse, secret};

const GOOD: &str = "
jira:
  webhook:
    url: https://jira.example.com/hooks/1
    mode: at_least_once
    headers: { X-Team: soc, X-Api-Key: { credential: jira-key } }
    secret: { file: keys/secret }
    basic: { username: soard, password: { env: JIRA_PASSWORD } }
    retries: [1s, 5s]
edr:
  webhook: { url: 'http://localhost:9/', mode: at_most_once, bearer: { credential: edr } }
wall:
  webhook: { url: 'https://e.com/', mode: probe, probe: { url: { file: ask }, timeout: 5s } }
oncall:
  email:
    smtp: { host: mail.example.com, username: soard, password: { credential: smtp } }
    from: soard <soard@example.com>
    to: oncall@example.com
trial:
  email: { folder: mail, from: soard@example.com, to: [a@example.com, b@example.com] }
";

#[test]
fn good_destinations_are_read_and_say_what_they_need() {
    let (settings, faults) = parse(GOOD);
    assert!(faults.found.is_empty(), "{:?}", faults.found);
    assert_eq!(settings.names("webhook"), ["edr", "jira", "wall"]);
    assert_eq!(settings.names("email"), ["oncall", "trial"]);
    assert_eq!(
        (settings.mode("edr"), settings.mode("oncall"), settings.mode("x")),
        (Some(Mode::AtMostOnce), Some(Mode::AtLeastOnce), None)
    );
    assert_eq!(
        (settings.kind("jira"), settings.kind("trial"), settings.kind("x")),
        (Some("webhook"), Some("email"), None)
    );
    let secrets: Vec<String> = settings.secrets().iter().map(ToString::to_string).collect();
    assert_eq!(
        secrets,
        [
            "secret:file:ask",
            "secret:file:keys/secret",
            "secret:credential:edr",
            "secret:credential:jira-key",
            "secret:credential:smtp",
            "secret:env:JIRA_PASSWORD"
        ]
    );
    let moved = settings.relative_to(Path::new("/srv/soard"));
    assert!(format!("{:?}", moved.get("trial")).contains("\"/srv/soard/mail\""));
    assert_eq!(moved.secrets()[0].to_string(), "secret:file:/srv/soard/ask");
    assert_eq!(moved.secrets()[1].to_string(), "secret:file:/srv/soard/keys/secret");
}

const WRONG_PROBES: &str = "x:\n  webhook: { url: https://e.com/do, mode: probe }\n\
     y:\n  webhook: { url: https://e.com/do, mode: at_most_once, probe: { url: 'https://e.com/{key}' } }\n\
     z:\n  webhook: { url: https://e.com/do, mode: probe, probe: { url: https://e.com/last, done: 404, not_done: [410, 404, 99] } }\n\
     w:\n  webhook: { url: https://e.com/do, mode: probe, probe: { url: 'https://status.e.com/{key}', donee: 200 } }\n\
     m:\n  email: { folder: m, from: a@e.com, to: a@e.com, mode: probe }\n";

#[test]
fn wrong_destinations_are_all_told_at_once() {
    let cases = [
        ("not a map", "- a\n"),
        ("neither", "x: {}\n"),
        (
            "both",
            "x:\n  webhook: { url: https://e.com, mode: at_least_once }\n  email: { folder: m, from: a@e.com, to: a@e.com }\n",
        ),
        ("unknown kind", "x:\n  webhok: { url: https://e.com, mode: at_least_once }\n"),
        ("name", "'My Hook':\n  webhook: { url: https://e.com, mode: at_least_once }\n"),
        (
            "duplicate",
            "x:\n  webhook: { url: https://e.com, mode: at_least_once }\nx:\n  email: { folder: m, from: a@e.com, to: a@e.com }\n",
        ),
        ("no url, no mode", "x:\n  webhook: { timeout: 5s }\n"),
        ("mode", "x:\n  webhook: { url: https://e.com, mode: exactly_once }\n"),
        ("probe", WRONG_PROBES),
        ("plain http", "x:\n  webhook: { url: http://hooks.example.com/, mode: at_least_once }\n"),
        ("scheme", "x:\n  webhook: { url: ftp://e.com/, mode: at_least_once }\n"),
        ("no url at all", "x:\n  webhook: { url: hooks.example.com, mode: at_least_once }\n"),
        ("login in url", "x:\n  webhook: { url: 'https://user:pw@e.com/', mode: at_least_once }\n"),
        ("fragment", "x:\n  webhook: { url: 'https://e.com/#a', mode: at_least_once }\n"),
        ("literal secret", "x:\n  webhook: { url: https://e.com, mode: at_least_once, bearer: hunter2 }\n"),
        ("secret place", "x:\n  webhook: { url: https://e.com, mode: at_least_once, bearer: { file: /a, env: B } }\n"),
        ("secret typo", "x:\n  webhook: { url: https://e.com, mode: at_least_once, bearer: { flie: /a } }\n"),
        (
            "two logins",
            "x:\n  webhook: { url: https://e.com, mode: at_least_once, bearer: { env: A }, basic: { username: a, password: { env: B } } }\n",
        ),
        ("half basic", "x:\n  webhook: { url: https://e.com, mode: at_least_once, basic: { username: a } }\n"),
        (
            "headers",
            "x:\n  webhook:\n    url: https://e.com\n    mode: at_least_once\n    headers:\n      Authorization: Bearer x\n      webhook-id: '1'\n      'a b': c\n      X-Lines: \"a\\nb\"\n      X-Number: 5\n",
        ),
        ("method", "x:\n  webhook: { url: https://e.com, mode: at_least_once, method: PSOT }\n"),
        (
            "limits",
            "x:\n  webhook: { url: https://e.com, mode: at_least_once, timeout: 2h, concurrency: 0, response_bytes_max: 99999999, give_up_after: never }\n",
        ),
        ("retries", "x:\n  webhook: { url: https://e.com, mode: at_least_once, retries: [1s, soon, 1ms] }\n"),
        ("unknown key", "x:\n  webhook: { url: https://e.com, mode: at_least_once, time_out: 5s }\n"),
        ("mail without", "x:\n  email: {}\n"),
        ("mail both ways", "x:\n  email: { folder: m, smtp: { host: e.com }, from: a@e.com, to: a@e.com }\n"),
        (
            "addresses",
            "x:\n  email:\n    folder: m\n    from: nobody\n    reply_to: \"A\\r\\nBcc: b <a@e.com>\"\n    to: [a@e.com, a@e.com, 'jörg@e.com', 5]\n",
        ),
        ("no recipient", "x:\n  email: { folder: m, from: a@e.com, to: [] }\n"),
        ("plain smtp", "x:\n  email: { smtp: { host: mail.example.com, tls: none }, from: a@e.com, to: a@e.com }\n"),
        (
            "smtp",
            "x:\n  email: { smtp: { host: 'smtp://mail:25', port: 99999, tls: maybe, username: a }, from: a@e.com, to: a@e.com }\n",
        ),
        (
            "smtp password",
            "x:\n  email: { smtp: { host: e.com, username: a, password: hunter2 }, from: a@e.com, to: a@e.com }\n",
        ),
    ];
    let shown = cases.map(|(name, yaml)| {
        let (_, faults) = parse(yaml);
        assert!(!faults.found.is_empty(), "{name}");
        let sources = Sources::from([("soard.yaml".into(), yaml.into())]);
        let faults: Vec<String> = faults.found.iter().map(|fault| fault.render(&sources, false)).collect();
        format!("### {name}\n{}", faults.join("\n"))
    });
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn what_only_shows_with_the_secrets_at_hand_is_told_for_every_destination() {
    let (settings, faults) = parse(
        "a: { webhook: { url: { env: 'http://hooks.example.com/T0/secret-part' }, mode: at_least_once } }\n\
         b: { webhook: { url: 'https://e.com', mode: at_least_once, secret: { env: whsec_short } } }\n\
         c: { webhook: { url: 'https://e.com', mode: at_least_once, bearer: { credential: missing } } }\n\
         p: { webhook: { url: 'https://e.com', mode: probe, probe: { url: { env: 'https://other.e.com/secret-path/{key}' } } } }\n\
         d: { webhook: { url: 'https://e.com', mode: at_least_once, ca: /nonexistent/ca.pem } }\n\
         e: { email: { smtp: { host: e.com, ca: /nonexistent/ca.pem }, from: a@e.com, to: a@e.com } }\n\
         f: { webhook: { url: 'https://e.com', mode: at_least_once, headers: { X-Key: { env: \"two\\nlines-secret\" } } } }\n",
    );
    assert!(faults.found.is_empty(), "{:?}", faults.found);
    let faults = Actions::new(settings, &secret).unwrap_err().join("\n");
    // The tests' references hold the value themselves; the text after `env:` is the reference.
    assert!(!faults.contains("T0") && !faults.contains("secret-path"), "{faults}");
    insta::assert_snapshot!(faults);
}

#[test]
fn owners_whose_addresses_differ_only_in_case_are_one() {
    let (settings, faults) = parse("mail:\n  email: { folder: x, from: a@b.c, to: soc@b.c, to_owner: true }\n");
    assert!(faults.found.is_empty(), "{:?}", faults.found);
    let owners = ["Ann@b.c", "bo@b.c", "ann@B.c"].map(String::from);
    let to: Vec<String> =
        settings.recipients("mail", &owners).into_iter().map(|recipient| recipient.to.address).collect();
    assert_eq!(to, ["Ann@b.c", "bo@b.c"]);
    assert_eq!(settings.owners_left_out("mail", &owners), 0);
    let many: Vec<String> = (0..103).flat_map(|n| [format!("o{n}@b.c"), format!("O{n}@b.c")]).collect();
    assert_eq!((settings.recipients("mail", &many).len(), settings.owners_left_out("mail", &many)), (100, 3));
}
