//! Programs of `exec` steps take no more than they were given, and leave nothing behind.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::flows::{flow, step};
use super::support::{Client, Home, Server, dead, eventually};

/// A key of the server's, which no program may see.
const KEY: &str = "0123456789abcdef-the-key";
/// A secret of the server's.
const SECRET: &str = "the-secret-of-the-server";

#[tokio::test]
async fn a_variable_that_loads_other_code_is_refused_where_it_stands() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_EXEC_ALLOW", "env").start().await;
    let client = server.client();
    let give =
        |name: &str| json!({ "kind": "exec", "with": { "program": "env", "env": { name: "x" } } });
    for name in
        ["BASH_ENV", "LD_AUDIT", "PYTHONHOME", "GIT_SSH_COMMAND", "PATH", "A-B", "{input.n}"]
    {
        let mut steps = json!([give("MINE"), give(name)]);
        (steps[0]["id"], steps[1]["id"]) = (json!("a"), json!("b"));
        steps[0]["fallback"] = give(name);
        let answer = client.post("/invoke/async", &json!({ "workflow": flow(&steps) })).await;
        let pointers = [
            format!("/workflow/steps/0/fallback/with/env/{name}"),
            format!("/workflow/steps/1/with/env/{name}"),
        ];
        assert_eq!(answer.expect(400).pointers(), pointers, "{name}");
    }
    assert_eq!(client.get("/threads").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_variable_that_came_as_data_is_refused_as_well() {
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_EXEC_ALLOW", "env");
    let server = launch.set("RETHREAD_EXEC_ENV", "HOME,GIT_AUTHOR_*").start().await;
    let client = server.client();
    let steps = json!([{ "id": "s", "kind": "exec",
        "with": { "program": "env", "env": "{input}", "parse": "lines" } }]);
    for (name, passes) in [
        ("NODE_OPTIONS", false),
        ("IFS", false),
        ("MINE", true),
        ("HOME", true),
        ("GIT_AUTHOR_NAME", true),
    ] {
        let status = client.run(&json!({ "workflow": flow(&steps), "input": { name: "x" } })).await;
        let lines = step(&status, "s")["output"]["stdout"].as_array().cloned().unwrap_or_default();
        assert_eq!(lines.contains(&json!(format!("{name}=x"))), passes, "{name}: {status:#}");
        let code = if passes { Value::Null } else { json!("invalid_configuration") };
        assert_eq!(status["error"]["code"], code, "{name}");
    }
}

/// One step that runs a script; the shell is on the list of allowed programs here.
fn script(text: &str) -> Value {
    json!({ "id": "s", "kind": "exec", "retry": { "maxAttempts": 1 }, "continueOnError": true,
            "with": { "program": "sh", "args": ["-c", text] } })
}

/// Runs a script; gives its step.
async fn run(client: &Client, text: &str) -> Value {
    let status = client.run(&json!({ "workflow": flow(&json!([script(text)])) })).await;
    step(&status, "s").clone()
}

/// What a script that ended well wrote, a line each.
async fn lines(client: &Client, text: &str) -> Vec<String> {
    let done = run(client, text).await;
    assert_eq!(done["status"], "completed", "{text}: {done:#}");
    done["output"]["stdout"].as_str().unwrap().lines().map(str::to_owned).collect()
}

async fn shell(home: &Home) -> Server {
    home.launch().set("RETHREAD_EXEC_ALLOW", "sh").start().await
}

#[tokio::test]
async fn a_program_sees_nothing_of_what_the_server_was_told() {
    let home = Home::memory().await;
    let launch =
        home.launch().set("RETHREAD_EXEC_ALLOW", "sh").set("RETHREAD_SECRET_TOKEN", SECRET);
    let server = launch.set("RETHREAD_API_KEYS", &format!("ops:{KEY}")).start().await;
    let client = server.client().with_key(KEY);
    for pid in [server.id().to_string(), "$PPID".to_owned()] {
        let text = format!(
            "for f in environ cmdline maps auxv; do cat /proc/{pid}/$f 2>/dev/null; done;
             cat /proc/{pid}/fd/* 2>/dev/null </dev/null; true"
        );
        let seen = run(&client, &text).await.to_string();
        for hidden in [KEY, SECRET, "RETHREAD_API_KEYS", "RETHREAD_SECRET"] {
            assert!(!seen.contains(hidden), "{hidden} of {pid}: {seen}");
        }
        let text = format!("head -c 0 /proc/{pid}/mem 2>/dev/null && echo open; true");
        assert_eq!(lines(&client, &text).await, [""; 0], "the memory of {pid} can be opened");
    }
    // What anybody who may look sees: the process itself has it no more.
    for file in ["environ", "cmdline"] {
        let shown = std::fs::read(format!("/proc/{}/{file}", server.id())).unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains(KEY) && !shown.contains(SECRET), "{file}: {shown}");
    }
}

#[tokio::test]
async fn secrets_come_from_files_and_not_from_two_places() {
    let home = Home::memory().await;
    let file = |name: &str, text: &str| {
        let path = home.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let keys = file("keys", &format!("# keys\nops:{KEY}\n"));
    let (token, url) = (file("token", &format!("{SECRET}\n")), file("url", "memory:\n"));
    let launch = home.launch().set("DATABASE_URL", "").set("DATABASE_URL_FILE", &url);
    let launch = launch.set("RETHREAD_API_KEYS_FILE", &keys).set("RETHREAD_EXEC_ALLOW", "sh");
    let server = launch.set("RETHREAD_SECRET_TOKEN_FILE", &token).start().await;
    server.client().get("/threads").await.expect(401);
    let client = server.client().with_key(KEY);
    let mut step = script("printf %s \"$T\" | wc -c");
    step["with"]["env"] = json!({ "T": "{secrets.TOKEN}" });
    let status = client.run(&json!({ "workflow": flow(&json!([step])) })).await;
    let length = format!("{}\n", SECRET.len());
    assert_eq!(status["steps"][0]["output"]["stdout"], length, "{status:#}");

    let launch = home.launch().set("RETHREAD_SECRET_TOKEN", SECRET);
    let refused = launch.set("RETHREAD_SECRET_TOKEN_FILE", &token).output(&["serve"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("RETHREAD_SECRET_TOKEN and RETHREAD_SECRET_TOKEN_FILE"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[tokio::test]
async fn a_program_has_an_empty_private_folder_that_goes_with_it() {
    let home = Home::memory().await;
    let server = shell(&home).await;
    let client = server.client();
    let text = "pwd; ls -A; stat -c %a .; touch file; mkdir folder; stat -c %a file folder; \
                mkdir deep; touch deep/x; chmod 0 deep";
    let said = lines(&client, text).await;
    assert_eq!(said[1..], ["700", "600", "700"]);
    assert!(!Path::new(&said[0]).exists(), "{} is there", said[0]);
    let failed = run(&client, "pwd >&2; exit 1").await["error"]["message"].to_string();
    let folder = failed.trim_end_matches(['"', '\n']).rsplit(' ').next().unwrap().to_owned();
    assert!(folder.starts_with('/') && !Path::new(&folder).exists(), "{failed}");
    // One that the step names is neither emptied nor removed.
    let own = home.folder.path().to_str().unwrap();
    let mut step = script("pwd");
    step["with"]["cwd"] = json!(own);
    let status = client.run(&json!({ "workflow": flow(&json!([step])) })).await;
    assert_eq!(status["steps"][0]["output"]["stdout"], format!("{own}\n"));
    assert!(home.folder.path().exists());
}

#[tokio::test]
async fn a_program_has_bounds_that_fail_its_step_alone() {
    let home = Home::memory().await;
    let launch =
        home.launch().set("RETHREAD_EXEC_ALLOW", "sh").set("RETHREAD_EXEC_MEMORY", "64MiB");
    let launch = launch.set("RETHREAD_EXEC_FILES", "64").set("RETHREAD_EXEC_FILE_SIZE", "64KiB");
    let server = launch.set("RETHREAD_EXEC_PROCESSES", "8").start().await;
    let client = server.client();
    let wait = "until [ $(ulimit -d) = 65536 ]; do sleep 0.01; done";
    assert_eq!(lines(&client, &format!("ulimit -n; ulimit -c; {wait}")).await, ["64", "0"]);
    // What has no line end is kept whole by `tail`.
    let memory = run(&client, "head -c 300000000 /dev/zero | tail -n 1 | wc -c >&2; exit 1").await;
    let said = memory["error"]["message"].as_str().unwrap();
    assert!(!said.contains("300000000"), "{said}");
    let size = run(&client, "head -c 1000000 /dev/zero > file; stat -c %s file >&2; exit 1").await;
    assert!(size["error"]["message"].as_str().unwrap().contains("65536"), "{size:#}");
    let crowd = run(&client, "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; wait").await;
    let said = crowd["error"]["message"].as_str().unwrap();
    assert!(said.contains("RETHREAD_EXEC_PROCESSES"), "{said}");
    // Deeper than the supervisor may have files open.
    let deep = lines(&client, "pwd; mkdir -p $(printf 'a/%.0s' $(seq 1500))").await;
    assert!(!Path::new(&deep[0]).exists(), "{} is there", deep[0]);
    assert_eq!(lines(&client, "echo fine").await, ["fine"]);
}

/// Returns a line of `/proc/PID/smaps_rollup`, in KiB.
fn kib(pid: &str, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let found = text.lines().find_map(|one| one.strip_prefix(line));
    found.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_program_yields_to_the_server() {
    let home = Home::memory().await;
    let nice = "until [ $(nice) = 10 ]; do sleep 0.01; done; nice; (nice)";
    assert_eq!(lines(&shell(&home).await.client(), nice).await, ["10", "10"]);
}

#[tokio::test]
async fn a_supervisor_takes_little_memory() {
    let home = Home::memory().await;
    let server = shell(&home).await;
    let ready = home.folder.path().join("ready");
    let wait = format!("echo $PPID > {0}.new; mv {0}.new {0}; sleep 1000", ready.display());
    let client = server.client();
    let body = json!({ "workflow": flow(&json!([script(&wait)])), "threadId": "waits" });
    client.post("/invoke/async", &body).await.expect(202);
    let supervisor = written(&ready).await;
    let supervisor = supervisor.trim();
    assert_eq!(kib(supervisor, "AnonHugePages:"), 0);
    let takes = kib(supervisor, "Private_Dirty:");
    assert!(takes < 4096, "{takes} KiB");
    client.post("/threads/waits/abort", &json!({})).await.expect(200);
}

/// A script that starts a daemon (two forks and a session of its own), writes its process id to a
/// file, and goes on with `rest`.
fn daemon(pid: &Path, rest: &str) -> String {
    let pid = pid.display();
    format!(
        "(setsid sh -c '(sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid})' &) ; \
         while [ ! -e {pid} ]; do sleep 0.01; done; {rest}"
    )
}

async fn written(path: &Path) -> String {
    eventually("the script has written", async || std::fs::read_to_string(path).ok()).await
}

#[tokio::test]
async fn a_daemon_ends_with_its_step() {
    let home = Home::memory().await;
    let server = shell(&home).await;
    let client = server.client();
    let file = |name: &str| home.folder.path().join(name);

    let done = lines(&client, &daemon(&file("done"), "echo done")).await;
    assert_eq!(done, ["done"]);
    dead(written(&file("done")).await.trim()).await;

    let mut late = script(&daemon(&file("late"), "sleep 1000"));
    late["timeout"] = json!("2s");
    let status = client.run(&json!({ "workflow": flow(&json!([late])) })).await;
    assert_eq!(step(&status, "s")["error"]["code"], "step_timeout");
    dead(written(&file("late")).await.trim()).await;

    let steps = json!([script(&daemon(&file("stopped"), "sleep 1000"))]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let stopped = written(&file("stopped")).await;
    client.post("/threads/t1/abort", &json!({})).await.expect(200);
    dead(stopped.trim()).await;
}

#[tokio::test]
async fn a_server_that_is_killed_takes_its_programs_and_their_folders_with_it() {
    let home = Home::memory().await;
    let server = shell(&home).await;
    let (daemon_id, folder) = (home.folder.path().join("pid"), home.folder.path().join("folder"));
    let text = daemon(&daemon_id, &format!("pwd > {}; echo $$; sleep 1000", folder.display()));
    let body = json!({ "workflow": flow(&json!([script(&text)])), "threadId": "t1" });
    server.client().post("/invoke/async", &body).await.expect(202);
    let folder = eventually("the folder is named", async || {
        std::fs::read_to_string(&folder).ok().filter(|text| text.ends_with('\n'))
    });
    let folder = PathBuf::from(folder.await.trim());
    let daemon_id = written(&daemon_id).await;
    assert!(folder.exists());
    server.kill9().await;
    dead(daemon_id.trim()).await;
    eventually("its folder is gone", async || (!folder.exists()).then_some(())).await;
}

#[tokio::test]
async fn a_program_that_kills_or_stops_its_supervisor_ends_all_the_same() {
    let home = Home::memory().await;
    let server = shell(&home).await;
    let client = server.client();
    let file = |name: &str| home.folder.path().join(name);
    let begin = |name: &str| format!("echo $$ > {}; ", file(name).display());

    let killed = run(&client, &(begin("killed") + "kill -9 $PPID; sleep 1000")).await;
    assert_eq!(killed["error"]["code"], "exit_nonzero", "{killed:#}");
    dead(written(&file("killed")).await.trim()).await;

    let mut stopped = script(&(begin("stopped") + "kill -STOP $PPID; sleep 1000"));
    stopped["timeout"] = json!("1s");
    client.run(&json!({ "workflow": flow(&json!([stopped])) })).await;
    dead(written(&file("stopped")).await.trim()).await;
    assert_eq!(lines(&client, "echo fine").await, ["fine"]);
    eventually("nothing is left of them", async || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap().flatten();
        let left = |task: &Path| std::fs::read_to_string(task.join("children"));
        let left: String = tasks.filter_map(|task| left(&task.path()).ok()).collect();
        left.trim().is_empty().then_some(())
    })
    .await;
}
