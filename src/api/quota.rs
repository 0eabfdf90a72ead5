//! Quotas of keys and namespaces: requests per second, open requests, body bytes per second. Each
//! replica has its own.
//!
//! A request is counted once its caller is known and before any work on it. The key's quotas come
//! first, and a request that one quota refuses takes nothing from the others.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::Extensions;
use governor::Quota;

use super::buckets::{Buckets, Short, Taken};
use super::places::{Place, Places};
use super::problem::{BODY_TOO_LARGE, Problem, QUOTA_EXCEEDED};
use super::settings::{HttpMetrics, Quotas};
use crate::model::{Clock, Namespace, lock};

/// The unit of body sizes: 1 KiB, each body rounded up. Buckets count to 2^32, time in nanoseconds.
const UNIT: u64 = 1024;
/// The `Retry-After` for a client with too many open requests: the end of one cannot be predicted.
const PLACE_AFTER: Duration = Duration::from_secs(1);
/// The least time between log lines about a kind of quota.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Prefixes of routes without quotas, which probes and collectors of metrics call.
const UNCOUNTED: [&str; 3] = ["/health", "/api/health", "/metrics"];
/// The number of kinds of quota.
const KINDS: usize = 6;

/// The holder of the quotas that a request counts for.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    /// The caller's name, if it is proven and its own.
    pub(super) name: Option<Arc<str>>,
    pub(super) namespace: Namespace,
}

/// The key of a quota: a name within a namespace, or a whole namespace (with an empty name).
type Who = (Namespace, Arc<str>);

/// A kind of quota, as metrics and refusals name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    KeyRate,
    KeyConcurrency,
    KeyBytes,
    NamespaceRate,
    NamespaceConcurrency,
    NamespaceBytes,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::KeyRate => "key_rate",
            Self::KeyConcurrency => "key_concurrency",
            Self::KeyBytes => "key_bytes",
            Self::NamespaceRate => "namespace_rate",
            Self::NamespaceConcurrency => "namespace_concurrency",
            Self::NamespaceBytes => "namespace_bytes",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::KeyRate => "the key's requests a second are used up",
            Self::KeyConcurrency => {
                "as many requests of the key as may be are open; a stream is one until it ends"
            }
            Self::KeyBytes => "the key's bytes of request bodies a second are used up",
            Self::NamespaceRate => "the namespace's requests a second are used up",
            Self::NamespaceConcurrency => {
                "as many requests of the namespace as may be are open; a stream is one until it ends"
            }
            Self::NamespaceBytes => "the namespace's bytes of request bodies a second are used up",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::KeyRate => 0,
            Self::KeyConcurrency => 1,
            Self::KeyBytes => 2,
            Self::NamespaceRate => 3,
            Self::NamespaceConcurrency => 4,
            Self::NamespaceBytes => 5,
        }
    }
}

/// The quotas of this replica, and what is left.
#[derive(Debug)]
pub(super) struct Counters {
    key: Scope,
    namespace: Scope,
    /// Held while several buckets are taken from, so that amounts can be returned.
    taking: Mutex<()>,
    told: Mutex<[Told; KINDS]>,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn HttpMetrics>,
}

/// The last log line about refusals, and the refusals since.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    at: Option<Duration>,
    since: u64,
}

/// The amounts that a request takes from the buckets.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    requests: u64,
    /// The units of the body to take now; `whole` is all that is known of it, which a repeat of the
    /// request sends again.
    units: u64,
    whole: u64,
}

/// The places of a request that is being answered; they are free again when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Admission {
    places: Vec<Place<Who>>,
}

impl Admission {
    /// Returns whether any place is held.
    pub(super) fn holds(&self) -> bool {
        !self.places.is_empty()
    }
}

/// A body of unannounced length that is being read.
#[derive(Debug, Clone)]
pub(super) struct Unannounced {
    counters: Arc<Counters>,
    holder: Holder,
    came: Arc<Mutex<u64>>,
}

impl Unannounced {
    /// Makes a body that is unread.
    pub(super) fn new(counters: &Arc<Counters>, holder: Holder) -> Self {
        Self { counters: Arc::clone(counters), holder, came: Arc::default() }
    }

    /// Counts more bytes of the body.
    pub(super) fn came(&self, bytes: usize) -> Result<(), Problem> {
        // A panic cannot half change it.
        let mut came = lock(&self.came);
        let before = came.div_ceil(UNIT);
        *came = came.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let whole = came.div_ceil(UNIT);
        let wanted = Wanted { requests: 0, units: whole.saturating_sub(before), whole };
        self.counters.take(&self.holder, wanted, &mut Vec::new())
    }
}

impl Counters {
    /// Makes unused quotas. `largest` is the largest body that is accepted at all, in bytes.
    pub(super) fn new(
        (key, namespace): (Quotas, Quotas),
        largest: usize,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn HttpMetrics>,
    ) -> Self {
        let key_kinds = [Kind::KeyRate, Kind::KeyConcurrency, Kind::KeyBytes];
        let namespace_kinds =
            [Kind::NamespaceRate, Kind::NamespaceConcurrency, Kind::NamespaceBytes];
        Self {
            key: Scope::new(key, largest, &clock, key_kinds),
            namespace: Scope::new(namespace, largest, &clock, namespace_kinds),
            taking: Mutex::default(),
            told: Mutex::default(),
            clock,
            metrics,
        }
    }

    /// Admits a request whose body has `body` bytes, if that is known.
    pub(super) fn admit(
        &self,
        holder: &Holder,
        request: &Extensions,
        body: Option<u64>,
    ) -> Result<Admission, Problem> {
        let mut admission = Admission::default();
        let route = request.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        if !UNCOUNTED.iter().any(|prefix| route.starts_with(prefix)) {
            let units = body.unwrap_or_default().div_ceil(UNIT);
            let wanted = Wanted { requests: 1, units, whole: units };
            self.take(holder, wanted, &mut admission.places)?;
        }
        Ok(admission)
    }

    /// Takes all of `wanted`, the key's first, or nothing.
    fn take(
        &self,
        holder: &Holder,
        wanted: Wanted,
        places: &mut Vec<Place<Who>>,
    ) -> Result<(), Problem> {
        let one_at_a_time = lock(&self.taking);
        let (mut taken, mut entered) = (Vec::new(), Vec::new());
        let key = holder.name.clone().map(|name| (&self.key, (holder.namespace.clone(), name)));
        let namespace = (&self.namespace, (holder.namespace.clone(), Arc::from("")));
        for (scope, who) in key.into_iter().chain([namespace]) {
            let all = scope.take(&who, wanted, &mut taken, &mut entered);
            if let Err((kind, short)) = all {
                for (buckets, some) in taken.into_iter().rev() {
                    buckets.give_back(some);
                }
                drop(one_at_a_time);
                return Err(self.refuse(holder, kind, short));
            }
        }
        places.append(&mut entered);
        Ok(())
    }

    fn refuse(&self, holder: &Holder, kind: Kind, short: Short) -> Problem {
        self.metrics.refused(kind.label());
        if let Some(refused) = self.tell(kind) {
            let (namespace, key) = (&holder.namespace, holder.name.as_deref().unwrap_or_default());
            let quota = kind.label();
            tracing::warn!(quota, key, %namespace, refused, "requests were refused: a quota is used up");
        }
        match short {
            Short::For(wait) => Problem::new(&QUOTA_EXCEEDED, kind.words()).retry_after(wait),
            Short::Always => {
                let detail = "the body is larger than the quota of bytes ever allows: trying again is in vain";
                Problem::new(&BODY_TOO_LARGE, detail)
            }
        }
    }

    /// Counts a refusal. Returns the number since the last log line, if a line is due now.
    fn tell(&self, kind: Kind) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut told = lock(&self.told);
        let told = told.get_mut(kind.index())?;
        told.since += 1;
        if told.at.is_some_and(|at| now.saturating_sub(at) < TOLD_EVERY) {
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.since))
    }
}

/// The quotas of keys, or those of namespaces.
#[derive(Debug)]
struct Scope {
    rate: Option<Buckets<Who>>,
    places: Option<Arc<Places<Who>>>,
    bytes: Option<Buckets<Who>>,
    kinds: [Kind; 3],
}

type Takings<'a> = Vec<(&'a Buckets<Who>, Taken<Who>)>;

impl Scope {
    fn new(quotas: Quotas, largest: usize, clock: &Arc<dyn Clock>, kinds: [Kind; 3]) -> Self {
        // No caller has a name like this one.
        let rest = || (Namespace::default(), Arc::from("\0others"));
        let buckets = |quota| Buckets::new(quota, Arc::clone(clock), rest());
        let rate =
            quotas.rate.map(|rate| Quota::per_second(rate.per_second).allow_burst(rate.burst));
        let bytes = quotas.bytes.map(|bytes| {
            let largest = u64::try_from(largest).unwrap_or(u64::MAX);
            let number = |bytes: u64| amount(bytes.div_ceil(UNIT)).unwrap_or(NonZeroU32::MIN);
            // The bucket must hold a body of the largest allowed size.
            Quota::per_second(number(bytes)).allow_burst(number(bytes.max(largest)))
        });
        let places = quotas.concurrency.map(|most| Arc::new(Places::new(most)));
        Self { rate: rate.map(buckets), places, bytes: bytes.map(buckets), kinds }
    }

    fn take<'a>(
        &'a self,
        who: &Who,
        wanted: Wanted,
        taken: &mut Takings<'a>,
        entered: &mut Vec<Place<Who>>,
    ) -> Result<(), (Kind, Short)> {
        let [rate, concurrency, size] = self.kinds;
        if let Some(places) = self.places.as_ref().filter(|_| wanted.requests > 0) {
            let place = places.enter(who).ok_or((concurrency, Short::For(PLACE_AFTER)))?;
            entered.push(place);
        }
        if let (Some(buckets), Some(requests)) = (&self.rate, amount(wanted.requests)) {
            taken.push((buckets, buckets.take(who, requests).map_err(|short| (rate, short))?));
        }
        if let (Some(buckets), Some(units)) = (&self.bytes, amount(wanted.units)) {
            let some = buckets.take(who, units).map_err(|short| {
                // A repeat sends the whole body: it must wait for that much.
                let whole = amount(wanted.whole).and_then(|whole| buckets.take(who, whole).err());
                (size, whole.unwrap_or(short))
            })?;
            taken.push((buckets, some));
        }
        Ok(())
    }
}

fn amount(count: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
