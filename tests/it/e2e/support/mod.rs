//! What end-to-end tests are made of: a home for a server, the real binary, clients, a recorder.

pub(crate) mod acts;
pub(crate) mod browser;
pub(crate) mod client;
mod contract;
mod devtools;
pub(crate) mod faketime;
pub(crate) mod faults;
pub(crate) mod figures;
pub(crate) mod flows;
pub(crate) mod home;
pub(crate) mod issuer;
pub(crate) mod proxy;
pub(crate) mod recorder;
pub(crate) mod server;
pub(crate) mod sse;

use std::time::Duration;

use tokio_util::task::TaskTracker;

pub(crate) use client::{Answer, Client};
pub(crate) use home::Home;
pub(crate) use recorder::Recorder;
pub(crate) use server::Server;
pub(crate) use sse::Frame;

/// Longest a condition is waited for: far longer than any takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);

/// Waits until a program of an `exec` step is gone, or a zombie that nobody reaps here.
pub(crate) async fn dead(pid: &str) {
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    let stat = format!("/proc/{pid}/stat");
    eventually("it is dead", async || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}

/// Waits for something that comes true, or panics saying what did not.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await;
    found.unwrap_or_else(|_| panic!("did not happen: {what}"))
}

/// Runs something beside the test; it ends with the test's runtime.
pub(crate) fn beside<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    TaskTracker::new().spawn(work)
}

/// Runs each named scenario on each named store, as a test of its own.
macro_rules! on_stores {
    ([$($store:ident),+] $names:tt) => {
        $(on_stores!(@store $store $names);)+
    };
    (@store $store:ident [$($name:ident),+ $(,)?]) => {
        mod $store {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::e2e::support::Home::$store().await).await;
            })+
        }
    };
}
pub(crate) use on_stores;

/// A seeded source of choices: the same seed makes the same test.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from(mixed >> 33).unwrap() % bound
    }
}
