//! The enabled subscriptions, kept in memory: an append asks here which of them want its events.
//!
//! The list is read again every [`REFRESH_INTERVAL`] and after every change made here, so that a
//! change takes effect within that time everywhere. Asking never waits and never fails:
//! subscriptions must not delay a thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use secrecy::SecretSlice;
use tokio::sync::{Mutex as Turn, Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use url::Url;

use super::capacity::{Capacity, Slot};
use super::lane::Lane;
use super::settings::{Settings, read};
use crate::model::{Event, Namespace, ThreadId, lock};
use crate::observe::Memory;
use crate::store::{NOTICES_COUNTED, NoticeCount, NotificationRow, Side, Wanted};

/// The interval between two reads of the list; a change by another replica takes effect within it.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// An enabled subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) namespace: Namespace,
    pub(super) version: i64,
    pub(super) settings: Settings,
    pub(super) url: Url,
    pub(super) secret: SecretSlice<u8>,
    /// Set once a success is stored after the last read: not every success costs a write.
    pub(super) noted: AtomicBool,
}

impl Subscription {
    /// Reads a row; `None` if it is disabled, or a newer server wrote it and it is unreadable here.
    pub(super) fn of(row: NotificationRow) -> Option<Self> {
        let settings = read(&row).filter(|_| row.enabled)?;
        let url = Url::parse(&settings.url).ok()?;
        let noted = AtomicBool::new(false);
        let NotificationRow { id, namespace, version, secret, .. } = row;
        Some(Self { id, namespace, version, settings, url, secret, noted })
    }

    /// Returns whether it asks for events of this type.
    pub(super) fn wants(&self, kind: &str) -> bool {
        self.settings.types.iter().any(|wanted| wanted == kind)
    }
}

type Subscriptions = BTreeMap<String, Arc<Subscription>>;

/// The work of the sender on the cursors of whole subscriptions: it does a part at a time.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// The subscriptions whose waiting messages are to be sent at once.
    pub(super) hasten: BTreeSet<String>,
    /// Whether there may be cursors of deleted subscriptions.
    pub(super) sweep: bool,
}

/// The subscriptions, and the messages under way to each.
#[derive(Debug)]
pub(in crate::runtime) struct Desk {
    capacity: Capacity,
    known: Mutex<Arc<Subscriptions>>,
    lanes: Mutex<BTreeMap<String, Lane>>,
    /// The numbers of waiting messages, as last counted.
    counts: Mutex<Vec<NoticeCount>>,
    chores: Mutex<Chores>,
    /// Serialises refreshes, so that an older read never overwrites a newer one.
    pub(super) reading: Turn<()>,
    /// Notified when there may be something to send.
    pub(super) wake: Notify,
    /// Notified when the list has changed.
    pub(super) changed: Notify,
}

impl Desk {
    /// Makes the desk of a replica with this budget of memory.
    pub(in crate::runtime) fn within(memory: &Arc<Memory>) -> Self {
        Self {
            capacity: Capacity::within(memory),
            known: Mutex::default(),
            lanes: Mutex::default(),
            counts: Mutex::default(),
            chores: Mutex::default(),
            reading: Turn::default(),
            wake: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Returns the enabled subscriptions.
    pub(super) fn known(&self) -> Arc<Subscriptions> {
        Arc::clone(&lock(&self.known))
    }

    /// Returns the subscription of this id, if it is enabled.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Subscription>> {
        self.known().get(id).cloned()
    }

    /// Replaces the list with rows just read.
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
                // The change may have repaired the fault.
                lane.forgive();
            }
        }
    }

    /// Forgets a subscription that is deleted or disabled.
    pub(super) fn forget(&self, id: &str) {
        let mut known = lock(&self.known);
        let rest = known.iter().filter(|(one, _)| *one != id);
        *known = Arc::new(rest.map(|(one, kept)| (one.clone(), Arc::clone(kept))).collect());
    }

    /// Returns a notice for each subscription that wants any of these events. Its namespace must
    /// hold the thread, and its workflow, if it names one, must match.
    pub(in crate::runtime) fn wanted(
        &self,
        (thread, workflow): (&ThreadId, &str),
        events: &[Event],
    ) -> Vec<Side> {
        let known = self.known();
        let wants = |one: &&Arc<Subscription>| {
            let of = one.settings.workflow.as_deref();
            thread.is_within(&one.namespace)
                && of.is_none_or(|name| name == workflow)
                && events.iter().any(|event| one.wants(event.body.kind()))
        };
        let notice = |one: &Arc<Subscription>| Side::Notify { subscription: one.id.clone() };
        known.values().filter(wants).map(notice).collect()
    }

    /// Returns the chores, to add to them or to strike off what is done.
    pub(super) fn chores(&self) -> MutexGuard<'_, Chores> {
        lock(&self.chores)
    }

    /// Has all waiting messages of a subscription sent at once.
    pub(super) fn hasten(&self, id: &str) {
        self.chores().hasten.insert(id.to_owned());
        self.wake.notify_one();
    }

    /// Wakes the sender: a notice has become durable.
    pub(in crate::runtime) fn written(&self) {
        self.wake.notify_one();
    }

    /// Returns the subscriptions with free places for messages now, by namespace, and the number of
    /// places for all. Those that got a place longest ago come first, subscriptions of a namespace as
    /// well as namespaces: where places are scarce, they take turns.
    pub(super) fn free(&self, now: Instant) -> (Vec<Wanted>, usize) {
        let known = self.known();
        let mut found: BTreeMap<&Namespace, (Option<Instant>, Vec<_>)> = BTreeMap::new();
        let mut lanes = lock(&self.lanes);
        for one in known.values() {
            let lane = lanes.entry(one.id.clone()).or_default();
            let (last, of) = found.entry(&one.namespace).or_default();
            *last = lane.served().max(*last);
            of.push((lane.served(), one.id.clone(), lane.free(now)));
        }
        drop(lanes);
        let mut wanted: Vec<_> = found
            .into_iter()
            .filter_map(|(namespace, (last, mut of))| {
                of.retain(|(_, _, free)| *free > 0);
                of.sort();
                let of: Vec<_> = of.into_iter().map(|(_, id, free)| (id, free)).collect();
                let most = self.capacity.free_for(namespace);
                (most > 0 && !of.is_empty()).then_some((last, Wanted { most, of }))
            })
            .collect();
        wanted.sort_by_key(|(last, _)| *last);
        (wanted.into_iter().map(|(_, one)| one).collect(), self.capacity.free())
    }

    /// Takes a place for a message of a namespace that is about no event.
    pub(super) fn slot(&self, namespace: &Namespace) -> Option<Slot> {
        self.capacity.slot(namespace)
    }

    /// Takes a place for a message; `None` if none is free.
    pub(super) fn place(&self, id: &str, now: Instant) -> Option<(OwnedSemaphorePermit, Slot)> {
        let slot = self.capacity.slot(&self.get(id)?.namespace)?;
        let place = lock(&self.lanes).entry(id.to_owned()).or_default().place(now)?;
        Some((place, slot))
    }

    /// Records that a receiver took a message. Returns whether to send the waiting messages at
    /// once, because the receiver is back.
    pub(super) fn taken(&self, id: &str, waited: bool, now: Instant) -> bool {
        lock(&self.lanes).get_mut(id).is_some_and(|lane| lane.taken(waited, now))
    }

    /// Records that a receiver did not take a message; `unit` is drawn from [0, 1).
    pub(super) fn not_taken(&self, id: &str, now: Instant, unit: f64) {
        if let Some(lane) = lock(&self.lanes).get_mut(id) {
            lane.not_taken(now, unit);
        }
    }

    /// Replaces the counts with newer ones.
    pub(super) fn put_counts(&self, counts: Vec<NoticeCount>) {
        *lock(&self.counts) = counts;
    }

    /// Replaces counts that end at [`NOTICES_COUNTED`] with the last ones of all messages.
    pub(super) fn complete(&self, mut counts: Vec<NoticeCount>) -> Vec<NoticeCount> {
        let last = lock(&self.counts);
        for count in counts.iter_mut().filter(|count| count.pending >= NOTICES_COUNTED) {
            let of = |one: &&NoticeCount| one.subscription == count.subscription;
            if let Some(all) = last.iter().find(of).filter(|all| all.pending > count.pending) {
                count.clone_from(all);
            }
        }
        counts
    }

    /// Returns the numbers of waiting messages of enabled subscriptions, as last counted.
    pub(in crate::runtime) fn counts(&self) -> Vec<NoticeCount> {
        let known = self.known();
        let counts = lock(&self.counts).clone();
        counts.into_iter().filter(|count| known.contains_key(&count.subscription)).collect()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretSlice;

    use super::*;
    use crate::model::{Json, Timestamp};

    fn row(namespace: &str, id: &str) -> NotificationRow {
        let at = Timestamp::from_millis(0);
        let settings = serde_json::json!({ "name": null, "url": "http://h/", "types": [],
            "workflow": null, "by": "", "updatedBy": "", "updatedAt": at, "disabledReason": null });
        NotificationRow {
            id: id.to_owned(),
            namespace: Namespace::parse(namespace).unwrap(),
            created_at: at,
            enabled: true,
            version: 1,
            body: Json::of(&settings).unwrap(),
            secret: SecretSlice::from(vec![1]),
            last_success_at: None,
            last_failure_at: None,
            last_error: None,
            given_up: 0,
        }
    }

    #[test]
    fn subscriptions_and_namespaces_take_turns_for_places() {
        let desk = Desk::within(&Arc::new(Memory::boundless()));
        desk.put(vec![row("one", "a"), row("one", "b"), row("two", "c")]);
        let began = Instant::now();
        let order = |now| {
            let (wanted, _) = desk.free(now);
            let ids = wanted.into_iter().flat_map(|group| group.of).map(|(id, _)| id);
            ids.collect::<Vec<_>>().concat()
        };
        assert_eq!(order(began), "abc");
        let _held = desk.place("a", began).unwrap();
        assert_eq!(order(began), "cba");
        let later = began + Duration::from_secs(1);
        let _too = desk.place("c", later).unwrap();
        assert_eq!(order(later), "bac");
        let full: Vec<_> = (0..4).map_while(|_| desk.place("b", later)).collect();
        assert_eq!(
            (full.len(), desk.free(later).0.iter().map(|group| group.most).collect::<Vec<_>>()),
            (4, vec![27, 31])
        );
        assert_eq!(desk.free(later).1, 58);
    }
}
