//! The Rhai engine as playbooks get it: which parts of the language are there, and how far they go.

use rhai::{Engine, OptimizationLevel};

use crate::playbooks::limits::{
    ARRAY_ITEMS_MAX, CALL_LEVELS_MAX, EXPRESSION_DEPTH_MAX, FUNCTION_EXPRESSION_DEPTH_MAX, FUNCTIONS_MAX,
    MAP_ENTRIES_MAX, MODULES_MAX, TEXT_BYTES_MAX, VARIABLES_MAX,
};
use crate::playbooks::{host, run, text};

/// A new engine; costs about a millisecond, so there is one for each bundle.
pub fn new() -> Engine {
    let mut engine = Engine::new();
    // `eval` hides code from the checks. `curry` by hand lets one value grow without end, past all size limits.
    engine.disable_symbol("eval").disable_symbol("curry");
    // Folding would remove code before it is checked, and move places.
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_strict_variables(true);
    // The interner is shared by all evaluations, and a busy lock in Rhai waits by sleeping.
    engine.set_max_strings_interned(0);
    // Rhai's own count of operations starts anew in each closure that a native function runs.
    engine.set_max_operations(0).on_progress(|_| run::tick());
    engine
        .set_max_call_levels(CALL_LEVELS_MAX)
        .set_max_expr_depths(EXPRESSION_DEPTH_MAX, FUNCTION_EXPRESSION_DEPTH_MAX)
        .set_max_string_size(TEXT_BYTES_MAX)
        .set_max_array_size(ARRAY_ITEMS_MAX)
        .set_max_map_size(MAP_ENTRIES_MAX)
        .set_max_variables(VARIABLES_MAX)
        .set_max_functions(FUNCTIONS_MAX)
        .set_max_modules(MODULES_MAX);
    // The default resolver reads any file; modules of the bundle are added once they are compiled.
    engine.set_module_resolver(rhai::module_resolvers::DummyModuleResolver::new());
    host::register(&mut engine);
    text::register(&mut engine);
    engine
}
