//! The pages behind the links that a mail has for its recipient alone: to acknowledge, and to get no more of them.
//!
//! As with approvals, GET and HEAD change nothing. A POST acts at once, so that a mail program may end mails by itself (RFC 8058).

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::console::alerts::latest;
use crate::console::failure::Failure;
use crate::console::page::{self, Question, said};
use crate::console::shared::Shared;
use crate::daemon::api::Command;
use crate::daemon::clock;
use crate::daemon::links::own::{About, Offer, OwnLink, PATH};
use crate::daemon::order::Ordered;
use crate::daemon::query::Lines;
use crate::domain::entry::{Due, Facts};
use crate::domain::id::{AlertId, Trigger};
use crate::domain::operator::{Operator, Order, Who};
use crate::engine::orders::Wish;
use crate::engine::triage::Active;
use crate::index::related::one;
use crate::sources::http::Peer;

/// Alerts of a group that a link looks at.
const LOOKED_AT_MAX: usize = 10_000;

/// Alerts that one press of the button acknowledges.
const ACKNOWLEDGED_MAX: usize = 1_000;

/// Alerts whose titles a page shows.
const TITLES_MAX: usize = 10;

/// How long a page waits for all orders.
const ORDERS_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the journal holds of an order by a link, beside who it is from.
const ACKNOWLEDGED: &str = "acknowledged by mail";
const UNSUBSCRIBED: &str = "unsubscribed by mail";

/// The pages.
pub fn routes(shared: Arc<Shared>) -> Router {
    let path = format!("{PATH}/{{offer}}/{{about}}/{{to}}/{{until}}/{{mac}}");
    Router::new().route(&path, get(show).post(act)).with_state(shared)
}

type Opened = Result<Path<OwnLink>, PathRejection>;

/// What a good link asks for.
struct Errand {
    shared: Arc<Shared>,
    to: String,
    link: OwnLink,
}

async fn show(State(shared): State<Arc<Shared>>, link: Opened) -> Response {
    answer(shared, link, async |errand| match errand.link.offer {
        Offer::Acknowledge => errand.ask_to_acknowledge().await,
        Offer::Unsubscribe => errand.ask_to_unsubscribe().await,
    })
    .await
}

async fn act(State(shared): State<Arc<Shared>>, link: Opened, request: Request) -> Response {
    let address = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical().to_string());
    answer(shared, link, async |errand| {
        let who = Who { actor: format!("{}, by a link in a mail", errand.to), address };
        match errand.link.offer {
            Offer::Acknowledge => errand.acknowledge(who).await,
            Offer::Unsubscribe => errand.unsubscribe(who).await,
        }
    })
    .await
}

/// Looks at the link, and then does what it is for.
async fn answer(
    shared: Arc<Shared>,
    link: Opened,
    errand: impl AsyncFnOnce(Errand) -> Result<Response, Failure>,
) -> Response {
    let link = link.ok().map(|Path(link)| link);
    let Some((to, link)) = link.and_then(|link| Some((shared.api.links.recipient(&link)?, link))) else {
        return page::forged();
    };
    if clock::now().as_second() >= link.until {
        let text = "Nothing was changed. Use a newer mail, or soard on its host.";
        return said(StatusCode::GONE, "bad", "This link has expired", text);
    }
    errand(Errand { shared, to, link }).await.unwrap_or_else(|_| {
        let text = "Try again in a moment, or use soard on its host.";
        said(StatusCode::SERVICE_UNAVAILABLE, "bad", "The daemon does not answer", text)
    })
}

impl Errand {
    async fn ask_to_acknowledge(self) -> Result<Response, Failure> {
        let Some(Active { alerts, refused }) = self.left().await? else { return Ok(dropped()) };
        let Some(first) = alerts.first() else { return Ok(nothing_left(StatusCode::GONE, refused)) };
        let count = alerts.len().min(ACKNOWLEDGED_MAX);
        let what = if count == 1 { first.to_string() } else { format!("{count} alerts") };
        let mut facts = vec![("As", self.to.clone())];
        for id in alerts.iter().take(TITLES_MAX) {
            facts.push(("Alert", self.titled(*id).await));
        }
        if count > TITLES_MAX {
            facts.push(("", format!("and {} more", count - TITLES_MAX)));
        }
        if alerts.len() > count {
            facts.push(("", "Others are active as well: open the link again for the next.".into()));
        }
        let question = Question {
            kicker: "Acknowledge",
            title: &format!("Do you look after {what}?"),
            facts,
            class: "approve",
            verb: format!("Acknowledge {what}"),
            note: "What is active becomes in_progress, and your address stands beside it in soard's journal.".into(),
            ..Question::default()
        };
        Ok(page::ask(StatusCode::OK, &question))
    }

    async fn acknowledge(self, who: Who) -> Result<Response, Failure> {
        let Some(Active { alerts, refused }) = self.left().await? else { return Ok(dropped()) };
        if alerts.is_empty() {
            return Ok(nothing_left(StatusCode::CONFLICT, refused));
        }
        let (now, rest) = alerts.split_at(alerts.len().min(ACKNOWLEDGED_MAX));
        let told = self.order_all(now, &who).await?;
        let done = told.iter().filter(|told| told.is_ok()).count();
        if done == 0 {
            // Somebody was faster.
            return Ok(nothing_left(StatusCode::CONFLICT, told.into_iter().find_map(Result::err)));
        }
        let title = match now {
            [one] => format!("Acknowledged: {one}"),
            _ => format!("Acknowledged: {done} alerts"),
        };
        let more = match rest {
            [] => "You can close this page.",
            _ => "Others are active as well: open the link again for the next.",
        };
        let text = format!("In progress, by {}. {more}", self.to);
        Ok(said(StatusCode::OK, "good", &title, &text))
    }

    /// The alerts that are still active, one more than can be acknowledged at most; `None` when the journal does not have
    /// them any more.
    async fn left(&self) -> Result<Option<Active>, Failure> {
        let Some(all) = self.alerts().await? else { return Ok(None) };
        self.shared.command(|done| Command::Active(all, ACKNOWLEDGED_MAX + 1, done)).await.map(Some)
    }

    /// What the mail was about.
    async fn alerts(&self) -> Result<Option<Vec<AlertId>>, Failure> {
        let (group, entry) = match self.link.about.parse::<About>() {
            Ok(About::Alert(alert)) => return Ok(Some(vec![alert])),
            Ok(About::Group(group, entry)) => (group, entry),
            Err(_) => return Ok(None),
        };
        let find = move |lines: Lines<'_>| {
            let Some(line) = lines.next() else { return Ok(None) };
            Ok(match line?.entry()?.facts {
                Facts::Due(Due::Group { group: of, alerts, .. }) if of == group => Some(alerts),
                Facts::Operator(Operator { order: Order::RunRestart { starts, alerts, .. }, .. }) => {
                    (starts.trigger == Trigger::Group(group)).then_some(alerts)
                }
                _ => None,
            })
        };
        let found = self.shared.scan_for_order(entry, find).await?;
        Ok(found.map(|alerts| alerts.into_iter().map(|alert| alert.id).take(LOOKED_AT_MAX).collect()))
    }

    /// Gives each alert the order.
    async fn order_all(&self, alerts: &[AlertId], who: &Who) -> Result<Vec<Result<(), String>>, Failure> {
        let heard = self.shared.command(Command::Today).await?.bundle.rules.hears_status();
        let mut waiting = Vec::new();
        for alert in alerts.iter().copied() {
            let latest = if heard { latest(&self.shared, alert).await?.map(Box::new) } else { None };
            let (who, comment, wish) = (who.clone(), ACKNOWLEDGED.to_owned(), Wish::Acknowledge { alert, latest });
            let (done, answer) = oneshot::channel();
            let ordered = Command::Order(Box::new(Ordered { who, comment, wish, dry_run: false, done }));
            self.shared.api.commands.send(ordered).await.map_err(|_| Failure::busy("the daemon is stopping"))?;
            waiting.push(answer);
        }
        let all = async {
            let mut told = Vec::new();
            for answer in waiting {
                told.push(answer.await.map_err(|_| Failure::busy("the daemon is stopping"))?.map(drop));
            }
            Ok(told)
        };
        timeout(ORDERS_WAIT_MAX, all).await.map_err(|_| Failure::late())?
    }

    /// The alert with its title, where the index has it at hand.
    async fn titled(&self, id: AlertId) -> String {
        let row = self.shared.ask(move |conn, _| one(conn, id)).await.ok().and_then(|row| row.answer);
        row.map_or_else(|| id.to_string(), |row| format!("{id} {}", row.title))
    }

    async fn ask_to_unsubscribe(self) -> Result<Response, Failure> {
        let who = Who { actor: String::new(), address: None };
        if let Err(why) = self.order_unsubscribe(who, true).await? {
            return Ok(said(StatusCode::GONE, "bad", "You get no more of these mails", &why));
        }
        let question = Question {
            kicker: "Unsubscribe",
            title: &format!("No more mails of {}?", self.link.about),
            facts: vec![("To", self.to.clone())],
            class: "deny",
            verb: "Send me no more of these".into(),
            note: "Questions that soard asks there stop too, as long as somebody else gets them. The others go on getting all of \
                   it, and soard goes on recording and acting. Whoever runs soard can take it back."
                .into(),
            ..Question::default()
        };
        Ok(page::ask(StatusCode::OK, &question))
    }

    async fn unsubscribe(self, who: Who) -> Result<Response, Failure> {
        Ok(match self.order_unsubscribe(who, false).await? {
            Err(why) => said(StatusCode::CONFLICT, "bad", "You get no more of these mails", &why),
            Ok(()) => {
                let text = format!(
                    "{} gets no more mails of {}. To get them again, ask whoever runs soard: soard recipients subscribe {}",
                    self.to, self.link.about, self.to
                );
                said(StatusCode::OK, "good", "Unsubscribed", &text)
            }
        })
    }

    async fn order_unsubscribe(&self, who: Who, dry_run: bool) -> Result<Result<(), String>, Failure> {
        let (address, destination) = (self.to.clone(), Some(self.link.about.clone()));
        let wish = Wish::Unsubscribe { address, destination, link: true };
        let comment = UNSUBSCRIBED.to_owned();
        let told =
            self.shared.command(|done| Command::Order(Box::new(Ordered { who, comment, wish, dry_run, done }))).await?;
        Ok(told.map(drop))
    }
}

fn dropped() -> Response {
    let text = "What the mail was about is no longer on record. Nothing was changed.";
    said(StatusCode::GONE, "bad", "There is nothing left to acknowledge", text)
}

fn nothing_left(status: StatusCode, refused: Option<impl Display>) -> Response {
    let why = refused.map_or_else(|| "there were no alerts".to_owned(), |why| why.to_string());
    said(status, "good", "There is nothing left to acknowledge", &format!("{why}. Nothing was changed now."))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use jiff::Timestamp;
    use serde_json::Value;
    use tokio::sync::{mpsc, watch};
    use tower::ServiceExt;

    use super::*;
    use crate::daemon::api::Api;
    use crate::daemon::auth::Gate;
    use crate::daemon::links::Links;
    use crate::daemon::query::story;
    use crate::domain::decision::{AlertRef, RuleRef};
    use crate::domain::id::GroupId;
    use crate::index::follow::Follower;
    use crate::index::place::Place;

    async fn status(router: &Router, method: &str, path: &str) -> StatusCode {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_link_that_expired_is_gone_and_asks_the_daemon_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let journal = story::journal(&folder.path().join("journal"));
        let follower = Follower::start(Place::of(folder.path()), journal.reader(), || {});
        let links = Arc::new(Links::open(folder.path(), Some(String::new()), "j").unwrap());
        let ((commands, mut inbox), (_stop, stop)) = (mpsc::channel(1), watch::channel(false));
        let (reader, index, gate) = (journal.reader(), follower.index(), Arc::new(Gate::default()));
        let api = Api { reader, index, commands, gate, links: links.clone(), stop };
        let router = routes(Arc::new(Shared::new(api, Value::Null)));
        let about = About::Alert("a-1.0".parse().unwrap());
        for (days, expected) in [(8, StatusCode::GONE), (61, StatusCode::GONE)] {
            let at = clock::now().checked_sub(jiff::Span::new().hours(days * 24)).unwrap();
            let own = &links.own(about, Some("oncall"), ["a@example.com"].into_iter(), at)["a@example.com"];
            let link = if days == 8 { &own.acknowledge } else { &own.unsubscribe };
            for method in ["GET", "POST"] {
                assert_eq!(status(&router, method, link.as_ref().unwrap()).await, expected, "{method}, {days} days");
            }
        }
        let own = &links.own(about, Some("x"), ["a@example.com"].into_iter(), Timestamp::MAX)["a@example.com"];
        let forged = format!("{}a", own.unsubscribe.as_ref().unwrap());
        assert_eq!(status(&router, "POST", &forged).await, StatusCode::FORBIDDEN);
        assert_eq!(status(&router, "GET", "/mail/resolve/a-1.0/x/1/y").await, StatusCode::FORBIDDEN);
        assert!(inbox.try_recv().is_err());
        follower.finish(Duration::ZERO);
    }

    #[tokio::test]
    async fn opening_the_link_of_a_large_group_asks_the_daemon_once() {
        let folder = tempfile::tempdir().unwrap();
        let journal = story::journal(&folder.path().join("journal"));
        let alerts = (1..=2000).map(|record| AlertRef { id: AlertId { record, index: 0 }, seq: record, at: 0 });
        let (group, rule) = (GroupId(7), RuleRef { id: "r".into(), place: "p".into() });
        let alerts: Vec<AlertRef> = alerts.collect();
        let due = Due::Group { group, rule, alerts, runs: Vec::new(), bundle: "b".into(), digest: None };
        story::append(&journal, vec![(9_999, Facts::Due(due))]);
        let began = story::facts().len() as u64 + 1;
        let follower = Follower::start(Place::of(folder.path()), journal.reader(), || {});
        let links = Arc::new(Links::open(folder.path(), Some(String::new()), "j").unwrap());
        let ((commands, mut inbox), (_stop, stop)) = (mpsc::channel(1), watch::channel(false));
        let (reader, index, gate) = (journal.reader(), follower.index(), Arc::new(Gate::default()));
        let api = Api { reader, index, commands, gate, links: links.clone(), stop };
        let router = routes(Arc::new(Shared::new(api, Value::Null)));
        let counted = tokio::spawn(async move {
            let mut count = 0;
            while inbox.recv().await.is_some() {
                count += 1;
            }
            count
        });
        let about = About::Group(group, began);
        let own = &links.own(about, Some("oncall"), ["a@example.com"].into_iter(), clock::now())["a@example.com"];
        let got = status(&router, "GET", own.acknowledge.as_ref().unwrap()).await;
        assert_eq!(got, StatusCode::SERVICE_UNAVAILABLE, "nobody answers here");
        drop(router);
        assert_eq!(counted.await.unwrap(), 1);
        follower.finish(Duration::ZERO);
    }
}
