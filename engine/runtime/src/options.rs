//! What the operator of a node may set.

use std::path::PathBuf;
use std::time::Duration;

/// The runtime's limits and sizes. Every default is stated at its field.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that guests run on. Default: the CPUs that this process may use.
    pub guest_threads: usize,
    /// Sandboxes alive at once: slots of the pool, each of which reserves address space. Default
    /// 12 000; less when the kernel's `vm.max_map_count` does not allow so many.
    pub instances_max: u32,
    /// The same for components of the concurrent world, whose pool is made when the first of them is
    /// loaded. Default 2 000.
    pub concurrent_instances_max: u32,
    /// Bytes of memory that any guest may have, whatever its task asks for. Default 4 GiB.
    pub memory_bytes_per_guest_max: u64,
    /// How long a guest runs before others get their turn, when there are others. Default 2 ms.
    pub tick: Duration,
    /// Where machine code is kept between runs; none: nowhere. Only this process's user may write
    /// there. Default: none.
    pub compile_cache: Option<PathBuf>,
    /// Bytes that the compile cache may take: what was not used for longest goes first. Default 4 GiB.
    pub compile_cache_bytes_max: u64,
    /// Whether guests read and write files on their own threads: saves two changes of thread for each
    /// operation, but a guest on a disk that does not answer holds its thread, and cannot be stopped
    /// meanwhile. Default: no.
    pub blocks_on_files: bool,
    /// Bytes of a component. Default 256 MiB.
    pub component_bytes_max: u64,
    /// Bytes of a guest's stack. Default 1 MiB.
    pub stack_bytes_max: usize,
    /// Elements of one table of a guest. Default 64 Ki.
    pub table_elements_max: u32,
    /// Bytes of log that are kept of one task or call; what comes after is counted and dropped.
    /// Default 16 MiB.
    pub log_bytes_per_task_max: u64,
    /// Bytes of one line of log; longer ones are cut into several. Default 16 KiB.
    pub log_line_bytes_max: usize,
    /// Bytes of one value that crosses the border of a sandbox in one piece. Default 1 GiB. What is
    /// written piece by piece may be larger where the node has a disk to spill to, whose bound it is.
    pub value_bytes_max: u64,
    /// Bytes of an object that is written piece by piece above which it goes to disk, where there is
    /// one. Default 256 MiB.
    pub writer_memory_bytes_max: u64,
    /// Objects that one sandbox may write piece by piece at once: each of those that go to disk
    /// takes some megabytes of the host's memory. Default 64.
    pub writers_per_instance_max: usize,
    /// Arrays that one sandbox may hold at once. Default 10 000.
    pub arrays_per_instance_max: usize,
    /// Bytes that one call may return or yield, over all its values. Default 4 GiB.
    pub returned_bytes_per_task_max: u64,
    /// Bytes from which on an object is not copied into the fresh sandbox of a task: its pages are
    /// mapped there, copy-on-write. The guest's memory grows by its size all the same, and its limit
    /// counts that; the machine's memory holds the pages once, and again those that the guest writes.
    /// Default 1 MiB.
    pub mapped_object_bytes_min: usize,
    /// Objects mapped in one sandbox at once; more are copied. 0: all are. Default 64.
    pub mapped_objects_max: usize,
    /// The same for all sandboxes together: each takes two of the process's mappings, of which the
    /// kernel allows `vm.max_map_count`. Default 1 000.
    pub mapped_objects_of_all_max: usize,
    /// Handles inside one value. Default 1 000 000.
    pub handles_per_value_max: usize,
    /// Handles that one sandbox may hold. Default 4 000 000.
    pub handles_per_instance_max: usize,
    /// Arguments of one task or call. Default 10 000.
    pub arguments_per_call_max: usize,
    /// Bytes of the names, environment and options of one task, call or actor. Default 1 MiB.
    pub option_bytes_per_task_max: usize,
    /// Objects that one task or call may return. Default 100 000.
    pub outputs_per_task_max: u32,
    /// Bytes of memory above which a warm sandbox is retired. Default 256 MiB.
    pub warm_memory_bytes_max: u64,
    /// Calls after which a warm sandbox is retired. Default 1 000 000.
    pub warm_calls_max: u64,
    /// Calls that may wait in the mailbox of one sandbox. Default 100 000.
    pub mailbox_calls_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            guest_threads: std::thread::available_parallelism().map_or(1, usize::from),
            instances_max: 12_000,
            concurrent_instances_max: 2_000,
            memory_bytes_per_guest_max: 4 << 30,
            tick: Duration::from_millis(2),
            compile_cache: None,
            compile_cache_bytes_max: 4 << 30,
            blocks_on_files: false,
            component_bytes_max: 256 << 20,
            stack_bytes_max: 1 << 20,
            table_elements_max: 64 << 10,
            log_bytes_per_task_max: 16 << 20,
            log_line_bytes_max: 16 << 10,
            value_bytes_max: 1 << 30,
            writer_memory_bytes_max: 256 << 20,
            writers_per_instance_max: 64,
            arrays_per_instance_max: 10_000,
            returned_bytes_per_task_max: 4 << 30,
            mapped_object_bytes_min: 1 << 20,
            mapped_objects_max: 64,
            mapped_objects_of_all_max: 1_000,
            handles_per_value_max: 1_000_000,
            handles_per_instance_max: 4_000_000,
            arguments_per_call_max: 10_000,
            option_bytes_per_task_max: 1 << 20,
            outputs_per_task_max: 100_000,
            warm_memory_bytes_max: 256 << 20,
            warm_calls_max: 1_000_000,
            mailbox_calls_max: 100_000,
        }
    }
}
