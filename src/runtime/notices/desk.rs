//! The subscriptions as this replica knows them: what an append asks, in memory, whom to tell.
//!
//! The list is read again every [`REFRESH_INTERVAL`] and after every change made here, so that a
//! change takes effect within that time everywhere. It never waits and never fails: a thread must
//! not notice that anybody listens.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretSlice;
use tokio::sync::{Mutex as Turn, Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use url::Url;

use super::lane::Lane;
use super::settings::{Settings, read};
use crate::model::{Event, Namespace, ThreadId, lock};
use crate::store::{NoticeCount, NotificationRow};

/// How often the list is read from the store: what a change made at another replica takes at most.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// A subscription that is enabled.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) namespace: Namespace,
    pub(super) version: i64,
    pub(super) settings: Settings,
    pub(super) url: Url,
    pub(super) secret: SecretSlice<u8>,
    /// Whether a success was noted since the list was read: not each costs a write.
    pub(super) noted: AtomicBool,
}

impl Subscription {
    /// `None` if it is not enabled, or was written by a server that knows more than this one.
    pub(super) fn of(row: NotificationRow) -> Option<Self> {
        let settings = read(&row).filter(|_| row.enabled)?;
        let url = Url::parse(&settings.url).ok()?;
        let noted = AtomicBool::new(false);
        let NotificationRow { id, namespace, version, secret, .. } = row;
        Some(Self { id, namespace, version, settings, url, secret, noted })
    }

    /// Whether it asks for events of this type.
    pub(super) fn wants(&self, kind: &str) -> bool {
        self.settings.types.iter().any(|wanted| wanted == kind)
    }
}

type Subscriptions = BTreeMap<String, Arc<Subscription>>;

/// The subscriptions, and what is under way to each.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Desk {
    known: Mutex<Arc<Subscriptions>>,
    lanes: Mutex<BTreeMap<String, Lane>>,
    /// What waits, as last counted.
    counts: Mutex<Vec<NoticeCount>>,
    /// Held from a reading of the list until it is put here: what was read earlier never comes later.
    pub(super) reading: Turn<()>,
    /// There may be something to send.
    pub(super) wake: Notify,
    /// The list has changed.
    pub(super) changed: Notify,
}

impl Desk {
    /// The enabled subscriptions.
    pub(super) fn known(&self) -> Arc<Subscriptions> {
        Arc::clone(&lock(&self.known))
    }

    /// The subscription of this id, if it is enabled.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Subscription>> {
        self.known().get(id).cloned()
    }

    /// Takes a list that was just read.
    pub(super) fn put(&self, rows: Vec<NotificationRow>) {
        let known = rows.into_iter().filter_map(Subscription::of);
        let known: Subscriptions = known.map(|one| (one.id.clone(), Arc::new(one))).collect();
        let before = std::mem::replace(&mut *lock(&self.known), Arc::new(known));
        let known = self.known();
        let mut lanes = lock(&self.lanes);
        lanes.retain(|id, _| known.contains_key(id));
        for (id, lane) in &mut *lanes {
            let version = |list: &Subscriptions| list.get(id).map(|one| one.version);
            if version(&before) != version(&known) {
                // Whoever changed it has mended it, perhaps.
                lane.forgive();
            }
        }
    }

    /// A subscription is gone or disabled.
    pub(super) fn forget(&self, id: &str) {
        let mut known = lock(&self.known);
        let rest = known.iter().filter(|(one, _)| *one != id);
        *known = Arc::new(rest.map(|(one, kept)| (one.clone(), Arc::clone(kept))).collect());
    }

    /// Whom to tell of events of a thread, one of a workflow: subscriptions of its namespace alone.
    pub(in crate::runtime) fn wanted(
        &self,
        (thread, workflow): (&ThreadId, &str),
        events: &[Event],
    ) -> Vec<String> {
        let known = self.known();
        let wants = |one: &&Arc<Subscription>| {
            let of = one.settings.workflow.as_deref();
            thread.is_within(&one.namespace)
                && of.is_none_or(|name| name == workflow)
                && events.iter().any(|event| one.wants(event.body.kind()))
        };
        known.values().filter(wants).map(|one| one.id.clone()).collect()
    }

    /// Something to send has become durable.
    pub(in crate::runtime) fn written(&self) {
        self.wake.notify_one();
    }

    /// What may be sent now: each subscription with as many messages as have a place.
    pub(super) fn free(&self, now: Instant) -> Vec<(String, usize)> {
        let known = self.known();
        let mut lanes = lock(&self.lanes);
        let free =
            known.keys().map(|id| (id.clone(), lanes.entry(id.clone()).or_default().free(now)));
        free.filter(|(_, places)| *places > 0).collect()
    }

    /// A place for a message; `None` if none is free.
    pub(super) fn place(&self, id: &str) -> Option<OwnedSemaphorePermit> {
        lock(&self.lanes).entry(id.to_owned()).or_default().place()
    }

    /// A receiver has taken a message. `true`: it did not before, and what waits for later may be
    /// sent at once.
    pub(super) fn taken(&self, id: &str, waited: bool, now: Instant) -> bool {
        lock(&self.lanes).get_mut(id).is_some_and(|lane| lane.taken(waited, now))
    }

    /// A receiver has not taken a message; `unit` is drawn from [0, 1).
    pub(super) fn not_taken(&self, id: &str, now: Instant, unit: f64) {
        if let Some(lane) = lock(&self.lanes).get_mut(id) {
            lane.not_taken(now, unit);
        }
    }

    /// Takes counts that were just made.
    pub(super) fn put_counts(&self, counts: Vec<NoticeCount>) {
        *lock(&self.counts) = counts;
    }

    /// What waits for subscriptions that are enabled, as last counted.
    pub(in crate::runtime) fn counts(&self) -> Vec<NoticeCount> {
        let known = self.known();
        let counts = lock(&self.counts).clone();
        counts.into_iter().filter(|count| known.contains_key(&count.subscription)).collect()
    }
}
