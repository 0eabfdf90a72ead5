//! A database file with several names, with none, and with another file in its place.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::promise::kept_its_promise;
use super::support::flows::chain;
use super::support::{Home, Recorder, Server};

#[tokio::test]
async fn one_server_at_a_time_has_a_file_by_whatever_name() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let server = home.start().await;
    let names = ["rethread.db", "link.db", "hard.db"].map(|name| home.folder.path().join(name));
    std::os::unix::fs::symlink(&names[0], &names[1]).unwrap();
    std::fs::hard_link(&names[0], &names[2]).unwrap();
    std::fs::remove_file(home.folder.path().join("rethread.db.lock")).unwrap();
    for name in &names {
        for command in ["serve", "migrate"] {
            let launch = home.launch().set("DATABASE_URL", &format!("sqlite://{}", name.display()));
            let output = launch.output(&[command]).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("is in use by another process"), "{said}");
        }
    }
    let body = json!({ "workflow": chain(&recorder, &["ok/one"]), "threadId": "t" });
    server.client().run(&body).await;
    assert!(server.sigterm_and_wait().await.success());
    let link = format!("sqlite://{}", names[1].display());
    let server = home.launch().set("DATABASE_URL", &link).start().await;
    kept_its_promise(&server.client(), &recorder, "t").await;
}

/// A server with threads under way, whose file is then taken away: the threads that it has
/// accepted, once it has ended with an error and said so.
async fn taken_away(
    (home, recorder): (&Home, &Recorder),
    take: impl FnOnce(&Path),
) -> (Vec<String>, String) {
    let server = home.start().await;
    let client = server.client();
    let mut accepted = Vec::new();
    let body = |thread: &str| json!({ "workflow": chain(recorder, &["ok/one", "delay/30/two"]), "threadId": thread });
    for number in 0..20 {
        let thread = format!("t{number}");
        client.post("/invoke/async", &body(&thread)).await.expect(202);
        accepted.push(thread);
    }
    take(&home.file());
    let began = tokio::time::Instant::now();
    // Until it is noticed threads may be accepted, and none of them may be missing either.
    loop {
        let thread = format!("t{}", accepted.len());
        let headers = [("content-type", "application/json")];
        let text = body(&thread).to_string();
        match client.attempt("POST", "/invoke/async", &headers, text).await {
            Ok(answer) if answer.status == 202 => accepted.push(thread),
            Ok(answer) => {
                assert_eq!(answer.status, 503);
                break;
            }
            Err(_gone) => break,
        }
    }
    let ended = began.elapsed();
    let (status, log) = server.wait().await;
    assert!(!status.success(), "{status}");
    assert!(ended < Duration::from_secs(3), "{ended:?}");
    (accepted, log)
}

async fn kept(server: &Server, recorder: &Recorder, accepted: &[String]) {
    for thread in accepted {
        kept_its_promise(&server.client(), recorder, thread).await;
    }
}

#[tokio::test]
async fn a_file_that_is_moved_ends_its_server_and_has_all_that_was_accepted() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let other = home.folder.path().join("elsewhere.db");
    let (accepted, log) =
        taken_away((&home, &recorder), |file| std::fs::rename(file, &other).unwrap()).await;
    assert!(log.contains("DATABASE FILE IS GONE") && log.contains("elsewhere.db"), "{log}");
    let output = home.launch().output(&["serve"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is missing: it was moved to") && !home.file().exists(), "{said}");
    std::fs::rename(&other, home.file()).unwrap();
    kept(&home.start().await, &recorder, &accepted).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_ends_its_server_and_has_all_that_was_accepted() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let [copy, kept_aside] = ["copy.db", "aside.db"].map(|name| home.folder.path().join(name));
    home.start().await.sigterm_and_wait().await;
    std::fs::copy(home.file(), &copy).unwrap();
    let replace = |file: &Path| {
        std::fs::hard_link(file, &kept_aside).unwrap();
        std::fs::rename(&copy, file).unwrap();
    };
    let (accepted, log) = taken_away((&home, &recorder), replace).await;
    assert!(log.contains("put it back and start again"), "{log}");
    // What stands in its place is what the operator wants, and is not mixed with the old log.
    let server = home.start().await;
    server.client().get("/threads/t0/status").await.expect(404);
    assert!(server.sigterm_and_wait().await.success());
    std::fs::rename(&kept_aside, home.file()).unwrap();
    kept(&home.start().await, &recorder, &accepted).await;
}

#[tokio::test]
async fn a_file_that_is_deleted_ends_its_server_and_is_not_silently_made_again() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let (_lost, log) =
        taken_away((&home, &recorder), |file| std::fs::remove_file(file).unwrap()).await;
    assert!(log.contains("lost with it"), "{log}");
    let output = home.launch().output(&["serve"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it was deleted while in use") && !home.file().exists(), "{said}");
    std::fs::remove_file(home.folder.path().join("rethread.db.lock")).unwrap();
    home.start().await;
}

#[tokio::test]
async fn an_idle_server_notices_as_well() {
    let home = Home::sqlite().await;
    // No heartbeat looks at the disk in its place.
    let server = home.launch().set("RETHREAD_LEASE", "60s").start().await;
    std::fs::rename(home.file(), home.folder.path().join("elsewhere.db")).unwrap();
    let began = tokio::time::Instant::now();
    let (status, log) = server.wait().await;
    assert!(!status.success() && log.contains("the store has failed"), "{log}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_first_start_that_is_killed_anywhere_leaves_nothing_in_the_way_of_the_next() {
    for millis in (0..).step_by(3) {
        let home = Home::sqlite().await;
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rethread"));
        command.arg("migrate").env_clear().env("DATABASE_URL", &home.url);
        command.current_dir(home.folder.path()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        // The moment of the end is what differs.
        let ended = tokio::time::timeout(Duration::from_millis(millis), child.wait()).await.is_ok();
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        let output = home.launch().output(&["migrate"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "after {millis} ms: {said}");
        if ended {
            break;
        }
    }
}
