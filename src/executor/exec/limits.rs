//! What a program may use, set by its supervisor; see [`ProgramLimits`](crate::executor::ProgramLimits).

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use rustix::process::{Resource as Bounded, Rlimit, prlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::executor::ProgramLimits;

/// Capabilities by which root reads the memory of other processes, however closed they are.
const SPYING: [CapabilitySet; 4] = [
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::BPF,
    CapabilitySet::PERFMON,
];

/// The kernel counts the processes of a user, not those of a program: it stops what multiplies
/// faster than its supervisor can count, at so many times what one program may have.
const CROWD: u64 = 32;
/// Processes and threads of one user on a busy machine, which no small bound may shut out.
const MIN_CROWD: u64 = 4_096;

/// Sets what whatever this process starts from now on inherits.
pub(super) fn set(limits: &ProgramLimits) -> io::Result<()> {
    // Files of a program are its own; who is to read them says so with `chmod`.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    // No setuid program gives it more than the server has.
    prctl::set_no_new_privs()?;
    for capability in SPYING {
        // Only root can have them, and only root can give them up.
        if let Err(error) = remove_capability_from_bounding_set(capability) {
            tracing::debug!(%error, "a capability stays");
        }
    }
    // A core holds whatever the program was given, secrets too.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if limits.processes > 0 {
        lower(Resource::RLIMIT_NPROC, (limits.processes * CROWD).max(MIN_CROWD))?;
    }
    lower(Resource::RLIMIT_NOFILE, limits.files)?;
    lower(Resource::RLIMIT_FSIZE, limits.file_size)
}

/// Lowers a limit for good; 0 leaves it as it is.
fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let limit = limit.min(hard);
    if limit > 0 {
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

/// Bounds the memory of a process that has just been started. Not inherited like the rest: the
/// supervisor itself would have no room to work in.
pub(super) fn bound_memory(pid: Pid, bytes: u64) {
    let Some(bounded) = rustix::process::Pid::from_raw(pid.as_raw()).filter(|_| bytes > 0) else {
        return;
    };
    // The data segment counts what can be written: heap, stacks of threads, private mappings.
    // Address space would also count what run-times reserve and never touch.
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    if let Err(error) = prlimit(Some(bounded), Bounded::Data, limit) {
        tracing::debug!(%error, "the memory of a program is not bounded");
    }
}
