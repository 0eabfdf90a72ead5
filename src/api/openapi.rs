//! The routes, and the OpenAPI document that is made from them and served by two of them.
//!
//! Both come from the same annotations, so that they cannot drift apart. Facts that hold for many
//! operations (problem documents, the aliases) are added here, by rule.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ContactBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref,
    RefOr, ResponseBuilder, ServerBuilder,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{KINDS, MEDIA_TYPE, METHOD_NOT_ALLOWED, Problem};
use super::query::{NoParams, QueryString};
use super::{Api, ops, roles, stream};
use crate::contract::{EventDocument, ProblemDocument, StepDefinition};
use crate::definition::{describe_kinds, list_kinds};

/// Common paths of other tools, and the routes they stand for.
pub(super) const ALIASES: [(&str, &str); 4] = [
    ("/api/invoke/async", "/invoke/async"),
    ("/api/invoke/stream/{threadId}", "/stream/{threadId}"),
    ("/api/invoke-status/status/{threadId}", "/status/{threadId}"),
    ("/api/health/checkpointer", "/health/checkpointer"),
];

/// The groups of operations.
const TAGS: [(&str, &str); 7] = [
    ("invoke", "Start threads."),
    ("threads", "Read threads, their journals and their checkpoints."),
    ("stream", "Follow threads as server-sent events."),
    ("control", "Change threads."),
    ("workflows", "Store and check definitions."),
    ("notifications", "Tell others of events by signed webhooks."),
    ("operations", "Health, metrics and this document."),
];

const DESCRIPTION: &str = "A durable workflow server. A thread executes a workflow; every change \
    of its state is one event in its journal. Errors are problem documents (RFC 9457). Unknown \
    members and parameters are refused. Durations in requests are milliseconds or texts such as \
    `30s`; times are RFC 3339 UTC with milliseconds. Answers of 1 KiB or more are compressed with zstd, \
    br or gzip where `Accept-Encoding` takes it, but for event streams, answers that may have a secret \
    in them, and those to pages of other sites.";

/// Returns every documented route.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(thread_routes())
        .merge(control_routes())
        .merge(workflow_routes())
        .merge(notification_routes())
        .merge(health_routes())
}

fn thread_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(ops::invoke::invoke))
        .routes(routes!(ops::invoke::invoke_async))
        .routes(routes!(ops::status::status))
        .routes(routes!(stream::live::stream))
        .routes(routes!(stream::thread::stream))
        .routes(routes!(ops::threads::list))
        .routes(routes!(ops::thread::get, ops::thread::delete))
        .routes(routes!(ops::events::list))
        .routes(routes!(ops::checkpoints::list))
        .routes(routes!(ops::recoveries::list))
        .routes(routes!(ops::interventions::list))
        .routes(routes!(ops::diagnostics::get))
        .routes(routes!(ops::diff::diff))
        .routes(routes!(ops::explain::get))
        .routes(routes!(ops::stream_token::create))
}

fn control_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(ops::fork::fork))
        .routes(routes!(ops::resume::resume))
        .routes(routes!(ops::abort::abort))
        .routes(routes!(ops::pause::pause))
        .routes(routes!(ops::steps::retry))
        .routes(routes!(ops::steps::skip))
        .routes(routes!(ops::steps::edit))
        .routes(routes!(ops::resolve::resolve))
        .routes(routes!(ops::signal::send))
}

fn workflow_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(ops::workflows::save, ops::workflows::list))
        .routes(routes!(ops::workflow::get))
        .routes(routes!(ops::validate::validate))
}

fn notification_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(ops::notifications::create, ops::notifications::list))
        .routes(routes!(
            ops::notification::get,
            ops::notification::change,
            ops::notification::delete
        ))
        .routes(routes!(ops::notification::test))
}

fn health_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(ops::monitor::monitor))
        .routes(routes!(ops::stats::stats))
        .routes(routes!(ops::audit::list))
        .routes(routes!(ops::health::live))
        .routes(routes!(ops::health::ready))
        .routes(routes!(ops::health::health))
        .routes(routes!(ops::health::checkpointer))
        .routes(routes!(ops::health::metrics))
        .routes(routes!(openapi_json))
        .routes(routes!(openapi_yaml))
}

/// Adds the aliases to the routes.
pub(super) fn with_aliases(routes: Router<Api>) -> Router<Api> {
    let [invoke, stream, status, checkpointer] = ALIASES.map(|(alias, _)| alias);
    routes
        .route(invoke, post(ops::invoke::invoke_async))
        .route(stream, get(stream::thread::stream))
        .route(status, get(ops::status::status))
        .route(checkpointer, get(ops::health::checkpointer))
}

/// Returns the OpenAPI document of this API.
pub fn openapi() -> OpenApi {
    let mut document = routes().into_openapi();
    document.info = InfoBuilder::new()
        .title("Rethread")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .contact(Some(ContactBuilder::new().name(Some("The Rethread developers")).build()))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ))
        .build();
    document.servers =
        Some(vec![ServerBuilder::new().url("/").description(Some("This server")).build()]);
    let tags =
        TAGS.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    document.tags = Some(tags.into());
    document.security = Some(vec![
        SecurityRequirement::new::<_, [&str; 0], &str>("bearer", []),
        SecurityRequirement::default(),
    ]);
    add_components(&mut document);
    describe_steps(&mut document);
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            optional_not_null(operation);
            roles::document(operation);
            add_problems(path, operation);
        }
    }
    for (alias, of) in ALIASES {
        let Some(mut item) = document.paths.paths.get(of).cloned() else { continue };
        for operation in operations(&mut item) {
            operation.operation_id = operation.operation_id.take().map(|id| format!("{id}Alias"));
            operation.summary = Some(format!("The same as {of}"));
        }
        document.paths.paths.insert(alias.to_owned(), item);
    }
    document
}

/// Read this document as JSON
///
/// Made from the routes themselves.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapiJson", tag = "operations",
    security(("bearer" = ["reader"])),
    responses((status = 200, description = "The OpenAPI document", body = Object))
)]
async fn openapi_json(_: QueryString<NoParams>) -> Result<Response, Problem> {
    static TEXT: LazyLock<Option<String>> = LazyLock::new(|| openapi().to_json().ok());
    let text = TEXT.as_deref().ok_or_else(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Read this document as YAML
///
/// Made from the routes themselves.
#[utoipa::path(
    get, path = "/openapi.yaml", operation_id = "openapiYaml", tag = "operations",
    security(("bearer" = ["reader"])),
    responses((status = 200, description = "The OpenAPI document", body = String, content_type = "application/yaml"))
)]
async fn openapi_yaml(_: QueryString<NoParams>) -> Result<Response, Problem> {
    static TEXT: LazyLock<Option<String>> = LazyLock::new(|| openapi().to_yaml().ok());
    let text = TEXT.as_deref().ok_or_else(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
    all.into_iter().flatten()
}

fn add_components(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let mut schemas = vec![(ProblemDocument::name().into_owned(), ProblemDocument::schema())];
    <ProblemDocument<'_> as ToSchema>::schemas(&mut schemas);
    <EventDocument as ToSchema>::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An API key's secret, or a token (JWT) of the issuer that the server takes tokens of; \
             needed only if the server has keys or an issuer.",
        ))
        .build();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    let content = || {
        let schema = Ref::from_schema_name(ProblemDocument::name());
        ContentBuilder::new().schema(Some(schema)).build()
    };
    // An unknown method belongs to no operation.
    for kind in KINDS.iter().filter(|kind| **kind != &METHOD_NOT_ALLOWED) {
        let name = kind.status.as_str();
        let known = components.responses.remove(&response_name(name));
        let mut codes = known.and_then(description).unwrap_or_default();
        if !codes.is_empty() {
            codes.push_str(", ");
        }
        codes.push_str(kind.code);
        let mut response = ResponseBuilder::new().description(codes).content(MEDIA_TYPE, content());
        if let Some((header, text)) = header_of(kind.status) {
            response =
                response.header(header, HeaderBuilder::new().description(Some(text)).build());
        }
        components.responses.insert(response_name(name), RefOr::T(response.build()));
    }
}

/// Adds the kinds of steps and the members of their `with`, from the list that the parser goes by.
fn describe_steps(document: &mut OpenApi) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    let name = StepDefinition::name();
    let Some(RefOr::T(Schema::Object(step))) = schemas.get_mut(name.as_ref()) else { return };
    let mut add = |member: &str, more: String| {
        if let Some(RefOr::T(Schema::Object(member))) = step.properties.get_mut(member) {
            member.description.get_or_insert_default().push_str(&more);
        }
    };
    add("kind", format!(": {}.", list_kinds()));
    add("with", format!("\n\n{}", describe_kinds()));
}

/// Returns the header that a problem of this status has beside its body.
fn header_of(status: StatusCode) -> Option<(&'static str, &'static str)> {
    match status {
        StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", "The schemes that are taken")),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::INSUFFICIENT_STORAGE => {
            Some(("Retry-After", "Seconds to wait before another try"))
        }
        _ => None,
    }
}

fn description(response: RefOr<utoipa::openapi::Response>) -> Option<String> {
    match response {
        RefOr::T(response) => Some(response.description),
        RefOr::Ref(_) => None,
    }
}

fn response_name(status: &str) -> String {
    format!("Problem{status}")
}

/// Removes `null` from the types of optional parameters: one that may be left out may not be
/// `null`.
fn optional_not_null(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
            && let SchemaType::Array(types) = &mut schema.schema_type
        {
            types.retain(|one| *one != Type::Null);
            if let [only] = types.as_slice() {
                schema.schema_type = SchemaType::Type(only.clone());
            }
        }
    }
}

/// Adds the problems that an operation can answer with; they follow from its path and its body.
fn add_problems(path: &str, operation: &mut Operation) {
    let open = path == "/health/live" || path == "/health/ready";
    let mut statuses = vec!["400", "500"];
    if !open {
        statuses.extend(["401", "403", "421", "429"]);
    }
    if path != "/health/live" && path != "/health" {
        statuses.push("503");
    }
    if !open && path != "/health" {
        statuses.push("507");
    }
    if path.contains('{') || path.starts_with("/invoke") {
        statuses.push("404");
    }
    if operation.request_body.is_some() {
        statuses.extend(["408", "413", "415"]);
    }
    if path.starts_with("/invoke") || path.ends_with("/fork") || path.ends_with("/resolve") {
        statuses.extend(["409", "422"]);
    }
    let tags = operation.tags.as_deref().unwrap_or_default();
    if tags.iter().any(|tag| tag == "control") || path == "/threads/{threadId}" {
        statuses.extend(["409", "412"]);
    }
    if path == "/notifications" && operation.request_body.is_some() {
        statuses.push("409");
    }
    for status in statuses {
        let response = RefOr::Ref(Ref::from_response_name(response_name(status)));
        operation.responses.responses.insert(status.to_owned(), response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_and_has_an_id_of_its_own() {
        let mut document = openapi();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                assert!(operation.summary.is_some(), "{path}");
                assert!(operation.tags.as_ref().is_some_and(|tags| tags.len() == 1), "{path}");
                let id = operation.operation_id.clone().unwrap();
                assert!(ids.insert(id), "{path}");
            }
        }
        assert!(ids.len() >= 28, "{}", ids.len());
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document = serde_json::to_value(openapi()).unwrap();
        let text = document.to_string();
        let references =
            text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut seen = 0;
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
            seen += 1;
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn the_members_of_every_kind_of_step_are_described() {
        let document = serde_json::to_value(openapi()).unwrap();
        let with = &document["components"]["schemas"]["StepDefinition"]["properties"]["with"];
        let text = with["description"].as_str().unwrap();
        for member in ["`http`: a request\n\n- `method`: ", "\n- `notBy`: "] {
            assert!(text.contains(member), "{text}");
        }
    }

    #[test]
    fn both_forms_of_the_document_can_be_written() {
        assert!(openapi().to_yaml().unwrap().contains("operationId: invokeAsync"));
        assert!(openapi().to_json().unwrap().contains("\"invokeAsyncAlias\""));
    }
}
