//! What replicas tell each other, and what they see of each other's sessions: lost, late, doubled,
//! and now and then wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rethread::model::Incarnation;
use rethread::store::{Heard, News};
use tokio::sync::Notify;

use super::life::Life;
use super::random::Rng;

/// Looks without a session after which an incarnation is taken for gone.
const LOOKS: u32 = 2;
/// A look in so many finds somebody gone who lives, where that happens at all.
const MISJUDGED_ONE_IN: u64 = 60;

/// The hints of a world.
#[derive(Debug)]
pub(super) struct Hints {
    /// Whether there are any: behind some poolers there are not.
    pub(super) are_heard: bool,
    /// Whether a live replica may be taken for gone.
    pub(super) misjudge: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    ears: BTreeMap<u64, Ear>,
    sessions: BTreeMap<Incarnation, Session>,
    /// Those whose lease was ended because their session was.
    seen_gone: BTreeSet<Incarnation>,
}

#[derive(Debug, Default)]
struct Ear {
    heard: VecDeque<(Duration, Heard)>,
    filled: Arc<Notify>,
}

#[derive(Debug)]
struct Session {
    life: Life,
    open: bool,
    missed: u32,
}

/// Shows that an incarnation's process lives until it is dropped.
pub(super) struct Shown<'a>(&'a Hints, Incarnation);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0.state().sessions.get_mut(&self.1) {
            session.open = false;
        }
    }
}

/// What a look into an ear brings.
pub(super) enum Listened {
    Heard(Heard),
    /// Nothing yet: look again when it is filled, or when that time has come.
    Wait(Arc<Notify>, Option<Duration>),
}

impl Hints {
    pub(super) fn new(mut rng: Rng, may_misjudge: bool) -> Self {
        let are_heard = !rng.chance(3);
        let misjudge = may_misjudge && rng.chance(4);
        let (ears, sessions, seen_gone) = Default::default();
        let state = Mutex::new(State { rng, ears, sessions, seen_gone });
        Self { are_heard, misjudge, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn attend(&self, me: Incarnation, life: &Life) -> Shown<'_> {
        let session = Session { life: life.clone(), open: true, missed: 0 };
        self.state().sessions.insert(me, session);
        Shown(self, me)
    }

    /// Those whose lease must end, and whether all of them are gone indeed.
    pub(super) fn look(&self, me: Incarnation) -> (Vec<Incarnation>, bool) {
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
        if self.misjudge && !others.is_empty() && rng.chance(MISJUDGED_ONE_IN) {
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

    pub(super) fn tell(&self, from: Incarnation, news: &[News], now: Duration) {
        let mut state = self.state();
        let State { rng, ears, .. } = &mut *state;
        for ear in ears.values_mut() {
            let times = *rng.pick(&[0, 1, 1, 1, 2]);
            for _ in 0..times {
                let late = *rng.pick(&[0, 1, 20, 2_000]);
                let heard = Heard::News { from, news: news.to_vec() };
                ear.heard.push_back((now + Duration::from_millis(late), heard));
            }
            ear.filled.notify_one();
        }
    }

    /// The connection that hears is lost.
    pub(super) fn deafen(&self, life: &Life) {
        self.state().ears.remove(&life.number);
    }

    pub(super) fn listen(&self, life: &Life, now: Duration) -> Listened {
        let mut state = self.state();
        let Some(ear) = state.ears.get_mut(&life.number) else {
            state.ears.insert(life.number, Ear::default());
            return Listened::Heard(Heard::Anew);
        };
        let due = ear.heard.iter().position(|(at, _)| *at <= now);
        if let Some((_, heard)) = due.and_then(|at| ear.heard.remove(at)) {
            return Listened::Heard(heard);
        }
        let next = ear.heard.iter().map(|(at, _)| *at).min();
        Listened::Wait(Arc::clone(&ear.filled), next.map(|at| at.saturating_sub(now)))
    }
}
