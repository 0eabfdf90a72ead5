//! Finds the descendants of a process, however they detached themselves.
//!
//! A process cannot leave the tree of a child subreaper: a process that loses its parent becomes a
//! child of the subreaper. So the tree is empty once the subreaper has no children any more.

use std::collections::BTreeMap;
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
    if !is_listed() {
        return walk(of, &mut parents());
    }
    let mut found = children(of);
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        at += 1;
        let more = children(pid);
        // A process id may be used anew during this walk: no process is visited twice.
        found.extend(more.into_iter().filter(|pid| *pid != of).collect::<Vec<_>>());
        if found.len() > MAX_FOUND {
            break;
        }
    }
    found
}

/// The largest number of processes in one pass: more than a machine has, unless the list runs in a
/// circle.
const MAX_FOUND: usize = 1 << 20;

/// Kills all descendants of a process, once each; those that are born meanwhile are left to the
/// next call. Returns whether there were any.
pub(super) fn kill_descendants(of: Pid) -> bool {
    let found = descendants(of);
    for &pid in &found {
        kill_one(pid);
    }
    !found.is_empty()
}

/// Kills a process; one that is already gone is no error.
pub(super) fn kill_one(pid: Pid) {
    if let Err(error) = kill(pid, Signal::SIGKILL)
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

fn read_pid(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|id: &i32| *id > 0).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

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
