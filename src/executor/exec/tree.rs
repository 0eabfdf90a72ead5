//! Finds the descendants of a process, however they detached themselves.
//!
//! A process cannot leave the tree of a child subreaper: a process that loses its parent becomes a
//! child of the subreaper. So the tree is empty once the subreaper has no children any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Returns the children of a process; none if it is gone.
pub(super) fn children(of: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{of}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => found.extend(list.split_whitespace().filter_map(read_pid)),
            // The thread has ended, or this kernel does not list children.
            Err(_) if is_listed() => {}
            Err(_) => return parents().remove(&of).unwrap_or_default(),
        }
    }
    found
}

/// Returns all descendants of a process, parents before their children.
pub(super) fn descendants(of: Pid) -> Vec<Pid> {
    some_descendants(of, MAX_FOUND)
}

/// Returns whether it has more than `than` descendants.
pub(super) fn has_more_descendants(of: Pid, than: usize) -> bool {
    some_descendants(of, than).len() > than
}

/// Returns descendants of a process; stops above `enough`.
fn some_descendants(of: Pid, enough: usize) -> Vec<Pid> {
    if !is_listed() {
        return walk(of, &mut parents());
    }
    let mut found = children(of);
    let mut at = 0;
    while found.len() <= enough
        && let Some(&pid) = found.get(at)
    {
        at += 1;
        let more = children(pid);
        // Ids are reused: the root could be listed below itself.
        found.extend(more.into_iter().filter(|pid| *pid != of).collect::<Vec<_>>());
    }
    found
}

/// The most processes of one walk: more than a machine has; it ends a walk in a circle.
const MAX_FOUND: usize = 1 << 20;

/// The most passes that stop descendants before they are killed.
const PASSES: usize = 20;

/// Kills all descendants of a process, once each. They are stopped first, so that those still to be
/// killed start no others meanwhile. Returns whether there were any.
pub(super) fn kill_descendants(of: Pid) -> bool {
    let mut found = descendants(of);
    let mut stopped = BTreeSet::new();
    for _ in 0..PASSES {
        let moving: Vec<Pid> = found.iter().copied().filter(|pid| stopped.insert(*pid)).collect();
        if moving.is_empty() {
            break;
        }
        for pid in moving {
            send(pid, Signal::SIGSTOP);
        }
        found = descendants(of);
    }
    for &pid in &found {
        kill_one(pid);
    }
    !found.is_empty()
}

/// Kills a process; one that is already gone is no error.
pub(super) fn kill_one(pid: Pid) {
    send(pid, Signal::SIGKILL);
}

fn send(pid: Pid, signal: Signal) {
    if let Err(error) = kill(pid, signal)
        && error != Errno::ESRCH
    {
        tracing::warn!(pid = pid.as_raw(), %error, "a process of a program could not be killed");
    }
}

/// Returns whether the kernel lists the children of a thread (`CONFIG_PROC_CHILDREN`).
fn is_listed() -> bool {
    let own = std::process::id();
    fs::exists(format!("/proc/{own}/task/{own}/children")).unwrap_or(false)
}

fn walk(of: Pid, parents: &mut BTreeMap<Pid, Vec<Pid>>) -> Vec<Pid> {
    let mut found = parents.remove(&of).unwrap_or_default();
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(parents.remove(pid).unwrap_or_default());
        at += 1;
    }
    found
}

/// Returns the children of every process.
fn parents() -> BTreeMap<Pid, Vec<Pid>> {
    let mut found: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| read_pid(entry.file_name().to_str()?)) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name of the process stands in parentheses, and may hold any character.
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
        if let Some(parent) = rest.and_then(|rest| read_pid(rest.split(' ').nth(1)?)) {
            found.entry(parent).or_default().push(pid);
        }
    }
    found
}

/// Returns the number of processes and threads of a user, as far as visible here.
pub(super) fn tasks_of(user: u32) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let tasks = |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let first = |name| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        };
        (first("Uid:")? == u64::from(user)).then(|| first("Threads:"))?
    };
    processes.filter_map(|entry| tasks(read_pid(entry.file_name().to_str()?)?)).sum()
}

fn read_pid(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|id: &i32| *id > 0).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn processes_and_threads_of_a_user_are_counted() {
        let own = rustix::process::getuid().as_raw();
        let before = tasks_of(own);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
        let threads: Vec<_> = (0..50)
            .map(|_| std::sync::Arc::clone(&ended))
            .map(|ended| std::thread::spawn(move || ended.lock().unwrap().recv().is_err()))
            .collect();
        // Other tests start and end meanwhile.
        assert!(before > 0 && tasks_of(own) >= 50);
        drop(end);
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    }

    #[test]
    fn what_a_child_has_started_is_found_either_way() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        let own = Pid::this();
        let child_id = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let grandchild = read_pid(line.trim()).unwrap();
        assert_eq!(descendants(own), [child_id, grandchild]);
        assert_eq!(walk(own, &mut parents()), [child_id, grandchild]);
        assert!(kill_descendants(own));
        child.wait().unwrap();
        // The grandchild has another parent then.
        assert!(!descendants(own).contains(&child_id));
    }
}
