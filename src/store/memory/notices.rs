//! Subscriptions to events, and the cursors that tell what each was not sent yet.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Incarnation, Namespace, Seq, ThreadId, Timestamp};
use crate::store::{Advanced, Notice, NoticeCount, Notices, NotificationRow, Result, Wanted};

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
        let mut state = self.state();
        state.cursors.retain(|(_, subscription), _| subscription != id);
        Ok(state.notifications.remove(id).is_some())
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

    async fn hasten_notices(&self, subscription: &str) -> Result<()> {
        let (mut state, now) = (self.state(), self.clock.now());
        for ((_, of), cursor) in &mut state.cursors {
            if of == subscription {
                cursor.due_at = cursor.due_at.min(now);
            }
        }
        Ok(())
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
        let known = &state.notifications;
        let old = |((_, of), cursor): &(&(ThreadId, String), &Cursor)| {
            let waited = cursor.since.plus(age) <= now && cursor.leased_until <= now;
            waited || !known.contains_key(of)
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
        let mut counts: BTreeMap<String, NoticeCount> = BTreeMap::new();
        for ((_, id), cursor) in &self.state().cursors {
            let count = counts.entry(id.clone()).or_insert_with(|| NoticeCount {
                subscription: id.clone(),
                pending: 0,
                failing: 0,
                since: None,
            });
            count.pending += 1;
            count.failing += u64::from(cursor.attempts > 0);
            let since = count.since.map_or(cursor.since, |since| since.min(cursor.since));
            count.since = Some(since);
        }
        Ok(counts.into_values().collect())
    }
}
