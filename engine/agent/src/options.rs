//! How a node is started.

use std::path::PathBuf;
use std::time::Duration;

use engine_core::resources::Quantity;

use crate::cluster::ClusterOptions;

/// What a node has and how much it may use. [`Options::detect`] looks at the machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// CPUs that the ledger gives out, and guest threads, rounded up.
    pub cpus: Quantity,
    /// GPUs that the ledger gives out.
    pub gpus: Quantity,
    /// Bytes of guest memory that the ledger gives out.
    pub memory_bytes: u64,
    /// Bytes of the arena that large values lie in.
    pub store_bytes_max: u64,
    /// Where objects go that the arena has no room for; none: nowhere, and a full arena refuses.
    pub spill_folder: Option<PathBuf>,
    /// Bytes of all spill files together.
    pub spill_bytes_max: u64,
    /// Values up to this many bytes lie on the heap.
    pub inline_object_bytes_max: usize,
    /// Custom resources.
    pub resources: Vec<(String, Quantity)>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Where components and machine code are kept between runs; none: nowhere.
    pub data_dir: Option<PathBuf>,
    /// Bytes of all components.
    pub component_store_bytes_max: u64,
    /// Bytes of log kept of one job; the oldest lines go first.
    pub log_bytes_per_job_max: usize,
    /// Bytes of log kept of all jobs that have ended; the logs of the oldest go first.
    pub ended_job_log_bytes_max: usize,
    /// Between two reports of a job's progress to whoever watches it.
    pub progress_interval: Duration,
    /// Whether this program, started with the argument `worker`, runs [`engine_worker::run`]: else no tenant's guests
    /// can be run in a process of their own.
    pub is_worker_program: bool,
    /// How long the process of a tenant's guests is kept that has none.
    pub worker_idle_max: Duration,
    /// Where its cluster is; none: it is one of its own.
    pub cluster: Option<ClusterOptions>,
    /// The limits of the node's state machine.
    pub limits: engine_core::node::Limits,
    /// The limits of the head's state machine.
    pub head_limits: engine_core::head::Limits,
    /// The runtime's limits and sizes. Its guest threads and caches are set from the above.
    pub runtime: engine_runtime::Options,
}

/// The share of the machine's memory that guests get unless the operator says.
const GUEST_MEMORY_PERCENT: u64 = 70;
/// The share of the machine's memory that values get unless the operator says.
const STORE_MEMORY_PERCENT: u64 = 20;

impl Options {
    /// All of this machine's CPUs, 70 % of its memory for guests and 20 % for values.
    pub fn detect() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let memory = total_memory_bytes();
        Self {
            cpus: Quantity::units(cpus as u64),
            gpus: Quantity::ZERO,
            memory_bytes: memory / 100 * GUEST_MEMORY_PERCENT,
            store_bytes_max: memory / 100 * STORE_MEMORY_PERCENT,
            spill_folder: None,
            spill_bytes_max: u64::MAX,
            inline_object_bytes_max: 100 << 10,
            resources: Vec::new(),
            labels: Vec::new(),
            data_dir: None,
            component_store_bytes_max: 2 << 30,
            log_bytes_per_job_max: 16 << 20,
            ended_job_log_bytes_max: 64 << 20,
            progress_interval: Duration::from_millis(100),
            is_worker_program: false,
            worker_idle_max: Duration::from_secs(300),
            cluster: None,
            limits: engine_core::node::Limits::default(),
            head_limits: engine_core::head::Limits::default(),
            runtime: engine_runtime::Options::default(),
        }
    }
}

/// What this process may use: the machine's memory, or its control group's when that is less.
fn total_memory_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .map_or(4 << 30, |kib| kib << 10);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(u64::MAX);
    machine.min(group)
}
