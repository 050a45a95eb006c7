//! The pages behind the links that a mail has for its recipient alone: to acknowledge, and to get no more of them.
//!
//! As with approvals, GET and HEAD change nothing. A POST acts at once, so that a mail program may end mails by itself (RFC 8058).

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

/// What is left to acknowledge, and what is said of the rest.
struct Left {
    alerts: Vec<AlertId>,
    refused: Option<String>,
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
        let Some(left) = self.left().await? else { return Ok(dropped()) };
        let Some(first) = left.alerts.first() else { return Ok(nothing_left(StatusCode::GONE, left)) };
        let what = if left.alerts.len() == 1 { first.to_string() } else { format!("{} alerts", left.alerts.len()) };
        let mut facts = vec![("As", self.to.clone())];
        for id in left.alerts.iter().take(TITLES_MAX) {
            facts.push(("Alert", self.titled(*id).await));
        }
        if left.alerts.len() > TITLES_MAX {
            facts.push(("", format!("and {} more", left.alerts.len() - TITLES_MAX)));
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
        let Some(left) = self.left().await? else { return Ok(dropped()) };
        if left.alerts.is_empty() {
            return Ok(nothing_left(StatusCode::CONFLICT, left));
        }
        let (now, rest) = left.alerts.split_at(left.alerts.len().min(ACKNOWLEDGED_MAX));
        let told = self.order_all(now, &who, false).await?;
        let done = told.iter().filter(|told| told.is_ok()).count();
        if done == 0 {
            // Somebody was faster.
            let refused = told.into_iter().find_map(Result::err);
            return Ok(nothing_left(StatusCode::CONFLICT, Left { alerts: Vec::new(), refused }));
        }
        let title = match now {
            [one] => format!("Acknowledged: {one}"),
            _ => format!("Acknowledged: {done} alerts"),
        };
        let more = match rest.len() {
            0 => "You can close this page.".to_owned(),
            more => format!("{more} more are active: open the link again for the next."),
        };
        let text = format!("In progress, by {}. {more}", self.to);
        Ok(said(StatusCode::OK, "good", &title, &text))
    }

    /// The alerts that are still active; `None` when the journal does not have them any more.
    async fn left(&self) -> Result<Option<Left>, Failure> {
        let Some(all) = self.alerts().await? else { return Ok(None) };
        let who = Who { actor: String::new(), address: None };
        let told = self.order_all(&all, &who, true).await?;
        let mut left = Left { alerts: Vec::new(), refused: None };
        for (alert, told) in all.into_iter().zip(told) {
            match told {
                Ok(()) => left.alerts.push(alert),
                Err(why) => left.refused = Some(why),
            }
        }
        Ok(Some(left))
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

    /// Gives each alert the order, or asks whether it could be given.
    async fn order_all(
        &self,
        alerts: &[AlertId],
        who: &Who,
        dry_run: bool,
    ) -> Result<Vec<Result<(), String>>, Failure> {
        let heard = !dry_run && self.shared.command(Command::Today).await?.bundle.rules.hears_status();
        let mut waiting = Vec::new();
        for alert in alerts.iter().copied() {
            let latest = if heard { latest(&self.shared, alert).await?.map(Box::new) } else { None };
            let (who, comment, wish) = (who.clone(), ACKNOWLEDGED.to_owned(), Wish::Acknowledge { alert, latest });
            let (done, answer) = oneshot::channel();
            let ordered = Command::Order(Box::new(Ordered { who, comment, wish, dry_run, done }));
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

fn nothing_left(status: StatusCode, left: Left) -> Response {
    let why = left.refused.unwrap_or_else(|| "there were no alerts".into());
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
}
