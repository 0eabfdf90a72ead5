//! What a server's database role needs.

use std::time::Duration;

use rethread::store::{
    Journal as _, Leases as _, OpenError, PostgresSettings, PostgresStore, WriteOutcome,
};

use crate::support::postgres::TestDatabase;
use crate::support::writes::{DUE, append, appends, keyed, start, starts};

/// A lease that outlasts the test.
const LONG_LEASE: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_and_write_rows_serves_a_migrated_schema() {
    let database = TestDatabase::create().await;
    let role = format!("rows_{}", database.url.rsplit('/').next().unwrap());
    let url = database.url.replace("postgres@", &format!("{role}:rows@"));
    let limited = PostgresSettings { url: url.into(), ..database.settings() };
    let sql = |text: &str| sqlx::AssertSqlSafe(text.replace("{role}", &role));
    let mut admin = database.connect().await;
    sqlx::raw_sql(sql("CREATE ROLE {role} LOGIN PASSWORD 'rows'"))
        .execute(&mut admin)
        .await
        .unwrap();

    let early = PostgresStore::connect(&limited).await;
    assert!(matches!(early, Err(OpenError::Refused(_))), "{early:?}");

    PostgresStore::migrate_up(&database.settings()).await.unwrap();
    sqlx::raw_sql(sql("
        GRANT USAGE ON SCHEMA rethread TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rethread TO {role};
        REVOKE INSERT, UPDATE, DELETE ON rethread._sqlx_migrations FROM {role};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA rethread TO {role}"))
    .execute(&mut admin)
    .await
    .unwrap();
    let store = PostgresStore::connect(&limited).await.unwrap();
    let me = store.register("test", LONG_LEASE).await.unwrap();
    store.write(me, &starts([keyed("t", "k"), start("u", DUE)])).await.unwrap();
    assert_eq!(store.claim(me, 9, &[]).await.unwrap().len(), 2);
    let outcomes = store.write(me, &appends([append("t", 1, 1)])).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Written { mail: 0 }]);
    drop(store);
    let clean_up = "DROP OWNED BY {role}; DROP ROLE {role}";
    sqlx::raw_sql(sql(clean_up)).execute(&mut admin).await.unwrap();
}
