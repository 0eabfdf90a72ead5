//! What only Postgres promises: several replicas, racing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rethread::model::{Json, ThreadId};
use rethread::store::{
    Append, Definitions as _, Disposition, Hint, Hints as _, Inbox as _, Journal as _, Leases as _,
    Loss, Message, Notices as _, OpenError, Posted, PostgresSettings, PostgresStore, Presence as _,
    Received, Store, Threads as _, Wanted, WriteOutcome,
};
use sqlx::Connection;
use tokio_util::task::TaskTracker;

use crate::support::postgres::TestDatabase;
use crate::support::writes::{
    ASLEEP, DUE, append, appends, id, keyed, release, start, starts, takes,
};

/// How long the races below run.
const RACE: Duration = Duration::from_secs(4);
/// Leases in the race of replicas.
const SHORT_LEASE: Duration = Duration::from_millis(300);
/// Leases that outlast a test.
const LONG_LEASE: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_do_not_fight() {
    let database = TestDatabase::create().await;
    let settings = database.settings();
    let opening = (0..6).map(|_| PostgresStore::connect(&settings));
    for opened in futures_util::future::join_all(opening).await {
        opened.unwrap().ping().await.unwrap();
    }
    let status = PostgresStore::migration_status(&settings).await.unwrap();
    assert!(!status.is_empty() && status.iter().all(|step| step.applied));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_down_and_up_and_a_newer_schema_is_refused() {
    let database = TestDatabase::create().await;
    let settings = database.settings();
    assert!(PostgresStore::migration_status(&settings).await.unwrap().iter().all(|s| !s.applied));
    PostgresStore::migrate_up(&settings).await.unwrap();
    PostgresStore::migrate_down(&settings, 0).await.unwrap();
    assert!(PostgresStore::migration_status(&settings).await.unwrap().iter().all(|s| !s.applied));
    PostgresStore::migrate_up(&settings).await.unwrap();
    database
        .execute(
            "INSERT INTO rethread._sqlx_migrations
             (version, description, success, checksum, execution_time)
             VALUES (9000, 'later', true, '', 0)",
        )
        .await;
    let opened = PostgresStore::connect(&settings).await;
    assert!(matches!(opened, Err(OpenError::Newer { found: 9000, .. })), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_database_cannot_be_opened_is_told_apart() {
    let database = TestDatabase::create().await;
    let with = |url: String| PostgresSettings { url: url.into(), ..database.settings() };
    let missing = PostgresStore::connect(&with(format!("{}_none", database.url))).await;
    assert!(matches!(missing, Err(OpenError::Refused(_))), "{missing:?}");
    let role = database.url.replace("postgres@", "nobody:hunter2@");
    let refused = PostgresStore::connect(&with(role)).await;
    assert!(matches!(&refused, Err(OpenError::Refused(_))), "{refused:?}");
    assert!(!refused.unwrap_err().to_string().contains("hunter2"));
    let nobody = PostgresStore::connect(&with("postgres://u:p@127.0.0.1:1/d".to_owned())).await;
    assert!(matches!(nobody, Err(OpenError::Unreachable(_))), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_works_through_a_pooler_s_restrictions() {
    let database = TestDatabase::create().await;
    let settings = PostgresSettings { pooler: true, ..database.settings() };
    let store = PostgresStore::connect(&settings).await.unwrap();
    let me = store.register("test", LONG_LEASE).await.unwrap();
    store.write(me, &starts([keyed("t", "k"), start("u", DUE)])).await.unwrap();
    assert_eq!(store.claim(me, 9, &[]).await.unwrap().len(), 2);
    let outcomes = store.write(me, &appends([append("t", 1, 1)])).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 0 }]);
    assert_eq!(store.read(&id("t"), 0, 9).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_write_does_not_fail_its_neighbours() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let me = store.register("test", LONG_LEASE).await.unwrap();
    let mut batch: Vec<_> = (0..9).map(|n| start(&format!("t{n}"), Disposition::Keep)).collect();
    // Text of Postgres holds no NUL.
    batch[4].workflow = "a\0b".to_owned();
    let outcomes = store.write(me, &starts(batch)).await.unwrap();
    let refused: Vec<_> =
        outcomes.iter().map(|outcome| *outcome == WriteOutcome::Refused).collect();
    assert_eq!(refused, [false, false, false, false, true, false, false, false, false]);
    assert_eq!(store.thread(&id("t4")).await, Ok(None));
    assert_eq!(store.thread(&id("t8")).await.unwrap().unwrap().owner, me);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_starts_with_one_key_make_one_thread() {
    let database = TestDatabase::create().await;
    let settings = database.settings();
    let stores = [
        PostgresStore::connect(&settings).await.unwrap(),
        PostgresStore::connect(&settings).await.unwrap(),
    ];
    for round in 0..20 {
        let racing = (0..12).map(|n| {
            let store = stores[n % 2].clone();
            let key = format!("k{round}");
            // Half of them race for one thread id as well.
            let name = if n < 6 { format!("r{round}-{n}") } else { format!("r{round}") };
            async move { store.write(0, &starts([keyed(&name, &key)])).await.unwrap()[0] }
        });
        let outcomes = futures_util::future::join_all(racing).await;
        let won = outcomes.iter().filter(|o| matches!(o, WriteOutcome::Written { .. })).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        let (thread, _) =
            stores[0].by_idempotency_key(&format!("k{round}")).await.unwrap().unwrap();
        assert!(stores[0].thread(&thread).await.unwrap().is_some());
    }
    let all = stores[0].threads(&rethread::store::ThreadFilter::default(), 99).await.unwrap();
    assert_eq!(all.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_do_not_wait_for_reads() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let me = store.register("test", LONG_LEASE).await.unwrap();
    let mut other = database.connect().await;
    let lock = "BEGIN; LOCK TABLE rethread.definitions";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let readers = TaskTracker::new();
    for _ in 0..16 {
        let store = store.clone();
        readers.spawn(async move { store.definition("none").await.is_err() });
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut watcher = database.connect().await;
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await.unwrap() < 6 {
        tokio::task::yield_now().await;
    }
    let beat = tokio::time::timeout(Duration::from_secs(1), store.renew(me, LONG_LEASE)).await;
    assert_eq!(beat, Ok(Ok(true)));
    other.close().await.unwrap();
    watcher.close().await.unwrap();
    readers.close();
    readers.wait().await;
}

/// A namespace leaves one of them to others: as many as it says must be there.
#[tokio::test(flavor = "multi_thread")]
async fn readers_have_as_many_connections_as_the_store_says() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let (readers, connections) = store.for_readers().unwrap();
    let mut holder = database.connect().await;
    sqlx::query("BEGIN").execute(&mut holder).await.unwrap();
    let lock = "LOCK TABLE rethread.notifications IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut holder).await.unwrap();
    let crowd = TaskTracker::new();
    for _ in 1..connections {
        let readers = Arc::clone(&readers);
        crowd.spawn(async move { readers.all_notifications(None, 1).await.is_ok() });
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let most = i64::try_from(connections).unwrap() - 1;
    let mut watcher = database.connect().await;
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await.unwrap() < most {
        tokio::task::yield_now().await;
    }
    let other = tokio::time::timeout(Duration::from_secs(1), readers.ping()).await;
    assert_eq!(other, Ok(Ok(())));
    holder.close().await.unwrap();
    watcher.close().await.unwrap();
    crowd.close();
    crowd.wait().await;
}

/// A planner that takes what is picked for a tenth of the table reads all of it, at every look.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_notices_reads_no_more_than_it_hands_out() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let me = register(&store, "sender").await;
    let fill = "
        INSERT INTO rethread.notification_cursors (thread_id, subscription, sent, head, since, due_at)
        SELECT 't' || i, 's' || i % 3, 0, 1, 0, i FROM generate_series(1, 30000) i;
        ANALYZE rethread.notification_cursors";
    database.execute(fill).await;
    let scans = "SELECT seq_scan + 0 FROM pg_stat_all_tables
                 WHERE schemaname = 'rethread' AND relname = 'notification_cursors'";
    let updates = "SELECT n_tup_upd + 0 FROM pg_stat_all_tables
                   WHERE schemaname = 'rethread' AND relname = 'notification_cursors'";
    let mut watcher = database.connect().await;
    let before: i64 = sqlx::query_scalar(scans).fetch_one(&mut watcher).await.unwrap();
    let of = |name: &str| Wanted { most: 4, of: vec![(name.to_owned(), 9)] };
    let wanted = ["s0", "s1", "s2"].map(of);
    let mut claimed = 0;
    // The statistics of a connection come in now and then, and with its next call at the latest.
    while sqlx::query_scalar::<_, i64>(updates).fetch_one(&mut watcher).await.unwrap() < 120 {
        let found = store.claim_notices(me, claimed, LONG_LEASE, (&wanted, 12)).await.unwrap();
        assert_eq!(found.len(), 12);
        claimed += 12;
    }
    let after: i64 = sqlx::query_scalar(scans).fetch_one(&mut watcher).await.unwrap();
    assert_eq!(after, before);
    watcher.close().await.unwrap();
}

/// As after a failover, or behind a firewall that forgot them: connections whose other side is gone
/// without a word, while new ones can be made.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_lead_nowhere_are_replaced() {
    let database = TestDatabase::create().await;
    let url = url::Url::parse(&database.url).unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let way = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = database.url.replace(&target, &way.local_addr().unwrap().to_string());
    let (forget, forgotten) = tokio::sync::watch::channel(());
    let proxy = TaskTracker::new();
    proxy.spawn(async move {
        let connections = TaskTracker::new();
        loop {
            let (mut client, _) = way.accept().await.unwrap();
            let mut server = tokio::net::TcpStream::connect(&target).await.unwrap();
            let mut forgotten = forgotten.clone();
            forgotten.mark_unchanged();
            connections.spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    // Both ends stay open, and nothing goes through any more.
                    _ = forgotten.changed() => std::future::pending().await,
                }
            });
        }
    });
    let settings = PostgresSettings { url: through.into(), ..database.settings() };
    let store = PostgresStore::connect(&settings).await.unwrap();
    let me = store.register("test", LONG_LEASE).await.unwrap();
    let write = |n: usize| starts([start(&format!("t{n}"), Disposition::Keep)]);
    for n in 0..4 {
        let batches = [write(10 * n), write(10 * n + 1)];
        let both = tokio::join!(store.write(me, &batches[0]), store.write(me, &batches[1]));
        both.0.and(both.1).unwrap();
    }
    forget.send_replace(());
    let asked = tokio::time::Instant::now();
    for _ in 0..2 {
        while store.write(me, &write(99)).await.is_err() {
            assert!(asked.elapsed() < Duration::from_secs(40), "still no way to the database");
        }
    }
}

/// A claim or a start that was under way when its replica retired names it as the owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_taken_while_its_replica_retires_is_not_lost() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let first = store.register("first", LONG_LEASE).await.unwrap();
    store.write(first, &starts([start("t", DUE)])).await.unwrap();
    let mut late = database.connect().await;
    // What a claim does, from before the end of the lease until after the next registration.
    let claim = format!("BEGIN; UPDATE rethread.threads SET owner = {first}, wake_at = NULL");
    sqlx::raw_sql(sqlx::AssertSqlSafe(claim)).execute(&mut late).await.unwrap();
    store.retire(first).await.unwrap();
    let second = store.register("second", LONG_LEASE).await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut late).await.unwrap();
    let claimed = store.claim(second, 9, &[]).await.unwrap();
    assert_eq!(claimed.iter().map(|c| c.previous_owner).collect::<Vec<_>>(), [first]);
    late.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_reach_all_who_listen_in_the_same_schema() {
    let database = TestDatabase::create().await;
    let other = PostgresSettings { schema: "other".to_owned(), ..database.settings() };
    let sender = PostgresStore::connect(&database.settings()).await.unwrap();
    let receiver = PostgresStore::connect(&database.settings()).await.unwrap();
    let stranger = PostgresStore::connect(&other).await.unwrap();
    for store in [&receiver, &stranger] {
        assert_eq!(store.receive().await, Ok(Received::Subscribed));
    }
    // Far more than one payload holds, with the longest of ids.
    let long = |n: u64| Hint::Head(id(&format!("{n:0>128}")), n);
    let sent: Vec<_> = (0..200).map(long).chain([Hint::Followers]).collect();
    sender.publish(7, &sent).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < sent.len() {
        let Received::Hints { from: 7, hints } = receiver.receive().await.unwrap() else {
            panic!()
        };
        heard.extend(hints);
    }
    assert_eq!(heard, sent);
    // The first that the stranger hears is what was said in its own schema.
    stranger.publish(9, &[Hint::Work]).await.unwrap();
    let own = Received::Hints { from: 9, hints: vec![Hint::Work] };
    assert_eq!(stranger.receive().await, Ok(own));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_again_is_told_to_look_everywhere() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    assert_eq!(store.receive().await, Ok(Received::Subscribed));
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    database.execute(cut).await;
    assert_eq!(store.receive().await, Ok(Received::Subscribed));
    store.publish(1, &[Hint::Work]).await.unwrap();
    assert_eq!(store.receive().await, Ok(Received::Hints { from: 1, hints: vec![Hint::Work] }));
}

/// The session of a replica that is gone, beside one that stands still and one that never said that
/// it has a session.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_ends_a_lease_and_nothing_else_does() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let mut beside = database.connect().await;
    let (looker, gone) = (register(&store, "looker").await, register(&store, "gone").await);
    let (lives, unseen) = (register(&store, "lives").await, register(&store, "unseen").await);
    let tasks = TaskTracker::new();
    let attend = |me| {
        let store = store.clone();
        tasks.spawn(async move { store.announce_presence(me).await })
    };
    let (_looker, lost, _lives) = (attend(looker), attend(gone), attend(lives));
    let attended = "SELECT count(*) FROM rethread.replicas WHERE attended";
    while sqlx::query_scalar::<_, i64>(attended).fetch_one(&mut beside).await.unwrap() < 3 {
        tokio::task::yield_now().await;
    }
    store.write(gone, &starts([start("t", Disposition::Keep)])).await.unwrap();
    lost.abort();
    let began = tokio::time::Instant::now();
    while store.expire_lost(looker).await.unwrap() == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is not noticed");
        assert_eq!(store.claim(looker, 9, &[]).await, Ok(vec![]));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Neither at the first look, nor by a session that is as young as after a restart.
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    for (who, lease) in [(gone, false), (lives, true), (unseen, true), (looker, true)] {
        assert_eq!(store.renew(who, LONG_LEASE).await, Ok(lease), "{who}");
    }
    let claimed = store.claim(looker, 9, &[]).await.unwrap().remove(0);
    assert_eq!((claimed.previous_owner, claimed.lost), (gone, Some(Loss::SessionEnded)));
    // A lease that runs out beside an open session is another matter.
    store.write(lives, &starts([start("u", Disposition::Keep)])).await.unwrap();
    let expire =
        "UPDATE rethread.replicas SET lease_until = clock_timestamp() WHERE name = 'lives'";
    database.execute(expire).await;
    let claimed = store.claim(looker, 9, &[]).await.unwrap().remove(0);
    assert_eq!((claimed.previous_owner, claimed.lost), (lives, Some(Loss::Frozen)));
    beside.close().await.unwrap();
}

async fn register(store: &PostgresStore, name: &str) -> i64 {
    store.register(name, LONG_LEASE).await.unwrap()
}

/// Posters and a driver that releases at every turn: every message is taken exactly once, and
/// none is left in a sleeping thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_racing_with_releases_are_all_taken() {
    const THREADS: usize = 4;
    const POSTERS: usize = 4;
    const MESSAGES: usize = 150;
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let me = store.register("driver", LONG_LEASE).await.unwrap();
    let names: Vec<String> = (0..THREADS).map(|n| format!("t{n}")).collect();
    store.write(me, &starts(names.iter().map(|name| start(name, ASLEEP)))).await.unwrap();
    let tasks = TaskTracker::new();
    let posters = (0..POSTERS).map(|poster| {
        let (store, names) = (store.clone(), names.clone());
        tasks.spawn(async move {
            for n in 0..MESSAGES {
                let message = Message { key: format!("{poster}-{n}"), body: Json::null() };
                let thread = id(&names[n % names.len()]);
                let posted = store.post(&thread, &message).await.unwrap();
                assert!(matches!(posted, Posted::Stored { .. }));
            }
        })
    });
    let posters: Vec<_> = posters.collect();
    let mut taken = 0;
    let driven = async {
        while taken < POSTERS * MESSAGES {
            for claimed in store.claim(me, THREADS, &[]).await.unwrap() {
                let inbox = store.inbox(&claimed.thread_id).await.unwrap();
                taken += inbox.len();
                let write = Append {
                    sides: takes(inbox.into_iter().map(|m| (m.key, Json::null()))),
                    ..release(claimed.thread_id.as_str(), claimed.epoch, claimed.last_seq, ASLEEP)
                };
                let write = appends([write]);
                let mut outcome = WriteOutcome::Busy;
                // The next message is just being stored.
                while outcome == WriteOutcome::Busy {
                    outcome = store.write(me, &write).await.unwrap()[0];
                }
                assert!(matches!(outcome, WriteOutcome::Written { .. }), "{outcome:?}");
            }
        }
    };
    // Without an end, messages would be asleep: nothing but a message wakes these threads.
    tokio::time::timeout(Duration::from_mins(1), driven).await.expect("a message is asleep");
    for poster in posters {
        poster.await.unwrap();
    }
    assert_eq!(store.queued(9).await, Ok(0));
}

/// Replicas with short leases that stall, die and write as zombies, for some seconds. What the
/// writers were told and what the journals hold must agree to the last event.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_replicas_leave_no_gap_and_no_duplicate() {
    const REPLICAS: u64 = 4;
    const THREADS: usize = 24;
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let names: Vec<String> = (0..THREADS).map(|n| format!("t{n}")).collect();
    store.write(0, &starts(names.iter().map(|name| start(name, DUE)))).await.unwrap();
    let accepted = Arc::new(AtomicU64::new(0));
    let tasks = TaskTracker::new();
    let replicas = (0..REPLICAS).map(|seed| {
        let replica = Replica {
            store: store.clone(),
            accepted: Arc::clone(&accepted),
            random: 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed + 1),
            fenced: 0,
            takeovers: 0,
        };
        tasks.spawn(replica.run())
    });
    let replicas: Vec<_> = replicas.collect();
    let (mut fenced, mut takeovers) = (0, 0);
    for replica in replicas {
        let replica = replica.await.unwrap();
        fenced += replica.fenced;
        takeovers += replica.takeovers;
    }
    let mut events = 0;
    for name in &names {
        // Reading checks numbers and checksums.
        let records = store.read(&id(name), 0, 1_000_000).await.unwrap();
        let head = store.thread(&id(name)).await.unwrap().unwrap().last_seq;
        let found: usize = records.iter().map(|records| records.events.len()).sum();
        assert_eq!(u64::try_from(found), Ok(head));
        events += head - 1;
    }
    assert_eq!(events, accepted.load(Ordering::SeqCst), "accepted and stored differ");
    let mut connection = database.connect().await;
    let regressions: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT epoch < lag(epoch) OVER (PARTITION BY thread_id ORDER BY seq)
         AS back FROM rethread.journal) j WHERE back",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    assert_eq!(regressions, 0);
    assert!(takeovers > 0 && fenced > 0 && events > 0, "{takeovers} {fenced} {events}");
}

/// One replica of the race.
#[derive(Debug)]
struct Replica {
    store: PostgresStore,
    accepted: Arc<AtomicU64>,
    random: u64,
    fenced: u64,
    takeovers: u64,
}

impl Replica {
    async fn run(mut self) -> Self {
        let begin = tokio::time::Instant::now();
        while begin.elapsed() < RACE {
            self.live(begin).await;
        }
        self
    }

    /// One incarnation, until it loses its lease or gives it back.
    async fn live(&mut self, begin: tokio::time::Instant) {
        let me = self.store.register("racer", SHORT_LEASE).await.unwrap();
        let mut mine: BTreeMap<ThreadId, (i64, u64)> = BTreeMap::new();
        let mut alive = true;
        while alive && begin.elapsed() < RACE {
            for claimed in self.store.claim(me, 6, &[]).await.unwrap() {
                if claimed.previous_owner != 0 {
                    // An expired lease is never renewed, so this tells whether it had expired.
                    let was = claimed.previous_owner;
                    let alive = self.store.renew(was, SHORT_LEASE).await.unwrap();
                    assert!(!alive, "taken from a live owner");
                    self.takeovers += 1;
                }
                mine.insert(claimed.thread_id, (claimed.epoch, claimed.last_seq));
            }
            match self.draw(40) {
                // Stalls for longer than its lease, then writes as the zombie it may be.
                0 => tokio::time::sleep(SHORT_LEASE + SHORT_LEASE / 3).await,
                1 => {
                    self.store.retire(me).await.unwrap();
                    alive = false;
                }
                _ => alive = self.store.renew(me, SHORT_LEASE).await.unwrap(),
            }
            self.write(me, &mut mine).await;
        }
    }

    async fn write(&mut self, me: i64, mine: &mut BTreeMap<ThreadId, (i64, u64)>) {
        let mut batch = Vec::new();
        for (thread, (epoch, head)) in mine.iter() {
            let disposition = if self.draw(10) == 0 { DUE } else { Disposition::Keep };
            batch.push(Append { disposition, ..append(thread.as_str(), *epoch, *head) });
        }
        let outcomes = self.store.write(me, &appends(batch.clone())).await.unwrap();
        for (append, outcome) in batch.iter().zip(outcomes) {
            if outcome == WriteOutcome::Fenced {
                self.fenced += 1;
                mine.remove(&append.thread_id);
                continue;
            }
            // Somebody is just claiming it: the next round tells whether it is still ours.
            if outcome == WriteOutcome::Busy {
                continue;
            }
            self.accepted.fetch_add(1, Ordering::SeqCst);
            if append.disposition == Disposition::Keep {
                mine.insert(append.thread_id.clone(), (append.epoch, append.prev + 1));
            } else {
                mine.remove(&append.thread_id);
            }
        }
    }

    /// A number below `bound`, the same in every run (xorshift).
    const fn draw(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}
