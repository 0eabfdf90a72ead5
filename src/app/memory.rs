//! The memory that this process may take, and the memory that it takes, as Linux reports them.
//!
//! Pure functions read the texts. On other systems there is nothing to read, and so no limit.

use std::sync::Arc;

use nix::sys::prctl;

use crate::observe::{Memory, MemoryMetrics};

/// The part of the available memory that the process may take, in hundredths. The rest is for the
/// kernel's buffers and for memory that is not counted.
const PART: u64 = 70;
/// The file with the memory that the process takes.
const STATUS: &str = "/proc/self/status";

/// Has the kernel give this process, and the supervisors of programs that it starts, memory in small
/// pages alone. The allocator asks for huge ones, of which a server of many small things fills a part:
/// they took 20 MiB at rest, and half as much again for each reader.
pub(super) fn refuse_huge_pages() {
    if let Err(error) = prctl::set_thp_disable(true) {
        tracing::debug!(%error, "huge pages stay as they are");
    }
}

/// Makes the budget: the limit that was set, or a part of the available memory.
pub(super) fn budget(set: Option<u64>, metrics: &MemoryMetrics) -> Arc<Memory> {
    let part = |there: u64| there / 100 * PART;
    let limit = set.or_else(|| available(&read).map(part));
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    tracing::info!(limit, "memory");
    Arc::new(Memory::new(limit, metrics, Box::new(|| resident(&read(STATUS)?))))
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Returns the bytes available to this process: the machine's memory, or less if a cgroup limits
/// it.
fn available(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| kib(&text, "MemTotal:"));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|path| {
        // "max" is no number, and version 1 says a number beyond any machine.
        read(&path)?.trim().parse().ok()
    });
    machine.into_iter().chain(limits).min()
}

/// Returns the files that bound the memory of a cgroup: its own, and those of all that it is in. A
/// container may see its own at the root, whatever the line says.
fn limit_files(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        some if some.split(',').any(|one| one == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let mut paths = vec![format!("{root}/{file}")];
    let mut below = String::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "..") {
        below.push('/');
        below.push_str(part);
        paths.push(format!("{root}{below}/{file}"));
    }
    paths
}

/// Returns the bytes of a process that cannot be read from a file again.
fn resident(status: &str) -> Option<usize> {
    let bytes = kib(status, "RssAnon:").or_else(|| kib(status, "VmRSS:"))?;
    usize::try_from(bytes).ok()
}

/// Returns the bytes on a line such as `MemTotal:  16384 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn there_is(files: &[(&str, &str)]) -> Option<u64> {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        available(&|path| files.get(path).map(|text| (*text).to_owned()))
    }

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_least_of_machine_and_cgroups_is_what_there_is() {
        assert_eq!(there_is(&[MACHINE]), Some(16 << 20));
        let v2 = ("/proc/self/cgroup", "0::/a/b\n");
        assert_eq!(
            there_is(&[MACHINE, v2, ("/sys/fs/cgroup/a/b/memory.max", "max\n")]),
            Some(16 << 20)
        );
        assert_eq!(there_is(&[MACHINE, v2, ("/sys/fs/cgroup/a/memory.max", "4096\n")]), Some(4096));
        // In a container its own limit is at the root.
        assert_eq!(there_is(&[MACHINE, v2, ("/sys/fs/cgroup/memory.max", "8192\n")]), Some(8192));
        let v1 = ("/proc/self/cgroup", "5:cpu,memory:/c\n1:cpuset:/\n0::/\n");
        let limit = ("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "2048\n");
        assert_eq!(there_is(&[MACHINE, v1, limit]), Some(2048));
        let none = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(there_is(&[MACHINE, v1, none]), Some(16 << 20));
        assert_eq!(there_is(&[]), None);
        assert_eq!(there_is(&[("/proc/meminfo", "MemTotal: many kB")]), None);
    }

    #[test]
    fn what_a_process_takes_is_read_without_what_lies_in_files() {
        assert_eq!(
            resident("VmRSS:\t 30 kB\nRssAnon:\t 20 kB\nRssFile:\t 10 kB\n"),
            Some(20 << 10)
        );
        assert_eq!(resident("VmRSS:\t 30 kB\n"), Some(30 << 10));
        assert_eq!(resident("Name: x\n"), None);
    }
}
