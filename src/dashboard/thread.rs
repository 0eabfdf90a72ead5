//! `/ui/threads/{threadId}`: one thread, its steps and its events as they come.
//!
//! All of it is rendered here. The script follows the event stream only to learn that something has
//! happened; it then takes the page anew, with the events after the last one it shows, and puts
//! whatever has changed in its place.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page;
use super::parts::{ago, badge, duration, moment, progress, value};
use super::state::Dashboard;
use crate::contract::{StatusDocument, StepDocument};
use crate::model::{EventType, Failure, Namespace, Seq, ThreadId, Timestamp};
use crate::observe::Reservation;
use crate::runtime::{RawEvent, RuntimeError};

/// The most events on a page, the newest ones.
const RECENT_EVENTS: u64 = 100;

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    Extension(namespace): Extension<Namespace>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let shown = shown(query.as_deref().unwrap_or_default());
    let id = path.ok().and_then(|Path(text)| ThreadId::within(&namespace, &text).ok());
    let Some(id) = id else { return page::failed(&RuntimeError::ThreadNotFound) };
    match load(&dashboard, &id, shown).await {
        Ok((status, _held, why, events)) => {
            let content = content(&status, &events, (why.as_deref(), dashboard.clock.now()));
            page::page(StatusCode::OK, id.text(), &content)
        }
        Err(error) => page::failed(&error),
    }
}

/// Returns the last event that the reader sees already, `after` in the query; 0 if that cannot be
/// read.
fn shown(query: &str) -> Seq {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let after = pairs.find_map(|(name, value)| (name == "after").then(|| value.parse().ok()));
    after.flatten().unwrap_or_default()
}

/// All that the page shows, and the memory of its largest part.
type Shown = (StatusDocument, Reservation, Option<String>, Vec<RawEvent>);

/// Reads the status document, why the thread does not move, and the newest of the events that led
/// to the document, those after `shown`. The events come last: nothing waits while they are held.
async fn load(dashboard: &Dashboard, id: &ThreadId, shown: Seq) -> Result<Shown, RuntimeError> {
    let (status, held) = dashboard.handle.status_held(id).await?;
    let why = why(dashboard, id).await;
    let after = shown.max(status.last_seq.saturating_sub(RECENT_EVENTS));
    if after >= status.last_seq {
        return Ok((status, held, why, Vec::new()));
    }
    let limit = usize::try_from(RECENT_EVENTS).unwrap_or(usize::MAX);
    let mut events = dashboard.handle.events(id, after, limit).await?.events;
    events.retain(|event| event.seq <= status.last_seq);
    Ok((status, held, why, events))
}

/// Returns why the thread does not move; `None` if it moves or has ended, or if the reason cannot
/// be read, which the page does without.
async fn why(dashboard: &Dashboard, id: &ThreadId) -> Option<String> {
    let told = dashboard.handle.explain(id).await.ok()?;
    (!told.moving && !told.status.is_terminal()).then_some(told.sentence)
}

/// Returns the names of all types of events, which an `EventSource` has to be told one by one.
fn event_types() -> String {
    EventType::ALL.iter().map(|one| one.name).collect::<Vec<_>>().join(" ")
}

fn content(
    status: &StatusDocument,
    events: &[RawEvent],
    (why, now): (Option<&str>, Timestamp),
) -> Markup {
    let follow = (!status.status.is_terminal()).then(|| format!("/stream/{}", status.thread_id));
    html! {
        div #live data-stream=[follow] data-after=(status.last_seq) data-events=(event_types()) {
            h1 { (status.thread_id) }
            p .facts {
                span #status role="status" { (badge(status.status.as_str())) }
                span #progress { (progress(status.progress)) }
                span #facts .facts { (facts(status, now)) }
            }
            div #notes { (notes(status, why)) }
            div #values { (values(status)) }
            h2 { "Steps" }
            (steps(&status.steps))
            h2 { "Events" }
            p #connection .quiet role="status" {}
            ol #events .events { @for event in events { (event_line(event)) } }
        }
    }
}

fn facts(status: &StatusDocument, now: Timestamp) -> Markup {
    html! {
        span { (status.workflow.name) @if let Some(version) = status.workflow.version { "@" (version) } }
        span { "started " (ago(status.created_at, now)) }
        @if let Some(end) = status.completed_at {
            span { "took " (duration(end.since(status.created_at))) }
        }
        @if let Some(from) = &status.forked_from {
            span { "forked from " a href={ "/ui/threads/" (from.thread_id) } { (from.thread_id) } " at " (from.seq) }
        }
        @if let Some(owner) = &status.owner { span { "driven by " (owner) } }
        @if status.recoveries > 0 { span { "recoveries: " (status.recoveries) } }
        a href={ "/status/" (status.thread_id) } { "as JSON" }
    }
}

/// Renders why the thread has failed, or why it does not move.
fn notes(status: &StatusDocument, why: Option<&str>) -> Markup {
    html! {
        @if let Some(error) = &status.error { (failure(error)) }
        @if let Some(why) = why {
            p #why {
                (why) " "
                a href={ "/threads/" (status.thread_id) "/explain" } { "What would end that" }
            }
        }
    }
}

fn values(status: &StatusDocument) -> Markup {
    html! {
        @if let Some(input) = status.input.as_ref().filter(|json| !json.is_null()) { (value("Input", input)) }
        @if let Some(output) = status.output.as_ref().filter(|json| !json.is_null()) { (value("Output", output)) }
        @if status.metadata.as_str() != "{}" && !status.metadata.is_null() { (value("Metadata", &status.metadata)) }
    }
}

fn failure(error: &Failure) -> Markup {
    html! {
        p .failure {
            strong { (error.code) }
            @if let Some(step) = &error.step_id { " in " code { (step) } }
            ": " (error.message)
        }
    }
}

fn steps(steps: &[StepDocument]) -> Markup {
    html! {
        div .scroll {
            table #steps {
                thead { tr {
                    th scope="col" { "Step" } th scope="col" { "Kind" } th scope="col" { "Status" }
                    th scope="col" { "Attempts" } th scope="col" { "Took" } th scope="col" { "Result" }
                } }
                tbody { @for step in steps { (step_row(step)) } }
            }
        }
    }
}

fn step_row(step: &StepDocument) -> Markup {
    html! {
        tr data-step=(step.id) {
            th scope="row" { (step.id) }
            td { (step.kind) }
            td .status { (badge(step.status.as_str())) }
            td .attempts { (step.attempts) }
            td .took { @if let Some(millis) = step.duration_ms { (duration(Duration::from_millis(millis))) } }
            td .result {
                @if let Some(error) = &step.error { div { code { (error.code) } " " (error.message) } }
                @if let Some(error) = step.compensation.as_ref().and_then(|undo| undo.error.as_ref()) {
                    div { "not compensated: " code { (error.code) } " " (error.message) }
                }
                @if let Some(wakes) = step.wakes_at { div { "until " (moment(wakes)) } }
                @if let Some(output) = step.output.as_ref().filter(|json| !json.is_null()) {
                    (value("Output", output))
                }
            }
        }
    }
}

fn event_line(event: &RawEvent) -> Markup {
    let step = event.json.decode::<AboutStep>().ok().and_then(|about| about.step_id);
    let label = step.map_or_else(|| event.kind.to_owned(), |id| format!("{} {id}", event.kind));
    html! {
        li value=(event.seq) { (value(&label, &event.json)) }
    }
}

/// The step that an event is about, if any.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AboutStep {
    step_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Progress, WorkflowName};
    use crate::model::{Category, Json, StepId, StepStatus, ThreadStatus};

    fn document(status: ThreadStatus) -> StatusDocument {
        let error = Failure::permanent("x", Category::Step, "<img src=x>");
        StatusDocument {
            thread_id: ThreadId::parse("t1").unwrap(),
            workflow: WorkflowName { name: "w".to_owned(), version: None },
            status,
            current_steps: Vec::new(),
            progress: Progress { completed: 0, total: 1 },
            steps: vec![StepDocument {
                id: StepId::parse("fetch").unwrap(),
                kind: "http",
                status: StepStatus::Retrying,
                attempts: 2,
                session_id: None,
                started_at: None,
                completed_at: None,
                duration_ms: Some(1_500),
                output: None,
                blocked_output: None,
                fallback: false,
                compensation: None,
                error: Some(error),
                wakes_at: Some(Timestamp::from_millis(0)),
            }],
            input: Some(Json::parse("{\"a\":\"</pre>\"}").unwrap()),
            output: Some(Json::null()),
            error: None,
            compensation: None,
            metadata: Json::parse("{}").unwrap(),
            recoveries: 0,
            forked_from: None,
            owner: None,
            deadline: None,
            aborts_at: None,
            last_seq: 5,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
            completed_at: None,
        }
    }

    #[test]
    fn a_running_thread_is_followed_from_the_last_event_shown() {
        let json = Json::parse(r#"{"stepId":"fetch","data":"<b>"}"#).unwrap();
        let event = RawEvent { seq: 5, kind: "step_retry", json };
        let text = content(
            &document(ThreadStatus::Running),
            &[event],
            (Some("It waits for <b>."), Timestamp::default()),
        );
        let text = text.into_string();
        for part in [
            "data-stream=\"/stream/t1\" data-after=\"5\"",
            "data-step=\"fetch\"",
            "data-status=\"retrying\"",
            "&lt;img src=x&gt;",
            "&lt;/pre&gt;",
            "<li value=\"5\">",
            "<summary>step_retry fetch</summary>",
            "&lt;b&gt;",
            "It waits for &lt;b&gt;.",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_page_says_which_events_its_reader_has_and_which_there_are() {
        for (query, after) in [("after=7", 7), ("x=1&after=7", 7), ("after=-1", 0), ("", 0)] {
            assert_eq!(shown(query), after, "{query}");
        }
        for one in EventType::ALL {
            assert!(event_types().split(' ').any(|name| name == one.name), "{}", one.name);
        }
    }

    #[test]
    fn an_ended_thread_is_not_followed() {
        let text = content(&document(ThreadStatus::Completed), &[], (None, Timestamp::default()));
        assert!(!text.into_string().contains("data-stream"));
    }
}
