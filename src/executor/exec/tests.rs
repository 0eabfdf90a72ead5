use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::executor::{Pulse, Room, Rooms};
use crate::model::{Namespace, StepId, ThreadId};
use crate::observe::{Memory, Pool};

/// The longest wait for anything here that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn executor(limit: usize) -> ExecExecutor {
    let allow = ["cat", "env", "pwd", "sh", "sleep", "true", "/bin/echo"];
    ExecExecutor::new(ExecutorSettings {
        exec_allow: allow.map(str::to_owned).to_vec(),
        max_output_bytes: limit,
        program_env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("LANG".into(), "C".into())],
        ..ExecutorSettings::default()
    })
}

fn attempt(program: &str, with: &str) -> Attempt {
    Attempt {
        thread_id: ThreadId::parse("t1").unwrap(),
        step_id: StepId::parse("s1").unwrap(),
        number: 2,
        action: Arc::new(Action::Exec { program: program.to_owned(), variables: Vec::new() }),
        with: Json::parse(with).unwrap(),
        holds_secrets: false,
        traceparent: None,
        work: crate::definition::Work::Own,
        compensation_epoch: 0,
        pulse: Pulse::default(),
        room: Room::boundless(),
    }
}

async fn run(program: &str, with: &str) -> Result<String, Failure> {
    let executor = executor(1 << 20);
    let done = executor.execute(attempt(program, with));
    let outcome = tokio::time::timeout(PATIENCE, done).await.expect("the attempt ends");
    outcome.map(|json| json.as_str().to_owned()).map_err(|error| error.failure)
}

/// Returns the `with` of a shell script; the shell is on this test's allow-list.
fn script(text: &str) -> String {
    serde_json::json!({ "args": ["-c", text] }).to_string()
}

#[track_caller]
fn assert_failure(outcome: Result<String, Failure>, code: &str, recoverable: bool) -> String {
    let failure = outcome.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.recoverable), (code, recoverable), "{failure:?}");
    failure.message
}

#[tokio::test]
async fn output_is_read_as_text_json_or_lines() {
    let cat = |stdin: &str, parse: &str| {
        let with = serde_json::json!({ "stdin": stdin, "parse": parse }).to_string();
        async move { run("cat", &with).await }
    };
    let output = |stdout: &str| format!("{{\"exitCode\":0,\"stdout\":{stdout},\"stderr\":\"\"}}");
    assert_eq!(cat("a\r\nb\n", "text").await.unwrap(), output("\"a\\r\\nb\\n\""));
    assert_eq!(cat("a\r\n\nb\n", "lines").await.unwrap(), output("[\"a\",\"\",\"b\"]"));
    assert_eq!(cat("{ \"b\": 1.0 }\n", "json").await.unwrap(), output("{\"b\":1.0}"));
    assert_failure(cat("{", "json").await, "output_invalid", false);
    assert_failure(cat("", "json").await, "output_invalid", false);
}

/// Makes rooms whose memory is a MiB.
fn short_of_memory() -> (Arc<Rooms>, Arc<Memory>) {
    let metrics = crate::observe::MemoryMetrics::default();
    let memory = Arc::new(Memory::new(8 << 20, &metrics, Box::new(|| None)));
    (Rooms::within(&memory), memory)
}

#[tokio::test]
async fn what_a_program_wrote_counts_until_its_attempt_ends() {
    let (rooms, memory) = short_of_memory();
    let with = script("head -c 900000 /dev/zero; sleep 1000");
    let room = rooms.room(Namespace::default());
    let executor = executor(1 << 20);
    let mut running = executor.execute(Attempt { room, ..attempt("sh", &with) });
    let counted = async {
        while memory.used(Pool::Received) < 900_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        outcome = &mut running => panic!("it ended: {outcome:?}"),
        () = counted => {}
        () = tokio::time::sleep(PATIENCE) => panic!("it is not counted"),
    }
    drop(running);
    assert_eq!(memory.used(Pool::Received), 0);
}

#[tokio::test]
async fn output_that_waits_for_memory_is_whole_although_the_program_has_ended() {
    let (rooms, _memory) = short_of_memory();
    // All the memory, and the place of the attempt that never waits.
    let others = rooms.room(Namespace::default());
    others.take(2 << 20).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    // What is written beyond the free part fits into the pipe.
    let text = format!("head -c 60000 /dev/zero | tr '\\0' x; touch {}", done.display());
    let with = script(&text);
    let ends = async {
        while !done.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Longer than output is waited for that does not wait for memory.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        drop(others);
    };
    let executor = executor(1 << 20);
    let room = rooms.room(Namespace::default());
    let attempt = Attempt { room, ..attempt("sh", &with) };
    let (outcome, ()) = tokio::join!(executor.execute(attempt), ends);
    assert!(outcome.unwrap().as_str().contains(&"x".repeat(60_000)));
}

#[tokio::test]
async fn arguments_reach_the_program_one_by_one_without_a_shell() {
    let output = run("/bin/echo", r#"{"args":["$HOME; ls", "a  b", 7]}"#).await.unwrap();
    assert!(output.contains("$HOME; ls a  b 7"), "{output}");
}

#[tokio::test]
async fn programs_see_a_clean_environment() {
    let with = r#"{"parse":"lines","env":{"GREETING":"hi","LANG":"de","IDEMPOTENCY_KEY":"x"}}"#;
    let output: serde_json::Value = serde_json::from_str(&run("env", with).await.unwrap()).unwrap();
    let mut lines: Vec<_> =
        output["stdout"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    lines.sort_unstable();
    let expected = [
        "GREETING=hi",
        "IDEMPOTENCY_KEY=t1/s1",
        "LANG=de",
        "PATH=/usr/bin:/bin",
        "X_RETHREAD_ATTEMPT=2",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn cwd_is_where_the_program_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let with = serde_json::json!({ "cwd": path, "parse": "lines" }).to_string();
    let output = run("pwd", &with).await.unwrap();
    assert!(output.contains(&format!("[\"{}\"]", path.display())), "{output}");
}

#[tokio::test]
async fn an_exit_that_is_not_zero_fails_the_step_with_the_end_of_what_it_said() {
    let message = assert_failure(
        run("sh", &script("echo out; printf 'bad\\033[1m thing' >&2; exit 3")).await,
        "exit_nonzero",
        true,
    );
    assert_eq!(message, "sh ended with exit code 3: bad\\u{1b}[1m thing");
    let message = assert_failure(run("sh", &script("kill -9 $$")).await, "exit_nonzero", true);
    assert_eq!(message, "sh ended with signal 9");
    let said = script("echo 'Validation failed: no title' >&2; exit 1");
    assert_failure(run("sh", &said).await, "exit_nonzero", false);
}

#[tokio::test]
async fn programs_that_are_not_allowed_or_not_there_are_not_started() {
    assert_failure(run("ls", "{}").await, "exec_not_allowed", false);
    assert_failure(run("/bin/cat", "{}").await, "exec_not_allowed", false);
}

#[tokio::test]
async fn output_above_the_bound_kills_the_program() {
    let endless = script("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    let message = assert_failure(run("sh", &endless).await, "payload_too_large", false);
    assert_eq!(message, "the output is larger than 1048576 bytes");
    let both = script("head -c 700000 /dev/zero; head -c 700000 /dev/zero >&2");
    assert_failure(run("sh", &both).await, "payload_too_large", false);
}

#[tokio::test]
async fn large_input_neither_blocks_nor_fails_a_program_that_ignores_it() {
    let large = "x".repeat(400_000);
    let with = serde_json::json!({ "stdin": large }).to_string();
    assert!(run("true", &with).await.is_ok());
    let copied = run("cat", &with).await.unwrap();
    assert!(copied.contains(&large));
}

#[tokio::test]
async fn output_is_a_sign_of_life_as_it_arrives() {
    for (text, lives) in [
        ("echo a; sleep 1000", true),
        ("printf a; sleep 1000", true),
        ("echo a >&2; sleep 1000", true),
        ("exec true", false),
    ] {
        let attempt = attempt("sh", &script(text));
        let (pulse, executor) = (attempt.pulse.clone(), executor(1 << 20));
        let begun = pulse.last();
        let beats = tokio::select! {
            outcome = executor.execute(attempt) => {
                assert!(outcome.is_ok(), "{outcome:?}");
                pulse.last() > begun
            }
            () = until(|| pulse.last() > begun) => true,
        };
        assert_eq!(beats, lives, "{text}");
    }
}

#[tokio::test]
async fn a_process_left_behind_neither_holds_the_step_up_nor_stays() {
    let with = script("sleep 1000 & echo $!");
    let output: serde_json::Value = serde_json::from_str(&run("sh", &with).await.unwrap()).unwrap();
    gone(output["stdout"].as_str().unwrap().trim()).await;
}

#[tokio::test]
async fn a_process_that_left_the_group_does_not_hold_the_step_up() {
    if !Path::new("/usr/bin/setsid").exists() {
        return;
    }
    let with = script("setsid sleep 5 & echo started");
    let output = run("sh", &with).await.unwrap();
    assert!(output.contains("started"), "{output}");
}

#[tokio::test]
async fn a_dropped_attempt_takes_its_whole_group_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let executor = executor(1 << 20);
    let running = executor.execute(attempt("sh", &parent_and_child(&pids)));
    let started = until(|| pids.exists());
    tokio::select! {
        outcome = running => panic!("ended: {outcome:?}"),
        () = started => {}
    }
    both_gone(&pids).await;
}

/// Returns a program that starts another, writes both ids to a file and waits.
fn parent_and_child(pids: &Path) -> String {
    let pids = pids.display();
    script(&format!("sleep 1000 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"))
}

async fn both_gone(pids: &Path) {
    let written = std::fs::read_to_string(pids).unwrap();
    let mut count = 0;
    for pid in written.split_whitespace() {
        gone(pid).await;
        count += 1;
    }
    assert_eq!(count, 2);
}

/// Waits until a process is gone, or a zombie that only waits for its parent.
pub(super) async fn gone(pid: &str) {
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    let stat = format!("/proc/{pid}/stat");
    until(|| std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))).await;
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the condition comes true");
}
