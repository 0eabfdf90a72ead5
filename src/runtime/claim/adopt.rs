//! Takes over a claimed thread: judges its losses, rebuilds it, and drives it, or releases it until
//! later. Only the dispatcher calls this, also at startup. It never drives a thread that could not
//! be rebuilt, and leaves all writes to the journal to the driver.

use std::sync::Arc;
use std::time::Duration;

use super::bench::Seat;
use super::recoveries::{self, Unfinished};
use super::recovering::Recovering;
use super::trials::{Admitted, Case, admit};
use super::unread;
use super::verdict::{Evidence, judge};
use crate::machine::{Command, Takeover, ThreadState};
use crate::model::RecoveryCause;
use crate::observe::Overloaded;
use crate::runtime::core::Core;
use crate::runtime::drive::driver::Driver;
use crate::runtime::drive::load::{LoadError, Loaded, load};
use crate::runtime::drive::release::{release, supervise};
use crate::runtime::driven::Pending;
use crate::runtime::lease::authority::Authority;
use crate::runtime::lease::roster::Activity;
use crate::runtime::lease::stood::Stood;
use crate::runtime::settings::POLL_INTERVAL;
use crate::store::Claimed;

/// The interval of checks whether a thread's earlier driver here is gone.
const EARLIER_DRIVER_CHECK: Duration = Duration::from_millis(5);
/// The delay of a thread that finds no room: thousands of such threads must not keep the store busy
/// with claims.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(5);

/// Everything needed to adopt a thread.
pub(in crate::runtime) struct Adoption {
    pub(in crate::runtime) core: Arc<Core>,
    pub(in crate::runtime) authority: Arc<Authority>,
    pub(in crate::runtime) claimed: Claimed,
    /// The judgement of a thread that was lost before.
    pub(in crate::runtime) case: Option<Case>,
    pub(in crate::runtime) pending: Pending,
}

/// The way to drive a thread.
enum Order {
    /// Driven, with its seat if it is a suspect.
    Driven(Option<Seat>),
    /// Paused: this many replicas were lost with it, and it is no coincidence.
    Paused(Seat, u32),
    /// Paused: a worker was stuck in it.
    Condemned(Stood),
}

impl Adoption {
    /// Adopts the thread in a task of its own; if that panics, the thread is released.
    pub(in crate::runtime) fn spawn(self) {
        let (core, thread) = (Arc::clone(&self.core), self.claimed.thread_id.clone());
        core.tasks.clone().spawn(async move {
            supervise(&core, (thread, Activity::Load), self.run()).await;
        });
    }

    /// Loads a claimed thread and drives it.
    pub(in crate::runtime) async fn run(mut self) {
        if self.claimed.mail > 0 {
            match self.stood().await {
                None => return,
                Some(Some(stood)) => return self.condemn(stood).await,
                Some(None) => {}
            }
        }
        let order = match self.case.take() {
            None => Order::Driven(None),
            Some(case) => match admit(&self.core, &self.authority, (&self.claimed, case)).await {
                None => return,
                Some(Admitted::Driven(seat)) => Order::Driven(Some(seat)),
                Some(Admitted::Paused(seat, losses)) => Order::Paused(seat, losses),
                Some(Admitted::Unread(losses)) => return self.pause_unread(losses).await,
            },
        };
        let loaded = match self.load().await {
            Some(Ok(loaded)) => loaded,
            Some(Err(LoadError::Overloaded(_))) => return self.release_for_later().await,
            Some(Err(error)) => return self.release_unloadable(&error).await,
            None => return,
        };
        let Some(unfinished) = self.unfinished(&loaded.state).await else { return };
        let recovering = self.recovering(loaded.state.has_running(), unfinished).await;
        let recovering = match (&order, recovering) {
            (Order::Paused(..), None) => Some(self.handed_over().await),
            (_, recovering) => recovering,
        };
        self.drive(loaded, recovering, order).await;
    }

    /// Pauses a thread without loading it, which has ended several processes.
    async fn pause_unread(&self, losses: u32) {
        let reason = format!(
            "{losses} replicas were lost while they loaded or drove this thread, the last one before \
             it could pause it: it is paused without being loaded, and a resume loads it again"
        );
        unread::pause(&self.core, &self.authority, (&self.claimed, reason)).await;
    }

    /// Begins a recovery of a thread that nobody was lost with now.
    async fn handed_over(&self) -> Recovering {
        let recovering = Recovering::new(&self.core, &self.claimed, RecoveryCause::Handover);
        recoveries::begin(&self.core, &[recovering.record(&self.core, &self.claimed)]).await;
        recovering
    }

    /// Returns the record of a worker that was stuck in the thread, if there is one; `None` as for
    /// [`Self::persistently`]. It is read before the load, in which workers may get stuck, too.
    async fn stood(&self) -> Option<Option<Stood>> {
        let Self { core, claimed, .. } = self;
        let inbox = self.persistently(|| async {
            Ok(core
                .store()
                .inbox_of(&claimed.thread_id, crate::runtime::drive::inbox::STOOD_KEY)
                .await?)
        });
        let messages = inbox.await?.unwrap_or_else(|error| {
            tracing::error!(thread = %claimed.thread_id, %error, "cannot read its inbox");
            Vec::new()
        });
        Some(
            messages
                .iter()
                .filter_map(crate::runtime::drive::inbox::stood)
                .max_by_key(|stood| stood.at),
        )
    }

    /// Pauses a thread that a worker was stuck in; if that was while loading it, the thread rests
    /// before the load is tried again.
    async fn condemn(self, stood: Stood) {
        let Self { core, authority, claimed, .. } = &self;
        if stood.loading {
            let reason = format!(
                "loading this thread kept a worker of its server from going on for {} s: it is paused \
                 without being loaded, and a resume loads it again",
                stood.time().as_secs()
            );
            return unread::pause(core, authority, (claimed, reason)).await;
        }
        let loaded = match self.load().await {
            Some(Ok(loaded)) => loaded,
            Some(Err(LoadError::Overloaded(_))) => return self.release_for_later().await,
            Some(Err(error)) => return self.release_unloadable(&error).await,
            None => return,
        };
        let recovering = Recovering::new(core, claimed, RecoveryCause::Frozen);
        if claimed.previous_owner == 0 {
            recoveries::begin(core, &[recovering.record(core, claimed)]).await;
        }
        self.drive(loaded, Some(recovering), Order::Condemned(stood)).await;
    }

    /// Loads the thread; `None` as [`Self::persistently`].
    async fn load(&self) -> Option<Result<Loaded, LoadError>> {
        let Self { core, claimed, .. } = self;
        self.persistently(|| async {
            let namespace = claimed.thread_id.namespace();
            // The places are never closed, so there is always one to wait for.
            let _place = core.loads.take(&namespace).await;
            // Since the claim, threads may have grown or been loaded.
            if core.weights.are_enough_of(&namespace) {
                return Err(LoadError::Overloaded(Overloaded));
            }
            load(core, &claimed.thread_id, None).await
        })
        .await
    }

    /// Reads the recovery that an earlier claim left unfinished, if nobody drove the thread last
    /// and an attempt of it is under way; `None` as for [`Self::persistently`]. Waits for the
    /// answer: without it, the replica that was lost with the thread would be forgotten, and a
    /// thread that kills its replicas would be driven once too often.
    async fn unfinished(&self, state: &ThreadState) -> Option<Option<Unfinished>> {
        let Self { core, claimed, .. } = self;
        if claimed.previous_owner != 0 || !state.has_running() {
            return Some(None);
        }
        let asked = self
            .persistently(|| async { Ok(recoveries::unfinished(core, claimed).await?) })
            .await?;
        Some(asked.unwrap_or_else(|error| {
            tracing::error!(thread = %claimed.thread_id, %error, "cannot read its recoveries");
            None
        }))
    }

    /// Repeats a call until the store answers: this replica owns the thread, and goes on when the
    /// store does. Returns `None` if authority is lost or the server stops.
    async fn persistently<T, F>(&self, mut ask: impl FnMut() -> F) -> Option<Result<T, LoadError>>
    where
        F: Future<Output = Result<T, LoadError>>,
    {
        let Self { core, authority, claimed, .. } = self;
        loop {
            match ask().await {
                Err(LoadError::Store(error)) if error.is_transient() => {
                    tracing::debug!(thread = %claimed.thread_id, %error, "the thread is loaded again");
                    core.availability.failed("the load of a thread", &error);
                    tokio::select! {
                        biased;
                        () = authority.lost() => return None,
                        () = core.stopped.cancelled() => return None,
                        () = tokio::time::sleep(POLL_INTERVAL) => {}
                    }
                }
                answer => return Some(answer),
            }
        }
    }

    async fn drive(self, mut loaded: Loaded, recovering: Option<Recovering>, order: Order) {
        if self.claimed.previous_owner != 0 {
            crate::runtime::drive::snapshots::before_recovery(&self.core, &mut loaded);
        }
        let Loaded { state, strategy, tail, held: _held } = loaded;
        let under_way = state.has_running();
        let Self { core, authority, claimed, pending, case: _ } = self;
        // The driver that released this thread may still be here.
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
        let takeover = recovering.as_ref().map(|Recovering { cause, previous_owner, .. }| {
            Takeover { cause: *cause, strategy, previous_owner: *previous_owner }
        });
        let command = match (&order, takeover) {
            (Order::Condemned(stood), takeover) => {
                tracing::error!(thread = %claimed.thread_id, stood = ?stood.time(),
                    "a worker stood in it: paused, a person is asked");
                let previous_owner = stood.incarnation;
                let takeover = takeover.map(|takeover| Takeover { previous_owner, ..takeover });
                Command::Condemn { takeover, stood: stood.time() }
            }
            (Order::Paused(_, losses), Some(takeover)) => {
                tracing::error!(thread = %claimed.thread_id, losses,
                    "lost with its replica again and again: paused, a person is asked");
                Command::Quarantine { takeover, losses: *losses }
            }
            (Order::Driven(_) | Order::Paused(..), None) => Command::Advance,
            (Order::Driven(_), Some(takeover)) => Command::Recover(takeover),
        };
        driver.recovering = recovering.map(|recovering| recovering.rebuilt(strategy));
        // No attempt of it was under way when replicas were lost, so it cannot have killed them.
        let blameless = !under_way && driver.state.interrupted == 0;
        driver.cleared = claimed.previous_owner != 0 && blameless;
        driver.suspect = match order {
            Order::Driven(seat) => seat,
            Order::Paused(seat, _) => Some(seat),
            Order::Condemned(_) => None,
        };
        let driver = driver.run(Vec::new(), Some(command));
        supervise(&core, (claimed.thread_id, Activity::Drive), driver).await;
    }

    /// Returns the recovery that this adoption performs, if any.
    async fn recovering(
        &self,
        under_way: bool,
        unfinished: Option<Unfinished>,
    ) -> Option<Recovering> {
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
        let cause = match unfinished {
            // A suspect that had to wait continues the recovery that its first claim began.
            Some(Unfinished::Begun(begun)) if claimed.claims > 0 => return Some(begun),
            // The thread can be loaded again. It was not handed over, so its cause stays.
            Some(Unfinished::Failed(cause)) => cause,
            Some(Unfinished::Begun(_)) | None => cause,
        };
        let recovering = Recovering::new(core, claimed, cause);
        recoveries::begin(core, &[recovering.record(core, claimed)]).await;
        Some(recovering)
    }

    /// Releases a thread that finds no room now.
    async fn release_for_later(&self) {
        let Self { core, authority, claimed, .. } = self;
        let pause = NO_ROOM_PAUSE.mul_f64(0.5 + core.parts.entropy.unit());
        let later = core.parts.clock.now().plus(pause);
        release(core, authority, (&claimed.thread_id, claimed.epoch), later).await;
    }

    /// Releases a thread that cannot be loaded, to be tried again later, perhaps by a newer server.
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
