//! References to secrets in YAML: `{file: PATH}`, `{credential: NAME}` or `{env: NAME}`, never the secret itself.

use crate::domain::secret::SecretRef;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::{Node, Value};
use crate::yaml::reader::{Faults, MapReader};

const HOW: &str = "write `{file: /path/to/secret}`, `{credential: NAME}` (systemd's LoadCredential=) or `{env: NAME}`";

/// Reads a reference to a secret. A literal text is refused: the bundle lies in git.
pub fn secret_ref(node: &Node, faults: &mut Faults) -> Option<SecretRef> {
    if !matches!(node.value, Value::Map(_)) {
        let message = "a secret is given by reference, never by its value";
        faults.push(Diagnostic::error("literal-secret", node.place.clone(), message).help(HOW).confidential());
        return None;
    }
    let mut map = MapReader::new(node, "a reference to a secret", faults)?;
    let file = map.text("file", faults).map(|path| SecretRef::File(path.into()));
    let credential = map.text("credential", faults).map(SecretRef::Credential);
    let env = map.text("env", faults).map(SecretRef::Env);
    let before = faults.found.len();
    map.finish(faults);
    let mut given = [file, credential, env].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(one), None) => Some(one),
        (None, _) if faults.found.len() > before => None,
        _ => {
            let message = "a reference to a secret names exactly one place";
            faults.push(Diagnostic::error("secret-place", node.place.clone(), message).help(HOW));
            None
        }
    }
}
