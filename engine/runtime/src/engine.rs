//! The two wasmtime engines: one for plain components, one with concurrency support for those of the
//! concurrent world. Plain components do not pay for the second.

use engine_core::Error;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::guest::Guest;
use crate::mapped::MAPPINGS_PER_PART;
use crate::options::Options;
use crate::{concurrent, imports};

/// An engine and what components of it may import.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    /// Sandboxes that it holds at once.
    pub(crate) instances_max: u32,
    /// Whether memories come out of a pool: they never move, and are part of one mapping.
    pub(crate) is_pool: bool,
}

/// Mappings of a process that sandboxes may not take (libraries, arenas, machine code, threads).
const OTHER_MAPPINGS: u32 = 3_000;
/// Mappings that one sandbox takes at most: parts of the memory image, heap, rest of the reservation,
/// stack and its guard.
const MAPPINGS_PER_INSTANCE: u32 = 6;
/// Bytes of a memory and of a table that stay resident in a free slot: clearing them is cheaper than
/// faulting them in again.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;
const TABLE_KEEP_RESIDENT_BYTES: usize = 16 << 10;

/// Modules, tables and memories that one component may have in it: the guest, its adapters and shims.
const CORE_INSTANCES_PER_COMPONENT: u32 = 32;
const TABLES_PER_COMPONENT: u32 = 8;
const MEMORIES_PER_COMPONENT: u32 = 4;

impl World {
    /// The engine for plain components.
    pub(crate) fn plain(options: &Options) -> Result<Self, Error> {
        Self::new(options, false, instances(options))
    }

    /// The engine for the concurrent world.
    pub(crate) fn concurrent(options: &Options) -> Result<Self, Error> {
        Self::new(options, true, options.concurrent_instances_max)
    }

    fn new(options: &Options, is_concurrent: bool, instances: u32) -> Result<Self, Error> {
        let (engine, instances_max, is_pool) = engine(options, is_concurrent, instances)?;
        let mut linker = Linker::new(&engine);
        let mut linked = imports::add_to_linker(&mut linker);
        if is_concurrent {
            linked = linked.and_then(|()| concurrent::add_to_linker(&mut linker));
        }
        linked.map_err(|error| Error::internal(format!("linking the imports: {error:#}")))?;
        Ok(Self { engine, linker, instances_max, is_pool })
    }
}

/// How many sandboxes the kernel lets this process map.
fn instances(options: &Options) -> u32 {
    let mappings_max = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let Some(mappings_max) = mappings_max.and_then(|text| text.trim().parse::<u32>().ok()) else {
        return options.instances_max;
    };
    let mapped = u32::try_from(options.mapped_objects_of_all_max).unwrap_or(u32::MAX);
    let others = OTHER_MAPPINGS.saturating_add(mapped.saturating_mul(MAPPINGS_PER_PART));
    let possible = mappings_max.saturating_sub(others) / MAPPINGS_PER_INSTANCE;
    let possible = possible.max(100);
    if possible < options.instances_max {
        tracing::info!(
            instances_max = options.instances_max,
            possible,
            mappings_max,
            "fewer sandboxes at once than asked for: raise the kernel's vm.max_map_count for more"
        );
    }
    options.instances_max.min(possible)
}

/// An engine, how many sandboxes it holds, and whether in a pool.
fn engine(options: &Options, is_concurrent: bool, instances: u32) -> Result<(Engine, u32, bool), Error> {
    // Where address space is limited (a container, ulimit -v) a smaller pool may still fit.
    for slots in [instances, instances / 4, instances / 16] {
        let mut config = config(options, is_concurrent);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options, slots.max(1))));
        match Engine::new(&config) {
            Ok(engine) => return Ok((engine, slots.max(1), true)),
            Err(error) => {
                tracing::warn!(slots, "no pool of so many sandboxes: {error:#}");
            }
        }
    }
    tracing::warn!("sandboxes are mapped one by one, which is two to three times slower than out of a pool");
    let config = config(options, is_concurrent);
    let engine = Engine::new(&config)
        .map_err(|error| Error::internal(format!("starting the Wasm engine: {error:#}")))?;
    Ok((engine, instances, false))
}

fn config(options: &Options, is_concurrent: bool) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(is_concurrent)
        // The one place where the way to interrupt guests is chosen; see also `Ticks` and `instance`.
        .epoch_interruption(true)
        .max_wasm_stack(options.stack_bytes_max)
        // Host functions run on the same stack, above what the guest may use.
        .async_stack_size(options.stack_bytes_max + (512 << 10))
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(64))
        .parallel_compilation(true);
    if is_concurrent {
        config.wasm_component_model_async(true);
    }
    config
}

fn pool(options: &Options, slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let memory_max = options.memory_bytes_per_guest_max.min(4 << 30);
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(3))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(4)
        .table_elements(options.table_elements_max as usize)
        .max_memory_size(usize::try_from(memory_max).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(256);
    // Finds the pages that a guest touched instead of clearing all that stay resident (Linux 6.7).
    pool.pagemap_scan(Enabled::Auto);
    pool
}
