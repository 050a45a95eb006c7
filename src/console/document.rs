//! The OpenAPI 3.1 document of the routes.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::console::BASE;
use crate::console::failure::ErrorBody;
use crate::console::routes::{Operation, Told};

/// Where the shapes of types stand in the document.
const SHAPES: &str = "/components/schemas";

/// The document.
pub fn of(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut shapes = settings.clone().with(|settings| settings.definitions_path = SHAPES.into()).into_generator();
    let mut inline = settings.with(|settings| settings.inline_subschemas = true).into_generator();
    let error = shapes.subschema_for::<ErrorBody>();
    let mut paths = Map::new();
    for operation in operations {
        let path = format!("{BASE}{}", operation.route.path);
        let method = if operation.route.changes { "post" } else { "get" };
        let told = told(operation, &mut shapes, &mut inline, &error);
        let of_path = paths.entry(path).or_insert_with(|| json!({}));
        of_path.as_object_mut().expect("it is made as one").insert(method.into(), told);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "soard",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "What is on record about alerts, runs and deliveries, and what may be changed about them. Every change \
                            of what is on record is an entry of the journal with who, when, from where and why. `x-role` names the least role that an operation takes: \
                            viewer, operator, approver or admin, each of which includes the ones before it.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "schemas": shapes.take_definitions(true),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token that `soard token add` made." },
            },
        },
    })
}

fn told(operation: &Operation, shapes: &mut SchemaGenerator, inline: &mut SchemaGenerator, error: &Schema) -> Value {
    let route = operation.route;
    let (kind, shape) = match operation.told {
        Told::Json(shape) => ("application/json", shape(shapes)),
        Told::Events(shape) => ("text/event-stream", json_schema_of_events(shape(shapes))),
    };
    let mut parameters = parameters("path", &(operation.path)(inline));
    parameters.extend(self::parameters("query", &(operation.query)(inline)));
    let failure = |description: &str| json!({ "description": description, "content": { "application/json": { "schema": error } } });
    let mut told = json!({
        "operationId": route.id,
        "summary": route.summary,
        "x-role": route.role.as_str(),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": { kind: { "schema": shape } } },
            "401": failure("No token, or one that is not valid."),
            "403": failure("The token's role may not do this."),
            "4XX": failure("The request cannot be understood, names what is not there, or cannot be done as things stand."),
            "5XX": failure("The daemon cannot answer now, or failed."),
        },
    });
    if let Some(body) = operation.body {
        let shape = body(shapes);
        let required = !needs(&body(inline)).is_empty();
        told["requestBody"] = json!({ "required": required, "content": { "application/json": { "schema": shape } } });
    }
    told
}

/// Events are text; what their data is stands beside.
fn json_schema_of_events(data: Schema) -> Schema {
    schemars::json_schema!({ "type": "string", "contentMediaType": "application/json", "contentSchema": data })
}

/// The properties of an object's shape, as parameters.
fn parameters(place: &str, shape: &Schema) -> Vec<Value> {
    let needed = needs(shape);
    let properties = shape.get("properties").and_then(Value::as_object);
    let told = properties.into_iter().flatten().map(|(name, schema)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let required = place == "path" || needed.contains(&name.as_str());
        let mut parameter = json!({ "name": name, "in": place, "required": required, "schema": given(schema) });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    });
    told.collect()
}

/// A parameter is given or left out, and never null.
fn given(mut schema: Value) -> Value {
    let Some(object) = schema.as_object_mut() else { return schema };
    object.remove("default");
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(any)) = object.get_mut("anyOf") {
        any.retain(|one| one.get("type") != Some(&Value::from("null")));
        if let [only] = any.as_slice() {
            return only.clone();
        }
    }
    schema
}

fn needs(shape: &Schema) -> Vec<&str> {
    let required = shape.get("required").and_then(Value::as_array);
    required.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A parameter of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// It is a number: nothing is no value of it.
    pub is_number: bool,
}

/// The properties of an object, as parameters of the query.
pub fn known<T: JsonSchema>() -> Vec<Parameter> {
    let mut inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let shape = inline.subschema_for::<T>();
    let properties = shape.get("properties").and_then(Value::as_object);
    let known = properties.into_iter().flatten().map(|(name, schema)| {
        let kind = given(schema.clone()).get("type").cloned();
        Parameter { name: name.clone(), is_number: kind == Some(Value::from("integer")) }
    });
    known.collect()
}
