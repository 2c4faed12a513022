//! Whether the machine, or the group of processes that we run in, is short of memory.

use std::fs;
use std::path::{Path, PathBuf};

/// Short means less than one part in this many is available.
const AVAILABLE_PARTS: u64 = 16;

/// Whether less than a sixteenth of the machine's memory, or of our control group's limit, is
/// available. What cannot be read is taken as ample.
pub fn is_short_of_memory() -> bool {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_of_machine(&text));
    let group = own_group().and_then(|folder| {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let limit = read("memory.max")?;
        Some((limit.saturating_sub(read("memory.current")?), limit))
    });
    [machine, group].into_iter().flatten().any(|(available, total)| is_short(available, total))
}

fn is_short(available: u64, total: u64) -> bool {
    available < total / AVAILABLE_PARTS
}

/// Available and total, in KiB, out of `/proc/meminfo` (proc_meminfo(5)).
fn available_of_machine(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    Some((field("MemAvailable")?, field("MemTotal")?))
}

/// The folder of our control group, version 2 (cgroups(7)).
fn own_group() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_text_is_read() {
        let text = "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   1200000 kB\n";
        assert_eq!(available_of_machine(text), Some((1_200_000, 24_000_000)));
        assert_eq!(available_of_machine("MemTotal: many\n"), None);
        assert!(is_short(1_200_000, 24_000_000) && !is_short(1_500_000, 24_000_000) && !is_short(0, 0));
    }
}
