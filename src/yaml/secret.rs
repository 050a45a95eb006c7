//! Reads references to secrets: `{file: PATH}`, `{credential: NAME}` or `{env: NAME}`.

use crate::domain::secret::SecretRef;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader};

/// A reference to a secret. A literal is refused, without repeating it in the message.
pub fn secret_ref(node: &Node, faults: &mut Faults) -> Option<SecretRef> {
    if !matches!(node.value, Value::Map(_)) {
        let message = format!("a secret is not written here: expected a reference, found {}", node.value.what());
        let fault = Diagnostic::error("secret-in-clear", node.place.clone(), message);
        faults.push(fault.help("write {file: PATH}, {credential: NAME} or {env: NAME}"));
        return None;
    }
    let mut map = MapReader::new(node, "a reference to a secret", faults)?;
    let file = map.text("file", faults).map(|path| SecretRef::File(path.into()));
    let credential = map.text("credential", faults).map(SecretRef::Credential);
    let env = map.text("env", faults).map(SecretRef::Env);
    let place = map.place();
    map.finish(faults);
    let mut given = [file, credential, env].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(SecretRef::Credential(name) | SecretRef::Env(name)), None) if name.contains(['/', '\0', '=']) => {
            faults.error("secret-name", place, "the name of a secret has no `/` and no `=`");
            None
        }
        (Some(one), None) => Some(one),
        _ => {
            faults.error("secret-ref", place, "expected exactly one of `file`, `credential` and `env`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::node::parse;

    fn check(text: &str) -> Result<SecretRef, Vec<String>> {
        let mut faults = Faults::default();
        let read = secret_ref(&parse(&"soard.yaml".into(), text).unwrap(), &mut faults);
        read.ok_or_else(|| faults.found.iter().map(|f| format!("{}: {}", f.code, f.message)).collect())
    }

    #[test]
    fn three_kinds_of_reference_and_no_literal() {
        assert_eq!(check("{file: /run/token}"), Ok(SecretRef::File("/run/token".into())));
        assert_eq!(check("{credential: token}"), Ok(SecretRef::Credential("token".into())));
        assert_eq!(check("{env: TOKEN}"), Ok(SecretRef::Env("TOKEN".into())));
        let refused = check("hunter2").unwrap_err();
        assert_eq!(refused.len(), 1);
        assert!(refused[0].starts_with("secret-in-clear:") && !refused[0].contains("hunter2"), "{refused:?}");
        for text in ["{}", "{env: A, file: b}", "{credential: ../x}", "{vault: x}", "{file: }"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
