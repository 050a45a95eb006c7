//! The one binary.

use std::process::ExitCode;

/// Alerts are many small values that one thread makes and another frees, which it does in two thirds of the time that the
/// C library's allocator takes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    soard::cli::main(std::env::args_os())
}
