//! The pages behind the links that are mailed with an approval.
//!
//! Mail programs and scanners open links: GET and HEAD show the question and change nothing, only POST decides. The link is all
//! that says who may.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::actions::scrub;
use crate::console::page::{self, Question, said, when};
use crate::daemon::api::Command;
use crate::daemon::links::{Link, Links, PATH};
use crate::daemon::order::Ordered;
use crate::domain::approval::{Approval, Choice, Decider, How, Outcome};
use crate::domain::id::ApprovalId;
use crate::domain::operator::Who;
use crate::engine::approvals;
use crate::engine::orders::Wish;
use crate::sources::http::Peer;

/// Bytes of a form that are read.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// How long a form may take to arrive.
const FORM_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a page waits for the daemon.
const COMMAND_WAIT_MAX: Duration = Duration::from_secs(30);

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// Characters of a reason.
const WHY_CHARS_MAX: usize = 1_000;

/// What the pages need of the daemon.
#[derive(Clone)]
struct Desk {
    links: Arc<Links>,
    commands: mpsc::Sender<Command>,
}

/// The pages.
pub fn routes(links: Arc<Links>, commands: mpsc::Sender<Command>) -> Router {
    let path = format!("{PATH}/{{id}}/{{choice}}/{{until}}/{{mac}}");
    Router::new().route(&path, get(show).post(decide)).with_state(Desk { links, commands })
}

/// What a form says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Form {
    name: String,
    why: String,
}

type Opened = Result<Path<Link>, PathRejection>;

async fn show(State(desk): State<Desk>, link: Opened) -> Response {
    match desk.open(link).await {
        Err(page) => page,
        Ok((approval, link)) => match &approval.outcome {
            Some(outcome) => closed(StatusCode::GONE, &approval, outcome),
            None => ask(StatusCode::OK, &approval, link.choice, &Form::default(), None),
        },
    }
}

async fn decide(State(desk): State<Desk>, link: Opened, request: Request) -> Response {
    let address = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical().to_string());
    let (approval, link) = match desk.open(link).await {
        Err(page) => return page,
        Ok(opened) => opened,
    };
    if let Some(outcome) = &approval.outcome {
        return closed(StatusCode::CONFLICT, &approval, outcome);
    }
    let body = timeout(FORM_WAIT_MAX, to_bytes(request.into_body(), FORM_BYTES_MAX)).await;
    let form = body.ok().and_then(Result::ok).map(|body| Form::read(&body)).unwrap_or_default();
    if let Some(fault) = form.fault() {
        return ask(StatusCode::BAD_REQUEST, &approval, link.choice, &form, Some(fault));
    }
    match desk.order(&approval, link.choice, form, address).await {
        None => busy(),
        Some(Ok(())) => {
            let title = format!("{}: {}", capital(link.choice.past()), approval.request.question);
            said(
                StatusCode::OK,
                tone(link.choice),
                &title,
                &format!("{} goes on. You can close this page.", approval.run),
            )
        }
        // Somebody was faster, or it must not be decided by a link.
        Some(Err(why)) => match desk.find(approval.id).await {
            Some(Some(Approval { outcome: Some(outcome), .. })) => closed(StatusCode::CONFLICT, &approval, &outcome),
            _ => said(StatusCode::FORBIDDEN, "bad", "This cannot be decided by a link", &why),
        },
    }
}

impl Desk {
    /// The approval that a link is about, or the page that says why there is none.
    async fn open(&self, link: Opened) -> Result<(Approval, Link), Response> {
        let Some(link) = link.ok().map(|Path(link)| link).filter(|link| self.links.made(link)) else {
            return Err(page::forged());
        };
        match self.find(link.id).await {
            Some(Some(approval)) => Ok((approval, link)),
            Some(None) => {
                let text = "The question was closed long ago. Nothing was decided by opening this page.";
                Err(said(StatusCode::GONE, "bad", "This link has expired", text))
            }
            None => Err(busy()),
        }
    }

    /// What is known of an approval; `None` when the daemon does not answer.
    async fn find(&self, id: ApprovalId) -> Option<Option<Approval>> {
        let (done, all) = oneshot::channel();
        let asked = async {
            self.commands.send(Command::Approvals(done)).await.ok()?;
            all.await.ok()
        };
        let all = timeout(COMMAND_WAIT_MAX, asked).await.ok()??;
        Some(all.into_iter().find(|approval| approval.id == id))
    }

    /// Decides; the reason why not, or `None` when the daemon does not answer.
    async fn order(
        &self,
        approval: &Approval,
        choice: Choice,
        Form { name, why: comment }: Form,
        address: Option<String>,
    ) -> Option<Result<(), String>> {
        let to = approval.request.notify.as_deref().unwrap_or("nobody");
        let who = Who { actor: format!("{name}, by a link mailed to {to}"), address };
        let wish = Wish::Decide { approval: approval.id, choice, who: Decider::Link };
        let (done, told) = oneshot::channel();
        let ordered = Box::new(Ordered { who, comment, wish, dry_run: false, done });
        let asked = async {
            self.commands.send(Command::Order(ordered)).await.ok()?;
            told.await.ok()
        };
        Some(timeout(COMMAND_WAIT_MAX, asked).await.ok()??.map(drop))
    }
}

impl Form {
    /// What a browser sends; a field that is missing is empty, of several the last counts.
    fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        let fields: Vec<(String, String)> = serde_html_form::from_bytes(body).unwrap_or_default();
        for (field, value) in fields {
            match field.as_str() {
                "name" => form.name = scrub::line(&value, NAME_CHARS_MAX),
                "why" => form.why = scrub::line(&value, WHY_CHARS_MAX),
                _ => {}
            }
        }
        form
    }

    fn fault(&self) -> Option<&'static str> {
        match (self.name.is_empty(), self.why.is_empty()) {
            (true, _) => Some("Say who you are: it stands in the journal beside the decision."),
            (false, true) => Some("Say why: it stands in the journal beside the decision."),
            (false, false) => None,
        }
    }
}

/// The question, with the form; and what was wrong with the one that was sent.
fn ask(status: StatusCode, approval: &Approval, choice: Choice, form: &Form, fault: Option<&str>) -> Response {
    let request = &approval.request;
    let other = if choice == Choice::Approve { "deny" } else { "approve" };
    let question = Question {
        kicker: "A playbook asks",
        title: &request.question,
        facts: vec![
            ("Run", approval.run.to_string()),
            ("Asked", when(approval.asked)),
            ("Until", format!("{}, otherwise it is {}", when(request.until), request.otherwise.past())),
        ],
        fault,
        who: Some((&form.name, &form.why)),
        class: choice.as_str(),
        verb: capital(choice.as_str()),
        note: format!(
            "Name and reason go into soard's journal and cannot be changed. To {other} instead, use the other link of the mail."
        ),
    };
    page::ask(status, &question)
}

/// It was decided before, timed out, or was withdrawn.
fn closed(status: StatusCode, approval: &Approval, outcome: &Outcome) -> Response {
    let title = match outcome.choice {
        Some(choice) if outcome.how == How::TimedOut => format!("Too late: {} at the deadline", choice.past()),
        Some(choice) => format!("It is decided: {}", choice.past()),
        None => "It was withdrawn".to_owned(),
    };
    let text = format!("{} {}. Nothing was changed now.", approval.request.question, approvals::ended(outcome));
    said(status, outcome.choice.map_or("bad", tone), &title, &text)
}

fn busy() -> Response {
    let text = "Nothing was decided. Try again in a moment, or use soard approvals list on its host.";
    said(StatusCode::SERVICE_UNAVAILABLE, "bad", "The daemon does not answer", text)
}

const fn tone(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "good",
        Choice::Deny => "bad",
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header;
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;
    use crate::daemon::report::OrderReport;
    use crate::domain::approval::ApprovalOrder;
    use crate::domain::operator::Order;

    fn approval() -> Approval {
        serde_json::from_value(json!({
            "id": "ap-3", "run": "a-1.0/isolate", "step": 0, "asked": "2030-01-01T00:00:00Z",
            "request": { "id": "ap-3", "question": "Isolate <b>\u{202e}web-1</b> & \"co\"?", "by": ["approver"],
                         "until": "2030-01-01T00:30:00Z", "otherwise": "deny", "notify": "oncall" },
        }))
        .unwrap()
    }

    /// A daemon that knows one approval and takes the first decision, if `allowed`.
    fn desk(allowed: bool) -> (tempfile::TempDir, Arc<Links>, Router, mpsc::UnboundedReceiver<(String, String)>) {
        let folder = tempfile::tempdir().unwrap();
        let links = Arc::new(Links::open(folder.path(), Some(String::new()), "j").unwrap());
        let (commands, mut inbox) = mpsc::channel(4);
        let (told, orders) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut approval = approval();
            while let Some(command) = inbox.recv().await {
                match command {
                    Command::Approvals(done) => drop(done.send(vec![approval.clone()])),
                    Command::Order(ordered) if allowed => {
                        let Ordered { who: Who { actor, .. }, comment, wish, done, .. } = *ordered;
                        let Wish::Decide { approval: id, choice, who: Decider::Link } = wish else {
                            panic!("{wish:?}")
                        };
                        let outcome = json!({ "at": "2030-01-01T00:01:00Z", "seq": 9, "how": "decided",
                                              "choice": choice, "by": actor, "comment": comment });
                        approval.outcome = Some(serde_json::from_value(outcome).unwrap());
                        told.send((actor, comment)).unwrap();
                        let run = approval.run.clone();
                        let order = Order::Approval(ApprovalOrder { approval: id, run, step: 0, choice, link: true });
                        drop(done.send(Ok(OrderReport { seq: Some(9), order })));
                    }
                    Command::Order(ordered) => drop(ordered.done.send(Err("a link does not say who you are".into()))),
                    _ => panic!("the pages ask for nothing else"),
                }
            }
        });
        (folder, links.clone(), routes(links, commands), orders)
    }

    async fn send(router: &Router, method: &str, path: &str, form: &str) -> (StatusCode, String, String) {
        let request = Request::builder().method(method).uri(path).body(Body::from(form.to_owned())).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let (status, policy) = (response.status(), response.headers().get(header::CONTENT_SECURITY_POLICY).cloned());
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        let policy = policy.map(|policy| policy.to_str().unwrap().to_owned()).unwrap_or_default();
        (status, String::from_utf8(body.to_vec()).unwrap(), policy)
    }

    fn path(links: &Links, which: &str) -> String {
        links.mail(&approval().request).data["approval"][which].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn opening_a_link_changes_nothing_and_posting_its_form_decides_once() {
        let (_folder, links, router, mut orders) = desk(true);
        let (approve, deny) = (path(&links, "approve_url"), path(&links, "deny_url"));
        for link in [&approve, &deny] {
            for method in ["GET", "HEAD", "GET"] {
                let (status, body, policy) = send(&router, method, link, "").await;
                assert_eq!(status, StatusCode::OK);
                assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
                assert_eq!(body.is_empty(), method == "HEAD");
                if method == "GET" {
                    let question = "Isolate &lt;b&gt;web-1&lt;&#x2f;b&gt; &amp; &quot;co&quot;?";
                    assert!(body.contains(question) && !body.contains("<script"), "{body}");
                }
            }
        }
        for (form, fault) in [("", "Say who you are"), ("name=+&why=x", "Say who you are"), ("name=Ann", "Say why")] {
            let (status, body, _) = send(&router, "POST", &approve, form).await;
            assert_eq!((status, body.contains(fault)), (StatusCode::BAD_REQUEST, true), "{form}: {body}");
        }
        assert!(orders.try_recv().is_err(), "nothing was decided so far");
        let (status, body, _) = send(&router, "POST", &approve, "name=Ann%0D%0AX&why=seen+by+phone").await;
        assert_eq!((status, body.contains("Approved: Isolate")), (StatusCode::OK, true), "{body}");
        let decided = orders.try_recv().unwrap();
        assert_eq!(decided, ("Ann X, by a link mailed to oncall".into(), "seen by phone".into()));
        // Again, the other way round, and opened again.
        for (method, link, status) in
            [("POST", &approve, 409), ("POST", &deny, 409), ("GET", &deny, 410), ("GET", &approve, 410)]
        {
            let (got, body, _) = send(&router, method, link, "name=Bo&why=no").await;
            assert_eq!(
                (got.as_u16(), body.contains("was approved by Ann X")),
                (status, true),
                "{method} {link}: {body}"
            );
        }
        assert!(orders.try_recv().is_err(), "it was decided twice");
    }

    #[tokio::test]
    async fn what_is_no_link_of_ours_is_refused_whatever_is_done_with_it() {
        let (_folder, links, router, mut orders) = desk(true);
        let approve = path(&links, "approve_url");
        for link in [
            approve.replace("ap-3", "ap-4"),
            approve.replace("approve", "deny"),
            approve[..approve.len() - 1].to_owned(),
            "/decide/ap-3/approve/soon/x".into(),
            "/decide/3/maybe/1/%00%ff".into(),
        ] {
            for method in ["GET", "POST"] {
                let (status, body, _) = send(&router, method, &link, "name=Ann&why=x").await;
                assert_eq!((status, body.contains("not valid")), (StatusCode::FORBIDDEN, true), "{method} {link}");
            }
        }
        assert!(orders.try_recv().is_err());
        let other = |method| send(&router, method, &approve, "name=Ann&why=x");
        assert_eq!(other("PUT").await.0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(other("DELETE").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn a_question_that_no_link_decides_says_so() {
        let (_folder, links, router, _orders) = desk(false);
        let (status, body, _) = send(&router, "POST", &path(&links, "deny_url"), "name=Ann&why=x").await;
        assert_eq!((status, body.contains("a link does not say who you are")), (StatusCode::FORBIDDEN, true), "{body}");
    }
}
