//! Subscriptions to events, and the cursors that tell what each was not sent yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Incarnation, Namespace, Seq, ThreadId, Timestamp};
use crate::store::{
    Advanced, NOTICES_COUNTED, Notice, NoticeCount, Notices, NotificationRow, Result, Wanted,
};

use super::MemoryStore;
use super::state::{Cursor, State};

impl State {
    fn held(&mut self, token: i64, notice: &Notice) -> Option<&mut Cursor> {
        let key = (notice.thread_id.clone(), notice.subscription.clone());
        self.cursors.get_mut(&key).filter(|cursor| cursor.token == token)
    }

    /// Claims due cursors of one subscription.
    fn claim_of(
        &mut self,
        (id, limit): (&str, usize),
        now: Timestamp,
        lease: &Lease,
    ) -> Vec<Notice> {
        let leases = &self.leases;
        let dead = |holder| leases.get(&holder).is_some_and(|end| *end <= lease.monotonic);
        let due = |((_, of), cursor): &(&(ThreadId, String), &mut Cursor)| {
            let free = cursor.leased_until <= now || dead(cursor.holder);
            of == id && cursor.due_at <= now && free
        };
        let mut found: Vec<_> = self.cursors.iter_mut().filter(due).collect();
        found.sort_by_key(|(_, cursor)| cursor.due_at);
        let claim = |((thread, _), cursor): (&(ThreadId, String), &mut Cursor)| {
            (cursor.holder, cursor.token) = (lease.me, lease.token);
            cursor.leased_until = lease.until;
            Notice {
                subscription: id.to_owned(),
                thread_id: thread.clone(),
                sent: cursor.sent,
                head: cursor.head,
                attempts: cursor.attempts,
            }
        };
        found.into_iter().take(limit).map(claim).collect()
    }
}

impl State {
    /// Counts the cursors of subscriptions, of each at most `most`.
    fn counts<'a>(
        &self,
        subscriptions: impl Iterator<Item = &'a String>,
        most: u64,
    ) -> Vec<NoticeCount> {
        let mut counts: BTreeMap<&str, NoticeCount> = BTreeMap::new();
        let wanted: BTreeSet<&String> = subscriptions.collect();
        for ((_, id), cursor) in self.cursors.iter().filter(|((_, id), _)| wanted.contains(id)) {
            let count = counts.entry(id).or_insert_with(|| NoticeCount {
                subscription: id.clone(),
                pending: 0,
                failing: 0,
                since: None,
            });
            if count.pending == most {
                continue;
            }
            count.pending += 1;
            count.failing += u64::from(cursor.attempts > 0);
            let since = count.since.map_or(cursor.since, |since| since.min(cursor.since));
            count.since = Some(since);
        }
        counts.into_values().collect()
    }
}

/// The most cursors that are hastened or swept at a time.
const PART: usize = 500;

/// The lease that a claim gives.
struct Lease {
    me: Incarnation,
    token: i64,
    until: Timestamp,
    /// Now, by the clock that judges the leases of replicas.
    monotonic: Duration,
}

#[async_trait]
impl Notices for MemoryStore {
    async fn save_notification(
        &self,
        row: &NotificationRow,
        replaces: Option<i64>,
    ) -> Result<bool> {
        let mut state = self.state();
        let known = state.notifications.get_mut(&row.id);
        match (known, replaces) {
            (None, None) => {
                state.notifications.insert(row.id.clone(), row.clone());
                Ok(true)
            }
            (Some(known), Some(version)) if known.version == version => {
                known.enabled = row.enabled;
                known.version = row.version;
                known.body = row.body.clone();
                known.secret = row.secret.clone();
                Ok(true)
            }
            (Some(_), None | Some(_)) | (None, Some(_)) => Ok(false),
        }
    }

    async fn notification(&self, id: &str) -> Result<Option<NotificationRow>> {
        Ok(self.state().notifications.get(id).cloned())
    }

    async fn notifications(
        &self,
        namespace: &Namespace,
        before: Option<(Timestamp, String)>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>> {
        let state = self.state();
        let age = |row: &NotificationRow| (row.created_at, row.id.clone());
        let older = |row: &&NotificationRow| {
            row.namespace == *namespace && before.as_ref().is_none_or(|last| age(row) < *last)
        };
        let mut rows: Vec<_> = state.notifications.values().filter(older).cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(age(row)));
        rows.truncate(limit);
        Ok(rows)
    }

    async fn all_notifications(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>> {
        let state = self.state();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = state.notifications.range::<str, _>((start, Bound::Unbounded));
        Ok(rows.take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn delete_notification(&self, id: &str) -> Result<bool> {
        Ok(self.state().notifications.remove(id).is_some())
    }

    async fn claim_notices(
        &self,
        me: Incarnation,
        token: i64,
        lease: Duration,
        (wanted, most): (&[Wanted], usize),
    ) -> Result<Vec<Notice>> {
        let (mut state, now) = (self.state(), self.clock.now());
        let lease = Lease { me, token, until: now.plus(lease), monotonic: self.clock.monotonic() };
        let mut claimed = Vec::new();
        for group in wanted {
            let mut left = group.most.min(most - claimed.len());
            for (id, limit) in &group.of {
                let found = state.claim_of((id, left.min(*limit)), now, &lease);
                left -= found.len();
                claimed.extend(found);
            }
        }
        Ok(claimed)
    }

    async fn advance_notice(
        &self,
        token: i64,
        notice: &Notice,
        to: Seq,
        lease: Duration,
    ) -> Result<Advanced> {
        let (mut state, now) = (self.state(), self.clock.now());
        let Some(cursor) = state.held(token, notice).filter(|held| held.leased_until > now) else {
            return Ok(Advanced::Lost);
        };
        cursor.sent = cursor.sent.max(to);
        cursor.since = now;
        cursor.attempts = 0;
        cursor.leased_until = now.plus(lease);
        if cursor.head > cursor.sent {
            return Ok(Advanced::More);
        }
        state.cursors.remove(&(notice.thread_id.clone(), notice.subscription.clone()));
        Ok(Advanced::Done)
    }

    async fn release_notice(
        &self,
        token: i64,
        notice: &Notice,
        wait: Duration,
        failed: bool,
    ) -> Result<()> {
        let (mut state, now) = (self.state(), self.clock.now());
        if let Some(cursor) = state.held(token, notice) {
            cursor.leased_until = Timestamp::from_millis(0);
            cursor.due_at = now.plus(wait);
            cursor.attempts += u32::from(failed);
        }
        Ok(())
    }

    async fn hasten_notices(&self, subscription: &str) -> Result<bool> {
        let (mut state, now) = (self.state(), self.clock.now());
        let late = |((_, of), cursor): &(&(ThreadId, String), &mut Cursor)| {
            of == subscription && cursor.due_at > now
        };
        let mut late: Vec<_> = state.cursors.iter_mut().filter(late).collect();
        late.sort_by_key(|(_, cursor)| cursor.due_at);
        let more = late.len() > PART;
        for (_, cursor) in late.into_iter().take(PART) {
            cursor.due_at = now;
        }
        Ok(more)
    }

    async fn sweep_notices(&self) -> Result<bool> {
        let mut state = self.state();
        let known = &state.notifications;
        let gone = state.cursors.keys().filter(|(_, of)| !known.contains_key(of));
        let gone: Vec<_> = gone.take(PART).cloned().collect();
        for key in &gone {
            state.cursors.remove(key);
        }
        Ok(gone.len() == PART)
    }

    async fn note_delivery(
        &self,
        subscription: &str,
        at: Timestamp,
        error: Option<&str>,
    ) -> Result<()> {
        let mut state = self.state();
        let Some(row) = state.notifications.get_mut(subscription) else { return Ok(()) };
        match error {
            None => row.last_success_at = Some(at),
            Some(error) => {
                row.last_failure_at = Some(at);
                row.last_error = Some(error.to_owned());
            }
        }
        Ok(())
    }

    async fn give_up_notices(&self, age: Duration, limit: usize) -> Result<Vec<(String, u64)>> {
        let (mut state, now) = (self.state(), self.clock.now());
        let state = &mut *state;
        let old = |(_, cursor): &(&(ThreadId, String), &Cursor)| {
            cursor.since.plus(age) <= now && cursor.leased_until <= now
        };
        let old: Vec<_> =
            state.cursors.iter().filter(old).take(limit).map(|(key, _)| key.clone()).collect();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for key in old {
            state.cursors.remove(&key);
            if let Some(row) = state.notifications.get_mut(&key.1) {
                row.given_up += 1;
                *counts.entry(key.1).or_default() += 1;
            }
        }
        Ok(counts.into_iter().collect())
    }

    async fn notice_counts(&self) -> Result<Vec<NoticeCount>> {
        let state = self.state();
        let known = state.notifications.keys();
        Ok(state.counts(known, u64::MAX))
    }

    async fn notice_counts_of(&self, subscriptions: &[String]) -> Result<Vec<NoticeCount>> {
        Ok(self.state().counts(subscriptions.iter(), NOTICES_COUNTED))
    }
}
