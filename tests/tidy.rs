//! The house rules that a machine can check. Each rule is first shown to find a breach, then run over the repository.

mod tidy {
    pub mod code;
    pub mod docs;
    pub mod source;
}

use std::process::Command;

use tidy::source::{Breach, File, mark_tests, repository};
use tidy::{code, docs};

/// Shows that a rule finds exactly these breaches in a small bad example, and none in the repository.
fn check(rule: impl Fn(&[File]) -> Vec<Breach>, bad: &[(&str, &str)], breaches: &[&str]) {
    let mut bad: Vec<File> = bad.iter().map(|(path, text)| File::new(path, text)).collect();
    mark_tests(&mut bad);
    let found: Vec<String> = rule(&bad).into_iter().map(|Breach(text)| text).collect();
    assert_eq!(found, breaches, "the rule does not find what it is for");
    let found: Vec<String> = rule(&repository()).into_iter().map(|Breach(text)| text).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn imports_go_down_only() {
    check(
        code::layers,
        &[
            (
                "src/domain/alert.rs",
                "// crate::daemon in a comment\nuse crate::yaml::node::Node;\nuse crate::domain::id::AlertId;\n",
            ),
            ("src/engine/decide.rs", "use crate::rules::bundle::Bundle;\nfn f() { crate::playbooks::evaluate() }\n"),
            ("src/sources/mod.rs", "pub mod http;\nuse super::rules::Rule;\n"),
            (
                "src/actions/mail.rs",
                "#[cfg(test)]\nmod tests {\n    use super::super::mail;\n    use crate::sources::http;\n}\n",
            ),
            ("src/cli/run.rs", "use crate::{daemon, journal};\npub use crate::daemon::clock;\n"),
            ("src/extra/mod.rs", ""),
            ("src/main.rs", "use soard::cli::run;\nuse soard::*;\n"),
        ],
        &[
            "src/domain/alert.rs:2: `domain` must not import `yaml`",
            "src/engine/decide.rs:2: `engine` must not import `playbooks`",
            "src/sources/mod.rs:2: `super` climbs to the crate's root: write crate::FOLDER::…",
            "src/actions/mail.rs:4: `actions` must not import `sources`",
            "src/cli/run.rs:1: one folder per `use`: write crate::FOLDER::…",
            "src/cli/run.rs:2: re-exports hide who depends on whom",
            "src/extra/mod.rs:1: `extra` is not in the list of layers (tests/tidy/code.rs)",
            "src/main.rs:2: one folder per `use`: write crate::FOLDER::…",
        ],
    );
}

#[test]
fn the_core_is_synchronous_and_pure() {
    check(
        code::waiting,
        &[("src/engine/a.rs", "async fn f() { g().await }\n"), ("src/actions/b.rs", "async fn f() {}\n")],
        &[
            "src/engine/a.rs:1: `async` outside sources, actions, daemon, console, cli",
            "src/engine/a.rs:1: `await` outside sources, actions, daemon, console, cli",
        ],
    );
    check(
        code::purity,
        &[
            ("src/rules/a.rs", "use std::fs;\n#[cfg(test)]\nmod tests { use std::fs; }\n"),
            ("src/engine/c.rs", "use std::net::{IpAddr, TcpStream};\n"),
            ("src/journal/b.rs", "use std::fs;\n"),
        ],
        &["src/rules/a.rs:1: `std::fs` in a pure folder", "src/engine/c.rs:1: `TcpStream` in a pure folder"],
    );
}

#[test]
fn only_one_file_knows_what_time_it_is() {
    check(
        code::clocks,
        &[
            ("src/daemon/clock.rs", "jiff::Timestamp::now()"),
            ("src/daemon/run.rs", "Instant::now(); SystemTime::now()"),
            ("src/engine/a.rs", "Instant::now()\n#[cfg(test)]\nmod tests {\n  Instant::now(); Zoned::now()\n}\n"),
        ],
        &[
            "src/daemon/run.rs:1: `SystemTime::now` reads a clock; pass the time in",
            "src/engine/a.rs:1: `Instant::now` reads a clock; pass the time in",
            "src/engine/a.rs:4: `Zoned::now` reads a clock; pass the time in",
        ],
    );
}

#[test]
fn nothing_panics_prints_or_is_left_for_later() {
    check(
        code::loose_ends,
        &[
            (
                "src/domain/a.rs",
                "a.unwrap(); b.unwrap_or(1); println!();\n#[cfg(test)]\nmod tests { c.unwrap(); todo!() }\n",
            ),
            ("src/yaml/mod.rs", "pub mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod c;\n"),
            ("src/yaml/a.rs", "a.unwrap();\n#[cfg(test)]\nmod story;\n"),
            ("src/yaml/a/story.rs", "a.unwrap();\n"),
            ("src/yaml/b/mod.rs", "a.unwrap();\n"),
            ("src/yaml/c_tests.rs", "a.unwrap();\n"),
            ("src/cli/b.rs", "eprintln!(\"x\"); todo!()\n#[ignore]\nfn f() {}\n"),
        ],
        &[
            "src/domain/a.rs:1: `unwrap` says nothing: write `expect(\"why\")`",
            "src/domain/a.rs:1: `println!` outside cli",
            "src/domain/a.rs:3: unfinished",
            "src/yaml/a.rs:1: `unwrap` says nothing: write `expect(\"why\")`",
            "src/cli/b.rs:1: unfinished",
            "src/cli/b.rs:2: unfinished",
        ],
    );
}

#[test]
fn files_are_read_in_one_sitting() {
    let long = "fn f() {}\n".repeat(501);
    let tested = format!("fn f() {{}}\n#[cfg(test)]\n{long}");
    check(
        code::lengths,
        &[("src/domain/long.rs", &long), ("src/domain/tested.rs", &tested)],
        &["src/domain/long.rs:1: 501 lines before the tests; split at 500"],
    );
}

#[test]
fn names_say_what_a_thing_is() {
    check(
        code::names,
        &[
            ("src/domain/utils.rs", "use hyper_util::rt; // a helper\n"),
            ("src/domain/a.rs", "struct RunManager { log_processor: u8 }\nfn help() { let mut helper = 1; }\n"),
        ],
        &[
            "src/domain/utils.rs:1: `util` in a file's name says nothing",
            "src/domain/a.rs:1: `manager` in `RunManager` says nothing",
            "src/domain/a.rs:1: `processor` in `log_processor` says nothing",
            "src/domain/a.rs:2: `helper` in `helper` says nothing",
        ],
    );
}

#[test]
fn a_diagnostic_code_leads_to_one_place() {
    check(
        code::diagnostic_codes,
        &[
            (
                "src/rules/a.rs",
                "faults.error(\"bad-name\", place, \"x\");\nDiagnostic::warning(\n    \"Bad name\", p, \"y\");\n",
            ),
            ("src/rules/b.rs", "Diagnostic::error(\"bad-name\", place, \"x\");\nerror!(\"bad-name\");\n"),
        ],
        &[
            "src/rules/a.rs:3: `Bad name` is not a code in kebab-case",
            "src/rules/b.rs:1: `bad-name` is given at src/rules/a.rs:1 already",
        ],
    );
}

#[test]
fn nothing_is_unsafe() {
    check(
        code::no_unsafe,
        &[("src/domain/a.rs", "fn f() { unsafe { g() } } // unsafe\n"), ("Cargo.toml", "[lints.rust]\n")],
        &["src/domain/a.rs:1: `unsafe` is forbidden", "Cargo.toml: the lint `unsafe_code = \"forbid\"` is gone"],
    );
}

#[test]
fn documents_stay_short() {
    let long = "line\n".repeat(151);
    check(
        docs::lengths,
        &[("README.md", &long), ("ARCHITECTURE.md", "")],
        &["README.md:1: 151 lines; at most 150", "CONTRIBUTING.md: the document is missing"],
    );
}

#[test]
fn documents_name_only_files_that_exist() {
    check(
        docs::mentions,
        &[
            ("README.md", "See docs/guide.md, docs/gone.md and `src/rules/*.rs`;\n/etc/systemd/x, SECURITY.md\n"),
            (
                "docs/guide.md",
                "# The guide: 1\n[up](../README.md) [a](#the-guide-1) [b](#no) [c](gone.md) [d](https://example.com/x)\n",
            ),
        ],
        &[
            "README.md:1: there is no `docs/gone.md`",
            "README.md:1: there is no `src/rules/*.rs`",
            "README.md:2: there is no `SECURITY.md`",
            "docs/guide.md:2: `docs/guide.md` has no heading `#no`",
            "docs/guide.md:2: the link leads to `docs/gone.md`, which is not there",
        ],
    );
}

#[test]
fn what_documents_quote_is_what_the_files_say() {
    check(
        docs::quotes,
        &[
            (
                "README.md",
                "```yaml\n# examples/a.yaml\na: 1\n```\n```yaml\n# examples/a.yaml\nb: 2\n```\n```sh\nls\n```\n",
            ),
            ("examples/a.yaml", "# why\na: 1\nb: 3\n"),
        ],
        &["README.md:5: this is not what `examples/a.yaml` says"],
    );
}

#[test]
fn documents_name_only_commands_that_exist() {
    let example = |words: &[&str]| {
        let text = match words {
            [] => "Commands:\n  check  …\n  log    …\n\nOptions:\n  -C, --dir <DIR>\n  -h, --help\n",
            ["check"] => "Usage: soard check [DIR]\n\nOptions:\n  -o, --output <HOW>\n",
            ["log"] => "Commands:\n  tail  …\n\nOptions:\n",
            ["log", "tail"] => "Options:\n  -n <COUNT>\n",
            _ => return None,
        };
        Some(text.to_owned())
    };
    let bad = "soard decides. Run `soard check dir -o json` or `soard chek`:\n```sh\n$ soard log tail -n 5\nsoard log cut\n\
               sudo soard check --fast | jq\ncargo run -- -C dir log cut # why\n# soard says so\n```\nsoard checks.\n";
    let bad = [File::new("README.md", bad)];
    let found: Vec<String> = docs::commands(&bad, &example).into_iter().map(|Breach(text)| text).collect();
    assert_eq!(
        found,
        [
            "README.md:1: there is no command `soard chek`",
            "README.md:4: there is no command `soard log cut`",
            "README.md:5: `soard check` has no option `--fast`",
            "README.md:6: there is no command `soard log cut`",
        ]
    );
    let found: Vec<String> = docs::commands(&repository(), &help).into_iter().map(|Breach(text)| text).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// What the built binary says of a command.
fn help(words: &[&str]) -> Option<String> {
    let run = Command::new(env!("CARGO_BIN_EXE_soard")).args(words).arg("--help").output().expect("soard runs");
    run.status.success().then(|| String::from_utf8(run.stdout).expect("help is UTF-8"))
}
