//! Open files: raises their limit as far as the system allows, and keeps some back from
//! connections.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::executor::MAX_IDLE_CONNECTIONS;

/// The most open files, more than any server needs. Some systems allow a billion, and programs that
/// close every file they could have inherited take minutes for that many.
const MOST: u64 = 1 << 20;
/// The open files kept back from connections, where the limit has room: for the store, and for the
/// connections and programs of the steps of 1,024 threads.
const KEPT: u64 = 4_096;
/// The open files of the store, of peers and of the process itself, where the limit has room.
const OWN: u64 = 512;
/// The most open files of one attempt in this process: the pipes of a program, or the connections of a
/// request that tries several addresses.
const PER_ATTEMPT: u64 = 6;
/// The open files of one outgoing connection that is kept: its own, and one while it is replaced.
const PER_KEPT: u64 = 2;
/// The part of the open files beside connections that kept ones take, as a divisor.
const KEPT_PART: u64 = 8;
/// The most attempts at once, more than any machine of today has work for.
const MOST_ATTEMPTS: u64 = 10_000;
/// The connections beyond the bounds, for health probes.
const RESERVE: u64 = 256;

/// Raises the soft limit of open files to the hard one and returns the limit that holds now.
pub(super) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return KEPT };
    let wanted = hard.min(MOST);
    if soft >= wanted {
        return soft;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, soft, "the limit of open files could not be raised");
            soft
        }
    }
}

/// Returns how many of the `asked` connections, and how many more for probes, leave enough of
/// `limit` open files for everything else.
pub(super) fn share(limit: u64, asked: usize) -> (usize, usize) {
    let reserve = RESERVE.min(limit / 8);
    let room = limit - KEPT.min(limit / 2) - reserve;
    let count = |files: u64| usize::try_from(files).unwrap_or(usize::MAX).max(1);
    (asked.min(count(room)), count(reserve))
}

/// Returns how many outgoing connections may be kept for the next request beside that many incoming
/// ones.
pub(super) fn idle(limit: u64, taken: (usize, usize)) -> usize {
    let files = beside(limit, taken) / KEPT_PART / PER_KEPT;
    usize::try_from(files).unwrap_or(usize::MAX).min(MAX_IDLE_CONNECTIONS)
}

/// Returns how many attempts may be under way at once beside that many connections: those that find no
/// file would fail, and so would the attempts of everybody else.
pub(super) fn attempts(limit: u64, taken: (usize, usize)) -> usize {
    let rest = beside(limit, taken);
    let kept = PER_KEPT * u64::try_from(idle(limit, taken)).unwrap_or(u64::MAX);
    let rest = rest - OWN.min(rest / 4) - kept;
    usize::try_from((rest / PER_ATTEMPT).clamp(1, MOST_ATTEMPTS)).unwrap_or(1)
}

/// Returns the open files that incoming connections leave.
fn beside(limit: u64, (taken, reserve): (usize, usize)) -> u64 {
    let connections = u64::try_from(taken.saturating_add(reserve)).unwrap_or(u64::MAX);
    limit.saturating_sub(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(share(1 << 20, 10_000), (10_000, 256));
        assert_eq!(share(20_000, 10_000), (10_000, 256));
        assert_eq!(share(10_000, 10_000), (5_648, 256));
        assert_eq!(share(1_024, 10_000), (384, 128));
        assert_eq!(share(1_024, 5), (5, 128));
        assert_eq!(share(0, 10_000), (1, 1));
    }

    #[test]
    fn attempts_take_what_connections_leave() {
        assert_eq!(attempts(1 << 20, (10_000, 256)), 10_000);
        assert_eq!(attempts(20_000, (10_000, 256)), 1_453);
        assert_eq!(attempts(1_024, (384, 128)), 53);
        assert_eq!(attempts(0, (1, 1)), 1);
    }

    #[test]
    fn connections_that_are_kept_take_a_small_part_of_the_files() {
        assert_eq!(idle(1 << 20, (10_000, 256)), MAX_IDLE_CONNECTIONS);
        assert_eq!(idle(4_096, (1_792, 256)), 128);
        assert_eq!(idle(1_024, (384, 128)), 32);
        assert_eq!(idle(0, (1, 1)), 0);
    }

    #[test]
    fn the_limit_is_the_hard_one_once_it_was_raised() {
        let limit = raise_limit();
        assert_eq!(limit, raise_limit());
        assert!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0 >= limit);
    }
}
