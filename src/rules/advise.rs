//! Advice: what to look at, to do and to change where an alert matches. It decides nothing; people read it beside the alert.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Alert;
use crate::domain::decision::RuleRef;
use crate::domain::id::AlertId;
use crate::rules::detection::{self, Detection};
use crate::rules::header::{self, Ids};
use crate::rules::known::Reading;
use crate::rules::matcher::Matcher;
use crate::rules::url::UrlTemplate;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::node::Node;
use crate::yaml::reader::MapReader;

/// A checked piece of advice.
#[derive(Debug, Clone)]
pub struct Advice {
    /// Its id and place.
    pub rule: RuleRef,
    /// One line for people.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// Pages that show more about the alert.
    inspect: Vec<Page>,
    /// What to do now.
    mitigate: Vec<String>,
    /// What to change so that it does not happen again.
    prevent: Vec<String>,
}

/// A page to look at.
#[derive(Debug, Clone)]
struct Page {
    label: String,
    url: UrlTemplate,
}

/// What can be done about one alert, as its source and all matching advice say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Guidance {
    /// Pages that show more about it.
    pub inspect: Vec<Hint>,
    /// What to do now.
    pub mitigate: Vec<Hint>,
    /// What to change so that it does not happen again.
    pub prevent: Vec<Hint>,
}

/// One thing that a piece of advice says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hint {
    /// In words; the label of a page.
    pub text: String,
    /// The page's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The advice that says it; absent where the source itself does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
}

/// All advice of a bundle.
#[derive(Debug, Clone, Default)]
pub struct Advisor {
    /// In the order of the files.
    pub all: Vec<Advice>,
    pub(super) matcher: Matcher,
}

impl Advisor {
    /// The advice that matches an alert, in the order of the files.
    pub fn matching(&self, alert: &Alert) -> Vec<&Advice> {
        self.matcher.matches(alert).suppressions().filter_map(|number| self.all.get(number)).collect()
    }

    /// What the source says and then what all matching advice does, in the order of the files; the same words are said once.
    pub fn guidance(&self, id: AlertId, alert: &Alert) -> Guidance {
        let mut guidance = Guidance::default();
        let said = |text: &String| Hint { text: text.clone(), url: None, rule: None };
        alert.remediation.iter().for_each(|text| add(&mut guidance.mitigate, said(text)));
        for advice in self.matching(alert) {
            let hint = |text: &String, url| Hint { text: text.clone(), url, rule: Some(advice.rule.clone()) };
            for Page { label, url } in &advice.inspect {
                if let Some(url) = url.fill(id, alert) {
                    add(&mut guidance.inspect, hint(label, Some(url)));
                }
            }
            advice.mitigate.iter().for_each(|text| add(&mut guidance.mitigate, hint(text, None)));
            advice.prevent.iter().for_each(|text| add(&mut guidance.prevent, hint(text, None)));
        }
        guidance
    }
}

fn add(hints: &mut Vec<Hint>, hint: Hint) {
    if !hints.iter().any(|known| (&known.text, &known.url) == (&hint.text, &hint.url)) {
        hints.push(hint);
    }
}

/// Reads one piece of advice; notes every fault.
pub fn read(node: &Node, ids: &mut Ids, reading: &mut Reading) -> Option<(Advice, Detection)> {
    let mut map = MapReader::new(node, "advice: a map with `id`, `title`, `owner` …", &mut reading.faults)?;
    let rule = header::id(&mut map, ids, reading);
    let title = map.need_text("title", &mut reading.faults);
    let owner = map.need_text("owner", &mut reading.faults);
    let detection = map.need("match", &mut reading.faults).and_then(|node| detection::read(node, reading));
    let pages = map.list("inspect").unwrap_or_default();
    let inspect: Vec<Page> = pages.iter().filter_map(|node| page(node, reading)).collect();
    let said = ["mitigate", "prevent"].map(|key| map.list(key).unwrap_or_default());
    let mitigate = map.texts("mitigate", &mut reading.faults).unwrap_or_default();
    let prevent = map.texts("prevent", &mut reading.faults).unwrap_or_default();
    map.finish(&mut reading.faults);
    if pages.is_empty() && said.iter().all(|said| said.is_empty()) {
        let fault = Diagnostic::error("empty-advice", node.place.clone(), "this advice says nothing");
        reading.faults.push(fault.help("give it `inspect`, `mitigate` or `prevent`"));
    }
    let advice = Advice { rule: rule?, title: title?, owner: owner?, inspect, mitigate, prevent };
    Some((advice, detection?))
}

fn page(node: &Node, reading: &mut Reading) -> Option<Page> {
    let mut map = MapReader::new(node, "a page: a map with `label` and `url`", &mut reading.faults)?;
    let label = map.need_text("label", &mut reading.faults);
    let url = map.need("url", &mut reading.faults).and_then(|node| UrlTemplate::read(node, reading));
    map.finish(&mut reading.faults);
    Some(Page { label: label?, url: url? })
}
