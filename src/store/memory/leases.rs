//! Leases and claims, by the injected monotonic clock.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Incarnation, Namespace, ThreadId, Timestamp};
use crate::store::{Claimed, Leases, Loss, Result};

use super::MemoryStore;
use super::state::State;

#[async_trait]
impl Leases for MemoryStore {
    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation> {
        let (mut state, now) = (self.state(), self.clock.monotonic());
        let me = state.leases.last_key_value().map_or(1, |(newest, _)| newest + 1);
        state.leases.insert(me, now + ttl);
        state.seen.insert(me, self.clock.now());
        state.names.insert(me, name.to_owned());
        Ok(me)
    }

    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool> {
        let (mut state, now) = (self.state(), self.clock.monotonic());
        match state.leases.get_mut(&me) {
            Some(until) if *until > now => {
                *until = now + ttl;
                state.seen.insert(me, self.clock.now());
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn retire(&self, me: Incarnation) -> Result<()> {
        let (mut state, now) = (self.state(), self.clock.now());
        if let Some(until) = state.leases.get_mut(&me) {
            *until = Duration::ZERO;
        }
        state.seen.remove(&me);
        for id in state.owned.get(&me).cloned().unwrap_or_default() {
            state.place(&id, 0, Some(now));
        }
        Ok(())
    }

    async fn claim(
        &self,
        me: Incarnation,
        limit: usize,
        except: &[Namespace],
    ) -> Result<Vec<Claimed>> {
        let mut state = self.state();
        let (monotonic, now) = (self.clock.monotonic(), self.clock.now());
        if !state.is_alive(me, monotonic) {
            return Ok(Vec::new());
        }
        let due = state.ready.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id);
        let expired =
            |owner: &Incarnation| state.leases.get(owner).is_some_and(|until| *until <= monotonic);
        let orphans =
            state.owned.iter().filter(|(owner, _)| expired(owner)).flat_map(|(_, ids)| ids);
        let wanted = |id: &&ThreadId| !except.iter().any(|namespace| id.is_within(namespace));
        let chosen: Vec<ThreadId> =
            orphans.chain(due).filter(wanted).take(limit).cloned().collect();
        Ok(chosen.iter().filter_map(|id| state.hand_out(id, me)).collect())
    }

    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>> {
        let state = self.state();
        let mine =
            state.owned.get(&me).into_iter().flatten().filter_map(|id| state.threads.get(id));
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
        Ok(claimed.collect())
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>> {
        Ok(self.state().ready.first().map(|(wake_at, _)| *wake_at))
    }

    async fn queued(&self, limit: usize) -> Result<usize> {
        let now = self.clock.now();
        Ok(self.state().ready.iter().take_while(|(at, _)| *at <= now).take(limit).count())
    }
}

impl State {
    /// Whether an incarnation's lease has not expired.
    pub(super) fn is_alive(&self, me: Incarnation, now: Duration) -> bool {
        self.leases.get(&me).is_some_and(|until| *until > now)
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
