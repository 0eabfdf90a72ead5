//! Looks up the addresses of host names on threads of their own.
//!
//! The system's resolver blocks its thread until a name server answers, up to a minute if none
//! does, and nothing interrupts it. So each look-up has a thread of its own, and keeps a place
//! until that thread is done, even if nobody waits any more. No namespace gets all places: names
//! whose server is silent hold up only the namespace that asks for them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::executor::Places;
use crate::executor::apart::on_a_thread;
use crate::model::{Namespace, lock};

/// Limit of look-ups at once: each takes a thread.
const AT_ONCE: usize = 128;
/// Limit of look-ups at once for one namespace.
const OF_ONE: usize = AT_ONCE / 4;
/// Timeout of a look-up, in which it also waits for a place. Shorter than the timeout to connect;
/// long enough to reach a second name server after the usual 5 s of silence from the first.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// A function that looks a name up and blocks meanwhile.
type Find = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
/// The result of a look-up, for all that wait for it.
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;
type LookUp = BoxFuture<'static, Found>;
type Key = (Namespace, String);

tokio::task_local! {
    /// The namespace that a request of the HTTP client is made for.
    static CALLER: Namespace;
}

/// Runs a request; its look-ups count for the share of this namespace.
pub(super) async fn within<F: Future>(namespace: Namespace, request: F) -> F::Output {
    CALLER.scope(namespace, request).await
}

/// Returns the namespace that the current task makes a request for; the default one outside of
/// [`within`].
pub(super) fn caller() -> Namespace {
    CALLER.try_with(Clone::clone).unwrap_or_default()
}

/// Looks names up.
pub(super) struct Names {
    find: Arc<Find>,
    places: Arc<Places>,
    /// The look-ups under way: one per name, for all waiters of a namespace.
    under_way: Mutex<HashMap<Key, WeakShared<LookUp>>>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Names {
    /// Makes a resolver that asks the system.
    pub(super) fn of_the_system() -> Arc<Self> {
        Self::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect))
    }

    /// Makes a resolver that asks a function.
    pub(super) fn new(
        find: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            find: Arc::new(find),
            places: Arc::new(Places::shared(AT_ONCE, OF_ONE)),
            under_way: Mutex::default(),
        })
    }

    /// Returns the addresses of a host, with port 0.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        namespace: &Namespace,
        host: &str,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        match tokio::time::timeout(PATIENCE, self.join(namespace, host)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            Err(_) => {
                let late =
                    format!("the look-up of its name took longer than {} s", PATIENCE.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, late))
            }
        }
    }

    /// Returns the look-up of that name that is under way, or a new one.
    fn join(self: &Arc<Self>, namespace: &Namespace, host: &str) -> Shared<LookUp> {
        let key = (namespace.clone(), host.to_owned());
        // No panic leaves it half changed.
        let mut under_way = lock(&self.under_way);
        if let Some(look_up) = under_way.get(&key).and_then(WeakShared::upgrade) {
            return look_up;
        }
        let entry = Entry { names: Arc::downgrade(self), key: key.clone() };
        let (places, find) = (Arc::clone(&self.places), Arc::clone(&self.find));
        let look_up = look_up(places, find, entry).boxed().shared();
        if let Some(weak) = look_up.downgrade() {
            under_way.insert(key, weak);
        }
        look_up
    }
}

/// Takes a place and looks a name up.
async fn look_up(places: Arc<Places>, find: Arc<Find>, entry: Entry) -> Found {
    let (namespace, host) = &entry.key;
    let place = places.take(namespace).await.map_err(io::Error::other)?;
    let host = host.clone();
    let look_up = move || {
        let _place = place;
        find(&host)
    };
    Ok(on_a_thread("look-up", look_up).await.flatten()?)
}

/// The entry of a look-up, removed when it ends or nobody waits for it any more. In a race it may
/// remove the entry of a newer look-up; that costs one more look-up.
struct Entry {
    names: Weak<Names>,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(names) = self.names.upgrade() {
            lock(&names.under_way).remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    /// Returns a resolver that blocks on `silent…` until the sender is dropped, and its count of
    /// look-ups.
    fn partly_silent() -> (Arc<Names>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (end, ended) = mpsc::channel::<()>();
        let (ended, asked) = (Mutex::new(ended), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        let names = Names::new(move |host| {
            counted.fetch_add(1, Ordering::Relaxed);
            if host.starts_with("silent") {
                assert!(lock(&ended).recv().is_err());
            }
            Ok(vec![ADDRESS])
        });
        (names, end, asked)
    }

    fn named(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    #[tokio::test]
    async fn names_that_nobody_answers_for_hold_up_their_own_namespace_alone() {
        let (names, end, _) = partly_silent();
        let (crowd, other) = (named("crowd"), named("other"));
        for number in 0..3 * AT_ONCE {
            let host = format!("silent{number}.test");
            assert!(names.look_up(&crowd, &host).now_or_never().is_none());
        }
        assert_eq!(names.places.free(), AT_ONCE - OF_ONE, "their threads go on");
        assert_eq!(names.look_up(&other, "good.test").await.unwrap(), [ADDRESS]);
        assert!(names.look_up(&crowd, "good.test").now_or_never().is_none());
        drop(end);
        while names.places.free() < AT_ONCE {
            tokio::task::yield_now().await;
        }
        assert_eq!(names.look_up(&crowd, "good.test").await.unwrap(), [ADDRESS]);
        assert!(lock(&names.under_way).is_empty());
    }

    #[tokio::test]
    async fn many_that_ask_for_a_name_wait_for_one_look_up() {
        let (names, end, asked) = partly_silent();
        let crowd = named("crowd");
        let waiting = (0..1_000).map(|_| names.look_up(&crowd, "silent.test"));
        let mut waiting = Box::pin(futures_util::future::try_join_all(waiting));
        assert!((&mut waiting).now_or_never().is_none());
        drop(end);
        assert_eq!(waiting.await.unwrap().len(), 1_000);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_without_an_answer_ends_in_time() {
        let (names, _end, _) = partly_silent();
        let error = names.look_up(&named("one"), "silent.test").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "the look-up of its name took longer than 8 s");
    }

    #[tokio::test]
    async fn addresses_need_no_look_up() {
        let (names, _end, asked) = partly_silent();
        assert_eq!(names.look_up(&named("one"), "127.0.0.1").await.unwrap(), [ADDRESS]);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }
}
