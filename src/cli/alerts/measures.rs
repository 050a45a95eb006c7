//! What can be done about an alert, as a part of its page.

use crate::cli::output::{BOLD, FAINT, Look, NAME, severity_style, status_style, styled, when_ago};
use crate::cli::plain::{Page, rule, safe};
use crate::daemon::measures::{Mail, Measures};
use crate::index::related::{RelatedAlert, Shared};
use crate::rules::advise::Hint;

/// Playbooks that are named; `-o json` has all.
const PLAYBOOKS_SHOWN: usize = 10;

/// Values in common that are named.
const SHARES_SHOWN: usize = 4;

pub(super) fn human(page: &mut Page, indent: usize, found: &Measures, look: &Look) {
    page.line(indent, styled(BOLD, "take action"));
    let within = indent + 2;
    for hint in &found.guidance.inspect {
        let url = hint.url.as_deref().unwrap_or_default();
        page.labelled(within, "inspect", format!("{}: {}{}", safe(&hint.text), safe(url), by(hint)));
    }
    steps(page, within, "mitigate", &found.guidance.mitigate, look);
    steps(page, within, "prevent", &found.guidance.prevent, look);
    owner(page, within, found);
    playbooks(page, within, found);
    let command = styled(NAME, format!("soard alerts suppress {}", found.id));
    page.labelled(within, "suppress", format!("{command} drafts a rule and counts the past alerts that it matches"));
    mails(page, within, found);
    related(page, indent, found, look);
}

/// The advice that says it.
fn by(hint: &Hint) -> String {
    hint.rule.as_ref().map(|rule| styled(FAINT, format!("  by advice {}", safe(&rule.id)))).unwrap_or_default()
}

fn steps(page: &mut Page, indent: usize, label: &str, hints: &[Hint], look: &Look) {
    for (n, hint) in (1..).zip(hints) {
        page.labelled(
            indent,
            if n == 1 { label } else { "" },
            format!("{n}. {}{}", safe(first_line(&hint.text)), by(hint)),
        );
        if let Some((_, more)) = hint.text.split_once('\n') {
            page.block(indent + 14, more, look);
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn owner(page: &mut Page, indent: usize, found: &Measures) {
    let Some(owner) = &found.owner else {
        return page.labelled(indent, "owner", styled(FAINT, "nobody that the list `owners` names"));
    };
    let email = owner.email.as_ref().filter(|email| **email != owner.name);
    let email = email.map(|email| format!(" <{}>", safe(email))).unwrap_or_default();
    let of = styled(FAINT, format!("of {}, by owners entry {}", safe(&owner.of), safe(&owner.entry)));
    page.labelled(indent, "owner", format!("{}{email} {of}", styled(BOLD, safe(&owner.name))));
}

fn playbooks(page: &mut Page, indent: usize, found: &Measures) {
    for (at, offer) in found.playbooks.iter().take(PLAYBOOKS_SHOWN).enumerate() {
        let (id, playbook) = (found.id, safe(&offer.playbook));
        let line = match &offer.ran {
            Some(run) => format!("soard runs restart {} -c WHY{}", safe(run), styled(FAINT, "  it has run before")),
            None => format!("soard alerts run {id} {playbook} -c WHY"),
        };
        page.labelled(indent, if at == 0 { "run" } else { "" }, line);
    }
    if found.playbooks.len() > PLAYBOOKS_SHOWN {
        page.labelled(indent, "", format!("and {} more", found.playbooks.len() - PLAYBOOKS_SHOWN));
    }
}

fn mails(page: &mut Page, indent: usize, found: &Measures) {
    if let Some(by) = &found.suppressed_by {
        return page.labelled(indent, "mail", format!("none: today's suppression {} would dismiss it", rule(by)));
    }
    for (at, mail) in found.mails.iter().enumerate() {
        page.labelled(indent, if at == 0 { "mail" } else { "" }, mail_words(mail));
    }
    if found.mails.is_empty() {
        let none = "none by today's routes; rules/route says who gets what, soard.yaml names the destinations";
        page.labelled(indent, "mail", styled(FAINT, none));
    }
}

fn mail_words(mail: &Mail) -> String {
    let Mail { route, playbook, destination, to, left_out, grouped } = mail;
    let words = |all: &[String]| all.iter().map(safe).collect::<Vec<_>>().join(", ");
    let to = match (to.is_empty(), left_out.is_empty()) {
        (true, true) => "see soard.yaml".to_owned(),
        (true, false) => format!("nobody: it is not severe enough for {}", words(left_out)),
        (false, true) => words(to),
        (false, false) => format!("{}, but not {}: it is not severe enough for them", words(to), words(left_out)),
    };
    let once = if *grouped { ", one for its group" } else { "" };
    format!("{}: {to}{once}; by route {}, playbook {}", styled(BOLD, safe(destination)), rule(route), safe(playbook))
}

fn related(page: &mut Page, indent: usize, found: &Measures, look: &Look) {
    let alerts = &found.related.alerts;
    if alerts.is_empty() {
        return page.line(indent, "no other alert shares an entity or a resource with it");
    }
    let more = if found.related.capped { ", the first of many" } else { "" };
    page.line(indent, format!("{}{more}", styled(BOLD, "related alerts")));
    for RelatedAlert { id, severity, status, title, last_seen, shares } in alerts {
        let severity = styled(severity_style(*severity), severity.as_str().to_uppercase());
        let head = format!("{}  {severity}  {}", styled(NAME, id), styled(status_style(*status), status));
        page.line(indent + 2, format!("{head}  {}  {}", when_ago(*last_seen, look), safe(title)));
        page.line(indent + 6, styled(FAINT, format!("shares {}", share_words(shares))));
    }
}

fn share_words(shares: &[Shared]) -> String {
    let mut words: Vec<String> = shares
        .iter()
        .take(SHARES_SHOWN)
        .map(|shared| format!("{} {}", safe(&shared.field), safe(&shared.value)))
        .collect();
    if shares.len() > SHARES_SHOWN {
        words.push(format!("and {} more", shares.len() - SHARES_SHOWN));
    }
    words.join(", ")
}
