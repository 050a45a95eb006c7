//! How much a script may use. All of these are part of the contract with playbooks: raising one is safe,
//! lowering one can make a run that is under way fail.

use crate::domain::time::Span;
use crate::domain::triage;

/// Operations of one evaluation, counted across closures; about 50 ms of plain script.
pub const OPERATIONS_MAX: u64 = 1_000_000;
/// Steps of one run.
pub const STEPS_MAX: usize = 2_000;
/// Members of one `all([…])`.
pub const PARALLEL_MAX: usize = 100;
/// Script functions that call one another.
pub const CALL_LEVELS_MAX: usize = 32;
/// Nesting of expressions at the top of a file, where only constants stand.
pub const EXPRESSION_DEPTH_MAX: usize = 48;
/// Nesting of expressions in functions.
pub const FUNCTION_EXPRESSION_DEPTH_MAX: usize = 48;
/// Bytes of text in one value, all its parts together.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;
/// Items of arrays in one value, all its parts together.
pub const ARRAY_ITEMS_MAX: usize = 6_000;
/// Entries of maps in one value, all its parts together.
pub const MAP_ENTRIES_MAX: usize = 6_000;
/// Variables in scope of one function.
pub const VARIABLES_MAX: usize = 256;
/// Functions of one file, closures included.
pub const FUNCTIONS_MAX: usize = 512;
/// Modules that one evaluation imports.
pub const MODULES_MAX: usize = 64;
/// Bytes of one playbook or module.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Longest `sleep`, in days.
pub const SLEEP_DAYS_MAX: u64 = 90;
/// Longest `sleep`.
pub const SLEEP_MAX: Span = Span::from_secs(SLEEP_DAYS_MAX * 24 * 3600);
/// Bytes of one line given to `log`; the rest is cut off.
pub const LOG_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the error that a run failed of; the rest is cut off.
pub const ERROR_BYTES_MAX: usize = 4 * 1024;
/// Characters of one tag.
pub const TAG_CHARS_MAX: usize = triage::TAG_CHARS_MAX;
/// Text of the input that a script gets: three quarters of what a value may hold, so that the script can wrap it.
pub const INPUT_TEXT_BYTES_MAX: usize = TEXT_BYTES_MAX / 4 * 3;
/// Items of arrays of the input that a script gets.
pub const INPUT_ITEMS_MAX: usize = ARRAY_ITEMS_MAX / 4 * 3;
/// Entries of maps of the input that a script gets.
pub const INPUT_ENTRIES_MAX: usize = MAP_ENTRIES_MAX / 4 * 3;
/// Nesting of JSON that scripts get and give.
pub const JSON_DEPTH_MAX: usize = 64;
/// Stack that an evaluation needs. Only touched pages cost memory; dropping the longest chain of closures
/// that the operations allow needs the most.
pub const STACK_BYTES: usize = 256 * 1024 * 1024;
