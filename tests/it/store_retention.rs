//! Deletion in Postgres, where a statement may take only so long.

use rethread::model::{Json, ThreadStatus};
use rethread::store::{
    Disposition, Inbox as _, Journal as _, Leases as _, Message, Posted, PostgresStore,
    Retention as _, Threads as _,
};
use sqlx::PgConnection;

use crate::support::postgres::TestDatabase;
use crate::support::writes::{FUTURE, append, appends, end, id, start, starts};

/// Cancels, as `statement_timeout` would, what deletes more than four rows of journals at a time, or
/// any row of the thread `stuck`.
const SLOW: &str = "
CREATE FUNCTION rethread.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT count(*) > 4 OR bool_or(thread_id = 'stuck') FROM gone) THEN
        RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER slow AFTER DELETE ON rethread.journal REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION rethread.slow();";

/// The names that a table has rows of.
async fn names(connection: &mut PgConnection, table: &str) -> Vec<String> {
    let sql = format!("SELECT DISTINCT thread_id FROM rethread.{table} ORDER BY 1");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_statement_cannot_delete_goes_in_parts_and_holds_up_no_other() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let me = store.register("test", std::time::Duration::from_mins(10)).await.unwrap();
    let small = (0..9).map(|n| format!("t{n}"));
    let all: Vec<String> = small.chain(["long".to_owned(), "stuck".to_owned()]).collect();
    let made = all.iter().map(|name| start(name, Disposition::Keep));
    store.write(me, &starts(made)).await.unwrap();
    for seq in 1..9 {
        store.write(me, &appends([append("long", 1, seq)])).await.unwrap();
    }
    let last = |name: &String| if name == "long" { 9 } else { 1 };
    let ends = all.iter().map(|name| end(name, 1, last(name), ThreadStatus::Completed));
    store.write(me, &appends(ends)).await.unwrap();
    database.execute(SLOW).await;

    let mut gone = 0;
    loop {
        match store.expire(FUTURE, 200).await.unwrap() {
            0 => break,
            more => gone += more,
        }
    }
    assert_eq!(gone, all.len());
    for name in ["long", "stuck", "t0"] {
        let message = Message { key: "m".to_owned(), body: Json::null() };
        assert_eq!(store.thread(&id(name)).await, Ok(None));
        assert_eq!(store.read(&id(name), 0, 9).await, Ok(vec![]));
        assert_eq!(store.post(&id(name), &message).await, Ok(Posted::NoThread));
    }
    let mut rows = database.connect().await;
    assert_eq!(names(&mut rows, "journal").await, ["long", "stuck"]);
    store.sweep().await.unwrap();
    assert_eq!(names(&mut rows, "journal").await, ["stuck"]);
    assert_eq!(names(&mut rows, "threads").await, ["stuck"]);
    database.execute("DROP TRIGGER slow ON rethread.journal").await;
    store.sweep().await.unwrap();
    assert!(names(&mut rows, "threads").await.is_empty());
}
