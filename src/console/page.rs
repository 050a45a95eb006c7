//! How the pages behind links in mails look, and what browsers may do with them. No script, no cookie.
//!
//! What is shown of an alert is escaped and freed of control characters.

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use data_encoding::BASE64;
use jiff::Timestamp;
use minijinja::{Environment, context};
use sha2::{Digest, Sha256};

use crate::actions::scrub;

/// How all pages look.
const STYLE: &str = include_str!("page.css");

/// What browsers may do with a page: nothing but show it, in its own style, and send its form back.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64.encode(&Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 and words fit a header")
});

static TEMPLATE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html")).expect("the template is ours");
    environment
});

/// A page that asks once more: opening the link has changed nothing.
#[derive(Debug, Default)]
pub struct Question<'a> {
    /// A word or two above the question.
    pub kicker: &'static str,
    /// The question.
    pub title: &'a str,
    /// What one should know of it: labels and values.
    pub facts: Vec<(&'static str, String)>,
    /// What was wrong with the form that was sent.
    pub fault: Option<&'a str>,
    /// Name and reason as they were given, where they are asked for.
    pub who: Option<(&'a str, &'a str)>,
    /// The button's class.
    pub class: &'static str,
    /// What the button says.
    pub verb: String,
    /// What comes of it, in small print.
    pub note: String,
}

/// Asks.
pub fn ask(status: StatusCode, question: &Question<'_>) -> Response {
    let line = |text: &str| scrub::line(text, usize::MAX);
    let facts: Vec<(&str, String)> = question.facts.iter().map(|(label, value)| (*label, line(value))).collect();
    let form = context! {
        kicker => question.kicker,
        facts,
        fault => question.fault,
        who => question.who.map(|(name, why)| context! { name, why }),
        class => question.class,
        verb => &question.verb,
        note => line(&question.note),
    };
    page(status, context! { title => line(question.title), tone => "", style => STYLE, form })
}

/// Says something; `tone` is `good` or `bad`.
pub fn said(status: StatusCode, tone: &str, title: &str, text: &str) -> Response {
    let (title, text) = (scrub::line(title, usize::MAX), scrub::line(text, usize::MAX));
    page(status, context! { title, tone, style => STYLE, text })
}

/// The link is none of ours.
pub fn forged() -> Response {
    let text = "It may have been cut: copy all of it from the mail. Nothing was changed.";
    said(StatusCode::FORBIDDEN, "bad", "This link is not valid", text)
}

/// An instant for people.
pub fn when(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn page(status: StatusCode, values: minijinja::Value) -> Response {
    let template = TEMPLATE.get_template("page.html").expect("it was added above");
    let text = template.render(values).expect("the template takes these values");
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
