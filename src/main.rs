//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    soard::cli::main(std::env::args_os())
}
