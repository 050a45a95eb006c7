//! The HTTP API: what terminals, scripts and pages ask of the daemon and change through it.
//!
//! One set of routes behind two doors. Over the control socket come the daemon's own user and root, known by the kernel, who may
//! do everything; over the server come bearers of tokens, each with a role. A route is registered once, with the least role
//! that it takes and the types that it reads and answers, and the OpenAPI document is made of that same registration: what it says
//! cannot differ from what is served.
//!
//! Read in this order: [`mod@routes`] (how a route is registered), [`door`] (who comes in), [`alerts`] (a file of routes), [`document`].

pub mod alerts;
pub mod approvals;
pub mod ask;
pub mod changes;
pub mod decide;
pub mod destinations;
pub mod document;
pub mod door;
pub mod exports;
pub mod failure;
pub mod holds;
pub mod journal;
pub mod measures;
pub mod own;
mod page;
pub mod quarantine;
pub mod recipients;
pub mod reports;
pub mod routes;
pub mod runs;
pub mod service;
pub mod shared;
pub mod silences;
pub mod tokens;

use std::sync::Arc;

use axum::Router;

use crate::console::failure::Failure;
use crate::console::routes::Routes;
use crate::console::shared::Shared;
use crate::daemon::api::{Api, Doors};

/// Where the API begins, on the control socket as on the server.
pub const BASE: &str = "/api/v1";

/// Everything that can be asked.
pub fn routes() -> Routes {
    let mut routes = Routes::default();
    service::add(&mut routes);
    alerts::add(&mut routes);
    measures::add(&mut routes);
    changes::add(&mut routes);
    runs::add(&mut routes);
    destinations::add(&mut routes);
    exports::add(&mut routes);
    approvals::add(&mut routes);
    holds::add(&mut routes);
    recipients::add(&mut routes);
    reports::add(&mut routes);
    quarantine::add(&mut routes);
    silences::add(&mut routes);
    tokens::add(&mut routes);
    journal::add(&mut routes);
    routes
}

/// The API as it is served.
pub fn doors(api: Api) -> Doors {
    let (router, document) = routes().into_parts();
    let decisions = decide::routes(api.links.clone(), api.commands.clone());
    let shared = Arc::new(Shared::new(api, document));
    let links = own::routes(shared.clone()).merge(decisions);
    let stray = async || Failure::not_found("there is no such page; /api/v1/openapi.json says what there is");
    let wrong = async || Failure::method();
    let router = Router::new().nest(BASE, router.fallback(stray).method_not_allowed_fallback(wrong)).with_state(shared);
    let socket = door::socket(Router::new().merge(router.clone()).fallback(stray));
    Doors { socket, server: door::server(router).merge(links) }
}
