//! Why an alert matters, in words for people who do not know ATT&CK by heart.

use serde_json::{Map, Value};

use crate::actions::scrub;

/// What each tactic of ATT&CK means for whoever is attacked, by its name.
const TACTICS: [(&str, &str); 14] = [
    ("Reconnaissance", "somebody gathers what they need to plan an attack"),
    ("Resource Development", "somebody prepares servers, accounts or tools for an attack"),
    ("Initial Access", "somebody tries to get in"),
    ("Execution", "somebody runs code that is not ours"),
    ("Persistence", "somebody makes sure that they can come back"),
    ("Privilege Escalation", "somebody tries to get more rights than they have"),
    ("Defense Evasion", "somebody hides, or turns protection off"),
    ("Credential Access", "somebody is after passwords, keys or tokens"),
    ("Discovery", "somebody who is in looks around"),
    ("Lateral Movement", "somebody moves on from one system to the next"),
    ("Collection", "somebody gathers data to take along"),
    ("Command and Control", "a system takes orders from outside"),
    ("Exfiltration", "data is leaving"),
    ("Impact", "somebody destroys, encrypts or blocks what we need"),
];

/// One line for each tactic that is known, and how sure the product is.
pub(super) fn reasons(alert: &Map<String, Value>) -> Vec<String> {
    let named = alert.get("tactics").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let meant = |name: &str| {
        let (tactic, meaning) = TACTICS.iter().find(|(tactic, _)| tactic.eq_ignore_ascii_case(name.trim()))?;
        Some(format!("{tactic}: {meaning}."))
    };
    let mut reasons: Vec<String> = Vec::new();
    for reason in named.filter_map(meant) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let sure = alert.get("confidence").and_then(Value::as_str).map(|sure| scrub::line(sure, 60));
    reasons.extend(sure.filter(|sure| !sure.is_empty()).map(|sure| format!("How sure the product is: {sure}.")));
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::attack;

    #[test]
    fn every_tactic_is_told_in_words_and_no_other() {
        for (tactic, meaning) in TACTICS {
            assert_eq!(attack::tactic(tactic), Some(tactic), "the table of ATT&CK knows it");
            let Value::Object(alert) = json!({"tactics": [tactic, tactic, "None"]}) else { unreachable!() };
            assert_eq!(reasons(&alert), [format!("{tactic}: {meaning}.")]);
        }
        let Value::Object(alert) = json!({"tactics": "x", "confidence": "85 %"}) else { unreachable!() };
        assert_eq!(reasons(&alert), ["How sure the product is: 85 %."]);
    }
}
