//! `/`: the newest threads.

use axum::extract::{Extension, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::page;
use super::parts::{ago, badge, progress};
use super::state::Dashboard;
use crate::contract::{Page, ThreadItem, ThreadQuery};
use crate::model::{Namespace, ThreadStatus, Timestamp};

/// The threads on one page: as many as a person can look over.
const PER_PAGE: usize = 50;

/// The filter that the person asked for; members that cannot be read count as absent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Wanted {
    status: Option<ThreadStatus>,
    workflow: Option<String>,
    cursor: Option<String>,
}

impl Wanted {
    fn parse(query: &str) -> Self {
        let mut wanted = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let text = Some(value.trim().to_owned()).filter(|text| !text.is_empty());
            match name.as_ref() {
                "status" => wanted.status = ThreadStatus::parse(&value),
                "workflow" => wanted.workflow = text,
                "cursor" => wanted.cursor = text,
                _ => {}
            }
        }
        wanted
    }

    /// Returns a link to the page that starts at `cursor`, with the same filter.
    fn at(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(status) = self.status {
            query.append_pair("status", status.as_str());
        }
        if let Some(workflow) = &self.workflow {
            query.append_pair("workflow", workflow);
        }
        query.append_pair("cursor", cursor);
        format!("/?{}", query.finish())
    }
}

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    Extension(namespace): Extension<Namespace>,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = Wanted::parse(query.as_deref().unwrap_or_default());
    let asked = ThreadQuery {
        status: wanted.status,
        workflow: wanted.workflow.clone(),
        limit: PER_PAGE,
        cursor: wanted.cursor.clone(),
        ..ThreadQuery::default()
    };
    match dashboard.handle.threads(&namespace, asked).await {
        Ok(threads) => {
            let content = content(&wanted, &threads, dashboard.clock.now());
            page::page(StatusCode::OK, "Threads", &content)
        }
        Err(error) => page::failed(&error),
    }
}

fn content(wanted: &Wanted, threads: &Page<ThreadItem>, now: Timestamp) -> Markup {
    html! {
        h1 { "Threads" }
        (filter(wanted))
        div #live data-refresh="5000" {
            @if threads.items.is_empty() {
                p .empty { "No threads here. Start one with " code { "POST /invoke/async" } "." }
            } @else {
                (table(&threads.items, now))
            }
            nav .pages aria-label="Pages" {
                @if wanted.cursor.is_some() { a href="/" { "Newest" } }
                @if let Some(cursor) = &threads.next_cursor { a href=(wanted.at(cursor)) { "Older" } }
            }
        }
    }
}

fn filter(wanted: &Wanted) -> Markup {
    html! {
        form .filter method="get" action="/" {
            label { "Status "
                select name="status" {
                    option value="" selected[wanted.status.is_none()] { "any" }
                    @for status in ThreadStatus::ALL {
                        option value=(status.as_str()) selected[wanted.status == Some(status)] {
                            (status.as_str())
                        }
                    }
                }
            }
            label { "Workflow "
                input name="workflow" type="search" autocomplete="off"
                    value=(wanted.workflow.as_deref().unwrap_or_default());
            }
            button { "Show" }
        }
    }
}

fn table(threads: &[ThreadItem], now: Timestamp) -> Markup {
    html! {
        div .scroll {
            table {
                thead { tr {
                    th scope="col" { "Thread" } th scope="col" { "Workflow" }
                    th scope="col" { "Status" } th scope="col" { "Progress" }
                    th scope="col" { "Now" } th scope="col" { "Started" }
                    th scope="col" { "Last event" }
                } }
                tbody { @for thread in threads { (row(thread, now)) } }
            }
        }
    }
}

fn row(thread: &ThreadItem, now: Timestamp) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href={ "/ui/threads/" (thread.thread_id) } { (thread.thread_id) }
            }
            td { (thread.workflow.name) @if let Some(version) = thread.workflow.version { "@" (version) } }
            td { (badge(thread.status.as_str())) }
            td { (progress(thread.progress)) }
            td {
                @if let Some(code) = &thread.error_code { code { (code) } }
                @for (index, step) in thread.current_steps.iter().enumerate() {
                    @if index > 0 { ", " }
                    (step)
                }
            }
            td { (ago(thread.created_at, now)) }
            td { (ago(thread.updated_at, now)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Progress, WorkflowName};
    use crate::model::{Json, ThreadId};

    #[test]
    fn a_filter_survives_paging() {
        let wanted = Wanted::parse("status=failed&workflow=a+b%26&cursor=&x=1");
        assert_eq!(wanted.status, Some(ThreadStatus::Failed));
        assert_eq!(wanted.at("c/1"), "/?status=failed&workflow=a+b%26&cursor=c%2F1");
        assert_eq!(Wanted::parse("status=nonsense"), Wanted::default());
    }

    #[test]
    fn a_list_names_every_thread_and_escapes_what_users_wrote() {
        let item = ThreadItem {
            thread_id: ThreadId::parse("t1").unwrap(),
            workflow: WorkflowName { name: "<b>".to_owned(), version: Some(3) },
            status: ThreadStatus::Running,
            current_steps: Vec::new(),
            progress: Progress { completed: 1, total: 3 },
            metadata: Json::null(),
            recoveries: 0,
            error_code: None,
            last_seq: 5,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(9_000),
            completed_at: None,
            forked_from: None,
        };
        let page = Page { items: vec![item], next_cursor: Some("next".to_owned()) };
        let text = content(&Wanted::default(), &page, Timestamp::from_millis(10_000)).into_string();
        for part in [
            "/ui/threads/t1",
            "&lt;b&gt;@3",
            "data-status=\"running\"",
            "1/3",
            "1.0 s ago",
            "?cursor=next",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
