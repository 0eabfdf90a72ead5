//! Reads the kernel's account of a worker: its time on a processor, and the time it was ready to
//! run without one.
//!
//! The watchdog uses it to tell a starved process from a stuck one. Only Linux keeps such accounts;
//! where a file is missing or hidden, the watchdog counts every look.

use std::time::Duration;

use crate::definition::stack::helper_of;

/// Totals of one thread of this process since some moment; only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::runtime) struct Account {
    /// Time on a processor.
    pub(in crate::runtime) ran: Duration,
    /// Time in the queue for a processor, ready to run.
    pub(in crate::runtime) waited: Duration,
    /// Time for which the process was over its quota. Kernels differ in whether `waited` includes
    /// it.
    pub(in crate::runtime) throttled: Duration,
}

/// The files with the accounts of this process.
#[derive(Debug)]
pub(in crate::runtime) struct Accounts {
    /// The statistics files of the cgroups that the process is in.
    groups: Vec<String>,
}

impl Accounts {
    /// Finds the cgroups of this process.
    pub(in crate::runtime) fn of_this_process() -> Self {
        let groups = read("/proc/self/cgroup").unwrap_or_default();
        Self { groups: groups.lines().flat_map(group_files).collect() }
    }

    /// Reads the account of a worker, by its number, plus that of the helper thread with a large
    /// stack that works for it, if there is one. The helper's account begins near zero, so the sum
    /// does not leap when it starts; when it ends, the sum falls, which counts as nothing.
    pub(in crate::runtime) fn of(&self, worker: u32) -> Option<Account> {
        let (ran, waited) = times(worker)?;
        let (helped, queued) = helper_of(worker).and_then(times).unwrap_or_default();
        let groups = self.groups.iter().filter_map(|path| throttled(&read(path)?));
        Some(Account { ran: ran + helped, waited: waited + queued, throttled: groups.sum() })
    }
}

/// Reads the time of a thread of this process on a processor, and in the queue.
fn times(thread: u32) -> Option<(Duration, Duration)> {
    schedule(&read(&format!("/proc/self/task/{thread}/schedstat"))?)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Parses the time on a processor and the time in the queue, in nanoseconds; the number of turns
/// follows them.
fn schedule(text: &str) -> Option<(Duration, Duration)> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    Some((Duration::from_nanos(numbers.next()??), Duration::from_nanos(numbers.next()??)))
}

/// Returns the files with the throttled time of a cgroup and of each of its ancestors. A container
/// may see its own cgroup at the root, whatever the line says.
fn group_files(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let root = match controllers {
        "" => "/sys/fs/cgroup",
        some if some.split(',').any(|one| one == "cpu") => "/sys/fs/cgroup/cpu",
        _ => return Vec::new(),
    };
    let mut below = root.to_owned();
    let mut files = vec![format!("{root}/cpu.stat")];
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "..") {
        below.push('/');
        below.push_str(part);
        files.push(format!("{below}/cpu.stat"));
    }
    files
}

/// Parses how long a quota held up a cgroup: version 2 counts in microseconds, version 1 in
/// nanoseconds.
fn throttled(text: &str) -> Option<Duration> {
    text.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_usec", number) => Some(Duration::from_micros(number.trim().parse().ok()?)),
        ("throttled_time", number) => Some(Duration::from_nanos(number.trim().parse().ok()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::definition::stack::{own_number, with_large_stack};

    #[test]
    fn the_kernels_texts_are_read() {
        let (ran, waited) = schedule("1500000000 250000000 42\n").unwrap();
        assert_eq!((ran.as_millis(), waited.as_millis()), (1_500, 250));
        for broken in ["", "1", "a b c", "-1 2 3"] {
            assert_eq!(schedule(broken), None, "{broken:?}");
        }
        let second = "usage_usec 9\nnr_periods 1\nnr_throttled 1\nthrottled_usec 2500\n";
        assert_eq!(throttled(second), Some(Duration::from_micros(2_500)));
        let first = "nr_periods 1\nnr_throttled 1\nthrottled_time 2500\n";
        assert_eq!(throttled(first), Some(Duration::from_nanos(2_500)));
        assert_eq!(throttled("usage_usec 9\n"), None);
    }

    #[test]
    fn quotas_of_all_groups_around_are_looked_for() {
        let files =
            ["/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/a/cpu.stat", "/sys/fs/cgroup/a/b/cpu.stat"];
        assert_eq!(group_files("0::/a/b"), files);
        assert_eq!(group_files("0::/../a").len(), 2);
        let first = ["/sys/fs/cgroup/cpu/cpu.stat", "/sys/fs/cgroup/cpu/c/cpu.stat"];
        assert_eq!(group_files("4:cpu,cpuacct:/c"), first);
        assert_eq!(group_files("4:cpuset:/c"), Vec::<String>::new());
        assert_eq!(group_files("nonsense"), Vec::<String>::new());
    }

    /// Computes until this thread has used `time` of a processor; returns whether the kernel keeps
    /// account of it.
    #[cfg(target_os = "linux")]
    fn work_for(time: Duration) -> bool {
        let Some((before, _)) = times(own_number()) else { return false };
        let mut sum = 0_u64;
        while times(own_number()).unwrap().0 < before + time {
            sum = std::hint::black_box((0..1_000_000_u64).fold(sum, u64::wrapping_add));
        }
        true
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_work_of_the_thread_that_a_worker_waits_for_is_its_own() {
        let (accounts, worker) = (Accounts::of_this_process(), own_number());
        let Some(before) = accounts.of(worker) else { return };
        let time = Duration::from_millis(50);
        let during = with_large_stack(|| work_for(time).then(|| accounts.of(worker).unwrap()));
        let ran = during.unwrap().unwrap().ran;
        assert!(ran >= before.ran + time, "{ran:?} after {before:?}");
        // The helper has ended; its time is gone.
        assert!(accounts.of(worker).unwrap().ran < before.ran + time);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_works_runs_up_an_account() {
        let accounts = Accounts::of_this_process();
        let Some(before) = accounts.of(own_number()) else { return };
        assert!(work_for(Duration::from_millis(1)));
        let ran = accounts.of(own_number()).unwrap().ran;
        assert!(ran > before.ran);
    }
}
