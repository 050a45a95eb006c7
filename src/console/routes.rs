//! How a route is registered: once, with its path, its least role, and a function whose types say what is asked and answered.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;

use crate::console::ask::{Answer, Ask, Part, body, last_event, path, query};
use crate::console::document::{self, Parameter};
use crate::console::door::admit;
use crate::console::failure::Failure;
use crate::console::shared::Shared;
use crate::domain::token::{Caller, Role};

/// What a route is called and who may use it.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Under the API's base; `{name}` stands for what the path names.
    pub path: &'static str,
    /// It changes something: POST instead of GET.
    pub changes: bool,
    /// The least role that it takes.
    pub role: Role,
    /// Name of the operation, the same for ever.
    pub id: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
}

impl Route {
    /// One that reads.
    pub const fn read(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { path, changes: false, role: Role::Viewer, id, summary }
    }

    /// One that changes something.
    pub const fn change(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { path, changes: true, role: Role::Operator, id, summary }
    }

    /// One that takes this role.
    #[must_use]
    pub const fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }
}

/// How a type looks in JSON.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a route answers.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    /// JSON of this shape.
    Json(Shape),
    /// Server-sent events, each with data of this shape.
    Events(Shape),
}

/// A route as the document tells it.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// What it is called and who may use it.
    pub route: Route,
    /// What the path names.
    pub path: Shape,
    /// The query's parameters.
    pub query: Shape,
    /// The body, where there is one.
    pub body: Option<Shape>,
    /// The answer.
    pub told: Told,
}

/// All routes, as they are served and as they are told.
#[derive(Default)]
pub struct Routes {
    router: Router<Arc<Shared>>,
    operations: Vec<Operation>,
}

impl Routes {
    /// Registers a route whose answer is JSON.
    pub fn add<P, Q, B, A, F>(
        &mut self,
        route: Route,
        serve: impl Fn(Ask<P, Q, B>) -> F + Clone + Send + Sync + 'static,
    ) where
        P: Part,
        Q: Part,
        B: Part,
        A: Serialize + JsonSchema + 'static,
        F: Future<Output = Answer<A>> + Send + 'static,
    {
        let told = Told::Json(SchemaGenerator::subschema_for::<A>);
        self.register(route, told, move |ask| {
            let answer = serve(ask);
            async move { answer.await.map(|answer| Json(answer).into_response()) }
        });
    }

    /// Registers a route that answers with events of this type.
    pub fn stream<P, Q, E, F>(&mut self, route: Route, serve: impl Fn(Ask<P, Q>) -> F + Clone + Send + Sync + 'static)
    where
        P: Part,
        Q: Part,
        E: JsonSchema,
        F: Future<Output = Answer<Response>> + Send + 'static,
    {
        self.register(route, Told::Events(SchemaGenerator::subschema_for::<E>), serve);
    }

    fn register<P, Q, B, F>(
        &mut self,
        route: Route,
        told: Told,
        serve: impl Fn(Ask<P, Q, B>) -> F + Clone + Send + Sync + 'static,
    ) where
        P: Part,
        Q: Part,
        B: Part,
        F: Future<Output = Answer<Response>> + Send + 'static,
    {
        self.operations.push(Operation {
            route,
            path: SchemaGenerator::subschema_for::<P>,
            query: SchemaGenerator::subschema_for::<Q>,
            body: (!B::is_nothing()).then_some(SchemaGenerator::subschema_for::<B>),
            told,
        });
        let known = document::known::<Q>();
        let method = if route.changes { MethodFilter::POST } else { MethodFilter::GET };
        let handler = async move |State(shared): State<Arc<Shared>>, request: Request| -> Response {
            let answer = answer(route, shared, &known, request, serve).await;
            answer.unwrap_or_else(Failure::into_response)
        };
        let router = std::mem::take(&mut self.router);
        self.router = router.route(route.path, on(method, handler));
    }

    /// What is registered.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The router, and the document that tells it.
    pub fn into_parts(self) -> (Router<Arc<Shared>>, Value) {
        let document = document::of(&self.operations);
        (self.router, document)
    }
}

async fn answer<P, Q, B, F>(
    route: Route,
    shared: Arc<Shared>,
    known: &[Parameter],
    request: Request,
    serve: impl Fn(Ask<P, Q, B>) -> F,
) -> Answer<Response>
where
    P: Part,
    Q: Part,
    B: Part,
    F: Future<Output = Answer<Response>> + Send + 'static,
{
    let (mut parts, content) = request.into_parts();
    let caller = admit(&shared.api.gate, &parts, route.role)?;
    if route.changes {
        let Caller { name, address, .. } = &caller;
        tracing::info!(actor = name, address, operation = route.id, "asked for over the API");
    }
    let path = path(&mut parts).await?;
    let query = query(&parts, known)?;
    let (last_event, body) = (last_event(&parts), body(&parts, content).await?);
    serve(Ask { shared, caller, path, query, body, last_event }).await
}
