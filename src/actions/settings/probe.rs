//! Settings of a probe: the question whether a request took effect.

use reqwest::Url;

use crate::actions::settings::webhook::{Text, bad_url, check_url};
use crate::actions::settings::{span, text_or_secret};
use crate::domain::effect::Mode;
use crate::domain::time::Span;
use crate::yaml::diagnostic::{Diagnostic, Place};
use crate::yaml::node::Node;
use crate::yaml::reader::{Faults, MapReader, one_or_many, whole};

/// Stands for the effect's key in a probe's URL.
pub(in crate::actions) const KEY: &str = "{key}";

/// How to ask a receiver whether it has done what an effect asks for: a GET, which changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSettings {
    /// Where, with `{key}` in the effect's key's place; the same server as the destination's.
    pub url: Text,
    /// Statuses that say that it is done.
    pub done: Vec<u16>,
    /// Statuses that say that it is not.
    pub not_done: Vec<u16>,
    /// Limit of one question; the destination's when absent.
    pub timeout: Option<Span>,
}

/// Reads `probe:` and checks that it and the mode go together.
pub(super) fn read(
    node: Option<&Node>,
    mode: Option<Mode>,
    target: Option<&Text>,
    place: &Place,
    faults: &mut Faults,
) -> Option<ProbeSettings> {
    match (node, mode) {
        (None, Some(Mode::Probe)) => {
            let fault = Diagnostic::error("missing-probe", place.clone(), "`mode: probe` needs `probe:`");
            faults.push(
                fault.help("for example `probe: { url: \"https://…/requests/{key}\", done: 200, not_done: 404 }`"),
            );
            None
        }
        (Some(node), Some(Mode::AtLeastOnce | Mode::AtMostOnce)) => {
            let fault = Diagnostic::error("unused-probe", node.place.clone(), "only `mode: probe` asks");
            faults.push(fault.help("set `mode: probe`, or leave `probe` out"));
            None
        }
        (Some(node), _) => settings(node, target, faults),
        (None, _) => None,
    }
}

fn settings(node: &Node, target: Option<&Text>, faults: &mut Faults) -> Option<ProbeSettings> {
    let mut map = MapReader::new(node, "how to ask whether a request took effect", faults)?;
    let url = map.need("url", faults).and_then(|node| url(node, target, faults));
    let done = map.get("done").map_or(vec![200], |node| statuses(node, faults));
    let not_done_node = map.get("not_done");
    let not_done = not_done_node.map_or(vec![404], |node| statuses(node, faults));
    if let Some(both) = done.iter().find(|status| not_done.contains(status)) {
        let place = not_done_node.map_or(map.place(), |node| &node.place);
        faults.error("probe-status", place, format!("{both} cannot mean both `done` and `not_done`"));
    }
    let timeout = span(&mut map, "timeout", Span::from_millis(100), Span::from_secs(600), faults);
    map.finish(faults);
    Some(ProbeSettings { url: url?, done, not_done, timeout })
}

fn url(node: &Node, target: Option<&Text>, faults: &mut Faults) -> Option<Text> {
    let text = text_or_secret(node, faults)?;
    let Text::Plain(plain) = &text else { return Some(text) };
    if !plain.contains(KEY) {
        let fault = Diagnostic::error("probe-without-key", node.place.clone(), "the URL does not name the request");
        faults
            .push(fault.help("write `{key}` where the receiver expects the key: it is what `Idempotency-Key` carried"));
        return None;
    }
    // Whether the way to the target may be unencrypted is said where the target is checked.
    let asked = match check_url(&plain.replace(KEY, "key"), true) {
        Ok(asked) => asked,
        Err((message, help)) => {
            bad_url(node, message, help, faults);
            return None;
        }
    };
    if let Some(Text::Plain(target)) = target
        && Url::parse(target).is_ok_and(|target| target.origin() != asked.origin())
    {
        let message = "the probe asks another server than the one that gets the requests";
        let fault = Diagnostic::error("probe-elsewhere", node.place.clone(), message);
        faults.push(
            fault.help("it carries the destination's login, so it has to stay at the same scheme, host and port"),
        );
        return None;
    }
    Some(text)
}

fn statuses(node: &Node, faults: &mut Faults) -> Vec<u16> {
    let read = |node| whole(node, 200..=599, faults).and_then(|status| u16::try_from(status).ok());
    one_or_many(node).iter().filter_map(read).collect()
}
