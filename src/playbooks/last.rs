//! The last act of a playbook: a `webhook` or `email` with which its entry function ends.
//!
//! Whatever it answers, the script has nothing more to do with it. So once such a step has succeeded the run has ended as
//! well, and nobody need evaluate it again to learn that. Only a call that is a statement of its own counts, the last one of
//! the function itself: not in a branch, a loop or a `try`, where the script could still look at what came of it.

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use crate::playbooks::evaluate::Entry;

/// Functions whose success need not be looked at.
const SENDS: [&str; 2] = ["webhook", "email"];

/// The call that ends a script's entry function, and nothing is done with what it returns.
#[must_use]
pub fn last(ast: &AST, entry: Entry) -> Option<Position> {
    let (name, arguments) = (entry.function(), entry.arguments());
    let mut function = ast.clone_functions_only();
    function.retain_functions(|_, _, other, count| other == name && count == arguments);
    let mut last = None;
    function.walk(&mut |path| {
        if let [ASTNode::Stmt(statement)] = path {
            last = sends(statement);
        }
        true
    });
    last
}

fn sends(statement: &Stmt) -> Option<Position> {
    let is_plain = |call: &FnCallExpr| SENDS.contains(&call.name.as_str()) && !call.is_qualified();
    match statement {
        Stmt::FnCall(call, at) if is_plain(call) => Some(*at),
        Stmt::Expr(expression) => match &**expression {
            Expr::FnCall(call, at) if is_plain(call) => Some(*at),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbooks::engine;

    #[test]
    fn only_a_call_that_ends_the_function_itself_is_its_last() {
        let column = |text: &str| last(&engine::new().compile(text).unwrap(), Entry::Alert)?.position();
        for (text, expected) in [
            ("fn on_alert(a) { webhook(\"x\", a); }", Some(18)),
            ("fn on_alert(a) { let b = a; email(\"x\") } fn tell(a) { log(a); }", Some(29)),
            ("fn on_alert(a) { webhook(\"x\", a); log(1); }", None),
            ("fn on_alert(a) { if a.x { webhook(\"x\", a); } }", None),
            ("fn on_alert(a) { try { webhook(\"x\", a); } catch { } }", None),
            ("fn on_alert(a) { let r = webhook(\"x\", a); }", None),
            ("fn on_alert(a) { return webhook(\"x\", a); }", None),
            ("fn on_alert(a) { webhook(\"x\", a).status }", None),
            ("fn on_alert(a) { tell(a); } fn tell(a) { webhook(\"x\", a); }", None),
            ("fn on_alert(a) { log(1); } fn on_alert(a, b) { webhook(\"x\", a); }", None),
            ("fn on_group(a) { webhook(\"x\", a); }", None),
        ] {
            assert_eq!(column(text), expected, "{text}");
        }
    }
}
