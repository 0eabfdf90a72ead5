//! The limits of a program, set by its supervisor; see [`ProgramLimits`].

use std::io;
use std::process::Command;
use std::thread;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use rustix::process::{Resource as Bounded, Rlimit, geteuid, getuid, prlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::tree;
use crate::executor::ProgramLimits;

/// The capabilities by which root can read the memory of any other process.
const SPYING: [CapabilitySet; 4] = [
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::BPF,
    CapabilitySet::PERFMON,
];

/// The factor between the limit of one program and what the kernel lets its user have beyond what it
/// has already. The kernel counts the processes and threads of a user, not those of a program: its
/// limit stops a program that multiplies faster than its supervisor can count.
const CROWD: u64 = 4;
/// That factor, and the smallest limit, where the user has processes that cannot be seen from here.
const UNSEEN_CROWD: (u64, u64) = (32, 4_096);
/// The stack of a thread that does nothing, in bytes.
const LITTLE: usize = 64 << 10;

/// The niceness of programs: with it a process has a ninth of the processor time that the server has,
/// where both want all of it.
const NICENESS: i32 = 10;

/// Sets the limits that all processes inherit which this one starts from now on.
pub(super) fn set(limits: &ProgramLimits) -> io::Result<()> {
    // Files of a program are its own; it opens them to others with `chmod`.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    // A setuid program gives it no more rights than the server has.
    prctl::set_no_new_privs()?;
    for capability in SPYING {
        // Only root can have them, and only root can give them up.
        if let Err(error) = remove_capability_from_bounding_set(capability) {
            tracing::debug!(%error, "a capability stays");
        }
    }
    // A core dump holds everything the program was given, secrets too.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if limits.processes > 0 {
        bound_crowd(limits.processes)?;
    }
    lower(Resource::RLIMIT_NOFILE, limits.files)?;
    lower(Resource::RLIMIT_FSIZE, limits.file_size)
}

/// Bounds the processes and threads of this process's user. Root has no such bound.
fn bound_crowd(most: u64) -> io::Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    let limit = tree::tasks_of(getuid().as_raw()).saturating_add(most * CROWD);
    setrlimit(Resource::RLIMIT_NPROC, limit.min(hard), hard)?;
    // Those of other containers count as well, and are not in the list.
    let started = thread::Builder::new().stack_size(LITTLE).spawn(|| {});
    let limit = match started.map(thread::JoinHandle::join) {
        Ok(_) => limit,
        Err(_) => (most * UNSEEN_CROWD.0).max(UNSEEN_CROWD.1),
    };
    lower(Resource::RLIMIT_NPROC, limit)
}

/// Lowers a limit permanently; 0 leaves it as it is.
fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let limit = limit.min(hard);
    if limit > 0 {
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

/// The bytes that starting a process takes, beside those that this one has.
const ROOM: u64 = 8 << 20;

/// Starts a program whose memory is bounded from its first instruction on: at first by `bytes` or
/// by as much as this process needs to start it, and by `bytes` a moment later. The supervisor's
/// own bound is then as before: the first one would leave it no room to work in.
pub(super) fn spawn_bounded(command: &mut Command, bytes: u64) -> io::Result<Pid> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    if bytes > 0 {
        let first = bytes.max(own_data().saturating_add(ROOM)).min(hard);
        setrlimit(Resource::RLIMIT_DATA, first, hard)?;
    }
    let started = command.spawn();
    setrlimit(Resource::RLIMIT_DATA, soft, hard)?;
    let program = Pid::from_raw(i32::try_from(started?.id()).unwrap_or(0));
    yield_to_others(program);
    if bytes > 0 {
        bound_memory(program, bytes.min(hard));
        // Processes that it has started already have the first bound.
        for early in tree::descendants(program) {
            bound_memory(early, bytes.min(hard));
        }
    }
    Ok(program)
}

/// Lets a program's group run only when its supervisor and the server do not need the processor:
/// they end it if it takes too much. What it has started already is in its group.
fn yield_to_others(program: Pid) {
    let group = rustix::process::Pid::from_raw(program.as_raw());
    if let Err(error) = rustix::process::setpriority_pgrp(group, NICENESS) {
        tracing::debug!(%error, "a program has the server's priority");
    }
}

/// Returns the bytes that this process can write to.
fn own_data() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    number.unwrap_or(0).saturating_mul(1024)
}

fn bound_memory(pid: Pid, bytes: u64) {
    let Some(bounded) = rustix::process::Pid::from_raw(pid.as_raw()) else { return };
    // The data segment counts writable memory: heap, stacks of threads, private mappings. Address
    // space would also count memory that run-times reserve and never touch.
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    if let Err(error) = prlimit(Some(bounded), Bounded::Data, limit) {
        tracing::debug!(%error, "the memory of a program is not bounded");
    }
}
