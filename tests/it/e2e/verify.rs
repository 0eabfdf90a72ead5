//! `rethread verify` names what is damaged, and leaves a healthy store and its server in peace.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::{ConnectOptions, Connection};

use super::poison;
use super::support::flows::{chain, hanging};
use super::support::{Home, Recorder, Server, eventually, on_stores};

on_stores!([sqlite, postgres] [
    a_healthy_store_passes_beside_its_server_and_after_it,
    whatever_is_damaged_is_named_and_the_rest_is_not,
    damaged_snapshots_are_named,
    an_index_of_interventions_that_is_wrong_is_named,
    a_schema_that_is_not_ours_is_refused,
    an_event_of_a_newer_kind_is_left_for_a_newer_server,
]);

/// Runs statements beside the server; `@` stands before a table.
pub(super) async fn execute(home: &Home, sqlite: &str, postgres: &str) {
    if home.store() == "sqlite" {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.file());
        let mut file = options.connect().await.unwrap();
        let sql = sqlx::AssertSqlSafe(sqlite.replace('@', ""));
        sqlx::raw_sql(sql).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
    } else {
        let mut database = sqlx::PgConnection::connect(&home.url).await.unwrap();
        let sql = sqlx::AssertSqlSafe(postgres.replace('@', "rethread."));
        sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    }
}

/// Counts beside the server.
pub(super) async fn count(home: &Home, sql: &str) -> i64 {
    if home.store() == "sqlite" {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.file());
        let mut file = options.read_only(true).connect().await.unwrap();
        let sql = sqlx::AssertSqlSafe(sql.replace('@', ""));
        sqlx::query_scalar(sql).fetch_one(&mut file).await.unwrap()
    } else {
        let mut database = sqlx::PgConnection::connect(&home.url).await.unwrap();
        let sql = sqlx::AssertSqlSafe(sql.replace('@', "rethread."));
        sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap()
    }
}

/// Runs the check: its exit code, and what it said.
pub(super) async fn verify(home: &Home) -> (Option<i32>, String) {
    let output = home.launch().output(&["verify"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
}

async fn filled(home: &Home, recorder: &Recorder, threads: &[&str]) -> Server {
    // Snapshots as often as there may be any.
    let server = home.launch().set("RETHREAD_SNAPSHOT_EVERY", "1").start().await;
    for thread in threads {
        let workflow = chain(recorder, &["ok/one", "ok/two", "ok/three"]);
        server.client().run(&json!({ "workflow": workflow, "threadId": thread })).await;
    }
    server
}

async fn a_healthy_store_passes_beside_its_server_and_after_it(home: Home) {
    let recorder = Recorder::start().await;
    let server = filled(&home, &recorder, &["a", "b"]).await;
    let client = server.client();
    client.post("/workflows", &chain(&recorder, &["ok/one"])).await.expect(201);
    let body = json!({ "workflow": hanging(&recorder, "hold"), "threadId": "c" });
    client.post("/invoke/async", &body).await.expect(202);
    let fails = chain(&recorder, &["status/400"]);
    client.post("/invoke/async", &json!({ "workflow": fails, "threadId": "d" })).await.expect(202);
    client.ended("d").await;
    recorder.reached("hold", 1).await;
    // Threads move while they are looked at.
    let busy = async {
        for number in 0..12 {
            let workflow = chain(&recorder, &["ok/one", "fail/1/two", "big/2000/x", "ok/three"]);
            client.run(&json!({ "workflow": workflow, "threadId": format!("m{number}") })).await;
        }
    };
    let checks = async {
        for _ in 0..3 {
            let (code, said) = verify(&home).await;
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains(" 0 bad") && !said.contains("checked 0 threads"), "{said}");
        }
    };
    tokio::join!(busy, checks);
    recorder.release("hold");
    client.completed("c").await;
    server.kill9().await;
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("checked 16 threads"), "{said}");
    home.start().await.client().completed("a").await;
}

async fn whatever_is_damaged_is_named_and_the_rest_is_not(home: Home) {
    let recorder = Recorder::start().await;
    let threads = ["byte", "gap", "tail", "summary", "orphan", "other", "hash", "fine"];
    let server = filled(&home, &recorder, &threads).await;
    let extra = json!({ "name": "x", "steps": [
        { "id": "s", "kind": "transform", "with": { "jq": "1", "from": null } }
    ]});
    server.client().run(&json!({ "workflow": extra, "threadId": "plan" })).await;
    assert!(server.sigterm_and_wait().await.success());
    let shared = "
        DELETE FROM @journal WHERE thread_id = 'gap'
            AND seq = (SELECT min(seq) FROM @journal WHERE thread_id = 'gap' AND first_seq > 1);
        DELETE FROM @journal WHERE thread_id = 'tail'
            AND seq = (SELECT max(seq) FROM @journal WHERE thread_id = 'tail');
        DELETE FROM @threads WHERE thread_id = 'none';
        UPDATE @journal SET thread_id = 'moved' WHERE thread_id = 'orphan';
        UPDATE @journal SET thread_id = 'orphan' WHERE thread_id = 'other';
        UPDATE @threads SET request_hash = 'x' WHERE thread_id = 'hash';";
    let sqlite = "
        UPDATE journal SET payload = CAST(substr(payload, 1, 40) || 'X' || substr(payload, 42)
            AS BLOB) WHERE thread_id = 'byte' AND first_seq > 1;
        UPDATE threads SET summary = CAST(replace(CAST(summary AS TEXT), '\"completed\":3',
            '\"completed\":2') AS BLOB) WHERE thread_id = 'summary';
        UPDATE definitions SET text = CAST(replace(CAST(text AS TEXT), '\"x\"', '\"y\"') AS BLOB);";
    let postgres = "
        UPDATE @journal SET payload = set_byte(payload, 40, 88)
            WHERE thread_id = 'byte' AND first_seq > 1;
        UPDATE @threads SET summary = convert_to(replace(convert_from(summary, 'UTF8'),
            '\"completed\":3', '\"completed\":2'), 'UTF8') WHERE thread_id = 'summary';
        UPDATE @definitions SET text =
            convert_to(replace(convert_from(text, 'UTF8'), '\"x\"', '\"y\"'), 'UTF8');";
    execute(&home, &format!("{shared}{sqlite}"), &format!("{shared}{postgres}")).await;
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(1), "{said}");
    for (subject, what) in [
        ("thread byte, seq", "checksum"),
        ("thread gap, seq", "missing"),
        ("thread tail, seq", "missing"),
        ("thread summary:", "is not what its events say"),
        ("thread orphan, seq 1:", "event of thread other"),
        ("thread other, seq 1:", "missing"),
        ("thread moved:", "its row is missing"),
        ("thread plan:", "definition"),
        ("definition ", "its text has the hash"),
    ] {
        let named = said.lines().any(|line| line.contains(subject) && line.contains(what));
        assert!(named, "{subject} {what} in {said}");
    }
    assert!(!said.contains("thread fine") && !said.contains("thread hash"), "{said}");
    assert!(said.contains("checked 9 threads"), "{said}");
}

/// Whether a line says this of that.
#[track_caller]
fn says(said: &str, subject: &str, what: &str) {
    let named = said.lines().any(|line| line.contains(subject) && line.contains(what));
    assert!(named, "{subject} {what} in {said}");
}

async fn damaged_snapshots_are_named(home: Home) {
    let recorder = Recorder::start().await;
    let server = home.launch().set("RETHREAD_SNAPSHOT_EVERY", "1").start().await;
    let client = server.client();
    let workflow = chain(&recorder, &["big/3000/x", "big/3000/x", "ok/end"]);
    for thread in ["bytes", "version", "other", "beyond", "state", "lost", "fine"] {
        let input = json!({ "of": thread });
        client.run(&json!({ "workflow": workflow, "threadId": thread, "input": input })).await;
    }
    let with_snapshots = "SELECT count(DISTINCT thread_id) FROM @snapshots";
    eventually("each has a snapshot", async || {
        (count(&home, with_snapshots).await == 7).then_some(())
    })
    .await;
    assert!(server.sigterm_and_wait().await.success());
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(0), "{said}");
    let one_each = "DELETE FROM @snapshots AS s WHERE seq <
        (SELECT max(seq) FROM @snapshots AS newer WHERE newer.thread_id = s.thread_id)";
    execute(&home, one_each, one_each).await;

    // A state that could be, with its right checksum, and is not what has happened.
    let text =
        super::damage::bytes(&home, "SELECT state FROM @snapshots WHERE thread_id = 'state'").await;
    let text = String::from_utf8(text).unwrap();
    let lie = text.replace("state\\\"}", "stale\\\"}");
    assert_ne!(lie, text);
    let sha256 = rethread::model::hex(&Sha256::digest(&lie));
    let shared = format!(
        "UPDATE @snapshots SET version = 99 WHERE thread_id = 'version';
         UPDATE @snapshots SET seq = seq - 1 WHERE thread_id = 'other';
         UPDATE @snapshots SET thread_id = 'gone' WHERE thread_id = 'lost';
         UPDATE @snapshots SET sha256 = '{sha256}' WHERE thread_id = 'state';
         DELETE FROM @journal WHERE thread_id = 'beyond'
            AND seq >= (SELECT max(seq) FROM @snapshots WHERE thread_id = 'beyond');
         UPDATE @threads SET last_seq = (SELECT max(seq) FROM @journal WHERE thread_id = 'beyond')
            WHERE thread_id = 'beyond';"
    );
    let sqlite = format!(
        "{shared} UPDATE snapshots SET state = CAST('{lie}' AS BLOB) WHERE thread_id = 'state';
         UPDATE snapshots SET state = CAST(substr(state, 1, 40) || 'X' || substr(state, 42) AS BLOB)
            WHERE thread_id = 'bytes';"
    );
    let postgres = format!(
        "{shared}
         UPDATE @snapshots SET state = convert_to('{lie}', 'UTF8') WHERE thread_id = 'state';
         UPDATE @snapshots SET state = set_byte(state, 40, 88) WHERE thread_id = 'bytes';"
    );
    execute(&home, &sqlite, &postgres).await;
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(1), "{said}");
    for (subject, what) in [
        ("thread bytes, seq", "its snapshot can't be used: its checksum"),
        ("thread version, seq", "its snapshot can't be used: its version 99"),
        ("thread other, seq", "its snapshot can't be used: it is of event"),
        ("thread beyond, seq", "its snapshot is beyond the head of the journal"),
        ("thread state, seq", "its snapshot is not what its events say"),
        ("thread gone:", "it has snapshots, and its row is missing"),
    ] {
        says(&said, subject, what);
    }
    for subject in ["thread fine", "thread lost"] {
        assert!(!said.contains(subject), "{said}");
    }
    // The journal's end is missing, and so its row is wrong as well: all else is one line each.
    assert!(said.contains(" 7 bad"), "{said}");
}

async fn an_index_of_interventions_that_is_wrong_is_named(home: Home) {
    let server = poison::launch(&home).start().await;
    poison::feed(&server.client(), &poison::poison("/nowhere")).await;
    let (server, _) = poison::until_paused(&home, server, "poison").await;
    let recorder = Recorder::start().await;
    let workflow = chain(&recorder, &["ok/one"]);
    server.client().run(&json!({ "workflow": workflow, "threadId": "fine" })).await;
    assert!(server.sigterm_and_wait().await.success());
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(0), "{said}");

    let set = "UPDATE @interventions SET";
    for (damage, repair, subject, what) in [
        (
            "resolved_at = 1",
            "resolved_at = NULL",
            "thread poison:",
            "resolved in the index, and open",
        ),
        ("opened_at = opened_at + 1", "opened_at = opened_at - 1", "thread poison:", "is not what"),
        ("id = id || 'x'", "id = substr(id, 1, length(id) - 1)", "thread poison:", "is missing in"),
        (
            "id = id || 'x'",
            "id = substr(id, 1, length(id) - 1)",
            "thread poison:",
            "no event opened",
        ),
        ("thread_id = 'fine'", "thread_id = 'poison'", "thread fine:", "no event opened it"),
        ("thread_id = 'none'", "thread_id = 'poison'", "thread none:", "it has interventions, and"),
    ] {
        let (damage, repair) = (format!("{set} {damage}"), format!("{set} {repair}"));
        execute(&home, &damage, &damage).await;
        let (code, said) = verify(&home).await;
        assert_eq!(code, Some(1), "{said}");
        says(&said, subject, what);
        execute(&home, &repair, &repair).await;
    }
    let lost = "UPDATE @recoveries SET thread_id = 'lost' WHERE thread_id = 'poison'";
    execute(&home, lost, lost).await;
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(1), "{said}");
    says(&said, "thread lost:", "it has recoveries, and its row is missing");
    assert!(said.contains(" 1 bad"), "{said}");
}

async fn a_schema_that_is_not_ours_is_refused(home: Home) {
    if home.store() == "postgres" {
        let (code, said) = verify(&home).await;
        assert!(code == Some(1) && said.contains("migrate"), "{said}");
    } else {
        let (code, said) = verify(&home).await;
        assert!(code == Some(1) && said.contains("rethread.db"), "{said}");
        assert!(!home.file().exists(), "it made a file");
    }
    assert!(home.launch().output(&["migrate"]).await.status.success());
    let columns = "(version, description, success, checksum, execution_time)";
    let sqlite =
        format!("INSERT INTO _sqlx_migrations {columns} VALUES (9000, 'later', true, x'00', 0)");
    let postgres =
        format!("INSERT INTO @_sqlx_migrations {columns} VALUES (9000, 'later', true, '', 0)");
    execute(&home, &sqlite, &postgres).await;
    for command in ["serve", "verify"] {
        let output = home.launch().output(&[command]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("9000") && said.contains("newer than this server"), "{said}");
    }
}

async fn an_event_of_a_newer_kind_is_left_for_a_newer_server(home: Home) {
    let recorder = Recorder::start().await;
    let server = filled(&home, &recorder, &[]).await;
    let client = server.client();
    let body = json!({ "workflow": hanging(&recorder, "hold"), "threadId": "newer" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("hold", 1).await;
    let events = client.events("newer").await;
    server.kill9().await;
    let seq = events.len() + 1;
    let event = format!(
        "{{\"type\":\"step_teleported\",\"threadId\":\"newer\",\"seq\":{seq},\"stepId\":\"s\",\
         \"attempt\":1,\"at\":\"2026-01-01T00:00:00.000Z\",\"data\":{{}}}}"
    );
    let crc = crc32fast::hash(event.as_bytes()).cast_signed();
    let insert = |payload: &str| {
        format!(
            "INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
                 SELECT 'newer', {seq}, {seq}, max(epoch), max(at), {crc}, {payload}
                 FROM @journal WHERE thread_id = 'newer';
             UPDATE @threads SET last_seq = {seq} WHERE thread_id = 'newer';"
        )
    };
    let sqlite = insert(&format!("CAST('{event}' AS BLOB)"));
    let postgres = insert(&format!("convert_to('{event}', 'UTF8')"));
    execute(&home, &sqlite, &postgres).await;

    let server = home.start().await;
    let client = server.client();
    eventually("it says why it does not go on", async || {
        server.log().contains("step_teleported").then_some(())
    })
    .await;
    // Released, neither failed nor gone on with; what it holds is still read.
    let given_back = format!(
        "SELECT count(*) FROM @threads WHERE thread_id = 'newer' AND owner = 0
         AND wake_at IS NOT NULL AND status = 'running' AND last_seq = {seq}"
    );
    eventually("it is given back", async || (count(&home, &given_back).await == 1).then_some(()))
        .await;
    let all = client.events("newer").await;
    assert_eq!((all.len(), &all[..events.len()]), (seq, &events[..]));
    assert_eq!(all[seq - 1], event);
    assert_eq!(recorder.count("newer/s"), 1);
    // The server goes on with everything else.
    let workflow = chain(&recorder, &["ok/one"]);
    client.run(&json!({ "workflow": workflow, "threadId": "other" })).await;
    let (code, said) = verify(&home).await;
    assert!(code == Some(1) && said.contains("not known to this version"), "{said}");
    // A newer server finds it due: here the event is taken back instead.
    assert!(server.sigterm_and_wait().await.success());
    let undo = format!(
        "DELETE FROM @journal WHERE thread_id = 'newer' AND seq = {seq};
         UPDATE @threads SET last_seq = {seq} - 1, wake_at = 1 WHERE thread_id = 'newer';"
    );
    execute(&home, &undo, &undo).await;
    let server = home.start().await;
    recorder.release("hold");
    server.client().completed("newer").await;
}
