//! Reads the kernel's account of a worker: its time on a processor, and the time it was ready to
//! run without one.
//!
//! Only the watchdog calls this, so that it does not take a starved process for one that stands.
//! Only Linux keeps such an account; where a file is missing or hidden, nothing is known and the
//! watchdog counts every look.

use std::num::NonZeroU32;
use std::time::Duration;

/// Totals of one thread of this process since some moment; only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::runtime) struct Account {
    /// Time on a processor.
    pub(in crate::runtime) ran: Duration,
    /// Time in the queue for a processor, ready to run.
    pub(in crate::runtime) waited: Duration,
    /// Time for which the process had used up its quota. Whether it is part of `waited` differs
    /// between kernels.
    pub(in crate::runtime) throttled: Duration,
}

/// The files with the accounts of this process.
#[derive(Debug)]
pub(in crate::runtime) struct Accounts {
    /// The statistics files of the cgroups that the process is in.
    groups: Vec<String>,
}

thread_local! {
    static OWN: Option<NonZeroU32> = own();
}

#[cfg(target_os = "linux")]
fn own() -> Option<NonZeroU32> {
    NonZeroU32::try_from(rustix::thread::gettid().as_raw_nonzero().unsigned_abs()).ok()
}

#[cfg(not(target_os = "linux"))]
const fn own() -> Option<NonZeroU32> {
    None
}

/// Returns the kernel's number of the calling thread, or 0 where there is none; each thread asks
/// for it once.
pub(in crate::runtime) fn own_number() -> u32 {
    OWN.with(|number| number.map_or(0, NonZeroU32::get))
}

impl Accounts {
    /// Finds the cgroups of this process.
    pub(in crate::runtime) fn of_this_process() -> Self {
        let groups = read("/proc/self/cgroup").unwrap_or_default();
        Self { groups: groups.lines().flat_map(group_files).collect() }
    }

    /// Reads the account of a thread of this process, by its number.
    pub(in crate::runtime) fn of(&self, thread: u32) -> Option<Account> {
        let (ran, waited) = schedule(&read(&format!("/proc/self/task/{thread}/schedstat"))?)?;
        let groups = self.groups.iter().filter_map(|path| throttled(&read(path)?));
        Some(Account { ran, waited, throttled: groups.sum() })
    }
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

/// Returns the files that tell how long quotas held up a cgroup and each of its ancestors. A
/// container may see its own cgroup at the root, whatever the line says.
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

/// Parses for how long a quota held up a cgroup: version 2 counts in microseconds, version 1 in
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_works_runs_up_an_account() {
        let accounts = Accounts::of_this_process();
        let Some(before) = accounts.of(own_number()) else { return };
        let mut sum = 0_u64;
        let ran = loop {
            sum = std::hint::black_box((0..1_000_000_u64).fold(sum, u64::wrapping_add));
            let now = accounts.of(own_number()).unwrap();
            if now.ran > before.ran {
                break now.ran;
            }
        };
        assert!(ran > before.ran);
    }
}
