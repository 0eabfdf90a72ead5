//! The database can't be reached at the start: another store stands in, and what it took goes home.

use std::path::PathBuf;

use serde_json::{Value, json};
use sqlx::Connection;

use super::poison;
use super::promise::kept_its_promise;
use super::support::flows::chain;
use super::support::proxy::{Path, Proxy};
use super::support::{Client, Home, Recorder, Server};
use super::verify::verify;

/// A way to a database that nobody reaches yet.
async fn cut(home: &Home) -> (Proxy, String) {
    let (proxy, through) = super::operations::way_to(home).await;
    proxy.set(Path::Closed);
    (proxy, through)
}

async fn on_fallback(home: &Home, through: &str, store: &str) -> Server {
    let launch = home.launch().set("DATABASE_URL", through).set("RETHREAD_FALLBACK", store);
    let server = launch.start().await;
    assert!(server.log().contains("RUNNING ON THE FALLBACK"), "{}", server.log());
    server
}

/// The files that begin like the fallback file, by what follows.
fn files(home: &Home) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let names = std::fs::read_dir(home.folder.path()).unwrap().map(name);
    let ends = names.filter_map(|name| {
        name.strip_prefix("rethread-fallback.db")
            .map(|end| end.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
    });
    let mut ends: Vec<_> = ends.filter(|end| end != ".lock").collect();
    ends.sort();
    ends
}

fn fallback_file(home: &Home) -> PathBuf {
    home.folder.path().join("rethread-fallback.db")
}

fn keyed(key: &str) -> [(&str, &str); 2] {
    [("content-type", "application/json"), ("idempotency-key", key)]
}

async fn invoke(client: &Client, workflow: &Value, thread: &str) {
    let body = json!({ "workflow": workflow, "threadId": thread });
    client.post("/invoke/async", &body).await.expect(202);
}

#[tokio::test]
async fn work_is_taken_while_the_database_is_away_and_goes_home_when_it_is_back() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (proxy, through) = cut(&home).await;
    let server = on_fallback(&home, &through, "sqlite").await;
    let client = server.client();

    let health = client.get("/health").await.expect(200).json();
    assert_eq!(health["status"], "degraded", "{health:#}");
    let check = &health["checks"]["storage"];
    assert_eq!(check["status"], "degraded");
    assert!(check["recommendation"].as_str().unwrap().contains("restart"), "{check}");
    let store = client.get("/health/checkpointer").await.expect(200).json();
    let shown = (&store["backend"], &store["fallback"], &store["durable"], &store["status"]);
    let expected = (&json!("sqlite"), &json!("sqlite"), &json!(true), &json!("degraded"));
    assert_eq!(shown, expected);
    client.get("/health/ready").await.expect(200);

    invoke(&client, &chain(&recorder, &["ok/one", "ok/two"]), "done").await;
    client.completed("done").await;
    invoke(&client, &chain(&recorder, &["ok/one", "wait/two", "ok/three"]), "open").await;
    let sleeper = json!({ "name": "sleeper", "steps": [
        { "id": "s", "kind": "sleep", "with": { "for": "1h" } }
    ]});
    invoke(&client, &sleeper, "asleep").await;
    let stored = chain(&recorder, &["ok/stored"]);
    client.post("/workflows", &stored).await.expect(201);
    let body = json!({ "workflow": "chain" }).to_string();
    let answer = client.send("POST", "/invoke/async", &keyed("k1"), body.clone()).await;
    let made = answer.expect(202).json()["threadId"].as_str().unwrap().to_owned();
    client.completed(&made).await;
    recorder.reached("two", 2).await;
    client.until("asleep", "sleeps", |document| document["steps"][0]["status"] == "waiting").await;
    let names = ["done", "open", "asleep", &made];
    let mut before = Vec::new();
    for name in names {
        before.push(client.events(name).await);
    }
    server.kill9().await;

    proxy.set(Path::Open);
    let server = home.launch().set("DATABASE_URL", &through).start().await;
    let client = server.client();
    let store = client.get("/health/checkpointer").await.expect(200).json();
    let shown = (&store["backend"], &store["fallback"], &store["status"]);
    assert_eq!(shown, (&json!("postgres"), &Value::Null, &json!("healthy")));
    for (name, before) in names.iter().zip(&before) {
        let after = client.events(name).await;
        assert_eq!(after[..before.len()], before[..], "{name}");
    }
    // A reader goes on where it was.
    let last = before[1].len().to_string();
    let mut stream = client.stream("/stream/open", &[("last-event-id", &last)]).await;
    recorder.reached("two", 3).await;
    recorder.release("two");
    stream.wait_for("workflow_complete").await;
    kept_its_promise(&client, &recorder, "open").await;
    assert_eq!(client.status("asleep").await["steps"][0]["status"], "waiting");
    let again = client.send("POST", "/invoke/async", &keyed("k1"), body).await.expect(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json()["threadId"], json!(made));
    assert_eq!(client.get("/workflows/chain").await.expect(200).json()["version"], json!(1));
    assert_eq!(recorder.count("done/s0"), 1);
    assert_eq!(files(&home), [".moved-"]);
    assert!(server.sigterm_and_wait().await.success());
    let checked = home.launch().output(&["verify"]).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test]
async fn a_move_that_was_broken_off_is_finished_and_doubles_nothing() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (_proxy, through) = cut(&home).await;
    let server = on_fallback(&home, &through, "sqlite").await;
    for number in 0..6 {
        let (client, thread) = (server.client(), format!("t{number}"));
        invoke(&client, &chain(&recorder, &["ok/one"]), &thread).await;
        client.completed(&thread).await;
    }
    invoke(&server.client(), &chain(&recorder, &["wait/hold"]), "open").await;
    recorder.reached("hold", 1).await;
    assert!(server.sigterm_and_wait().await.success());
    let copy = home.folder.path().join("copy");
    std::fs::copy(fallback_file(&home), &copy).unwrap();

    let server = home.start().await;
    recorder.reached("hold", 2).await;
    let events = server.client().events("open").await;
    server.kill9().await;
    // As if it had been killed after some of them, before the file got its new name.
    let mut beside = sqlx::PgConnection::connect(&home.url).await.unwrap();
    let undo = "DELETE FROM rethread.threads WHERE thread_id IN ('t4', 't5')";
    sqlx::raw_sql(undo).execute(&mut beside).await.unwrap();
    std::fs::rename(&copy, fallback_file(&home)).unwrap();

    let server = home.start().await;
    let client = server.client();
    let list = client.get("/threads?limit=50").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 7);
    assert_eq!(client.events("open").await[..events.len()], events[..]);
    recorder.release("hold");
    for thread in ["t0", "t4", "t5", "open"] {
        kept_its_promise(&client, &recorder, thread).await;
    }
    assert_eq!(files(&home), [".moved-", ".moved-"]);
    // Nothing is left to be moved.
    server.sigterm_and_wait().await;
    assert!(!home.start().await.log().contains("fallback"));
}

#[tokio::test]
async fn what_cannot_go_home_is_named_and_kept() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let server = home.start().await;
    invoke(&server.client(), &chain(&recorder, &["ok/one"]), "twice").await;
    server.client().completed("twice").await;
    let stored = chain(&recorder, &["ok/first"]);
    server.client().post("/workflows", &stored).await.expect(201);
    let events = server.client().events("twice").await;
    server.sigterm_and_wait().await;

    let (_proxy, through) = cut(&home).await;
    let server = on_fallback(&home, &through, "sqlite").await;
    for thread in ["twice", "damaged", "fine"] {
        invoke(&server.client(), &chain(&recorder, &["ok/other"]), thread).await;
        server.client().completed(thread).await;
    }
    let stored = chain(&recorder, &["ok/second"]);
    server.client().post("/workflows", &stored).await.expect(201);
    server.sigterm_and_wait().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(fallback_file(&home));
    let mut file = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let damage = "UPDATE journal SET crc = crc + 1 WHERE thread_id = 'damaged' AND first_seq > 1";
    sqlx::raw_sql(damage).execute(&mut file).await.unwrap();
    file.close().await.unwrap();

    let server = home.start().await;
    let client = server.client();
    assert_eq!(client.events("twice").await, events);
    client.completed("fine").await;
    client.get("/status/damaged").await.expect(404);
    let log = server.log();
    for thread in ["twice", "damaged"] {
        let named = log.lines().any(|line| line.contains("left behind") && line.contains(thread));
        assert!(named, "{thread} in {log}");
    }
    assert!(log.contains("LEFT BEHIND"), "{log}");
    assert_eq!(files(&home), [".conflicts-"]);
    // What was stored last is the newest.
    let newest = client.get("/workflows/chain").await.expect(200).json();
    assert_eq!(newest["version"], json!(2));
    assert!(newest.to_string().contains("ok/second"), "{newest}");
}

#[tokio::test]
async fn what_waits_for_a_person_goes_home_with_its_thread() {
    let home = Home::postgres().await;
    let file = format!("sqlite://{}", fallback_file(&home).display());
    let mercy = home.folder.path().join("mercy");
    // The file alone, as a fallback has it: a start that waits for the database first takes long.
    let away = Home { folder: home.folder, url: file };
    let server = poison::launch(&away).start().await;
    let workflow = poison::poison(mercy.to_str().unwrap());
    poison::feed(&server.client(), &workflow).await;
    let (server, _) = poison::until_paused(&away, server, "poison").await;
    let open = "/interventions?status=open";
    let before = server.client().get(open).await.expect(200).json();
    assert_eq!(before["items"][0]["threadId"], "poison", "{before:#}");
    assert!(server.sigterm_and_wait().await.success());

    let home = Home { folder: away.folder, url: home.url };
    let server = poison::launch(&home).start().await;
    let client = server.client();
    assert_eq!(files(&home), [".moved-"]);
    assert_eq!(client.get(open).await.expect(200).json(), before);
    assert_eq!(client.get("/stats").await.expect(200).json()["interventions"]["open"], 1);
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(&mercy, "").unwrap();
    client.post("/threads/poison/resume", &json!({ "reason": "mended" })).await.expect(202);
    client.completed("poison").await;
    assert_eq!(client.get(open).await.expect(200).json()["items"], json!([]));
    let resolved = client.get("/interventions?status=resolved").await.expect(200).json();
    assert_eq!(resolved["items"][0]["id"], before["items"][0]["id"]);
}

#[tokio::test]
async fn memory_may_stand_in_and_says_that_nothing_survives() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (_proxy, through) = cut(&home).await;
    let server = on_fallback(&home, &through, "memory").await;
    let client = server.client();
    let store = client.get("/health/checkpointer").await.expect(200).json();
    let shown = (&store["backend"], &store["fallback"], &store["durable"], &store["status"]);
    let expected = (&json!("memory"), &json!("memory"), &json!(false), &json!("degraded"));
    assert_eq!(shown, expected);
    let health = client.get("/health").await.expect(200).json();
    assert_eq!(health["status"], "degraded");
    client.run(&json!({ "workflow": chain(&recorder, &["ok/one"]) })).await;
    assert_eq!(files(&home), Vec::<String>::new());
}

#[tokio::test]
async fn a_database_that_answers_and_says_no_has_no_stand_in() {
    let home = Home::postgres().await;
    assert!(home.launch().output(&["migrate"]).await.status.success());
    let fails = async |url: &str, word: &str| {
        let launch = home.launch().set("DATABASE_URL", url).set("RETHREAD_FALLBACK", "sqlite");
        let output = launch.output(&["serve"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(word) && !said.contains("RUNNING ON"), "{said}");
    };
    fails(&format!("{}_none", home.url), "refuses").await;
    let mut beside = sqlx::PgConnection::connect(&home.url).await.unwrap();
    let newer = "INSERT INTO rethread._sqlx_migrations
                 (version, description, success, checksum, execution_time)
                 VALUES (9000, 'later', true, '', 0)";
    sqlx::raw_sql(newer).execute(&mut beside).await.unwrap();
    fails(&home.url, "newer than this server").await;
    assert_eq!(files(&home), Vec::<String>::new());
}
