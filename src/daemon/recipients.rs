//! Recipients as operators are told of them, and which orders about them make no sense.

use std::collections::BTreeSet;

use crate::actions::settings::Target;
use crate::daemon::control::Control;
use crate::domain::recipient::folded;
use crate::engine::orders::Wish;
use crate::yaml::diagnostic::nearest;

impl Control {
    /// Why an order about mails would change nothing: no mail goes there. Who follows a link has got one.
    pub(super) fn unmailed(&self, wish: &Wish) -> Option<String> {
        let (address, destination) = match wish {
            Wish::Unsubscribe { address, destination, link: false } => (Some(address), destination),
            Wish::Subscribe { destination, .. } => (None, destination),
            _ => return None,
        };
        let names = self.settings().destinations.names("email");
        if let Some(name) = destination.as_deref().filter(|name| !names.contains(name)) {
            return Some(format!("there is no email destination `{name}`{}", near(name, &names)));
        }
        let known = self.addresses();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let address = folded(address?);
        if known.contains(&address.as_str()) {
            return None;
        }
        Some(format!("no mail goes to {address}{}", near(&address, &known)))
    }

    /// The addresses that mails may go to, in lower case.
    fn addresses(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (_, destination) in self.settings().destinations.iter() {
            let Target::Email(email) = &destination.target else { continue };
            all.extend(email.to.iter().map(|to| folded(to.email.as_ref())));
            if email.to_owner {
                all.extend(self.bundle().rules.owners.addresses().map(folded));
            }
        }
        all
    }
}

fn near(name: &str, known: &[&str]) -> String {
    nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}
