//! The whole pipeline, measured from outside: the real binary over HTTP, and Alertmanager with the same alerts in the
//! same run where `prometheus-alertmanager` is installed.
//!
//! `cargo bench --bench pipeline [-- PART…]` with the parts `intake`, `webhooks`, `latency`, `hostile`, `record` and `disk`;
//! without a part, all of them. It measures and prints; it passes or fails nothing. Everything stays on loopback.

mod content;
mod load;
mod parts;
mod peers;
mod sink;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo passes `--bench`; everything else names a part.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|word| !parts::ALL.iter().any(|(name, _)| name == word)) {
        let known: Vec<&str> = parts::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!("no part `{unknown}`; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    println!("{}", peers::machine());
    for (name, part) in parts::ALL {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            println!("\n== {name}");
            part();
        }
    }
    ExitCode::SUCCESS
}
