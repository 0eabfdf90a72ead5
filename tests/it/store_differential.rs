//! The same random history on all three stores must be answered alike.
//!
//! Times come from different clocks, so histories use wake-up times that are long past or far
//! away, one incarnation lives at a time (as SQLite wants it), and times are compared as such.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any};
use proptest::test_runner::{Config, TestRunner};
use rethread::model::{
    Json, Namespace, RecoveryCause, RecoveryStrategy, ThreadId, ThreadStatus, Timestamp,
};
use rethread::store::{
    Append, Disposition, FORK_LABEL, IdempotencyKey, InterventionFilter, InterventionRow, Message,
    Posted, Records, Recovery, RecoveryEnd, RecoveryResult, Snapshot, SnapshotKind, Start,
    ThreadFilter, ThreadRow, Write,
};

use crate::support::beds::{Bed, TTL};
use crate::support::writes::{
    ASLEEP, AT, DUE, FUTURE, append, end, id, indexes, intervention, records, release, start,
    summary, takes,
};

/// Histories tried, and calls in each.
const HISTORIES: u32 = 10;
const CALLS: usize = 60;
/// Threads and keys: few, so that calls meet. Two have the texts of two others, in another namespace.
const THREADS: u8 = 5;
const IDS: [&str; 5] = ["t0", "t1", "t2", "team/t0", "team/t1"];
const KEYS: u8 = 3;

/// A call, with what it is about in small numbers.
#[derive(Debug, Clone)]
enum Call {
    /// All leases expire and a new incarnation takes over.
    Takeover,
    /// The incarnation retires and a new one comes.
    Retire,
    Claim(usize),
    Batch(Vec<Step>),
    Post(u8, u8),
    Read(u8, u64, usize),
    Delete(u8),
    Expire(usize),
    ExpireKeys,
    SaveWorkflow(u8, u8),
    List(u8),
    Snapshot(u8, u64, u8),
    /// Recoveries of these threads, each with its epoch.
    Begin(Vec<(u8, i64)>),
    EndRecovery(u8, i64, u8),
    /// Names and counts that are added so many hours on.
    Tally(u32, Vec<(u8, u64)>),
}

/// One write of a batch.
#[derive(Debug, Clone)]
struct Step {
    thread: u8,
    kind: u8,
    /// Added to the epoch and head that the store shows; seldom not 0.
    epoch_off: i64,
    prev_off: u64,
    zombie: bool,
    extra: u8,
}

#[test]
fn random_histories_are_answered_alike() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases: HISTORIES, failure_persistence: None, ..Config::default() };
    let histories = proptest::collection::vec(call(), 1..CALLS);
    let outcome = TestRunner::new(config).run(&histories, |history| {
        runtime.block_on(compare(&history));
        Ok(())
    });
    outcome.unwrap();
}

async fn compare(history: &[Call]) {
    let beds = [Bed::memory(), Bed::sqlite().await, Bed::postgres().await];
    let mut players = Vec::new();
    for bed in beds {
        players.push(Player::new(bed).await);
    }
    for (at, call) in history.iter().enumerate() {
        let mut answers = Vec::new();
        for player in &mut players {
            answers.push(player.play(call).await);
        }
        assert_eq!(answers[0], answers[1], "memory and SQLite differ at call {at}: {call:?}");
        assert_eq!(answers[0], answers[2], "memory and Postgres differ at call {at}: {call:?}");
    }
    for player in players {
        player.bed.store.close().await;
    }
}

/// Plays a history on one store.
struct Player {
    bed: Bed,
    incarnations: Vec<i64>,
}

impl Player {
    async fn new(bed: Bed) -> Self {
        let first = bed.store.register("test", TTL).await.unwrap();
        Self { bed, incarnations: vec![first] }
    }

    fn me(&self) -> i64 {
        *self.incarnations.last().unwrap()
    }

    /// Makes a call and tells, as text, all that can be seen of it.
    async fn play(&mut self, call: &Call) -> String {
        self.bed.clock.advance(Duration::from_millis(1));
        let answer = self.answer(call).await;
        format!("{answer}\n{}", self.state().await)
    }

    async fn answer(&mut self, call: &Call) -> String {
        let (me, store) = (self.me(), std::sync::Arc::clone(&self.bed.store));
        match call {
            Call::Takeover => {
                self.bed.expire_leases().await;
                self.succeed(me).await
            }
            Call::Retire => {
                store.retire(me).await.unwrap();
                self.succeed(me).await
            }
            Call::ExpireKeys => {
                self.bed.expire_keys().await;
                // Long enough for leases to end too, where they count on the same clock.
                self.bed.expire_leases().await;
                self.succeed(me).await
            }
            Call::Claim(limit) => self.claim_all(me, *limit).await,
            Call::Batch(steps) => self.batch(me, steps).await,
            Call::Post(thread, key) => self.post(*thread, *key).await,
            Call::Read(thread, after, limit) => {
                format!("{:?}", store.read(&name(*thread), *after, *limit).await)
            }
            Call::Delete(thread) => format!("{:?}", store.delete(&name(*thread), None).await),
            Call::Expire(limit) => self.expire_all(*limit).await,
            Call::SaveWorkflow(name, hash) => {
                let namespace = &namespaces()[usize::from(name / 2)];
                let (name, hash) = (format!("w{}", name % 2), format!("h{hash}"));
                let name = namespace.key(&name);
                format!("{:?}", store.save_workflow(&name, &hash, "{}", AT).await)
            }
            Call::List(kind) => format!("{:?}", self.list(*kind).await),
            Call::Snapshot(thread, seq, kind) => {
                let kind = SnapshotKind::ALL[usize::from(*kind)];
                format!("{:?}", store.save_snapshot(&snapshot(*thread, *seq, kind)).await)
            }
            Call::Begin(begun) => {
                let begun: Vec<Recovery> =
                    begun.iter().map(|(thread, epoch)| recovery(*thread, *epoch)).collect();
                format!("{:?}", store.begin_recoveries(&begun).await)
            }
            Call::EndRecovery(thread, epoch, kind) => {
                let ended = store.end_recovery(&name(*thread), *epoch, &recovered(*kind)).await;
                format!("{ended:?}")
            }
            Call::Tally(hours, counts) => {
                let at = AT.plus(Duration::from_hours(u64::from(*hours)));
                let counts: Vec<(String, u64)> =
                    counts.iter().map(|(name, count)| (format!("n{name}"), *count)).collect();
                format!("{:?}", store.add_tallies(at, &counts).await)
            }
        }
    }

    /// A new incarnation follows `me`, whose lease has ended.
    async fn succeed(&mut self, me: i64) -> String {
        let renewed = self.bed.store.renew(me, TTL).await;
        self.incarnations.push(self.bed.store.register("test", TTL).await.unwrap());
        self.bed.clock.advance(Duration::from_millis(1));
        format!("{renewed:?}")
    }

    /// Claims until nothing is left: which of several due threads come first is open, that all
    /// come is not.
    async fn claim_all(&self, me: i64, limit: usize) -> String {
        let mut claimed = Vec::new();
        loop {
            let more = self.bed.store.claim(me, limit, &[]).await.unwrap();
            assert!(more.len() <= limit);
            if more.is_empty() {
                break;
            }
            claimed.extend(more);
        }
        claimed.sort_by(|a, b| a.thread_id.cmp(&b.thread_id));
        let line = claimed.iter().map(|c| {
            let from = self.ordinal(c.previous_owner);
            format!("{} {} {} {} {from:?}", c.thread_id.as_str(), c.epoch, c.last_seq, c.claims)
        });
        line.collect::<Vec<_>>().join("; ")
    }

    async fn batch(&self, me: i64, steps: &[Step]) -> String {
        let mut batch = Vec::new();
        for step in steps {
            let mut write = self.write(step).await;
            // Alone, as a text that a neighbour brings may do or not.
            if let (Some(Write::Start(start)), [_]) = (&mut write, steps)
                && step.extra.is_multiple_of(2)
            {
                start.definition_text = None;
            }
            batch.extend(write);
        }
        let zombie = steps.iter().any(|step| step.zombie);
        let by = if zombie { self.incarnations[0] } else { me };
        format!("{:?}", self.bed.store.write(by, &batch).await)
    }

    async fn post(&self, thread: u8, key: u8) -> String {
        let message = Message { key: format!("m{key}"), body: Json::null() };
        match self.bed.store.post(&name(thread), &message).await.unwrap() {
            Posted::Stored { owner } => format!("stored {:?}", self.ordinal(owner)),
            other @ (Posted::Duplicate | Posted::Full | Posted::NoThread) => format!("{other:?}"),
        }
    }

    async fn expire_all(&self, limit: usize) -> String {
        let mut gone = 0;
        loop {
            let more = self.bed.store.expire(FUTURE, limit).await.unwrap();
            assert!(more <= limit);
            gone += more;
            if more == 0 {
                return format!("{gone}");
            }
        }
    }

    async fn list(&self, kind: u8) -> Vec<String> {
        let label = ("a".to_owned(), (kind % 3).to_string());
        let filter = ThreadFilter {
            namespace: namespaces()[usize::from(kind % 5 == 4)].clone(),
            status: (kind % 4 == 1).then_some(ThreadStatus::Completed),
            workflow: (kind % 4 == 2).then(|| "w".to_owned()),
            metadata: if kind % 4 == 3 { vec![label] } else { Vec::new() },
            before: (kind > 8).then(|| (AT.plus(Duration::from_millis(3)), id("t2"))),
        };
        let rows = self.bed.store.threads(&filter, usize::from(kind)).await.unwrap();
        rows.iter().map(|row| self.line(row)).collect()
    }

    /// The write that a step stands for: by what the store shows, so mostly one that passes.
    async fn write(&self, step: &Step) -> Option<Write> {
        let (thread, text) = (name(step.thread), IDS[usize::from(step.thread)]);
        let disposition = match step.extra % 4 {
            0 => DUE,
            1 => ASLEEP,
            2 => Disposition::Release { wake_at: Some(FUTURE) },
            _ => Disposition::Keep,
        };
        if step.kind == 0 {
            // Ids with a key are of their own, so that only one of the two can be taken.
            let key = (step.extra > 10).then(|| IdempotencyKey {
                key: key(&thread.namespace(), step.extra % KEYS),
                request_hash: text.to_owned(),
            });
            let at = AT.plus(Duration::from_millis(u64::from(step.extra % 5)));
            let mut begin = start(text, disposition);
            begin.records.at = at;
            begin.definition = format!("h{}", step.extra % 3);
            begin.labels = vec![("a".to_owned(), (step.extra % 3).to_string())];
            if step.extra % 7 == 2 {
                // As a fork begins: with more rows, interventions, and where it comes from.
                begin.more = (2..5).map(|seq| Records { at, ..records(seq, seq) }).collect();
                begin.sides = indexes([intervention(text, &format!("{text}~2"), 1)]);
                begin.labels.push((FORK_LABEL.to_owned(), "t0".to_owned()));
            }
            let taken = self.bed.store.thread(&thread).await.unwrap().is_some();
            let idempotency = if taken { None } else { key };
            return Some(Write::Start(Box::new(Start { idempotency, ..begin })));
        }
        let row = self.bed.store.thread(&thread).await.unwrap()?;
        let (epoch, prev) = (row.epoch + step.epoch_off, row.last_seq + step.prev_off);
        let inbox = self.bed.store.inbox(&thread).await.unwrap();
        let mut write = match step.kind {
            1 => append(text, epoch, prev),
            2 => release(text, epoch, prev, disposition),
            3 => end(text, epoch, prev, ThreadStatus::Completed),
            _ => Append {
                records: Some(records(prev + 1, prev + 3)),
                summary: summary(ThreadStatus::Paused),
                disposition,
                ..append(text, epoch, prev)
            },
        };
        write.progress = step.extra.is_multiple_of(3);
        let taken = inbox.into_iter().take(usize::from(step.extra % 3));
        write.sides = takes(taken.map(|message| (message.key, Json::null())));
        let opened =
            intervention(text, &format!("{text}-{}", step.extra % 4), u64::from(step.extra));
        write.sides.extend(match step.extra % 5 {
            0 => indexes([opened]),
            1 => indexes([opened.clone(), InterventionRow { resolved_at: Some(AT), ..opened }]),
            _ => Vec::new(),
        });
        Some(Write::Append(Box::new(write)))
    }

    /// All that can be seen without a call.
    async fn state(&self) -> String {
        let store = &self.bed.store;
        let mut lines = Vec::new();
        let mut rows = Vec::new();
        for namespace in namespaces() {
            lines.push(format!("{:?}", store.workflows(&namespace, None, 9).await));
            lines.push(format!("{:?}", store.workflows(&namespace, Some("w0"), 9).await));
            lines.push(format!("{:?}", store.durations(&namespace, "w", 9).await));
            for number in 0..KEYS {
                let key = key(&namespace, number);
                lines.push(format!("{:?}", store.by_idempotency_key(&key).await));
            }
            let filter = ThreadFilter { namespace, ..ThreadFilter::default() };
            rows.extend(store.threads(&filter, 99).await.unwrap());
        }
        for row in rows {
            let (thread, last) = (&row.thread_id, row.last_seq);
            let inbox = store.inbox(thread).await.unwrap();
            let journal = store.read(thread, 0, 999).await.unwrap();
            let wrote = store.wrote(thread, last.saturating_sub(1), row.epoch).await.unwrap();
            let answer = store.answer(thread, "m0").await.unwrap();
            lines.push(format!("{} {inbox:?} {journal:?} {wrote} {answer:?}", self.line(&row)));
        }
        lines.push(format!("{:?}", store.mail(self.me()).await));
        for hash in ["h0", "h1", "h2"] {
            lines.push(format!("{:?}", store.definition(hash).await));
        }
        lines.push(self.history().await);
        lines.push(format!("{:?}", store.queued(9).await));
        lines.push(format!("{:?}", store.next_wake().await.unwrap().map(when)));
        lines.join("\n")
    }

    /// All that is known of threads beside their journals.
    async fn history(&self) -> String {
        let store = &self.bed.store;
        let mut lines = Vec::new();
        for thread in (0..THREADS).map(name) {
            for until in [None, Some(2), Some(5)] {
                lines.push(format!("{:?}", store.snapshot(&thread, until).await));
            }
            lines.push(format!("{:?}", store.recoveries(&thread, None, 9).await));
            lines.push(format!("{:?}", store.recoveries(&thread, Some(4), 2).await));
            let of_thread = InterventionFilter {
                namespace: thread.namespace(),
                thread: Some(thread),
                ..InterventionFilter::default()
            };
            lines.push(format!("{:?}", store.interventions(&of_thread, 9).await));
        }
        for (open, namespace) in [None, Some(true), Some(false)]
            .into_iter()
            .flat_map(|open| namespaces().map(|namespace| (open, namespace)))
        {
            let before = Some((AT.plus(Duration::from_millis(8)), "t2-0".to_owned()));
            for before in [None, before] {
                let filter =
                    InterventionFilter { namespace: namespace.clone(), open, before, thread: None };
                lines.push(format!("{:?}", store.interventions(&filter, 3).await));
            }
        }
        lines.push(format!("{:?}", store.intervention("t1-0").await));
        for hours in [0, 2, 40] {
            let since = AT.plus(Duration::from_hours(hours));
            lines.push(format!("{:?}", store.tallies(since).await));
            for namespace in namespaces() {
                lines.push(format!("{:?}", store.recovery_counts(&namespace, since).await));
                lines.push(format!("{:?}", store.intervention_counts(&namespace).await));
            }
        }
        lines.join("\n")
    }

    fn line(&self, row: &ThreadRow) -> String {
        let wake_at = row.wake_at.map(when);
        let row = ThreadRow {
            wake_at: None,
            owner: self.ordinal(row.owner).map_or(0, |at| i64::try_from(at).unwrap() + 1),
            ..row.clone()
        };
        format!("{row:?} {wake_at:?}")
    }

    /// Which of the incarnations this is; the stores number them differently.
    fn ordinal(&self, owner: i64) -> Option<usize> {
        self.incarnations.iter().position(|known| *known == owner)
    }
}

/// A time as far as the stores' clocks agree on it.
fn when(at: Timestamp) -> &'static str {
    if at == FUTURE { "later" } else { "due" }
}

fn name(thread: u8) -> ThreadId {
    id(IDS[usize::from(thread)])
}

fn namespaces() -> [Namespace; 2] {
    [Namespace::default(), Namespace::parse("team").unwrap()]
}

fn key(namespace: &Namespace, number: u8) -> String {
    IdempotencyKey::scoped(namespace, &format!("k{number}"))
}

fn snapshot(thread: u8, seq: u64, kind: SnapshotKind) -> Snapshot {
    Snapshot {
        thread_id: name(thread),
        seq,
        kind,
        version: 1,
        at: AT,
        sha256: "hash".to_owned(),
        state: format!("[{seq}]"),
    }
}

fn recovery(thread: u8, epoch: i64) -> Recovery {
    let cause = usize::try_from(epoch).unwrap() % RecoveryCause::ALL.len();
    Recovery {
        thread_id: name(thread),
        epoch,
        cause: RecoveryCause::ALL[cause],
        previous_owner: epoch + 7,
        replica: "replica".to_owned(),
        from_seq: 3,
        started_at: AT.plus(Duration::from_hours(epoch.cast_unsigned())),
        end: None,
    }
}

fn recovered(kind: u8) -> RecoveryEnd {
    RecoveryEnd {
        strategy: (kind > 0).then_some(RecoveryStrategy::FullRebuild),
        to_seq: (kind > 1).then_some(u64::from(kind)),
        duration_ms: u64::from(kind) * 10,
        result: RecoveryResult::ALL[usize::from(kind)],
        detail: (kind == 1).then(|| "why".to_owned()),
    }
}

fn call() -> impl Strategy<Value = Call> {
    proptest::prop_oneof![
        1 => Just(Call::Takeover),
        1 => Just(Call::Retire),
        5 => (1_usize..4).prop_map(Call::Claim),
        12 => proptest::collection::vec(step(), 1..4).prop_map(batch),
        4 => (0..THREADS, 0_u8..4).prop_map(|(thread, key)| Call::Post(thread, key)),
        2 => (0..THREADS, 0_u64..6, 0_usize..5).prop_map(|(t, a, l)| Call::Read(t, a, l)),
        1 => (0..THREADS).prop_map(Call::Delete),
        1 => (1_usize..3).prop_map(Call::Expire),
        1 => Just(Call::ExpireKeys),
        1 => (0_u8..4, 0_u8..2).prop_map(|(name, hash)| Call::SaveWorkflow(name, hash)),
        2 => (0_u8..16).prop_map(Call::List),
        3 => (0..THREADS, 0_u64..8, 0_u8..3).prop_map(|(t, s, k)| Call::Snapshot(t, s, k)),
        2 => proptest::collection::vec((0..THREADS, 1_i64..6), 0..5).prop_map(Call::Begin),
        2 => (0..THREADS, 1_i64..6, 0_u8..3).prop_map(|(t, e, k)| Call::EndRecovery(t, e, k)),
        2 => (0_u32..60, proptest::collection::vec((0_u8..3, 0_u64..9), 0..4))
            .prop_map(|(hours, counts)| Call::Tally(hours, counts)),
    ]
}

/// A batch holds one write per thread at most.
fn batch(mut steps: Vec<Step>) -> Call {
    steps.sort_by_key(|step| step.thread);
    steps.dedup_by_key(|step| step.thread);
    Call::Batch(steps)
}

fn step() -> impl Strategy<Value = Step> {
    let seldom = proptest::prop_oneof![9 => Just(0_u8), 1 => Just(1_u8)];
    let parts = (0..THREADS, 0_u8..5, seldom.clone(), seldom.clone(), seldom, any::<u8>());
    parts.prop_map(|(thread, kind, epoch, prev, zombie, extra)| Step {
        thread,
        kind,
        epoch_off: i64::from(epoch),
        prev_off: u64::from(prev),
        zombie: zombie == 1,
        extra: extra % 16,
    })
}
