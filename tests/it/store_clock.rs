//! The database's clock is that of its replicas, and each heartbeat tells its time.

use std::sync::Arc;
use std::time::Duration;

use rethread::app::SystemClock;
use rethread::model::{Clock, Timestamp};
use rethread::store::{Leases as _, PostgresStore, StoreClock};
use tokio::time::Instant;

use crate::support::postgres::TestDatabase;

/// What elapses for the machine below meanwhile is so much less that it could not be overlooked.
const WATCHED: Duration = Duration::from_secs(3);

/// A machine whose clocks are a fifth slower than the true time, and begin elsewhere.
#[derive(Debug)]
struct SlowMachine(SystemClock);

impl Clock for SlowMachine {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() * 4 / 5
    }
}

#[tokio::test]
async fn every_heartbeat_tells_the_databases_time() {
    let database = TestDatabase::create().await;
    let clock = Arc::new(StoreClock::start(Arc::new(SlowMachine(SystemClock::start()))));
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let store = store.telling(&clock).await.unwrap();
    let mut connection = database.connect().await;
    let mut behind = async || {
        let query = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let time: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        time - clock.now().millis()
    };
    let at_first = behind().await;
    assert!(at_first.abs() < 200, "{at_first}");
    let me = store.register("test", Duration::from_mins(1)).await.unwrap();
    let (began, mut last) = (Instant::now(), clock.now());
    while began.elapsed() < WATCHED {
        assert!(store.renew(me, Duration::from_mins(1)).await.unwrap());
        let now = clock.now();
        assert!(now >= last);
        last = now;
    }
    let behind = behind().await;
    assert!((-100..400).contains(&behind), "{behind}");
}
