//! The calls of clients about subscriptions: create, read, change, delete, test.

use url::Url;

use super::desk::Subscription;
use super::post::post;
use super::settings::{Settings, apply, read, show, write};
use super::signature::{make_secret, message_id};
use crate::contract::{
    Notification, NotificationPatch, NotificationRequest, NotificationTest, Page, SigningSecret,
};
use crate::executor::WebhookFault;
use crate::model::{Fault, Namespace, ThreadId};
use crate::observe::Overloaded;
use crate::runtime::calls::patience::{persistently, shown, unavailable};
use crate::runtime::calls::query::{read_cursor, write_cursor};
use crate::runtime::core::Core;
use crate::runtime::types::RuntimeError;
use crate::store::{NotificationRow, StoreError};

/// The number of subscriptions that one namespace may have.
const MAX_SUBSCRIPTIONS: usize = 100;
/// The number of subscriptions read with one statement: all of one namespace, and mostly all there
/// are.
const PAGE: usize = 256;

/// Reads the list of subscriptions.
pub(super) async fn refresh(core: &Core) -> Result<(), StoreError> {
    let turn = core.notices.reading.lock().await;
    let mut known: Vec<NotificationRow> = Vec::new();
    loop {
        let after = known.last().map(|last| last.id.clone());
        let page = core.store().all_notifications(after.as_deref(), PAGE).await?;
        let more = page.len() >= PAGE;
        known.extend(page);
        if !more {
            break;
        }
    }
    core.notices.put(known);
    drop(turn);
    Ok(())
}

/// The number of tries to make a change while others change the same subscription.
const CHANGE_TRIES: usize = 5;
/// The thread that a test message seems to come from.
const TEST_THREAD: &str = "notification-test";

/// Creates a subscription; only the answer shows its secret.
pub(in crate::runtime) async fn create(
    core: &Core,
    namespace: &Namespace,
    request: NotificationRequest,
    by: String,
) -> Result<Notification, RuntimeError> {
    let change = NotificationPatch::from(request);
    check(core, namespace, &change).await?;
    let (clock, entropy) = (&*core.parts.clock, &*core.parts.entropy);
    let now = clock.now();
    let secret = change.secret.as_ref().map(SigningSecret::bytes).cloned();
    let secret = secret.unwrap_or_else(|| make_secret(clock, entropy));
    let mut settings = Settings {
        name: None,
        url: String::new(),
        types: Vec::new(),
        workflow: None,
        updated_by: by.clone(),
        by,
        updated_at: now,
        disabled_reason: None,
    };
    apply(&mut settings, &change);
    let row = NotificationRow {
        id: entropy.uuid(now).to_string(),
        namespace: namespace.clone(),
        created_at: now,
        enabled: change.enabled.unwrap_or(true),
        version: 1,
        body: write(&settings),
        secret,
        last_success_at: None,
        last_failure_at: None,
        last_error: None,
        given_up: 0,
    };
    persistently(core, || async {
        let known = core.store().notifications(namespace, None, MAX_SUBSCRIPTIONS).await?;
        let again = known.iter().any(|known| known.id == row.id);
        if known.len() >= MAX_SUBSCRIPTIONS && !again {
            return Err(RuntimeError::TooManyNotifications { most: MAX_SUBSCRIPTIONS });
        }
        // The id is new: if it exists, an earlier try has landed.
        core.store().save_notification(&row, None).await?;
        Ok(())
    })
    .await?;
    changed(core).await;
    let secret = Some(row.secret.clone().into());
    let shown = show(row, &[]).ok_or(RuntimeError::Internal)?;
    Ok(Notification { secret, ..shown })
}

/// Returns one subscription.
pub(in crate::runtime) async fn get(
    core: &Core,
    (namespace, id): (&Namespace, &str),
) -> Result<Notification, RuntimeError> {
    let (row, counts) = shown(core, namespace, || async {
        let row = find(core, (namespace, id)).await?;
        Ok((row, core.shown.store().notice_counts_of(&[id.to_owned()]).await?))
    })
    .await?;
    show(row, &core.notices.complete(counts)).ok_or(RuntimeError::Internal)
}

/// Returns the row of a subscription of a namespace.
async fn find(
    core: &Core,
    (namespace, id): (&Namespace, &str),
) -> Result<NotificationRow, RuntimeError> {
    let found = core.shown.store().notification(id).await?;
    let found = found.filter(|row| row.namespace == *namespace);
    found.ok_or(RuntimeError::NotificationNotFound)
}

/// Lists the subscriptions of a namespace, newest first.
pub(in crate::runtime) async fn list(
    core: &Core,
    namespace: &Namespace,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<Notification>, RuntimeError> {
    let before = cursor.map(read_cursor).transpose()?;
    let (rows, counts) = shown(core, namespace, || async {
        let store = core.shown.store();
        let rows = store.notifications(namespace, before.clone(), limit + 1).await?;
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        Ok((rows, store.notice_counts_of(&ids).await?))
    })
    .await?;
    let counts = core.notices.complete(counts);
    let page = Page::cut(rows, limit, |last| write_cursor(last.created_at, &last.id));
    let next_cursor = page.next_cursor;
    let items = page.items.into_iter().map(|row| show(row, &counts));
    let items = items.collect::<Option<Vec<_>>>().ok_or(RuntimeError::Internal)?;
    Ok(Page { items, next_cursor })
}

/// Changes a subscription. Only the answer shows a new secret.
pub(in crate::runtime) async fn update(
    core: &Core,
    (namespace, id): (&Namespace, &str),
    change: NotificationPatch,
    by: &str,
) -> Result<Notification, RuntimeError> {
    check(core, namespace, &change).await?;
    let now = core.parts.clock.now();
    let row = alter(core, (Some(namespace), id), |row, settings| {
        apply(settings, &change);
        by.clone_into(&mut settings.updated_by);
        settings.updated_at = now;
        row.enabled = change.enabled.unwrap_or(row.enabled);
        if let Some(secret) = &change.secret {
            row.secret = secret.bytes().clone();
        }
    })
    .await?;
    changed(core).await;
    // The change may have repaired what held waiting messages up.
    core.notices.hasten(id);
    let of = [id.to_owned()];
    let counts = persistently(core, || async { Ok(core.store().notice_counts_of(&of).await?) });
    let shown = show(row, &core.notices.complete(counts.await?)).ok_or(RuntimeError::Internal)?;
    Ok(Notification { secret: change.secret, ..shown })
}

/// Deletes a subscription; its unsent messages are deleted by and by.
pub(in crate::runtime) async fn delete(
    core: &Core,
    (namespace, id): (&Namespace, &str),
) -> Result<(), RuntimeError> {
    let gone = persistently(core, || async {
        let row = core.store().notification(id).await?;
        if row.is_some_and(|row| row.namespace != *namespace) {
            return Err(RuntimeError::NotificationNotFound);
        }
        Ok(core.store().delete_notification(id).await?)
    });
    let gone = gone.await?;
    core.notices.forget(id);
    core.notices.chores().sweep = true;
    core.notices.wake.notify_one();
    if gone { Ok(()) } else { Err(RuntimeError::NotificationNotFound) }
}

/// Sends a message about no event, once, and returns the result.
pub(in crate::runtime) async fn test(
    core: &Core,
    (namespace, id): (&Namespace, &str),
    by: &str,
) -> Result<NotificationTest, RuntimeError> {
    let row = persistently(core, || find(core, (namespace, id))).await?;
    let row = NotificationRow { enabled: true, ..row };
    // One of the places of all its messages: a receiver may take its time to answer.
    let mut place = core.notices.slot(namespace).ok_or(Overloaded)?;
    place.hold(0)?;
    let subscription = Subscription::of(row).ok_or(RuntimeError::Internal)?;
    let now = core.parts.clock.now();
    let thread = ThreadId::within(namespace, TEST_THREAD).map_err(|_| RuntimeError::Internal)?;
    let message = format!("{}/{}", message_id(&thread, 0, now), core.parts.entropy.uuid(now));
    let body = serde_json::json!({
        "type": "notification_test", "at": now, "data": { "notification": id, "by": by },
    });
    let detail = match post(core, &subscription, (&message, &body.to_string().into())).await {
        Ok(()) => None,
        Err(WebhookFault::Gone) => Some("the receiver answered 410 Gone".to_owned()),
        Err(WebhookFault::Failed { detail, .. }) => Some(detail),
    };
    Ok(NotificationTest { delivered: detail.is_none(), detail })
}

/// Disables a subscription until a client enables it again, unless a client has changed its URL
/// meanwhile.
pub(super) async fn disable(core: &Core, id: &str, (url, reason): (&str, &str)) {
    let done = alter(core, (None, id), |row, settings| {
        if settings.url == url {
            row.enabled = false;
            settings.disabled_reason = Some(reason.to_owned());
        }
    });
    match done.await {
        Ok(row) if row.enabled => {}
        Ok(_) => core.notices.forget(id),
        Err(error) => {
            tracing::warn!(%error, subscription = id, "cannot be disabled; it is tried again");
        }
    }
    core.notices.changed.notify_one();
}

/// Changes a subscription; if a namespace is named, only one of this namespace.
async fn alter(
    core: &Core,
    (namespace, id): (Option<&Namespace>, &str),
    change: impl Fn(&mut NotificationRow, &mut Settings) + Send + Sync,
) -> Result<NotificationRow, RuntimeError> {
    for _ in 0..CHANGE_TRIES {
        let changed = persistently(core, || async {
            let found = core.store().notification(id).await?;
            let found = found.filter(|row| namespace.is_none_or(|named| row.namespace == *named));
            let mut row = found.ok_or(RuntimeError::NotificationNotFound)?;
            let mut settings = read(&row).ok_or(RuntimeError::Internal)?;
            change(&mut row, &mut settings);
            let version = row.version;
            row.version += 1;
            row.body = write(&settings);
            let done = core.store().save_notification(&row, Some(version)).await?;
            Ok(done.then_some(row))
        });
        if let Some(row) = changed.await? {
            return Ok(row);
        }
    }
    Err(unavailable("others keep changing the subscription"))
}

/// Refuses a URL that messages may not be sent to.
async fn check(
    core: &Core,
    namespace: &Namespace,
    change: &NotificationPatch,
) -> Result<(), RuntimeError> {
    let Some(url) = change.url.as_deref().and_then(|url| Url::parse(url).ok()) else {
        return Ok(());
    };
    let webhooks = core.parts.executors.webhooks().ok_or(RuntimeError::Internal)?;
    webhooks.judge(namespace, &url).await.map_err(|denied| {
        let fault = Fault { pointer: "/url".to_owned(), detail: denied.to_string() };
        RuntimeError::AddressNotAllowed(vec![fault])
    })
}

/// Refreshes the list, so that this replica's next append knows of the change.
async fn changed(core: &Core) {
    if let Err(error) = refresh(core).await {
        tracing::debug!(%error, "the change is known a little later");
        core.notices.changed.notify_one();
    }
}
