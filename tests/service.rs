//! The unit file is judged by systemd itself: how exposed the service is, and whether every line is understood.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Ten times the exposure that `systemd-analyze security` may find; 0 is safe, 100 is everything allowed.
const EXPOSURE_TENTHS_MAX: u32 = 13;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/soard.service");

/// Runs `systemd-analyze` (Debian package systemd); nothing here needs a running systemd.
fn analyze(args: &[&str], unit: &Path) -> Output {
    let run = Command::new("systemd-analyze").args(args).arg(unit).output();
    run.expect("systemd-analyze is installed: `tests/run` installs it")
}

/// The unit's text in a file of the same name, since systemd tells kinds of units apart by name.
fn unit_with(text: &str, judge: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("soard.service");
    fs::write(&unit, text).unwrap();
    judge(&unit);
}

#[test]
fn the_service_is_hardly_exposed() {
    let threshold = format!("--threshold={EXPOSURE_TENTHS_MAX}");
    let args = ["security", "--offline=yes", "--no-pager", threshold.as_str()];
    let run = analyze(&args, Path::new(UNIT));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));

    unit_with("[Service]\nExecStart=/usr/bin/soard run\n", |bare| {
        assert!(!analyze(&args, bare).status.success(), "a bare unit must not pass");
    });
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    // The verifier looks for the commands, so the unit names the binary under test instead of an installed one.
    let text = fs::read_to_string(UNIT).unwrap().replace("/usr/bin/soard", env!("CARGO_BIN_EXE_soard"));
    assert_eq!(complaints(&text), "");

    let misspelt = complaints(&text.replace("ProtectHome=", "ProtectHomes="));
    assert!(misspelt.contains("Unknown key 'ProtectHomes'"), "{misspelt}");
}

/// What systemd says of a unit; it exits 0 for keys that it ignores, so its words count.
fn complaints(text: &str) -> String {
    let mut said = String::new();
    unit_with(text, |unit| {
        let run = analyze(&["verify", "--man=no"], unit);
        said = String::from_utf8_lossy(&run.stderr).into_owned();
    });
    said
}

/// Workers shut themselves in; what they need for it is in none of the sets that the unit allows.
#[test]
fn workers_may_shut_themselves_in() {
    let text = fs::read_to_string(UNIT).unwrap();
    let (_, after) = text.split_once("SystemCallFilter=~").expect("the unit takes sets away");
    let allowed = after.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let allowed: Vec<&str> = allowed.flat_map(str::split_whitespace).collect();
    for call in ["landlock_create_ruleset", "landlock_restrict_self", "seccomp", "prlimit64", "setpriority"] {
        assert!(allowed.contains(&call), "{call}");
    }
    let set = Command::new("systemd-analyze").args(["syscall-filter", "@system-service"]).output().unwrap();
    let set = String::from_utf8_lossy(&set.stdout).into_owned();
    assert!(!set.contains("landlock_create_ruleset"), "systemd allows it by itself now: simplify the unit");
    assert!(text.contains("MemoryDenyWriteExecute=yes"));
}
