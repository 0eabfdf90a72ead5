//! Leases and claims.

use std::time::Duration;

use crate::model::{Incarnation, ThreadId, Timestamp};
use crate::store::{Claimed, Holder, Loss, MAX_AHEAD, Standing};

use super::state::State;

impl State {
    /// See [`crate::store::Store::register`].
    pub(super) fn register(&mut self, name: &str, now: Duration, ttl: Duration) -> Incarnation {
        let me = self.leases.last_key_value().map_or(1, |(newest, _)| newest + 1);
        self.leases.insert(me, now + ttl);
        self.names.insert(me, name.to_owned());
        me
    }

    /// See [`crate::store::Store::renew`].
    pub(super) fn renew(&mut self, me: Incarnation, now: Duration, ttl: Duration) -> bool {
        match self.leases.get_mut(&me) {
            Some(until) if *until > now => {
                *until = now + ttl;
                true
            }
            _ => false,
        }
    }

    /// Whether an incarnation's lease has not expired.
    pub(super) fn is_alive(&self, me: Incarnation, now: Duration) -> bool {
        self.leases.get(&me).is_some_and(|until| *until > now)
    }

    /// See [`crate::store::Store::standing`].
    pub(super) fn standing(&self, id: &ThreadId, now: Duration) -> Option<Standing> {
        let thread = self.threads.get(id)?;
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let lease = self.leases.get(&thread.row.owner).zip(self.names.get(&thread.row.owner));
        let due = thread.row.wake_at.filter(|_| thread.row.owner == 0);
        let before = self.ready.iter().take_while(|(at, _)| due.is_some_and(|due| *at < due));
        let alive = self.leases.values().filter(|until| **until > now).count();
        Some(Standing {
            holder: lease.map(|(until, replica)| Holder {
                replica: replica.clone(),
                lease_left_ms: millis(*until).saturating_sub(millis(now)),
            }),
            ahead: before.take(MAX_AHEAD).count(),
            mail: u32::try_from(thread.pending()).unwrap_or(u32::MAX),
            replicas: u32::try_from(alive).unwrap_or(u32::MAX),
        })
    }

    /// See [`crate::store::Store::retire`].
    pub(super) fn retire(&mut self, me: Incarnation, now: Timestamp) {
        if let Some(until) = self.leases.get_mut(&me) {
            *until = Duration::ZERO;
        }
        for id in self.owned.get(&me).cloned().unwrap_or_default() {
            self.place(&id, 0, Some(now));
        }
    }

    /// See [`crate::store::Store::claim`].
    pub(super) fn claim(
        &mut self,
        me: Incarnation,
        limit: usize,
        monotonic: Duration,
        now: Timestamp,
    ) -> Vec<Claimed> {
        if !self.is_alive(me, monotonic) {
            return Vec::new();
        }
        let due = self.ready.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id);
        let expired =
            |owner: &Incarnation| self.leases.get(owner).is_some_and(|until| *until <= monotonic);
        let orphans =
            self.owned.iter().filter(|(owner, _)| expired(owner)).flat_map(|(_, ids)| ids);
        let chosen: Vec<ThreadId> = orphans.chain(due).take(limit).cloned().collect();
        chosen.iter().filter_map(|id| self.hand_out(id, me)).collect()
    }

    /// See [`crate::store::Store::owned`].
    pub(super) fn owned(&self, me: Incarnation) -> Vec<Claimed> {
        let mine = self.owned.get(&me).into_iter().flatten().filter_map(|id| self.threads.get(id));
        let claimed = mine.map(|thread| Claimed {
            thread_id: thread.row.thread_id.clone(),
            epoch: thread.row.epoch,
            last_seq: thread.row.last_seq,
            claims: thread.row.claims,
            previous_owner: 0,
            lost: None,
            driven: false,
            mail: 1,
        });
        claimed.collect()
    }

    fn hand_out(&mut self, id: &ThreadId, me: Incarnation) -> Option<Claimed> {
        let thread = self.threads.get(id)?;
        let previous_owner = thread.row.owner;
        let mail = u32::try_from(thread.pending()).unwrap_or(u32::MAX);
        let wrote = thread.journal.last().is_some_and(|(by, _)| *by == thread.row.epoch);
        let row = &mut self.place(id, me, None)?.row;
        row.epoch += 1;
        if previous_owner != 0 {
            row.claims += 1;
        }
        Some(Claimed {
            thread_id: id.clone(),
            epoch: row.epoch,
            last_seq: row.last_seq,
            claims: row.claims,
            previous_owner,
            lost: (previous_owner != 0).then_some(Loss::Silent),
            driven: previous_owner != 0 && wrote,
            mail,
        })
    }
}
