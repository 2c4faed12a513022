//! What the runtime costs on top of wasmtime, in CPU time: a fresh sandbox for a call that does nothing, raw and
//! through the runtime, a warm call, what an idle sandbox takes, and values on their way in and out (only
//! these with `MICRO_VALUES`).
//! `cargo run --release -p engine-runtime --example micro -- [COMPONENT FUNCTION]`: the function has no
//! arguments and one result.

mod node;
mod values;

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine_core::work::Life;
use engine_runtime::{Options, Runtime};
use wasmtime::component::{Component, Linker, Resource, ResourceType, Val};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::node::node;

#[allow(dead_code)]
#[path = "../../tests/runtime/guests.rs"]
mod guests;

/// CPU time of this process: steadier than the clock on a busy machine.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A component, the function to run, and how many values that returns.
type Guest = (Vec<u8>, String, u32);

/// Fresh sandbox, call, drop: nothing but wasmtime.
fn raw(guest: &Guest, count: u64) -> f64 {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(1 << 20)
        .async_stack_size(3 << 19);
    let mut pool = PoolingAllocationConfig::new();
    pool.linear_memory_keep_resident(128 << 10).table_keep_resident(16 << 10).pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, &guest.0).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .instance("engine:compute/types@0.1.0")
        .unwrap()
        .resource("invocation", ResourceType::host::<()>(), |_, _| Ok(()))
        .unwrap();
    // All of WASI that a guest of the SDK uses when it does nothing.
    for version in ["0.2.6", "0.2.0"] {
        linker
            .instance(&format!("wasi:random/insecure-seed@{version}"))
            .unwrap()
            .func_wrap("insecure-seed", |_, ()| Ok(((1u64, 2u64),)))
            .unwrap();
    }
    linker.define_unknown_imports_as_traps(&component).unwrap();
    let pre = linker.instantiate_pre(&component).unwrap();
    let program = component.get_export_index(None, "engine:compute/program@0.1.0").unwrap();
    let run = component.get_export_index(Some(&program), "run").unwrap();
    let began = cpu_time();
    for _ in 0..count {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = pre.instantiate(&mut store).unwrap();
        let run = instance.get_func(&mut store, run).unwrap();
        let invocation = Resource::<()>::new_own(0).try_into_resource_any(&mut store).unwrap();
        let arguments = [Val::Resource(invocation), Val::String(guest.1.clone()), Val::List(Vec::new())];
        run.call(&mut store, &arguments, &mut [Val::Bool(false)]).unwrap();
        invocation.resource_drop(&mut store).unwrap();
    }
    (cpu_time() - began).as_secs_f64() * 1e6 / count as f64
}

/// The same through the runtime; with `lanes` sandboxes at once.
fn through(guest: &Guest, life: Life, threads: usize, lanes: u64, count: u64) -> f64 {
    let options = Options { guest_threads: threads, instances_max: 200, ..Options::default() };
    let runtime = Runtime::new(options).unwrap();
    let node = node(&runtime, guest, life);
    let round = |count: u64| {
        node.left.store(count, Ordering::Relaxed);
        node.running.store(lanes, Ordering::Relaxed);
        let began = cpu_time();
        for _ in 0..lanes {
            node.start_one();
        }
        node.wait();
        (cpu_time() - began).as_secs_f64() * 1e6 / count as f64
    };
    round(count / 10);
    let micros = round(count);
    runtime.shutdown();
    micros
}

/// Resident bytes and mappings of this process.
fn resident() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    (kib * 1024, maps.lines().count())
}

/// So many sandboxes alive at once that have served a call and wait for the next.
fn idle(guest: &Guest, count: u64) {
    let runtime = Runtime::new(Options::default()).unwrap();
    let node = node(&runtime, guest, Life::Warm);
    node.stays.store(true, Ordering::Relaxed);
    let (before, _) = resident();
    node.running.store(count, Ordering::Relaxed);
    for _ in 0..count {
        node.start_one();
    }
    node.wait();
    let (after, mappings) = resident();
    println!("{count} idle: {} KiB each, {mappings} mappings", (after - before) / 1024 / count);
    if std::env::var_os("MICRO_HOLD").is_some() {
        std::thread::sleep(Duration::from_secs(20));
    }
    runtime.shutdown();
}

fn main() {
    if std::env::var_os("MICRO_VALUES").is_some() {
        return values::all();
    }
    let mut arguments = std::env::args().skip(1);
    let guest: Guest = match (arguments.next(), arguments.next()) {
        (Some(path), Some(function)) => (std::fs::read(path).unwrap(), function, 1),
        _ => (guests::no_op(), "f".to_owned(), 0),
    };
    raw(&guest, 2_000);
    println!("raw, fresh          {:>8.2} µs", raw(&guest, 40_000));
    println!("runtime, fresh, 1   {:>8.2} µs", through(&guest, Life::Task, 1, 1, 40_000));
    println!("runtime, fresh, 8/1 {:>8.2} µs", through(&guest, Life::Task, 1, 8, 40_000));
    println!("runtime, fresh, 8/2 {:>8.2} µs", through(&guest, Life::Task, 2, 8, 40_000));
    println!("runtime, warm, 1    {:>8.2} µs", through(&guest, Life::Warm, 1, 1, 400_000));
    idle(&guest, 10_000);
    values::all();
}
