//! Hints between replicas, and their view of each other's sessions: lost, late, doubled, and now
//! and then wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rethread::model::Incarnation;
use rethread::store::{Hint, Received};
use tokio::sync::Notify;

use super::life::Life;
use super::random::Rng;

/// The number of looks without a session after which an incarnation is taken for gone.
const LOOKS: u32 = 2;
/// One look in this many finds a live replica gone, where that happens at all.
const MISJUDGED_ONE_IN: u64 = 60;

/// The hints of a world.
#[derive(Debug)]
pub(super) struct Hints {
    /// Whether replicas receive hints: behind some poolers they do not.
    pub(super) are_received: bool,
    /// Whether a live replica may be taken for gone.
    pub(super) misjudge: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    subscriptions: BTreeMap<u64, Subscription>,
    sessions: BTreeMap<Incarnation, Session>,
    /// The incarnations whose lease was ended because their session had ended.
    seen_gone: BTreeSet<Incarnation>,
}

#[derive(Debug, Default)]
struct Subscription {
    sent: VecDeque<(Duration, Received)>,
    filled: Arc<Notify>,
}

#[derive(Debug)]
struct Session {
    life: Life,
    open: bool,
    missed: u32,
}

/// The session of an incarnation. It shows that the process lives until this is dropped.
pub(super) struct Shown<'a>(&'a Hints, Incarnation);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0.state().sessions.get_mut(&self.1) {
            session.open = false;
        }
    }
}

/// The result of a look at a subscription.
pub(super) enum Listened {
    Received(Received),
    /// Nothing yet: look again when the subscription is filled, or after this time.
    Wait(Arc<Notify>, Option<Duration>),
}

impl Hints {
    pub(super) fn new(mut rng: Rng, may_misjudge: bool) -> Self {
        let are_received = !rng.chance(3);
        let misjudge = may_misjudge && rng.chance(4);
        let (subscriptions, sessions, seen_gone) = Default::default();
        let state = Mutex::new(State { rng, subscriptions, sessions, seen_gone });
        Self { are_received, misjudge, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn announce_presence(&self, me: Incarnation, life: &Life) -> Shown<'_> {
        let session = Session { life: life.clone(), open: true, missed: 0 };
        self.state().sessions.insert(me, session);
        Shown(self, me)
    }

    /// Returns the incarnations whose lease must end, and whether all of them are really gone, as in
    /// a calm world they are.
    pub(super) fn look(&self, me: Incarnation, calm: bool) -> (Vec<Incarnation>, bool) {
        let mut state = self.state();
        let State { rng, sessions, seen_gone, .. } = &mut *state;
        let mut gone = Vec::new();
        for (who, session) in sessions.iter_mut().filter(|(who, _)| **who != me) {
            let shows = session.open && !session.life.is_over();
            session.missed = if shows { 0 } else { session.missed + 1 };
            if session.missed >= LOOKS {
                gone.push(*who);
            }
        }
        let mut rightly = true;
        let others: Vec<_> = sessions.keys().copied().filter(|who| *who != me).collect();
        if self.misjudge && !calm && !others.is_empty() && rng.chance(MISJUDGED_ONE_IN) {
            let newest = others[others.len() - 1];
            if !gone.contains(&newest) {
                gone.push(newest);
                rightly = false;
            }
        }
        sessions.retain(|who, _| !gone.contains(who));
        seen_gone.extend(&gone);
        (gone, rightly)
    }

    pub(super) fn was_seen_gone(&self, who: Incarnation) -> bool {
        self.state().seen_gone.contains(&who)
    }

    pub(super) fn publish(&self, from: Incarnation, hints: &[Hint], now: Duration) {
        let mut state = self.state();
        let State { rng, subscriptions, .. } = &mut *state;
        for subscription in subscriptions.values_mut() {
            let times = *rng.pick(&[0, 1, 1, 1, 2]);
            for _ in 0..times {
                let late = *rng.pick(&[0, 1, 20, 2_000]);
                let received = Received::Hints { from, hints: hints.to_vec() };
                subscription.sent.push_back((now + Duration::from_millis(late), received));
            }
            subscription.filled.notify_one();
        }
    }

    /// Ends a subscription: the connection that receives is lost.
    pub(super) fn unsubscribe(&self, life: &Life) {
        self.state().subscriptions.remove(&life.number);
    }

    pub(super) fn listen(&self, life: &Life, now: Duration) -> Listened {
        let mut state = self.state();
        let Some(subscription) = state.subscriptions.get_mut(&life.number) else {
            state.subscriptions.insert(life.number, Subscription::default());
            return Listened::Received(Received::Subscribed);
        };
        let due = subscription.sent.iter().position(|(at, _)| *at <= now);
        if let Some((_, received)) = due.and_then(|at| subscription.sent.remove(at)) {
            return Listened::Received(received);
        }
        let next = subscription.sent.iter().map(|(at, _)| *at).min();
        Listened::Wait(Arc::clone(&subscription.filled), next.map(|at| at.saturating_sub(now)))
    }
}
