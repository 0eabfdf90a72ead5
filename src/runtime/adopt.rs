//! Takes a claimed thread over: judges what happened to it, rebuilds it, and drives it, or releases
//! it until later. Called by the dispatcher alone, at a start as at any other time. It never goes on
//! from a state that could not be rebuilt, and never writes to a journal: the driver does.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::authority::Authority;
use super::core::{Core, Pending};
use super::driver::Driver;
use super::load::{LoadError, Loaded, load};
use super::recoveries::{self, Recovering, Undone};
use super::release::{release, supervise};
use super::settings::POLL_INTERVAL;
use super::suspects::Place;
use super::verdict::{Evidence, Losses, Remedy, judge, remedy};
use crate::machine::{Command, Takeover};
use crate::model::RecoveryCause;
use crate::store::Claimed;

/// How often it is looked whether a thread's earlier driver here has gone.
const EARLIER_DRIVER_CHECK: Duration = Duration::from_millis(5);
/// How long a suspect that finds no place is left alone: its like need about that long to get on,
/// and thousands of them must not keep the store busy with claims.
const SUSPECT_PAUSE: Duration = Duration::from_secs(5);
/// How long a thread is left alone that kills whoever loads it, before it is tried once more: long
/// enough to harm nobody much, and a newer server that has the fault mended takes it up soon.
const LEFT_ALONE: Duration = Duration::from_hours(1);
/// How long a suspect keeps its place at the most: what kills its process does so within seconds of
/// its start, as a rule, and steps that take hours must not keep the others waiting one by one.
const PROBATION: Duration = Duration::from_secs(30);

/// What an adoption needs.
pub(super) struct Adoption {
    pub(super) core: Arc<Core>,
    pub(super) authority: Arc<Authority>,
    pub(super) claimed: Claimed,
    pub(super) pending: Pending,
}

impl Adoption {
    /// Loads a claimed thread and drives it.
    pub(super) async fn run(self) {
        let (losses, rested) = (self.claimed.claims, self.claimed.previous_owner == 0);
        let known = Losses { count: losses, rested, driven: self.claimed.driven };
        let remedy = remedy(known, self.core.parts.settings.max_recoveries);
        let place = match remedy {
            Remedy::GoOn | Remedy::Quarantine => None,
            Remedy::Isolate => match self.core.suspects.enter(losses) {
                Some(place) => Some(place),
                None => return self.release_suspect().await,
            },
            Remedy::LeaveAlone => return self.leave_alone().await,
        };
        let loaded = match self.load().await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return,
            Err(error) => return self.release_unloadable(&error).await,
        };
        self.drive(loaded, place, remedy).await;
    }

    /// Loads the thread; `None` if it is not ours any more before the store answers.
    async fn load(&self) -> Result<Option<Loaded>, LoadError> {
        let Self { core, authority, claimed, .. } = self;
        loop {
            // Never closed: there is always a permit to wait for.
            let permit = core.loads.acquire().await;
            let loaded = load(core, &claimed.thread_id, None).await;
            drop(permit);
            match loaded {
                // The thread is ours and in order: it goes on as soon as the store answers.
                Err(LoadError::Store(error)) if error.is_transient() => {
                    tracing::warn!(thread = %claimed.thread_id, %error, "the thread is loaded again");
                    tokio::select! {
                        biased;
                        () = authority.lost() => return Ok(None),
                        () = core.stopped.cancelled() => return Ok(None),
                        () = tokio::time::sleep(POLL_INTERVAL) => {}
                    }
                }
                answer => return answer.map(Some),
            }
        }
    }

    async fn drive(self, mut loaded: Loaded, place: Option<Place>, remedy: Remedy) {
        if self.claimed.previous_owner != 0 {
            super::snapshots::before_recovery(&self.core, &mut loaded);
        }
        let Loaded { state, strategy, tail } = loaded;
        let under_way = state.has_running();
        let recovering = self.recovering(under_way).await;
        let Self { core, authority, claimed, pending } = self;
        // The driver that released this thread may not be gone yet.
        let mut driver = loop {
            let (core, authority) = (Arc::clone(&core), Arc::clone(&authority));
            match Driver::new(core, Arc::clone(&authority), state.clone(), claimed.epoch) {
                Some(driver) => break driver,
                None if authority.is_lost() => return,
                None => tokio::time::sleep(EARLIER_DRIVER_CHECK).await,
            }
        };
        drop(pending);
        driver.mail = claimed.mail > 0;
        driver.tail = tail;
        let command = match &recovering {
            None => Command::Advance,
            Some(Recovering { cause, previous_owner, .. }) => {
                let takeover =
                    Takeover { cause: *cause, strategy, previous_owner: *previous_owner };
                if remedy == Remedy::Quarantine {
                    tracing::error!(thread = %claimed.thread_id, losses = claimed.claims,
                        "lost with its replica again and again: paused, a person is asked");
                    Command::Quarantine { takeover, losses: claimed.claims }
                } else {
                    Command::Recover(takeover)
                }
            }
        };
        driver.recovering = recovering.map(|recovering| recovering.rebuilt(strategy));
        // Nothing of it ran when its replica was lost: it cannot be what killed it.
        driver.cleared = claimed.claims > 0 && !under_way;
        driver.suspect = place.map(|place| on_probation(&core, place));
        supervise(&core, claimed.thread_id, driver.run(Vec::new(), Some(command))).await;
    }

    /// The recovery that this adoption is, if it is one.
    async fn recovering(&self, under_way: bool) -> Option<Recovering> {
        let Self { core, claimed, .. } = self;
        let evidence = Evidence {
            previous_owner: claimed.previous_owner,
            loss: claimed.lost,
            damaged: false,
            under_way,
        };
        let cause = judge(evidence)?;
        if claimed.previous_owner != 0 {
            return Some(Recovering::new(core, claimed, cause));
        }
        let cause = match recoveries::undone(core, claimed).await {
            // A suspect that had to wait goes on with the recovery that its first claim began.
            Some(Undone::Begun(begun)) if claimed.claims > 0 => return Some(begun),
            // What was damaged is mended: nobody has handed it over.
            Some(Undone::Failed(cause)) => cause,
            Some(Undone::Begun(_)) | None => cause,
        };
        let recovering = Recovering::new(core, claimed, cause);
        recoveries::begin(core, &[recovering.record(core, claimed)]).await;
        Some(recovering)
    }

    /// Gives a suspect back for which there is no place now.
    async fn release_suspect(&self) {
        let Self { core, authority, claimed, .. } = self;
        tracing::debug!(thread = %claimed.thread_id, losses = claimed.claims, "a suspect waits");
        let pause = SUSPECT_PAUSE.mul_f64(0.5 + core.parts.entropy.unit());
        let later = core.parts.clock.now().plus(pause);
        release(core, authority, (&claimed.thread_id, claimed.epoch), later).await;
    }

    /// Gives a thread back that seems to kill whoever loads it.
    async fn leave_alone(&self) {
        let Self { core, authority, claimed, .. } = self;
        let thread = &claimed.thread_id;
        tracing::error!(%thread, losses = claimed.claims, "loading it seems to kill: left alone");
        let later = core.parts.clock.now().plus(LEFT_ALONE);
        release(core, authority, (thread, claimed.epoch), later).await;
    }

    /// Gives a thread that cannot be loaded back, to be tried again later, perhaps by a newer
    /// server.
    async fn release_unloadable(&self, error: &LoadError) {
        let Self { core, authority, claimed, .. } = self;
        let thread = &claimed.thread_id;
        if matches!(error, LoadError::NotFound) {
            return;
        }
        let evidence = Evidence {
            previous_owner: claimed.previous_owner,
            loss: claimed.lost,
            damaged: error.is_damage(),
            under_way: false,
        };
        let cause = judge(evidence).unwrap_or(RecoveryCause::Corrupted);
        let recovering = Recovering::new(core, claimed, cause);
        recoveries::begin(core, &[recovering.record(core, claimed)]).await;
        let pause = recoveries::failed(core, thread, &recovering, &error.to_string()).await;
        tracing::error!(%thread, %error, again_in = ?pause, "cannot load the thread");
        let later = core.parts.clock.now().plus(pause);
        release(core, authority, (thread, claimed.epoch), later).await;
    }
}

/// Keeps a suspect's place for the probation, or until what is returned is dropped.
fn on_probation(core: &Core, place: Place) -> DropGuard {
    let got_on = CancellationToken::new();
    let guard = got_on.clone().drop_guard();
    core.tasks.spawn(async move {
        got_on.run_until_cancelled(tokio::time::sleep(PROBATION)).await;
        drop(place);
    });
    guard
}
