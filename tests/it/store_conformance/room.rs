//! The room that a store takes on its disk.

use std::time::Duration;

use rethread::model::ThreadStatus;
use rethread::store::{Disposition, Records};

use crate::support::beds::{Bed, TTL};
use crate::support::writes::{AT, FUTURE, append, appends, end, start, starts};

/// Threads, and the bytes that each has: enough that a store does not keep the room for later.
const THREADS: usize = 40;
const BYTES: usize = 400 << 10;

pub(super) async fn a_store_that_is_well_takes_writes(bed: Bed) {
    bed.store.register("test", TTL).await.unwrap();
    assert_eq!(bed.store.takes_writes().await, Ok(()));
}

pub(super) async fn room_of_deleted_threads_is_given_back(bed: Bed) {
    let me = bed.store.register("test", TTL).await.unwrap();
    let names: Vec<String> = (0..THREADS).map(|number| format!("t{number}")).collect();
    let made = names.iter().map(|name| start(name, Disposition::Keep));
    bed.store.write(me, &starts(made)).await.unwrap();
    for (name, seed) in names.iter().zip(1..) {
        let events = vec![format!("{{\"data\":\"{}\"}}", noise(seed))];
        let records = Some(Records { first: 2, events, at: AT });
        let last = end(name, 1, 2, ThreadStatus::Completed);
        for append in [rethread::store::Append { records, ..append(name, 1, 1) }, last] {
            bed.store.write(me, &appends([append])).await.unwrap();
        }
    }
    let Some(bed) = bed.reopened().await else { return };
    let full = bed.size().await;
    assert!(full >= u64::try_from(THREADS * BYTES).unwrap(), "{full}");
    while bed.store.expire(FUTURE, THREADS).await.unwrap() > 0 {}
    bed.store.sweep().await.unwrap();
    let mut bed = bed;
    let mut left = full;
    // Postgres counts deleted rows a little later.
    for _ in 0..120 {
        while bed.store.shrink().await.unwrap() {}
        bed = bed.reopened().await.unwrap();
        left = bed.size().await;
        if left * 2 < full {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{left} of {full} bytes are left");
}

/// Text that nothing makes shorter.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(BYTES + 16);
    while text.len() < BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for shift in (0..60).step_by(6) {
            let six = u8::try_from((state >> shift) & 63).unwrap();
            text.push(char::from(b'0' + six));
        }
    }
    text.replace('\\', "~")
}
